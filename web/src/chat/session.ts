// One conversation while the page is open: its messages, the answer that is being written, and
// keeping it on the server. It goes on when another conversation is looked at.
import * as api from '../api'
import { toast } from '../toasts'
import { Store } from '../store'
import type { Attachment, ConversationDocument, Message, Settings } from '../types'
import { readChunk, requestBody } from './request'
import { branch, newestLeaf } from './tree'

export interface SessionState {
  id: string
  title: string
  model: string
  document: ConversationDocument
  /** The answer that is being written. */
  writing: string | null
  loading: boolean
  failed: string | null
}

/** How often views are told of new text: more is not seen, and costs. */
const FRAME = 40
/** How often an unfinished answer is stored. */
const SAVE_EVERY = 5000

export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12))
  return [...bytes].map((byte) => byte.toString(36).padStart(2, '0')).join('').slice(0, 20)
}

const empty = (settings: Settings): ConversationDocument => ({ messages: [], leaf: null, settings })

export class Session {
  readonly state: Store<SessionState>
  private abort: AbortController | null = null
  private revision = 0
  private saving: Promise<void> = Promise.resolve()
  private saveWanted = false

  constructor(
    id: string,
    model: string,
    settings: Settings,
    private readonly saved: (session: Session) => void,
    /** False: the server keeps no conversations. */
    private readonly keeps: () => boolean,
  ) {
    this.state = new Store<SessionState>({
      id,
      title: '',
      model,
      document: empty(settings),
      writing: null,
      loading: false,
      failed: null,
    })
  }

  private change(part: Partial<SessionState>): void {
    this.state.update((state) => ({ ...state, ...part }))
  }

  private changeDocument(part: Partial<ConversationDocument>): void {
    this.change({ document: { ...this.state.get().document, ...part } })
  }

  private changeMessage(id: string, part: Partial<Message>): void {
    const { messages } = this.state.get().document
    this.changeDocument({
      messages: messages.map((message) => (message.id === id ? { ...message, ...part } : message)),
    })
  }

  private add(message: Message): void {
    const { messages } = this.state.get().document
    this.changeDocument({ messages: [...messages, message], leaf: message.id })
  }

  /** Reads the conversation from the server. */
  async load(): Promise<void> {
    this.change({ loading: true, failed: null })
    try {
      const found = await api.fetchConversation(this.state.get().id)
      this.revision = found.revision
      const document = { ...empty({}), ...found.document }
      this.change({ title: found.title, model: found.model, document, loading: false })
    } catch (error) {
      this.change({ loading: false, failed: (error as Error).message })
    }
  }

  setModel(model: string): void {
    this.change({ model })
  }

  setSettings(settings: Settings): void {
    this.changeDocument({ settings })
    if (this.revision > 0) this.save()
  }

  rename(title: string): void {
    this.change({ title })
    this.save()
  }

  /** Shows the branch that goes through this message. */
  select(message: Message): void {
    if (this.state.get().writing) return
    const { document } = this.state.get()
    this.changeDocument({ leaf: newestLeaf(document, message.id) })
    this.save()
  }

  send(content: string, attachments: Attachment[] = []): void {
    this.ask(this.state.get().document.leaf, content, attachments)
  }

  /** Says something else instead of `message`, on a new branch. */
  edit(message: Message, content: string): void {
    this.ask(message.parent, content, message.attachments ?? [])
  }

  private ask(parent: string | null, content: string, attachments: Attachment[]): void {
    if (this.state.get().writing) return
    const message: Message = { id: newId(), parent, role: 'user', content, created: Date.now() }
    if (attachments.length) message.attachments = attachments
    this.add(message)
    if (!this.state.get().title) {
      const line = (content || attachments[0]?.name || 'Conversation').trim().split('\n')[0]
      this.change({ title: line.length > 70 ? `${line.slice(0, 69)}…` : line })
    }
    void this.answer(message.id)
  }

