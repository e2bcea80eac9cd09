import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Session } from '../chat/session'
import { bytes, count, duration, speed } from '../format'
import type { AnswerStatistics, Message } from '../types'
import { Icon, Mark, type IconName } from './icons'
import { Markdown } from './markdown'
import { memo } from './memo'

interface Properties {
  message: Message
  alternatives: Message[]
  writing: boolean
  /** No answer is being written in this conversation. */
  idle: boolean
  session: Session
}

export async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // Without a secure context (another machine, plain HTTP) there is no clipboard: the old way.
    const area = document.createElement('textarea')
    area.value = text
    document.body.append(area)
    area.select()
    document.execCommand('copy')
    area.remove()
  }
}

function Action({ icon, label, onClick }: { icon: IconName; label: string; onClick: () => void }) {
  return (
    <button type="button" class="quiet small" aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} size={17} />
    </button>
  )
}

function Copy({ text }: { text: string }) {
  const [done, setDone] = useState(false)
  return (
    <Action
      icon={done ? 'check' : 'copy'}
      label={done ? 'Copied' : 'Copy'}
      onClick={() => {
        void copyText(text)
        setDone(true)
        setTimeout(() => setDone(false), 1500)
      }}
    />
  )
}

function Branches({ message, alternatives, idle, session }: Omit<Properties, 'writing'>) {
  if (alternatives.length < 2) return null
  const index = alternatives.indexOf(message)
  const show = (next: number) => session.select(alternatives[next])
  return (
    <span class="branches">
      <button
        type="button"
        class="quiet small"
        aria-label="Previous version"
        disabled={index === 0 || !idle}
        onClick={() => show(index - 1)}
      >
        <Icon name="left" size={15} />
      </button>
      <span aria-label={`Version ${index + 1} of ${alternatives.length}`}>
        {index + 1}/{alternatives.length}
      </span>
      <button
        type="button"
        class="quiet small"
        aria-label="Next version"
        disabled={index === alternatives.length - 1 || !idle}
        onClick={() => show(index + 1)}
      >
        <Icon name="right" size={15} />
      </button>
    </span>
  )
}

function Reasoning({ message, writing }: { message: Message; writing: boolean }) {
  const thinking = writing && !message.content
  const time = message.statistics?.thinking
  return (
    <details class="reasoning">
      <summary>
        <Icon name="bulb" size={16} />
        <span class={thinking ? 'shimmer' : ''}>
          {thinking ? 'Thinking' : time ? `Thought for ${duration(time)}` : 'Reasoning'}
        </span>
        <Icon name="down" size={14} />
      </summary>
      <div class="reasoning-text">
        <Markdown text={message.reasoning ?? ''} />
      </div>
    </details>
  )
}

const endings: Record<string, string> = {
  length: 'ended at the longest allowed length',
  stopped: 'stopped',
  cancelled: 'ended early by the server',
}

function Statistics({ statistics }: { statistics: AnswerStatistics }) {
  const { tokens, total, firstToken, promptTokens, cachedTokens, finish } = statistics
  const writingTime = total !== undefined && firstToken !== undefined ? total - firstToken : 0
  const facts: string[] = []
  // The first token comes out of the prompt's pass: the time is that of the others.
  if (tokens && tokens > 1 && writingTime > 0) facts.push(`${speed((tokens - 1) / (writingTime / 1000))} tokens/s`)
  if (tokens) facts.push(`${count(tokens)} tokens`)
  if (firstToken !== undefined) facts.push(`first after ${duration(firstToken)}`)
  if (finish && endings[finish]) facts.push(endings[finish])
  const prompt = promptTokens
    ? `Prompt: ${count(promptTokens)} tokens${cachedTokens ? `, ${count(cachedTokens)} of them remembered` : ''}`
    : undefined
  return (
    <span class="statistics" title={prompt}>
      {facts.join(' · ')}
    </span>
  )
}

function Attachments({ message }: { message: Message }) {
  if (!message.attachments?.length) return null
  return (
    <div class="attachments">
      {message.attachments.map(({ name, text }) => (
        <details class="attachment" key={name}>
          <summary>
            <Icon name="file" size={15} /> {name} <span class="faint">{bytes(text.length)}</span>
          </summary>
          <pre tabIndex={0}>{text.length > 20_000 ? `${text.slice(0, 20_000)}\n…` : text}</pre>
        </details>
      ))}
    </div>
  )
}

function Editor({ text, done, cancel }: { text: string; done: (text: string) => void; cancel: () => void }) {
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    const element = area.current
    if (!element) return
    element.focus()
    element.style.height = `${element.scrollHeight}px`
  }, [])
  const submit = () => area.current?.value.trim() && done(area.current.value)
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      <textarea
        ref={area}
        aria-label="Edit the message"
        defaultValue={text}
        onKeyDown={(event) => {
          if (event.key === 'Escape') cancel()
          if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
            event.preventDefault()
            submit()
          }
        }}
      />
      <div class="editor-buttons">
        <button type="button" class="plain" onClick={cancel}>
          Cancel
        </button>
        <button type="submit" class="primary">
          Send again
        </button>
      </div>
    </form>
  )
}

function Row({ children }: { children: ComponentChildren }) {
  return <div class="actions">{children}</div>
}

function Question(properties: Properties) {
  const { message, session, idle } = properties
  const [editing, setEditing] = useState(false)
  if (editing)
    return (
      <Editor
        text={message.content}
        cancel={() => setEditing(false)}
        done={(text) => {
          setEditing(false)
          session.edit(message, text)
        }}
      />
    )
  return (
    <>
      <Attachments message={message} />
      {message.content && <div class="bubble">{message.content}</div>}
      <Row>
        <Branches {...properties} />
        <Copy text={message.content} />
        {idle && <Action icon="edit" label="Edit" onClick={() => setEditing(true)} />}
      </Row>
    </>
  )
}

function Answer(properties: Properties) {
  const { message, session, idle, writing } = properties
  const waiting = writing && !message.content && !message.reasoning
  return (
    <>
      <div class="speaker">
        <Mark size={20} />
        <span>{message.model || 'Hearth'}</span>
      </div>
      {message.reasoning && <Reasoning message={message} writing={writing} />}
      {waiting && (
        <p class="waiting">
          <span class="shimmer">Reading</span>
        </p>
      )}
      {message.content && <Markdown text={message.content} />}
      {message.error && (
        <p class="problem" role="alert">
          {message.error}
        </p>
      )}
      {!writing && (
        <Row>
          <Branches {...properties} />
          {message.content && <Copy text={message.content} />}
          {idle && <Action icon="retry" label="Try again" onClick={() => session.retry(message)} />}
          {message.statistics && <Statistics statistics={message.statistics} />}
        </Row>
      )}
    </>
  )
}

export const MessageView = memo((properties: Properties) => {
  const { role } = properties.message
  return (
    <article class={`message ${role}`} aria-label={role === 'user' ? 'You' : 'Answer'}>
      {role === 'user' ? <Question {...properties} /> : <Answer {...properties} />}
    </article>
  )
})
