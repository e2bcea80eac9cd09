// Short messages at the edge of the page.
import { Store } from './store'

export interface Toast {
  id: number
  text: string
  tone: 'plain' | 'bad'
  action?: { label: string; run: () => void }
}

export const toasts = new Store<Toast[]>([])
let last = 0

export function dismiss(id: number): void {
  toasts.update((list) => list.filter((toast) => toast.id !== id))
}

export function toast(text: string, tone: Toast['tone'] = 'plain', action?: Toast['action']): void {
  const id = (last += 1)
  // The same again is not told twice.
  toasts.update((list) => [...list.filter((other) => other.text !== text), { id, text, tone, action }])
  setTimeout(() => dismiss(id), action || tone === 'bad' ? 9000 : 4000)
}
