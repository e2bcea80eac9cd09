import { useEffect } from 'preact/hooks'
import { chooseModel, go, models, modelsProblem, refreshModels, sessionFor } from '../app'
import { bytes, count, parameters, speed } from '../format'
import { useStore } from '../store'
import type { ModelInfo } from '../types'
import { FitBadge } from './picker'
import { Facts, Page } from './page'

const kinds = { chat: 'Chat', completion: 'Text completion', embedding: 'Embeddings', rerank: 'Reranking' }

/** Expected and measured tokens/s of writing, drawn on a common scale. */
function Speeds({ model, fastest }: { model: ModelInfo; fastest: number }) {
  const rows = [
    { label: 'expected', value: model.expected_decode_tps },
    { label: 'measured', value: model.measured_decode_tps },
  ].filter((row) => row.value !== null) as { label: string; value: number }[]
  if (!rows.length) return null
  return (
    <dl class="speeds">
      {rows.map(({ label, value }) => (
        <div key={label} class={label}>
          <dt>{label}</dt>
          <dd>
            <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
              <rect class="track" width="100" height="6" rx="3" />
              <rect class="bar" width={Math.max(2, (100 * value) / fastest)} height="6" rx="3" />
            </svg>
            <span>{speed(value)} tokens/s</span>
          </dd>
        </div>
      ))}
    </dl>
  )
}

function Card({ model, fastest }: { model: ModelInfo; fastest: number }) {
  const talks = model.kind === 'chat' || model.kind === 'completion'
  const facts: [string, string][] = []
  if (model.parameters) facts.push(['Parameters', parameters(model.parameters)])
  if (model.type) facts.push(['Weights', model.type])
  if (model.file_bytes) facts.push(['File', bytes(model.file_bytes)])
  if (model.memory_bytes) facts.push(['Memory', bytes(model.memory_bytes)])
  if (model.context) facts.push(['Context', `${count(model.context)} tokens`])
  const prefill = model.measured_prefill_tps ?? model.expected_prefill_tps
  if (prefill) facts.push(['Reading', `${speed(prefill)} tokens/s`])
  return (
    <li class="card model-card">
      <div class="card-head">
        <h2>{model.name}</h2>
        <FitBadge model={model} />
      </div>
      <p class="card-kind">
        {kinds[model.kind]}
        {model.architecture && ` · ${model.architecture}`}
        {model.thinks && ' · thinks'}
        {model.tools && ' · tools'}
      </p>
      <Speeds model={model} fastest={fastest} />
      <Facts facts={facts} />
      {model.note && <p class="note">{model.note}</p>}
      {talks && (
        <button
          type="button"
          class="plain"
          onClick={() => {
            chooseModel(sessionFor(null), model.name)
            go('/')
          }}
        >
          Talk to it
        </button>
      )}
    </li>
  )
}

export function ModelsPage() {
  const list = useStore(models)
  const problem = useStore(modelsProblem)
  useEffect(() => void refreshModels(), [])
  const fastest = Math.max(
    1,
    ...(list ?? []).flatMap((model) => [model.expected_decode_tps ?? 0, model.measured_decode_tps ?? 0]),
  )
  return (
    <Page title="Models" lead="What this machine can run, what the plan expects, and what was measured.">
      {problem && <p class="problem">{problem}</p>}
      {list && !list.length && (
        <p class="model-line">
          There are none yet. <code>hearth plan</code> recommends some, <code>hearth pull NAME</code> fetches one.
        </p>
      )}
      <ul class="cards">
        {(list ?? []).map((model) => (
          <Card key={model.name} model={model} fastest={fastest} />
        ))}
      </ul>
    </Page>
  )
}
