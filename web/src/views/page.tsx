// The frame of the pages beside the chat, and what they share.
import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { sidebarOpen } from '../app'
import { Icon } from './icons'

/** Names and values of one thing, as a list. */
export function Facts({ facts }: { facts: [string, string][] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

export function Page({ title, lead, children }: { title: string; lead?: string; children: ComponentChildren }) {
  useEffect(() => {
    document.title = `${title} · Hearth`
  }, [title])
  return (
    <>
      <header class="topbar narrow-only">
        <button type="button" class="quiet burger" aria-label="Conversations and pages" onClick={() => sidebarOpen.set(true)}>
          <Icon name="menu" />
        </button>
      </header>
      <main id="main" class="page" tabIndex={0}>
        <h1>{title}</h1>
        {lead && <p class="lead">{lead}</p>}
        {children}
      </main>
    </>
  )
}
