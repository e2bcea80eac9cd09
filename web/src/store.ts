// A value that views watch: as much state management as this page needs.
import { useEffect, useReducer, useRef } from 'preact/hooks'

export class Store<T> {
  private listeners = new Set<() => void>()

  constructor(private value: T) {}

  get(): T {
    return this.value
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return
    this.value = value
    for (const listener of [...this.listeners]) listener()
  }

  update(change: (value: T) => T): void {
    this.set(change(this.value))
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
}

/** The store's value, or a part of it; the component is rendered again when that changes. */
export function useStore<T, Part = T>(store: Store<T>, select?: (value: T) => Part): Part {
  const pick = (): Part => (select ? select(store.get()) : (store.get() as unknown as Part))
  const [, render] = useReducer<number, void>((count) => count + 1, 0)
  const current = useRef<{ pick: () => Part; part: Part }>({ pick, part: pick() })
  current.current = { pick, part: pick() }
  useEffect(() => {
    const check = () => {
      if (!Object.is(current.current.pick(), current.current.part)) render()
    }
    check()  // what changed between rendering and subscribing
    return store.subscribe(check)
  }, [store])
  return current.current.part
}
