// How answers are sampled, for this conversation; what is set is remembered for new ones.
import { chooseSettings, settingsOpen } from '../app'
import type { Session } from '../chat/session'
import { useStore } from '../store'
import type { Settings } from '../types'
import { Dialog } from './dialog'

interface Field {
  name: keyof Settings
  label: string
  hint: string
  min: number
  max: number
  step: number
  slider?: boolean
}

const fields: Field[] = [
  { name: 'temperature', label: 'Temperature', hint: 'Higher is more varied; 0 always takes the likeliest word.', min: 0, max: 2, step: 0.05, slider: true },
  { name: 'top_p', label: 'Top P', hint: 'Only the likeliest words that together have this probability.', min: 0, max: 1, step: 0.01, slider: true },
  { name: 'min_p', label: 'Min P', hint: 'Only words at least this likely, compared with the likeliest.', min: 0, max: 1, step: 0.01, slider: true },
  { name: 'top_k', label: 'Top K', hint: 'Only so many of the likeliest words; 0: all.', min: 0, max: 1000, step: 1 },
  { name: 'repeat_penalty', label: 'Repetition penalty', hint: 'Above 1, what was said becomes less likely.', min: 0.5, max: 2, step: 0.01 },
  { name: 'max_tokens', label: 'Longest answer', hint: 'In tokens.', min: 1, max: 1_000_000, step: 1 },
  { name: 'seed', label: 'Seed', hint: 'The same seed gives the same answer.', min: 0, max: 9007199254740991, step: 1 },
]

function NumberField({ field, settings, change }: { field: Field; settings: Settings; change: (next: Settings) => void }) {
  const value = settings[field.name] as number | undefined
  const set = (text: string) => {
    const next = { ...settings }
    const number = Number(text)
    if (text === '' || !Number.isFinite(number)) delete next[field.name]
    else Object.assign(next, { [field.name]: Math.min(field.max, Math.max(field.min, number)) })
    change(next)
  }
  const id = `setting-${field.name}`
  return (
    <div class="field">
      <label for={id}>{field.label}</label>
      <div class="field-input">
        {field.slider && (
          <input
            type="range"
            aria-label={`${field.label}, slider`}
            class={value === undefined ? 'unset' : ''}
            min={field.min}
            max={field.max}
            step={field.step}
            value={value ?? field.max / 2}
            onInput={(event) => set(event.currentTarget.value)}
          />
        )}
        <input
          id={id}
          type="number"
          inputMode="decimal"
          placeholder="default"
          aria-describedby={`${id}-hint`}
          min={field.min}
          max={field.max}
          step={field.step}
          value={value ?? ''}
          onChange={(event) => set(event.currentTarget.value)}
        />
      </div>
      <p class="hint" id={`${id}-hint`}>
        {field.hint}
      </p>
    </div>
  )
}

export function SettingsDialog({ session, thinks }: { session: Session; thinks: boolean }) {
  const settings = useStore(session.state, (state) => state.document.settings)
  const change = (next: Settings) => chooseSettings(session, next)
  return (
    <Dialog title="Settings of this conversation" side close={() => settingsOpen.set(false)}>
      <div class="field">
        <label for="setting-system">Instructions</label>
        <textarea
          id="setting-system"
          rows={4}
          placeholder="Who the model is and how it answers (the system prompt)"
          value={settings.system ?? ''}
          onChange={(event) => {
            const { system: _, ...others } = settings
            const text = event.currentTarget.value
            change(text.trim() ? { ...others, system: text } : others)
          }}
        />
      </div>
      {thinks && (
        <div class="field">
          <label for="setting-thinking">Thinking before the answer</label>
          <select
            id="setting-thinking"
            value={settings.thinking ?? ''}
            onChange={(event) => {
              const { thinking: _, ...others } = settings
              const value = event.currentTarget.value
              change(value === 'on' || value === 'off' ? { ...others, thinking: value } : others)
            }}
          >
            <option value="">As the model does</option>
            <option value="on">On</option>
            <option value="off">Off</option>
          </select>
        </div>
      )}
      {fields.map((field) => (
        <NumberField key={field.name} field={field} settings={settings} change={change} />
      ))}
      <button type="button" class="plain" onClick={() => change({})}>
        Back to the model’s own
      </button>
    </Dialog>
  )
}
