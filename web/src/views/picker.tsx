// The model picker: a button that opens a list box with what the plan says of each model.
import { useEffect, useRef, useState } from 'preact/hooks'
import { chatModels, models, refreshModels } from '../app'
import { bytes, speed } from '../format'
import { useStore } from '../store'
import type { ModelInfo } from '../types'
import { Icon } from './icons'

/** What one line says about a model's speed and size. */
export function modelFacts(model: ModelInfo): string {
  const facts: string[] = []
  if (model.type) facts.push(model.type)
  if (model.memory_bytes || model.file_bytes) facts.push(bytes(model.memory_bytes || model.file_bytes))
  if (model.measured_decode_tps) facts.push(`${speed(model.measured_decode_tps)} tokens/s`)
  else if (model.expected_decode_tps) facts.push(`about ${speed(model.expected_decode_tps)} tokens/s`)
  return facts.join(' · ')
}

export function FitBadge({ model }: { model: ModelInfo }) {
  if (model.loaded) return <span class="badge ready">in memory</span>
  if (model.fits === true) return <span class="badge fits">fits</span>
  if (model.fits === false) return <span class="badge too-large">does not fit</span>
  return null
}

export function Picker({ chosen, choose }: { chosen: string; choose: (name: string) => void }) {
  const list = chatModels(useStore(models) ?? [])
  const [open, setOpen] = useState(false)
  const [active, setActive] = useState(0)
  const root = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)
  const box = useRef<HTMLUListElement>(null)
  const show = () => {
    void refreshModels()
    setActive(Math.max(0, list.findIndex((model) => model.name === chosen)))
    setOpen(true)
  }
  const close = () => {
    setOpen(false)
    button.current?.focus()
  }
  useEffect(() => {
    if (!open) return
    box.current?.focus()
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false)
    }
    addEventListener('pointerdown', outside)
    return () => removeEventListener('pointerdown', outside)
  }, [open])
  useEffect(() => {
    document.getElementById(`model-${active}`)?.scrollIntoView({ block: 'nearest' })
  }, [active, open])
  const pick = (model: ModelInfo | undefined) => {
    if (model) choose(model.name)
    close()
  }
  const keys = (event: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: list.length - 1 }
    if (event.key in moves) setActive(Math.max(0, Math.min(list.length - 1, moves[event.key])))
    else if (event.key === 'Enter' || event.key === ' ') pick(list[active])
    else if (event.key === 'Escape' || event.key === 'Tab') close()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  const model = list.find((one) => one.name === chosen)
  return (
    <div class="picker" ref={root}>
      <button
        type="button"
        ref={button}
        class="picker-button"
        aria-haspopup="listbox"
        aria-expanded={open}
        aria-label={`Model: ${chosen || 'none'}`}
        onClick={() => (open ? close() : show())}
      >
        <span class={model?.loaded ? 'light on' : 'light'} />
        <span class="picker-name">{chosen || 'No model'}</span>
        <Icon name="down" size={15} />
      </button>
      {open && (
        <div class="popover">
          <ul
            ref={box}
            role="listbox"
            tabIndex={0}
            aria-label="Models"
            aria-activedescendant={list.length ? `model-${active}` : undefined}
            onKeyDown={keys}
          >
            {list.map((one, index) => (
              <li
                key={one.name}
                id={`model-${index}`}
                role="option"
                aria-selected={one.name === chosen}
                class={index === active ? 'active' : ''}
                title={one.note}
                onPointerMove={() => setActive(index)}
                onClick={() => pick(one)}
              >
                <span class="option-name">
                  {one.name} {one.name === chosen && <Icon name="check" size={16} />}
                </span>
                <span class="option-facts">{modelFacts(one)}</span>
                <FitBadge model={one} />
              </li>
            ))}
          </ul>
          {!list.length && (
            <p class="popover-empty">
              There is no model to talk to yet. Fetch one: <code>hearth pull qwen3:4b</code>
            </p>
          )}
          <a class="popover-foot" href="#/models">
            What this machine can run
          </a>
        </div>
      )}
    </div>
  )
}
