// Pictures of numbers. Each says in words what it shows.
import type { Sample } from '../app'
import { speed } from '../format'

const SECONDS = 120

/** A rounded-up top of the scale: 1, 2 or 5 times a power of ten. */
function ceiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)))
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value) ?? value
}

/** Speeds of the last two minutes. */
export function SpeedChart({ samples, field }: { samples: Sample[]; field: 'generated' | 'prompt' }) {
  const top = ceiling(Math.max(...samples.map((sample) => sample[field]), 1))
  const now = samples.length ? samples[samples.length - 1].time : 0
  const place = (sample: Sample) => ({
    x: 600 - (600 * (now - sample.time)) / (SECONDS * 1000),
    y: 118 - (110 * sample[field]) / top,
  })
  const points = samples.map(place).filter(({ x }) => x >= -20)
  const line = points.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ')
  const last = samples.length ? samples[samples.length - 1][field] : 0
  return (
    <svg
      class={`chart ${field}`}
      viewBox="0 0 600 120"
      preserveAspectRatio="none"
      role="img"
      aria-label={`Tokens per second over the last two minutes: now ${speed(last)}, scale up to ${top}`}
    >
      {[8, 45, 81, 118].map((y) => (
        <line key={y} class="grid" x1="0" x2="600" y1={y} y2={y} />
      ))}
      {points.length > 1 && (
        <>
          <polygon class="area" points={`${points[0].x.toFixed(1)},118 ${line} 600,118`} />
          <polyline class="line" points={line} />
        </>
      )}
      <text class="scale" x="4" y="20">
        {top}
      </text>
    </svg>
  )
}

export interface Part {
  name: string
  value: number
  tone: string
}

/** Parts of a whole side by side. */
export function Stack({ parts, whole, label }: { parts: Part[]; whole: number; label: string }) {
  let x = 0
  return (
    <svg class="stack" viewBox="0 0 1000 28" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect class="track" width="1000" height="28" />
      {parts.map((part) => {
        const width = whole > 0 ? (1000 * part.value) / whole : 0
        const rectangle = <rect key={part.name} class={`tone-${part.tone}`} x={x} width={Math.max(width - 2, 0.5)} height="28" />
        x += width
        return rectangle
      })}
    </svg>
  )
}

const COLUMNS = 40
const ROWS = 5

/** The KV cache as a field of cells: filled ones are in use. */
export function CellField({ used, all, label }: { used: number; all: number; label: string }) {
  const share = all > 0 ? (used / all) * COLUMNS * ROWS : 0
  const cells = []
  for (let index = 0; index < COLUMNS * ROWS; ++index) {
    // Column by column, so that it fills from the left as a level rises.
    const column = Math.floor(index / ROWS)
    const part = Math.max(0, Math.min(1, share - index))
    cells.push(
      <rect
        key={index}
        class={part > 0 ? 'cell used' : 'cell'}
        opacity={part > 0 && part < 1 ? 0.35 + 0.65 * part : undefined}
        x={column * 10}
        y={(index % ROWS) * 10}
        width="8"
        height="8"
        rx="2"
      />,
    )
  }
  return (
    <svg class="cells" viewBox={`0 0 ${COLUMNS * 10 - 2} ${ROWS * 10 - 2}`} role="img" aria-label={label}>
      {cells}
    </svg>
  )
}
