import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import {
  chooseModel,
  models,
  modelsProblem,
  sessionFor,
  settingsOpen,
  settleDraft,
  sidebarOpen,
} from '../app'
import { alternatives, branch } from '../chat/tree'
import type { Session } from '../chat/session'
import { bytes, count, speed } from '../format'
import { useStore } from '../store'
import type { ModelInfo } from '../types'
import { Composer } from './composer'
import { Icon, Mark, type IconName } from './icons'
import { copyText, MessageView } from './message'
import { Picker } from './picker'
import { SettingsDialog } from './settings'

const suggestions = [
  { title: 'Explain', text: 'Explain how a heat pump can deliver more heat than the electricity it uses.' },
  { title: 'Write', text: 'Write a short, warm thank-you note to a neighbour who watered my plants.' },
  { title: 'Code', text: 'Write a Python function that groups a list of dates by ISO week, with tests.' },
  { title: 'Decide', text: 'Help me choose between repairing and replacing a ten-year-old bicycle. Ask me questions first.' },
]

function abilities(model: ModelInfo): { icon: IconName; text: string }[] {
  const list: { icon: IconName; text: string }[] = []
  if (model.thinks) list.push({ icon: 'bulb', text: 'Thinks before it answers' })
  if (model.tools) list.push({ icon: 'tool', text: 'Can call tools' })
  if (model.context) list.push({ icon: 'file', text: `Holds ${count(model.context)} tokens of conversation` })
  list.push({ icon: 'lock', text: 'Stays on this machine' })
  return list
}

function ModelLine({ model }: { model: ModelInfo }) {
  const rate = model.measured_decode_tps ?? model.expected_decode_tps
  return (
    <p class="model-line">
      <strong>{model.name}</strong>
      {rate ? (
        <>
          {' '}
          writes {model.measured_decode_tps ? '' : 'about '}
          <strong>{speed(rate)} tokens a second</strong> here
        </>
      ) : (
        ' answers here'
      )}
      {model.memory_bytes > 0 && <> and needs {bytes(model.memory_bytes)} of memory</>}.
    </p>
  )
}

