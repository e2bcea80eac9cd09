// Numbers for people.

export function bytes(count: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1024
    unit += 1
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toPrecision(2 + Number(count >= 10))} ${units[unit]}`
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** 7.6 billion -> "7.6 B". */
export function parameters(value: number): string {
  for (const [size, unit] of [
    [1e12, 'T'],
    [1e9, 'B'],
    [1e6, 'M'],
    [1e3, 'K'],
  ] as const) {
    if (value >= size) return `${(value / size).toPrecision(value / size >= 100 ? 3 : 2)} ${unit}`
  }
  return String(value)
}

export function speed(tokensPerSecond: number): string {
  if (tokensPerSecond >= 100) return String(Math.round(tokensPerSecond))
  return tokensPerSecond.toPrecision(tokensPerSecond >= 10 ? 3 : 2)
}

export function duration(milliseconds: number): string {
  const seconds = milliseconds / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`
}

/** The heading of the list of conversations under which a time falls. */
export function age(time: number, now = new Date()): string {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime()
  const day = 86_400_000
  if (time >= midnight) return 'Today'
  if (time >= midnight - day) return 'Yesterday'
  if (time >= midnight - 7 * day) return 'Last seven days'
  if (time >= midnight - 30 * day) return 'Last thirty days'
  return new Date(time).toLocaleDateString('en', { month: 'long', year: 'numeric' })
}
