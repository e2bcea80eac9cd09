// Tiny models with random weights for the client tests: real GGUF files of the llama architecture with a byte-level
// vocabulary and a chat template. What they say has no meaning, but how long they go on is under control: dimension 0 of
// every embedding is the same, so that a weight of the output matrix on it is a bias of that token's logit.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A random number generator (mulberry32, by T. Ettinger, public domain), normally distributed. */
function normal(seed) {
  let state = seed >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
}

/** The printable character that stands for a byte in byte-level vocabularies. */
function byteCharacter(byte) {
  const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  if (printable) return String.fromCodePoint(byte)
  let place = 0
  for (let other = 0; other < byte; ++other)
    if (!((other >= 33 && other <= 126) || (other >= 161 && other <= 172) || other >= 174)) place += 1
  return String.fromCodePoint(256 + place)
}

const words = (
  'the a of and to in is was it that he she they we you I heron grey river water stood still light wind stone house ' +
  'hearth fire warm old small long slow bright quiet never always again morning evening bread garden road bird moon'
).split(' ')
const controls = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<think>', '</think>', '<tool_call>', '</tool_call>']

const tools =
  '{%- if tools %}<|im_start|>system\n# Tools\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}' +
  'Call one with <tool_call>{"name": …, "arguments": …}</tool_call><|im_end|>\n{% endif %}'
const messages =
  '{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}' +
  '{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}' +
  '<|im_end|>\n{% endfor %}'
const opening = '{%- if add_generation_prompt %}<|im_start|>assistant\n'
const chatTemplate = `${tools}${messages}${opening}{% endif %}`
const thinkTemplate =
  `${tools}${messages}${opening}{% if enable_thinking is defined and enable_thinking is false %}` +
  '<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}{% endif %}'

class Writer {
  parts = []
  size = 0
  add(buffer) {
    this.parts.push(buffer)
    this.size += buffer.length
  }
  number(method, bytes, value) {
    const buffer = Buffer.alloc(bytes)
    buffer[method](value)
    this.add(buffer)
  }
  u32(value) {
    this.number('writeUInt32LE', 4, value)
  }
  u64(value) {
    this.number('writeBigUInt64LE', 8, BigInt(value))
  }
  f32(value) {
    this.number('writeFloatLE', 4, value)
  }
  string(text) {
    const bytes = Buffer.from(text)
    this.u64(bytes.length)
    this.add(bytes)
  }
  pad() {
    this.add(Buffer.alloc((32 - (this.size % 32)) % 32))
  }
}

/** The value types of GGUF that are used here: id, and how one is written. */
const types = {
  u32: [4, (writer, value) => writer.u32(value)],
  i32: [5, (writer, value) => writer.u32(value)],
  f32: [6, (writer, value) => writer.f32(value)],
  bool: [7, (writer, value) => writer.add(Buffer.from([value ? 1 : 0]))],
  string: [8, (writer, value) => writer.string(value)],
}

function gguf(metadata, tensors) {
  const writer = new Writer()
  writer.add(Buffer.from('GGUF'))
  writer.u32(3)
  writer.u64(tensors.length)
  writer.u64(metadata.length)
  for (const [key, type, value] of metadata) {
    writer.string(key)
    const [id, write] = types[type]
    if (Array.isArray(value)) {
      writer.u32(9)
      writer.u32(id)
      writer.u64(value.length)
      for (const one of value) write(writer, one)
    } else {
      writer.u32(id)
      write(writer, value)
    }
  }
  let offset = 0
  for (const { name, shape, data } of tensors) {
    writer.string(name)
    writer.u32(shape.length)
    for (const size of shape) writer.u64(size)
    writer.u32(0) // F32
    writer.u64(offset)
    offset += Math.ceil(data.byteLength / 32) * 32
  }
  writer.pad()
  for (const { data } of tensors) {
    writer.add(Buffer.from(data.buffer))
    writer.pad()
  }
  return Buffer.concat(writer.parts)
}

/**
 * A model. `ends` and `thinks`: about how many tokens pass before it ends its turn or its reasoning; 0: it never does.
 * `pooling`: an embedding model.
 */
