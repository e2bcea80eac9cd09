import { useEffect } from 'preact/hooks'
import { samples, status, statusProblem, watchStatus } from '../app'
import { bytes, count, duration, speed } from '../format'
import { useStore } from '../store'
import type { LoadedModel, Status } from '../types'
import { CellField, SpeedChart, Stack, type Part } from './charts'
import { Facts, Page } from './page'

const tones = ['a', 'b', 'c', 'd', 'e', 'f']

function Memory({ now }: { now: Status }) {
  const totals = new Map<string, number>()
  for (const model of now.models)
    for (const part of model.memory) totals.set(part.name, (totals.get(part.name) ?? 0) + part.bytes)
  const parts: Part[] = [...totals]
    .filter(([, value]) => value > 0)
    .sort((one, other) => other[1] - one[1])
    .map(([name, value], index) => ({ name, value, tone: tones[index % tones.length] }))
  const known = parts.reduce((sum, part) => sum + part.value, 0)
  const rest = Math.max(0, now.process_bytes - known)
  if (rest > 0) parts.push({ name: 'the program itself', value: rest, tone: 'self' })
  const used = now.memory_bytes - now.memory_available_bytes
  const others = Math.max(0, used - known - rest)
  if (others > 0) parts.push({ name: 'other programs', value: others, tone: 'others' })
  const free = Math.max(0, now.memory_bytes - parts.reduce((sum, part) => sum + part.value, 0))
  return (
    <section class="card wide" aria-labelledby="memory">
      <div class="card-head">
        <h2 id="memory">Memory</h2>
        <span class="faint">
          {bytes(now.memory_available_bytes)} of {bytes(now.memory_bytes)} available
        </span>
      </div>
      <Stack
        parts={parts}
        whole={now.memory_bytes}
        label={`Memory: ${parts.map((part) => `${part.name} ${bytes(part.value)}`).join(', ')}, free ${bytes(free)}`}
      />
      <ul class="legend">
        {parts.map((part) => (
          <li key={part.name}>
            <i class={`tone-${part.tone}`} /> {part.name} <b>{bytes(part.value)}</b>
          </li>
        ))}
        <li>
          <i class="tone-free" /> free <b>{bytes(free)}</b>
        </li>
      </ul>
    </section>
  )
}

function Speed({ field, title }: { field: 'generated' | 'prompt'; title: string }) {
  const list = useStore(samples)
  const now = list.length ? list[list.length - 1][field] : 0
  return (
    <section class="card" aria-labelledby={`speed-${field}`}>
      <h2 id={`speed-${field}`}>{title}</h2>
      <p class="figure" data-testid={`live-${field}`}>
        {speed(now)} <span>tokens/s</span>
      </p>
      <SpeedChart samples={list} field={field} />
      <p class="axis">
        <span>2 min ago</span>
        <span>now</span>
      </p>
    </section>
  )
}

/** People at the hearth: one dot for every request. */
function Queue({ models }: { models: LoadedModel[] }) {
  const sum = (field: 'generating' | 'prefilling' | 'waiting') => models.reduce((all, model) => all + model[field], 0)
  const states = [
    { name: 'writing', value: sum('generating'), tone: 'writing' },
    { name: 'reading', value: sum('prefilling'), tone: 'reading' },
    { name: 'waiting', value: sum('waiting'), tone: 'waiting' },
  ]
  const all = states.reduce((total, state) => total + state.value, 0)
  const places = models.reduce((total, model) => total + model.parallel, 0)
  return (
    <section class="card" aria-labelledby="queue">
      <h2 id="queue">Requests</h2>
      <p class="figure">
        {all} <span>{places > 0 ? `of ${places} places` : 'at once'}</span>
      </p>
      <div class="dots" aria-hidden="true">
        {states.flatMap((state) =>
          Array.from({ length: Math.min(state.value, 60) }, (_, index) => (
            <i key={`${state.name}${index}`} class={`dot-${state.tone}`} />
          )),
        )}
        {Array.from({ length: Math.max(0, Math.min(places - all, 60)) }, (_, index) => (
          <i key={`free${index}`} class="dot-free" />
        ))}
      </div>
      <ul class="legend">
        {states.map((state) => (
          <li key={state.name}>
            <i class={`dot-${state.tone}`} /> {state.name} <b>{state.value}</b>
          </li>
        ))}
      </ul>
    </section>
  )
}

function ModelCard({ model }: { model: LoadedModel }) {
  const used = model.kv_cells > 0 ? (100 * model.kv_cells_used) / model.kv_cells : 0
  const batch = model.passes > 0 ? model.rows / model.passes : 0
  const facts: [string, string][] = [
    ['Written', `${count(model.generated_tokens)} tokens`],
    ['Read', `${count(model.prompt_tokens)} tokens`],
    ['Remembered', `${count(model.reused_tokens)} tokens`],
    ['Mean batch', batch ? speed(batch) : '–'],
    ['Finished', count(model.finished)],
    ['Ended early', count(model.cancelled + model.failed)],
  ]
  const unload =
    model.unload_in_seconds === null ? 'stays in memory' : `unloads in ${duration(model.unload_in_seconds * 1000)}`
  return (
    <section class="card wide" aria-label={model.name}>
      <div class="card-head">
        <h2>{model.name}</h2>
        <span class="faint">{unload}</span>
      </div>
      {model.kv_cells > 0 && (
        <>
          <p class="kv-line">
            KV memory{model.kv_type && ` (${model.kv_type})`}: <b>{used.toFixed(used < 10 ? 1 : 0)} %</b> of{' '}
            {count(model.kv_cells)} tokens
          </p>
          <CellField
            used={model.kv_cells_used}
            all={model.kv_cells}
            label={`KV memory of ${model.name}: ${count(model.kv_cells_used)} of ${count(model.kv_cells)} tokens in use`}
          />
        </>
      )}
      <Facts facts={facts} />
    </section>
  )
}

export function MachinePage() {
  const now = useStore(status)
  const problem = useStore(statusProblem)
  useEffect(watchStatus, [])
  const facts = now && [
    now.processor,
    `${now.threads} threads on ${now.cores} cores`,
    now.instruction_set,
    now.read_bytes_per_second > 0 ? `reads ${(now.read_bytes_per_second / 1e9).toFixed(0)} GB/s` : '',
    `up ${duration(now.uptime_seconds * 1000)}`,
  ]
  return (
    <Page title="Machine" lead={facts ? facts.filter(Boolean).join(' · ') : undefined}>
      {problem && <p class="problem">{problem}</p>}
      {now && (
        <div class="board">
          <Speed field="generated" title="Writing" />
          <Speed field="prompt" title="Reading" />
          <Queue models={now.models} />
          <Memory now={now} />
          {now.models.map((model) => (
            <ModelCard key={model.name} model={model} />
          ))}
          {!now.models.length && <p class="model-line">No model is in memory: the next question loads one.</p>}
        </div>
      )}
      {now && <p class="version">Hearth {now.version}</p>}
    </Page>
  )
}
