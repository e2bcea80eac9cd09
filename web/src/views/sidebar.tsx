import { useEffect, useRef } from 'preact/hooks'
import {
  conversations,
  focusWanted,
  go,
  moreConversations,
  query,
  refreshConversations,
  removeConversation,
  route,
  sidebarOpen,
  writing,
} from '../app'
import { age } from '../format'
import { useStore } from '../store'
import { setTheme, theme, type Theme } from '../theme'
import type { ConversationSummary } from '../types'
import { Icon, Mark, type IconName } from './icons'

export function newChat(): void {
  sidebarOpen.set(false)
  const here = route.get()
  if (here.page === 'chat' && here.id === null) document.getElementById('composer')?.focus()
  else focusWanted.set(true)
  go('/')
}

function Search() {
  const words = useStore(query)
  const timer = useRef<ReturnType<typeof setTimeout>>()
  return (
    <div class="search">
      <Icon name="search" size={17} />
      <input
        id="search"
        type="search"
        placeholder="Search conversations"
        aria-label="Search conversations"
        value={words}
        maxLength={200}
        onInput={(event) => {
          query.set(event.currentTarget.value)
          clearTimeout(timer.current)
          timer.current = setTimeout(() => void refreshConversations(), 150)
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape' && words) {
            event.stopPropagation()
            query.set('')
            void refreshConversations()
          }
        }}
      />
      <kbd aria-hidden="true">Ctrl K</kbd>
    </div>
  )
}

/** A snippet with the words that were searched for marked. */
function Marked({ text, words }: { text: string; words: string }) {
  const wanted = words.trim().split(/\s+/).filter(Boolean)
  const pattern = wanted.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')
  const parts = text.split(new RegExp(`(${pattern})`, 'gi'))
  return <>{parts.map((part, index) => (index % 2 ? <mark key={index}>{part}</mark> : part))}</>
}

function Item({ summary, current, busy }: { summary: ConversationSummary; current: boolean; busy: boolean }) {
  const words = useStore(query)
  const title = summary.title || 'Untitled'
  return (
    <li class={current ? 'item current' : 'item'}>
      <a
        href={`#/c/${summary.id}`}
        aria-current={current ? 'page' : undefined}
        onClick={() => sidebarOpen.set(false)}
      >
        <span class="item-title">
          {busy && <span class="ember-dot" role="img" aria-label="answering" />}
          {title}
        </span>
        {words && summary.snippet && (
          <span class="item-snippet">
            <Marked text={summary.snippet} words={words} />
          </span>
        )}
      </a>
      <button
        type="button"
        class="quiet small"
        aria-label={`Delete “${title}”`}
        title="Delete"
        onClick={() => void removeConversation(summary)}
      >
        <Icon name="trash" size={16} />
      </button>
    </li>
  )
}

function List() {
  const list = useStore(conversations)
  const words = useStore(query)
  const busy = useStore(writing)
  const shown = useStore(route)
  const current = shown.page === 'chat' ? shown.id : null
  if (!list.length)
    return (
      <p class="sidebar-empty">
        {words.trim() ? 'Nothing found.' : 'Conversations appear here. They are kept on this machine only.'}
      </p>
    )
  const groups = new Map<string, ConversationSummary[]>()
  for (const summary of list) {
    const group = age(summary.updated)
    groups.set(group, [...(groups.get(group) ?? []), summary])
  }
  return (
    <>
      {[...groups].map(([name, members]) => (
        <section key={name}>
          <h2 class="group">{name}</h2>
          <ul>
            {members.map((summary) => (
              <Item
                key={summary.id}
                summary={summary}
                current={summary.id === current}
                busy={busy.has(summary.id)}
              />
            ))}
          </ul>
        </section>
      ))}
      {!words.trim() && list.length % 100 === 0 && (
        <button type="button" class="quiet more" onClick={() => void moreConversations()}>
          Older conversations
        </button>
      )}
    </>
  )
}

const themes: { value: Theme; label: string; icon: IconName }[] = [
  { value: 'light', label: 'Light', icon: 'sun' },
  { value: 'system', label: 'As the system', icon: 'half' },
  { value: 'dark', label: 'Dark', icon: 'moon' },
]

function Themes() {
  const chosen = useStore(theme)
  return (
    <div class="themes" role="group" aria-label="Colours">
      {themes.map(({ value, label, icon }) => (
        <button
          key={value}
          type="button"
          aria-pressed={chosen === value}
          aria-label={label}
          title={label}
          onClick={() => setTheme(value)}
        >
          <Icon name={icon} size={16} />
        </button>
      ))}
    </div>
  )
}

export function Sidebar() {
  const open = useStore(sidebarOpen)
  const page = useStore(route).page
  const element = useRef<HTMLElement>(null)
  useEffect(() => {
    if (open) element.current?.querySelector<HTMLElement>('a, button')?.focus()
  }, [open])
  return (
    <>
      {open && <div class="scrim" onClick={() => sidebarOpen.set(false)} />}
      <aside ref={element} class={open ? 'sidebar open' : 'sidebar'} aria-label="Conversations and pages">
        <div class="sidebar-head">
          <a class="brand" href="#/" aria-label="Hearth: new conversation" onClick={newChat}>
            <Mark size={26} />
            <span>Hearth</span>
          </a>
          <Themes />
        </div>
        <button type="button" class="new-chat" onClick={newChat}>
          <Icon name="plus" size={18} /> New conversation
        </button>
        <Search />
        <nav class="conversations" aria-label="Conversations">
          <List />
        </nav>
        <nav class="pages" aria-label="Pages">
          <a href="#/models" aria-current={page === 'models' ? 'page' : undefined} onClick={() => sidebarOpen.set(false)}>
            <Icon name="layers" size={18} /> Models
          </a>
          <a href="#/machine" aria-current={page === 'machine' ? 'page' : undefined} onClick={() => sidebarOpen.set(false)}>
            <Icon name="chip" size={18} /> Machine
          </a>
        </nav>
      </aside>
    </>
  )
}
