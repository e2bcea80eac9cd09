// A server that behaves like Hearth's for working on the page: npm run build && npm run dev. Nothing it says is true.
// It serves dist/ with the headers of src/serve/page.cpp, so that a page that breaks the content security policy
// breaks here, too.
import { createServer, request as forward } from 'node:http'
import { readFile } from 'node:fs/promises'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { contentTypes } from '../content_types.mjs'

const dist = fileURLToPath(new URL('../dist', import.meta.url))
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types dompurify"

const model = (name, more) => ({
  name,
  kind: 'chat',
  architecture: 'qwen3',
  type: 'Q4_K_M',
  parameters: 4.02e9,
  file_bytes: 2.5e9,
  context: 16384,
  loaded: false,
  thinks: true,
  tools: true,
  fits: true,
  note: '',
  memory_bytes: 3.4e9,
  expected_prefill_tps: 212,
  expected_decode_tps: 17.8,
  measured_prefill_tps: null,
  measured_decode_tps: null,
  ...more,
})
const models = [
  model('qwen3:4b', { loaded: true, measured_decode_tps: 18.4, measured_prefill_tps: 220 }),
  model('gemma-3-1b-it', { architecture: 'gemma3', parameters: 1e9, file_bytes: 8.1e8, memory_bytes: 1.2e9, thinks: false, expected_decode_tps: 52.1 }),
  model('llama-3.3-70b', {
    architecture: 'llama', parameters: 70.6e9, file_bytes: 42.5e9, memory_bytes: 45e9, fits: false, thinks: false,
    expected_decode_tps: 0.9, note: 'Needs 42 GiB of memory; this machine has 22 GiB available.',
  }),
  model('nomic-embed-text', { kind: 'embedding', architecture: 'nomic-bert', type: 'F16', parameters: 1.37e8, file_bytes: 2.7e8, memory_bytes: 3e8, expected_decode_tps: null, expected_prefill_tps: null, tools: false, thinks: false }),
]
const live = { generating: 0, prefilling: 0, generated: 1234, prompt: 8000, cells: 3100, finished: 12 }
const conversations = new Map()
let lastTime = 0

const answer = `A heat pump does not *make* heat, it **moves** it.

## How

1. A cold liquid evaporates outside and takes up heat.
2. A compressor squeezes the gas, which makes it hot.
3. Inside, it condenses and gives that heat to the house.

> One unit of electricity moves three or four units of heat.

| Outside | COP |
|--------:|:---:|
| 7 °C | 4.1 |
| −7 °C | 2.6 |

\`\`\`python
def heat(electricity: float, cop: float = 3.5) -> float:
    """Heat delivered, in the unit of \`electricity\`."""
    return electricity * cop  # what is moved
\`\`\`

So \`COP = heat ÷ work\`. See [the article](https://en.wikipedia.org/wiki/Heat_pump), <b>not bold</b>, ![no picture](https://example.org/x.png)
`

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const send = (response, status, value) => {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' })
  response.end(JSON.stringify(value))
}
const refuse = (response, status, message) => send(response, status, { error: { message } })

async function body(request) {
  const parts = []
  for await (const part of request) parts.push(part)
  return JSON.parse(Buffer.concat(parts).toString() || 'null')
}