  /** Another answer to the same, on a new branch. */
  retry(message: Message): void {
    if (this.state.get().writing) return
    const question = message.role === 'user' ? message.id : message.parent
    if (question === null) return
    this.changeDocument({ leaf: question })
    void this.answer(question)
  }

  stop(): void {
    this.abort?.abort()
  }

  private async answer(parent: string): Promise<void> {
    const { model, document } = this.state.get()
    const question = branch(document)
    const id = newId()
    this.add({ id, parent, role: 'assistant', content: '', created: Date.now(), model })
    this.change({ writing: id })
    this.save()
    const writer = new AnswerWriter((part) => this.changeMessage(id, part))
    const keeper = setInterval(() => this.save(), SAVE_EVERY)
    this.abort = new AbortController()
    try {
      const response = await api.request('/v1/chat/completions', {
        method: 'POST',
        body: requestBody(model, document.settings, question),
        signal: this.abort.signal,
      })
      if (!response.body) throw new Error('The server sent no answer.')
      for await (const data of api.readEvents(response.body)) {
        if (data === '[DONE]') break
        writer.add(readChunk(data))
      }
      if (!writer.finished) throw new Error('The connection ended before the answer did.')
      writer.end()
    } catch (error) {
      if ((error as Error).name === 'AbortError') writer.end({ finish: 'stopped' })
      else writer.end({}, (error as Error).message)
    }
    clearInterval(keeper)
    this.abort = null
    this.change({ writing: null })
    this.save()
  }

  /** Stores the present state; while one is being stored the next waits for it. */
  private save(): void {
    if (!this.keeps()) {
      this.saved(this)
      return
    }
    if (this.saveWanted) return
    this.saveWanted = true
    this.saving = this.saving.then(async () => {
      this.saveWanted = false
      const { id, title, model, document } = this.state.get()
      try {
        const stored = await api.storeConversation(id, { title, model, document, revision: this.revision })
        this.revision = stored.revision
        this.saved(this)
      } catch (error) {
        toast(`This conversation is not stored: ${(error as Error).message}`, 'bad')
      }
    })
  }
}

/** Gathers an answer's pieces and its times, and tells the message of them in frames. */
class AnswerWriter {
  private content = ''
  private reasoning = ''
  private readonly begin = performance.now()
  private first?: number
  private thought?: number
  private finish?: string
  private usage?: { prompt: number; cached: number; completion: number }
  private timer: ReturnType<typeof setTimeout> | null = null

  constructor(private readonly tell: (part: Partial<Message>) => void) {}

  get finished(): boolean {
    return this.finish !== undefined
  }

  add(chunk: ReturnType<typeof readChunk>): void {
    if (chunk.content || chunk.reasoning) this.first ??= performance.now()
    if (chunk.content && this.reasoning) this.thought ??= performance.now()
    this.content += chunk.content
    this.reasoning += chunk.reasoning
    this.finish = chunk.finish ?? this.finish
    this.usage = chunk.usage ?? this.usage
    this.timer ??= setTimeout(() => {
      this.timer = null
      this.tell(this.parts())
    }, FRAME)
  }

  end(more: { finish?: string } = {}, error?: string): void {
    if (this.timer !== null) clearTimeout(this.timer)
    const now = performance.now()
    if (this.reasoning) this.thought ??= now
    this.finish = more.finish ?? this.finish
    this.tell({
      ...this.parts(),
      ...(error ? { error } : {}),
      statistics: {
        finish: this.finish,
        total: now - this.begin,
        firstToken: this.first && this.first - this.begin,
        thinking: this.thought && this.first && this.thought - this.first,
        promptTokens: this.usage?.prompt,
        cachedTokens: this.usage?.cached,
        tokens: this.usage?.completion,
      },
    })
  }

  private parts(): Partial<Message> {
    const thinking = this.thought && this.first ? this.thought - this.first : undefined
    return {
      content: this.content,
      ...(this.reasoning ? { reasoning: this.reasoning } : {}),
      ...(thinking ? { statistics: { thinking } } : {}),
    }
  }
}