function model({ name, width = 64, layers = 2, context = 4096, ends = 60, thinks = 0, template, pooling, seed = 1 }) {
  const bytes = Array.from({ length: 256 }, (_, byte) => byteCharacter(byte))
  const tokens = [...bytes, ...words.map((word) => `Ġ${word}`), ...controls]
  const id = (text) => tokens.indexOf(text)
  const random = normal(seed)
  const matrix = (columns, rows, scale) => Float32Array.from({ length: columns * rows }, () => random() * scale)
  const ones = (length) => new Float32Array(length).fill(1)
  const feed = width * 2
  const embedding = matrix(width, tokens.length, 1)
  const output = matrix(width, tokens.length, 0.6 / Math.sqrt(width))
  // What dimension 0 is after the last norm, about; weights on it are in units of logits.
  const level = 4 / Math.sqrt(1 + 16 / width)
  const usual = tokens.length - 256 - controls.length
  for (let token = 0; token < tokens.length; ++token) {
    embedding[token * width] = 4
    let logit = 0
    if (token < 256) logit = /^[a-z0-9"{}[\]:,.-]$/.test(String.fromCharCode(token)) ? -2 : -30
    if (controls.includes(tokens[token])) {
      logit = -30
      output.fill(0, token * width, (token + 1) * width)
    }
    // Where an answer must begin with a call, or with white space and thinking, it begins with a call.
    if (tokens[token] === '<tool_call>') logit = -12
    if (tokens[token] === '<|im_end|>' && ends) logit = Math.log(usual / ends) + 0.2
    if (tokens[token] === '</think>' && thinks) logit = Math.log(usual / thinks) + 0.2
    output[token * width] = logit / level
  }
  const tensors = [{ name: 'token_embd.weight', shape: [width, tokens.length], data: embedding }]
  const scale = 0.3 / Math.sqrt(width)
  for (let layer = 0; layer < layers; ++layer) {
    const add = (part, shape, data) => tensors.push({ name: `blk.${layer}.${part}.weight`, shape, data })
    add('attn_norm', [width], ones(width))
    for (const part of ['attn_q', 'attn_k', 'attn_v', 'attn_output']) add(part, [width, width], matrix(width, width, scale))
    add('ffn_norm', [width], ones(width))
    add('ffn_gate', [width, feed], matrix(width, feed, scale))
    add('ffn_up', [width, feed], matrix(width, feed, scale))
    add('ffn_down', [feed, width], matrix(feed, width, scale))
  }
  tensors.push({ name: 'output_norm.weight', shape: [width], data: ones(width) })
  tensors.push({ name: 'output.weight', shape: [width, tokens.length], data: output })
  const metadata = [
    ['general.architecture', 'string', 'llama'],
    ['general.name', 'string', name],
    ['llama.context_length', 'u32', context],
    ['llama.embedding_length', 'u32', width],
    ['llama.block_count', 'u32', layers],
    ['llama.feed_forward_length', 'u32', feed],
    ['llama.attention.head_count', 'u32', width / 16],
    ['llama.attention.head_count_kv', 'u32', width / 16],
    ['llama.rope.dimension_count', 'u32', 16],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['llama.vocab_size', 'u32', tokens.length],
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', 'qwen2'],
    ['tokenizer.ggml.tokens', 'string', tokens],
    ['tokenizer.ggml.token_type', 'i32', tokens.map((text) => (controls.includes(text) ? (/think|tool/.test(text) ? 4 : 3) : 1))],
    ['tokenizer.ggml.merges', 'string', ['h e', 'Ġ t']],
    ['tokenizer.ggml.bos_token_id', 'u32', id('<|endoftext|>')],
    ['tokenizer.ggml.eos_token_id', 'u32', id('<|im_end|>')],
    ['tokenizer.ggml.add_bos_token', 'bool', false],
  ]
  if (template) metadata.push(['tokenizer.chat_template', 'string', template])
  if (pooling !== undefined) metadata.push(['llama.pooling_type', 'u32', pooling])
  return gguf(metadata, tensors)
}

/** Writes the models into a folder; their paths by name. */
export async function makeModels(folder) {
  const descriptions = {
    'tiny-chat': { ends: 60, template: chatTemplate },
    'tiny-thinker': { ends: 40, thinks: 15, template: thinkTemplate, seed: 2 },
    'tiny-endless': { ends: 0, width: 256, layers: 4, context: 16384, template: chatTemplate, seed: 3 },
    'tiny-embed': { pooling: 1, context: 512, seed: 4 },
  }
  const paths = {}
  for (const [name, description] of Object.entries(descriptions)) {
    paths[name] = join(folder, `${name}.gguf`)
    await writeFile(paths[name], model({ name, ...description }))
  }
  return paths
}