async function chat(request, response) {
  const asked = await body(request)
  const question = asked.messages.at(-1).content
  if (question.includes('fail')) return refuse(response, 400, 'This request was refused, as it asked to be.')
  let gone = false
  response.on('close', () => (gone = true))
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  const event = (value) => response.write(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`)
  const delta = (part, finish_reason = null) => event({ choices: [{ index: 0, delta: part, finish_reason }] })
  live.prefilling = 1
  await pause(120)
  Object.assign(live, { prefilling: 0, generating: 1, prompt: live.prompt + 300 })
  delta({ role: 'assistant', content: '' })
  const pieces = (text) => text.match(/\s*\S+|\s+$/g)
  let tokens = 0
  const slow = question.includes('slow') ? 60 : 8
  const say = async (name, text) => {
    for (const piece of pieces(text)) {
      if (gone) return
      delta({ [name]: piece })
      tokens += 1
      live.generated += 1
      live.cells += 1
      await pause(slow)
    }
  }
  await say('reasoning_content', 'The question is about heat pumps. I should explain that heat is **moved**, not made, and give a number.')
  await say('content', question.includes('slow') ? answer.repeat(4) : answer)
  live.generating = 0
  live.finished += 1
  if (gone) return
  delta({}, 'stop')
  event({ choices: [], usage: { prompt_tokens: 320, completion_tokens: tokens, prompt_tokens_details: { cached_tokens: 20 } } })
  event('[DONE]')
  response.end()
}

function status() {
  return {
    version: '0.1.0', processor: 'AMD Ryzen 7 7840U', cores: 8, threads: 8, instruction_set: 'avx512vnni',
    memory_bytes: 24e9, memory_available_bytes: 14e9, process_bytes: 3.6e9, read_bytes_per_second: 62e9,
    uptime_seconds: process.uptime(), connections: 2, keeps_conversations: true,
    models: [{
      name: 'qwen3:4b', memory: [{ name: 'weights', bytes: 2.5e9 }, { name: 'KV', bytes: 6e8 }, { name: 'activations', bytes: 1.1e8 }],
      parallel: 4, context: 16384, kv_type: 'q8_0', unload_in_seconds: 240, generating: live.generating,
      prefilling: live.prefilling, waiting: 0, prompt_tokens: live.prompt, reused_tokens: 900, generated_tokens: live.generated,
      passes: 900, rows: 1400, finished: live.finished, cancelled: 1, failed: 0, refused: 0, preempted: 0,
      kv_cells_used: live.cells, kv_cells: 16384, prompt_seconds: 1, generate_seconds: 1,
    }],
  }
}

async function conversation(request, response, id) {
  const found = conversations.get(id)
  if (request.method === 'GET') return found ? send(response, 200, found) : refuse(response, 404, 'there is no such conversation')
  if (request.method === 'DELETE') return conversations.delete(id) ? send(response, 200, { deleted: 1 }) : refuse(response, 404, 'there is no such conversation')
  const { title, model: name, revision, document } = await body(request)
  if ((found?.revision ?? 0) !== revision) return refuse(response, 409, 'this conversation was changed elsewhere meanwhile, or deleted')
  lastTime = Math.max(Date.now(), lastTime + 1)
  const summary = { id, title, model: name, created: found?.created ?? lastTime, updated: lastTime, revision: revision + 1 }
  conversations.set(id, { ...summary, document })
  return send(response, 200, summary)
}

function list(response, url) {
  const words = (url.searchParams.get('q') ?? '').toLowerCase().split(/\s+/).filter(Boolean)
  const found = []
  for (const { document, ...summary } of conversations.values()) {
    const text = document.messages.map((message) => message.content).join('\n')
    if (!words.every((word) => `${summary.title}\n${text}`.toLowerCase().includes(word))) continue
    const at = words.length ? Math.max(0, text.toLowerCase().indexOf(words[0]) - 40) : 0
    found.push(words.length ? { ...summary, snippet: text.slice(at, at + 160) } : summary)
  }
  found.sort((one, other) => other.updated - one.updated)
  send(response, 200, { conversations: found, count: conversations.size })
}

async function file(response, path) {
  try {
    const name = path === '/' ? '/index.html' : normalize(path)
    const bytes = await readFile(join(dist, name))
    response.writeHead(200, {
      'Content-Type': contentTypes[extname(name)] ?? 'application/octet-stream',
      'Content-Security-Policy': policy,
      'X-Content-Type-Options': 'nosniff',
    })
    response.end(bytes)
  } catch {
    refuse(response, 404, 'there is nothing at this address')
  }
}

/** Passes a request on to a real server (HEARTH_URL). */
function passOn(request, response) {
  const to = new URL(process.env.HEARTH_URL)
  const headers = { ...request.headers, host: to.host }
  delete headers.origin
  const onward = forward(new URL(request.url, to), { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers)
    answer.pipe(response)
  })
  onward.on('error', (error) => refuse(response, 502, String(error)))
  response.on('close', () => onward.destroy())
  request.pipe(onward)
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://hearth')
  const path = url.pathname
  if (process.env.HEARTH_URL && /^\/(v1|hearth)\//.test(path)) return passOn(request, response)
  const one = path.match(/^\/hearth\/conversations\/([\w-]+)$/)
  const work = async () => {
    if (path === '/v1/chat/completions') return chat(request, response)
    if (path === '/hearth/models') return send(response, 200, { models })
    if (path === '/hearth/status') return send(response, 200, status())
    if (path === '/hearth/conversations') return list(response, url)
    if (one) return conversation(request, response, one[1])
    return file(response, path)
  }
  work().catch((error) => refuse(response, 500, String(error)))
})
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})
