// The body of a chat request (OpenAI's form), and what its stream says.
import type { Attachment, Message, Settings } from '../types'

function fence(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length))
  return '`'.repeat(longest + 1)
}

function attached({ name, text }: Attachment): string {
  const ticks = fence(text)
  return `File "${name}":\n${ticks}\n${text}${text.endsWith('\n') ? '' : '\n'}${ticks}\n\n`
}

/** Of a branch: what was stopped before it said anything is left out, and what then stands side by side is joined, since
 *  many chat templates insist that roles alternate. */
function turns(messages: Message[]): { role: string; content: string }[] {
  const result: { role: string; content: string }[] = []
  for (const message of messages) {
    if (message.role === 'assistant' && !message.content) continue
    const content = (message.attachments ?? []).map(attached).join('') + message.content
    const last = result[result.length - 1]
    if (last?.role === message.role) last.content += `\n\n${content}`
    else result.push({ role: message.role, content })
  }
  return result
}

export function requestBody(model: string, settings: Settings, messages: Message[]): string {
  const { system, thinking, ...sampling } = settings
  return JSON.stringify({
    model,
    messages: [
      ...(system?.trim() ? [{ role: 'system', content: system }] : []),
      ...turns(messages),
    ],
    ...sampling,
    ...(thinking ? { chat_template_kwargs: { enable_thinking: thinking === 'on' } } : {}),
    stream: true,
    stream_options: { include_usage: true },
  })
}

export interface Chunk {
  content: string
  reasoning: string
  finish?: string
  usage?: { prompt: number; cached: number; completion: number }
}

interface WireChunk {
  error?: { message?: string } | string
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null; reasoning?: string | null }
    finish_reason?: string | null
  }[]
  usage?: {
    prompt_tokens?: number
    completion_tokens?: number
    prompt_tokens_details?: { cached_tokens?: number }
  } | null
}

/** One event of the stream. Throws an Error when it tells of one. */
export function readChunk(data: string): Chunk {
  const wire = JSON.parse(data) as WireChunk
  if (wire.error)
    throw new Error((typeof wire.error === 'string' ? wire.error : wire.error.message) ?? 'The server failed.')
  const choice = wire.choices?.[0]
  return {
    content: choice?.delta?.content ?? '',
    reasoning: choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? '',
    finish: choice?.finish_reason ?? undefined,
    usage: wire.usage
      ? {
          prompt: wire.usage.prompt_tokens ?? 0,
          cached: wire.usage.prompt_tokens_details?.cached_tokens ?? 0,
          completion: wire.usage.completion_tokens ?? 0,
        }
      : undefined,
  }
}
