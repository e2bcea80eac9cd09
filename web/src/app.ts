// What the whole page shares: where it is, the models, the list of conversations, open sessions.
import * as api from './api'
import { Session, newId } from './chat/session'
import { Store } from './store'
import { toast } from './toasts'
import type { ConversationSummary, ModelInfo, Settings, Status } from './types'

export type Route = { page: 'chat'; id: string | null } | { page: 'models' } | { page: 'machine' }

function readRoute(): Route {
  const [page, id] = location.hash.replace(/^#\/?/, '').split('/')
  if (page === 'models' || page === 'machine') return { page }
  return { page: 'chat', id: page === 'c' && /^[\w-]{1,64}$/.test(id ?? '') ? id : null }
}

export const route = new Store<Route>(readRoute())
addEventListener('hashchange', () => {
  const next = readRoute()
  if (next.page !== 'chat' || next.id !== null) focusWanted.set(false)
  route.set(next)
})

export function go(hash: string): void {
  location.hash = hash
}

function remembered<T>(name: string, fallback: T): T {
  try {
    return (JSON.parse(localStorage.getItem(name) ?? 'null') as T | null) ?? fallback
  } catch {
    return fallback
  }
}

function remember(name: string, value: unknown): void {
  try {
    localStorage.setItem(name, JSON.stringify(value))
  } catch {
    // Storage is full or switched off: the page works without.
  }
}

export const models = new Store<ModelInfo[] | null>(null)
/** Why `models` is null for good; empty while they are being fetched. */
export const modelsProblem = new Store('')
export const conversations = new Store<ConversationSummary[]>([])
export const query = new Store('')
export const settingsOpen = new Store(false)
export const shortcutsOpen = new Store(false)
export const sidebarOpen = new Store(false)
/** The next message box to appear takes the focus. */
export const focusWanted = new Store(false)

/** Models one can talk to. */
export const chatModels = (list: ModelInfo[]) =>
  list.filter((model) => model.kind === 'chat' || model.kind === 'completion')

/** The model for a new conversation: the one used last, else one in memory, else one that fits. */
export function preferredModel(): string {
  const list = chatModels(models.get() ?? [])
  const last = remembered<string>('hearth.model', '')
  const best =
    list.find((model) => model.name === last) ??
    list.find((model) => model.loaded) ??
    list.find((model) => model.fits !== false) ??
    list[0]
  return best?.name ?? ''
}

export async function refreshModels(): Promise<void> {
  try {
    models.set(await api.fetchModels())
    modelsProblem.set('')
    const draft = drafted?.state.get()
    if (draft && !draft.model) drafted?.setModel(preferredModel())
  } catch (error) {
    modelsProblem.set((error as Error).message)
  }
}

let search = 0

/** The list as the search box wants it. */
export async function refreshConversations(): Promise<void> {
  if (!keeps) return
  const mine = (search += 1)
  const words = query.get().trim()
  try {
    const list = words ? await api.searchConversations(words) : await api.listConversations()
    if (mine === search) conversations.set(list)
  } catch (error) {
    if ((error as api.ApiError).status !== 401) toast((error as Error).message, 'bad')
  }
}

export async function moreConversations(): Promise<void> {
  const list = conversations.get()
  if (!list.length || query.get().trim()) return
  const more = await api.listConversations(list[list.length - 1].updated).catch(() => [])
  conversations.set([...list, ...more.filter((one) => !list.some((other) => other.id === one.id))])
}

let keeps = true
const sessions = new Map<string, Session>()
let drafted: Session | null = null
/** Ids of conversations whose answers are being written. */
export const writing = new Store<ReadonlySet<string>>(new Set())

function summaryOf(session: Session): ConversationSummary {
  const { id, title, model } = session.state.get()
  return { id, title, model, created: Date.now(), updated: Date.now(), revision: 0 }
}

function makeSession(id: string, model: string, settings: Settings): Session {
  const session = new Session(
    id,
    model,
    settings,
    (stored) => {
      if (keeps) void refreshConversations()
      else {
        const mine = summaryOf(stored)
        conversations.update((list) => [mine, ...list.filter((other) => other.id !== mine.id)])
      }
    },
    () => keeps,
  )
  session.state.subscribe(() => {
    const state = session.state.get()
    if (writing.get().has(state.id) === (state.writing !== null)) return
    const next = new Set(writing.get())
    if (state.writing) next.add(state.id)
    else next.delete(state.id)
    writing.set(next)
    if (!state.writing) void refreshModels() // it was loaded, or measured
  })
  sessions.set(id, session)
  return session
}

/** The session of the conversation in view; for a new one a draft that is not stored yet. */
export function sessionFor(id: string | null): Session {
  if (id === null) {
    if (!drafted) {
      drafted = makeSession(newId(), preferredModel(), remembered<Settings>('hearth.settings', {}))
    }
    return drafted
  }
  const open = sessions.get(id)
  if (open && !open.state.get().failed) return open
  const session = makeSession(id, '', {})
  void session.load()
  return session
}

/** The draft was sent: it has an address now. */
export function settleDraft(session: Session): void {
  if (session !== drafted) return
  drafted = null
  go(`/c/${session.state.get().id}`)
}

export function chooseModel(session: Session, name: string): void {
  session.setModel(name)
  remember('hearth.model', name)
}

export function chooseSettings(session: Session, settings: Settings): void {
  session.setSettings(settings)
  remember('hearth.settings', settings)
}

export async function removeConversation(summary: ConversationSummary): Promise<void> {
  const { id } = summary
  sessions.get(id)?.stop()
  try {
    const kept = keeps ? await api.fetchConversation(id) : null
    if (keeps) await api.deleteConversation(id)
    conversations.update((list) => list.filter((other) => other.id !== id))
    const session = sessions.get(id)
    sessions.delete(id)
    const shown = route.get()
    if (shown.page === 'chat' && shown.id === id) go('/')
    toast(`“${summary.title}” is deleted.`, 'plain', {
      label: 'Undo',
      run: async () => {
        if (kept) {
          const { title, model, document } = kept
          await api.storeConversation(id, { title, model, document, revision: 0 })
          await refreshConversations()
        } else if (session) {
          sessions.set(id, session)
          conversations.update((list) => [summary, ...list])
        }
        go(`/c/${id}`)
      },
    })
  } catch (error) {
    toast((error as Error).message, 'bad')
  }
}

// --- Live numbers ---

export interface Sample {
  time: number
  generated: number
  prompt: number
}

export const status = new Store<Status | null>(null)
export const statusProblem = new Store('')
/** The last two minutes of speeds, in tokens per second, all models together. */
export const samples = new Store<Sample[]>([])
const KEPT = 120
let before: { time: number; generated: number; prompt: number } | null = null

function total(of: Status, field: 'generated_tokens' | 'prompt_tokens'): number {
  return of.models.reduce((sum, model) => sum + model[field], 0)
}

export async function refreshStatus(): Promise<void> {
  try {
    const next = await api.fetchStatus()
    keeps = next.keeps_conversations
    const now = { time: performance.now(), generated: total(next, 'generated_tokens'), prompt: total(next, 'prompt_tokens') }
    if (before) {
      const seconds = (now.time - before.time) / 1000
      // A model that was unloaded takes its counters with it.
      const rate = (field: 'generated' | 'prompt') => Math.max(0, (now[field] - before![field]) / seconds)
      const sample = { time: now.time, generated: rate('generated'), prompt: rate('prompt') }
      samples.update((list) => [...list, sample].slice(-KEPT))
    }
    before = now
    status.set(next)
    statusProblem.set('')
  } catch (error) {
    statusProblem.set((error as Error).message)
  }
}

/** Asks every second while the page is seen; returns what ends it. */
export function watchStatus(): () => void {
  const tick = () => {
    if (document.visibilityState === 'visible') void refreshStatus()
  }
  tick()
  const timer = setInterval(tick, 1000)
  return () => clearInterval(timer)
}

export async function start(): Promise<void> {
  await refreshStatus()
  await Promise.all([refreshModels(), refreshConversations()])
}
