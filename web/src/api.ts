// Talking to the server this page came from. Nothing else is ever asked.
import { Store } from './store'
import type { ConversationDocument, ConversationSummary, ModelInfo, Status } from './types'

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

const KEY = 'hearth.key'

/** True while the server wants an API key that we do not have. */
export const keyWanted = new Store(false)

export function rememberKey(key: string): void {
  localStorage.setItem(KEY, key)
  keyWanted.set(false)
}

/** The message of an error body in any of the server's dialects. */
function messageOf(body: string, status: number): string {
  try {
    const error = (JSON.parse(body) as { error?: unknown }).error
    if (typeof error === 'string') return error
    const message = (error as { message?: unknown } | undefined)?.message
    if (typeof message === 'string') return message
  } catch {
    // Not JSON.
  }
  return `The server answered ${status}.`
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  const key = localStorage.getItem(KEY)
  if (key) headers.set('Authorization', `Bearer ${key}`)
  if (init.body) headers.set('Content-Type', 'application/json')
  let response: Response
  try {
    response = await fetch(path, { ...init, headers })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ApiError(0, 'Hearth cannot be reached. Is it still running?')
  }
  if (response.ok) return response
  if (response.status === 401) keyWanted.set(true)
  throw new ApiError(response.status, messageOf(await response.text(), response.status))
}

async function json<T>(path: string, init?: RequestInit): Promise<T> {
  return (await (await request(path, init)).json()) as T
}

export const fetchModels = async () =>
  (await json<{ models: ModelInfo[] }>('/hearth/models')).models

export const fetchStatus = () => json<Status>('/hearth/status')

const CONVERSATIONS = '/hearth/conversations'

export const listConversations = async (before = 0) =>
  (
    await json<{ conversations: ConversationSummary[] }>(
      `${CONVERSATIONS}?limit=100${before ? `&before=${before}` : ''}`,
    )
  ).conversations

export const searchConversations = async (query: string) =>
  (
    await json<{ conversations: ConversationSummary[] }>(
      `${CONVERSATIONS}?limit=100&q=${encodeURIComponent(query)}`,
    )
  ).conversations

export const fetchConversation = (id: string) =>
  json<ConversationSummary & { document: ConversationDocument }>(`${CONVERSATIONS}/${id}`)

export const storeConversation = (
  id: string,
  body: { title: string; model: string; revision: number; document: ConversationDocument },
) => json<ConversationSummary>(`${CONVERSATIONS}/${id}`, { method: 'PUT', body: JSON.stringify(body) })

export const deleteConversation = (id: string) => request(`${CONVERSATIONS}/${id}`, { method: 'DELETE' })

/** The data of server-sent events (the HTML standard, section 9.2.6), as they arrive. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let pending = ''
  let data: string[] = []
  try {
    for (;;) {
      const { done, value } = await reader.read()
      pending += decoder.decode(value, { stream: !done })
      const lines = pending.split(/\r\n|\n|\r(?=[^\n])/)
      pending = done ? '' : (lines.pop() ?? '')
      for (const line of lines) {
        if (line === '') {
          if (data.length) yield data.join('\n')
          data = []
        } else if (line.startsWith('data:')) {
          data.push(line.slice(line[5] === ' ' ? 6 : 5))
        }
      }
      if (done) return
    }
  } finally {
    void reader.cancel().catch(() => undefined)
  }
}
