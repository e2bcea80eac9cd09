import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { focusWanted } from '../app'
import { bytes } from '../format'
import { toast } from '../toasts'
import type { Attachment } from '../types'
import { Icon } from './icons'

const LARGEST_FILE = 1 << 20

/** The text of a file; a toast says why when it has none. */
async function readText(file: File): Promise<Attachment | null> {
  if (file.size > LARGEST_FILE) {
    toast(`${file.name} is ${bytes(file.size)}; attachments may have ${bytes(LARGEST_FILE)}.`, 'bad')
    return null
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer())
    if (!text.includes('\0')) return { name: file.name, text }
  } catch {
    // Not UTF-8.
  }
  toast(`${file.name} is no text; only text can be attached.`, 'bad')
  return null
}

interface Properties {
  writing: boolean
  disabled: string
  draft: string
  setDraft: (text: string) => void
  send: (text: string, attachments: Attachment[]) => void
  stop: () => void
  editLast: () => void
}

export function Composer({ writing, disabled, draft, setDraft, send, stop, editLast }: Properties) {
  const area = useRef<HTMLTextAreaElement>(null)
  const picker = useRef<HTMLInputElement>(null)
  const [attachments, setAttachments] = useState<Attachment[]>([])
  const [over, setOver] = useState(false)
  useEffect(() => {
    const element = area.current
    if (!element) return
    element.style.height = 'auto'
    element.style.height = `${Math.min(element.scrollHeight, innerHeight * 0.4)}px`
  }, [draft])
  // With its appearance, not by a timer: what is typed meanwhile, or focused since, would be lost.
  useLayoutEffect(() => {
    if (!focusWanted.get()) return
    focusWanted.set(false)
    area.current?.focus()
  }, [])
  const ready = !disabled && !writing && (draft.trim() !== '' || attachments.length > 0)
  const submit = () => {
    if (!ready) return
    send(draft.trim(), attachments)
    setDraft('')
    setAttachments([])
  }
  const attach = async (files: Iterable<File>) => {
    for (const file of files) {
      const read = await readText(file)
      if (read) setAttachments((list) => [...list.filter((other) => other.name !== read.name), read])
    }
  }
  return (
    <form
      class={over ? 'composer over' : 'composer'}
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        void attach(event.dataTransfer?.files ?? [])
      }}
    >
      {attachments.length > 0 && (
        <ul class="chips">
          {attachments.map(({ name, text }) => (
            <li key={name}>
              <Icon name="file" size={15} /> {name} <span class="faint">{bytes(text.length)}</span>
              <button
                type="button"
                class="quiet small"
                aria-label={`Remove ${name}`}
                onClick={() => setAttachments((list) => list.filter((other) => other.name !== name))}
              >
                <Icon name="close" size={14} />
              </button>
            </li>
          ))}
        </ul>
      )}
      <div class="composer-row">
        <button
          type="button"
          class="quiet"
          aria-label="Attach text files"
          title="Attach text files"
          onClick={() => picker.current?.click()}
        >
          <Icon name="clip" />
        </button>
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          onChange={(event) => {
            void attach(event.currentTarget.files ?? [])
            event.currentTarget.value = ''
          }}
        />
        <textarea
          id="composer"
          ref={area}
          rows={1}
          placeholder={disabled || 'Say something'}
          aria-label="Your message"
          value={draft}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onPaste={(event) => {
            const files = event.clipboardData?.files
            if (!files?.length) return
            event.preventDefault()
            void attach(files)
          }}
          onKeyDown={(event) => {
            if (event.isComposing) return
            if (event.key === 'Enter' && !event.shiftKey) {
              event.preventDefault()
              submit()
            }
            if (event.key === 'ArrowUp' && !draft) {
              event.preventDefault()
              editLast()
            }
          }}
        />
        {writing ? (
          <button type="button" class="send stop" aria-label="Stop" title="Stop (Esc)" onClick={stop}>
            <Icon name="stop" />
          </button>
        ) : (
          <button type="submit" class="send" aria-label="Send" title="Send (Enter)" disabled={!ready}>
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  )
}