function Welcome({ model, choose }: { model: ModelInfo | undefined; choose: (text: string) => void }) {
  const list = useStore(models)
  const problem = useStore(modelsProblem)
  return (
    <div class="welcome">
      <Mark size={64} />
      <h1>What is on your mind?</h1>
      {model && (
        <>
          <ModelLine model={model} />
          <ul class="abilities">
            {abilities(model).map(({ icon, text }) => (
              <li key={text}>
                <Icon name={icon} size={16} /> {text}
              </li>
            ))}
          </ul>
          {model.fits === false && <p class="problem">{model.note || 'By the plan, this model does not fit into memory.'}</p>}
          <ul class="suggestions">
            {suggestions.map(({ title, text }) => (
              <li key={title}>
                <button type="button" onClick={() => choose(text)}>
                  <strong>{title}</strong>
                  <span>{text}</span>
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
      {!model && list && (
        <p class="model-line">
          No model is chosen. <code>hearth plan</code> says what this machine can run, <code>hearth pull</code> fetches it.
        </p>
      )}
      {!list && problem && <p class="problem">{problem}</p>}
    </div>
  )
}

function Title({ session }: { session: Session }) {
  const title = useStore(session.state, (state) => state.title)
  const [editing, setEditing] = useState(false)
  if (!title) return null
  if (!editing)
    return (
      <button type="button" class="title" title="Rename" onClick={() => setEditing(true)}>
        {title}
      </button>
    )
  const done = (text: string) => {
    setEditing(false)
    if (text.trim() && text !== title) session.rename(text.trim())
  }
  return (
    <input
      class="title"
      aria-label="Title of the conversation"
      defaultValue={title}
      maxLength={100}
      ref={(element) => element?.focus()}
      onBlur={(event) => done(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === 'Enter') done(event.currentTarget.value)
        if (event.key === 'Escape') {
          event.stopPropagation()
          setEditing(false)
        }
      }}
    />
  )
}

/** Keeps the end in view while an answer grows, unless somebody scrolled away from it. */
function useFollowing(what: unknown, conversation: string) {
  const element = useRef<HTMLDivElement>(null)
  const following = useRef(true)
  const [away, setAway] = useState(false)
  const toEnd = () => {
    const view = element.current
    if (view) view.scrollTop = view.scrollHeight
  }
  useLayoutEffect(() => {
    following.current = true
    toEnd()
  }, [conversation])
  useLayoutEffect(() => {
    if (following.current) toEnd()
  }, [what])
  const onScroll = () => {
    const view = element.current
    if (!view) return
    following.current = view.scrollHeight - view.scrollTop - view.clientHeight < 60
    setAway(!following.current)
  }
  return { element, onScroll, away, toEnd }
}

/** Buttons inside rendered Markdown. */
function copyCode(event: MouseEvent): void {
  const button = (event.target as HTMLElement).closest<HTMLElement>('[data-copy]')
  const code = button?.closest('.code')?.querySelector('code')
  if (!button || !code) return
  void copyText(code.textContent ?? '')
  button.textContent = 'Copied'
  setTimeout(() => (button.textContent = 'Copy'), 1500)
}

export function ChatPage({ id }: { id: string | null }) {
  const session = sessionFor(id)
  const state = useStore(session.state)
  const list = useStore(models)
  const dialog = useStore(settingsOpen)
  const [drafts, setDrafts] = useState<Record<string, string>>({})
  const { element, onScroll, away, toEnd } = useFollowing(state.document, state.id)
  const wasWriting = useRef(false)
  const [spoken, setSpoken] = useState('')
  useEffect(() => {
    document.title = state.title ? `${state.title} · Hearth` : 'Hearth'
  }, [state.title])
  useEffect(() => {
    if (wasWriting.current !== (state.writing !== null)) setSpoken(state.writing ? 'Answering' : 'The answer is complete')
    wasWriting.current = state.writing !== null
  }, [state.writing])
  useEffect(() => {
    const escape = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && !document.querySelector('dialog[open]')) session.stop()
    }
    addEventListener('keydown', escape)
    return () => removeEventListener('keydown', escape)
  }, [session])
  const messages = branch(state.document)
  const model = list?.find((one) => one.name === state.model)
  const setDraft = (text: string) => setDrafts((all) => ({ ...all, [state.id]: text }))
  return (
    <>
      <header class="topbar">
        <button type="button" class="quiet burger" aria-label="Conversations and pages" onClick={() => sidebarOpen.set(true)}>
          <Icon name="menu" />
        </button>
        <Picker chosen={state.model} choose={(name) => chooseModel(session, name)} />
        <Title session={session} />
        <button
          type="button"
          class="quiet"
          aria-label="Settings of this conversation"
          title="Settings of this conversation"
          onClick={() => settingsOpen.set(true)}
        >
          <Icon name="sliders" />
        </button>
      </header>
      <main id="main" class="thread" ref={element} onScroll={onScroll} onClick={copyCode} tabIndex={0}>
        {state.failed && (
          <p class="problem" role="alert">
            {state.failed}
          </p>
        )}
        {!messages.length && !state.loading && !state.failed && (
          <Welcome
            model={model}
            choose={(text) => {
              setDraft(text)
              document.getElementById('composer')?.focus()
            }}
          />
        )}
        {messages.length > 0 && <h1 class="unseen">{state.title}</h1>}
        <div class="messages">
          {messages.map((message) => (
            <MessageView
              key={message.id}
              message={message}
              alternatives={alternatives(state.document, message)}
              writing={message.id === state.writing}
              idle={!state.writing}
              session={session}
            />
          ))}
        </div>
      </main>
      <footer class="dock">
        {away && messages.length > 0 && (
          <button type="button" class="to-end" aria-label="To the end" onClick={toEnd}>
            <Icon name="down" />
          </button>
        )}
        <Composer
          key={state.id}
          writing={state.writing !== null}
          disabled={state.model ? '' : 'Choose a model first'}
          draft={drafts[state.id] ?? ''}
          setDraft={setDraft}
          send={(text, attachments) => {
            session.send(text, attachments)
            settleDraft(session)
          }}
          stop={() => session.stop()}
          editLast={() =>
            [...document.querySelectorAll<HTMLElement>('.message.user [aria-label="Edit"]')].pop()?.click()
          }
        />
        <p class="small-print">Models make mistakes. What you write stays with Hearth.</p>
      </footer>
      <div class="unseen" role="status">
        {spoken}
      </div>
      {dialog && <SettingsDialog session={session} thinks={model?.thinks ?? false} />}
    </>
  )
}
