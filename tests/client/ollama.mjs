// The ollama package (the official client) against hearth serve.
import { Ollama } from 'ollama'
import Ajv from 'ajv/dist/2020.js'
import { assert, chat, embedder, endless, heronSchema, run, thinker, url, weatherParameters } from './check.mjs'

const client = new Ollama({ host: url })
const messages = [{ role: 'user', content: 'Tell me about the heron.' }]
const ajv = new Ajv()

function assertDone(reply) {
  assert.equal(reply.done, true)
  assert.ok(['stop', 'length'].includes(reply.done_reason))
  for (const field of ['total_duration', 'prompt_eval_count', 'eval_count', 'eval_duration'])
    assert.ok(reply[field] > 0, field)
}

await run('ollama', {
  async 'models are listed and shown'() {
    const { models } = await client.list()
    const found = models.find((model) => model.name.startsWith(chat))
    assert.ok(found.size > 100_000)
    assert.equal(found.details.format, 'gguf')
    const shown = await client.show({ model: chat })
    assert.equal(shown.details.family, 'llama')
    assert.ok(shown.capabilities.includes('completion'))
    assert.ok(shown.template.length > 0)
    await assert.rejects(client.show({ model: 'nobody' }), /nobody|not found/)
  },

  async 'a chat is answered'() {
    const reply = await client.chat({ model: chat, messages, options: { num_predict: 20 } })
    assert.equal(reply.message.role, 'assistant')
    assert.ok(new Date(reply.created_at).getTime() > 1.6e12)
    assertDone(reply)
    assert.ok(reply.eval_count <= 20)
  },

  async 'a chat is streamed, and ends with the counts'() {
    const parts = []
    for await (const part of await client.chat({ model: endless, messages, stream: true, options: { num_predict: 12, seed: 1 } }))
      parts.push(part)
    assert.ok(parts.length > 2)
    assert.ok(parts.slice(0, -1).every((part) => part.done === false && part.message.role === 'assistant'))
    assertDone(parts.at(-1))
    assert.equal(parts.at(-1).done_reason, 'length')
    assert.equal(parts.at(-1).eval_count, 12)
  },

  async 'text is generated'() {
    const reply = await client.generate({ model: endless, prompt: 'The heron', options: { num_predict: 8, temperature: 0 } })
    assert.ok(reply.response.length > 0)
    assertDone(reply)
    let streamed = ''
    const again = { model: endless, prompt: 'The heron', options: { num_predict: 8, temperature: 0 }, stream: true }
    for await (const part of await client.generate(again)) streamed += part.response
    assert.equal(streamed, reply.response)
  },

  async 'an answer follows a schema'() {
    const reply = await client.chat({ model: endless, messages, format: heronSchema, options: { num_predict: 400 } })
    assert.ok(ajv.validate(heronSchema, JSON.parse(reply.message.content)), ajv.errorsText())
  },

  async 'thinking is told apart'() {
    const reply = await client.chat({ model: thinker, messages, think: true, options: { num_predict: 200, seed: 3 } })
    assert.ok(reply.message.thinking.length > 0)
    const without = await client.chat({ model: thinker, messages, think: false, options: { num_predict: 20 } })
    assert.ok(!without.message.thinking)
  },

  async 'tools are accepted'() {
    const tools = [{ type: 'function', function: { name: 'weather', description: 'Forecast', parameters: weatherParameters } }]
    const reply = await client.chat({ model: chat, messages, tools, options: { num_predict: 40 } })
    assertDone(reply)
    const call = { function: { name: 'weather', arguments: { city: 'Ulm', days: 2 } } }
    const next = await client.chat({
      model: chat,
      messages: [...messages, { role: 'assistant', content: '', tool_calls: [call] }, { role: 'tool', content: 'Rain.', tool_name: 'weather' }],
      tools,
      options: { num_predict: 10 },
    })
    assertDone(next)
  },

  async 'texts are embedded'() {
    const { embeddings } = await client.embed({ model: embedder, input: ['heron', 'river'] })
    assert.equal(embeddings.length, 2)
    assert.equal(embeddings[0].length, 64)
    const length = Math.hypot(...embeddings[0])
    assert.ok(Math.abs(length - 1) < 1e-3, 'normalised')
    const { embedding } = await client.embeddings({ model: embedder, prompt: 'heron' })
    assert.equal(embedding.length, 64)
  },

  async 'what runs is told'() {
    const { models } = await client.ps()
    assert.ok(models.some((model) => model.name.startsWith(chat) && model.size > 0))
  },

  async 'an answer can be aborted'() {
    const stream = await client.chat({ model: endless, messages, stream: true })
    let parts = 0
    await assert.rejects(async () => {
      for await (const _ of stream) if ((parts += 1) === 4) stream.abort()
    }, { name: 'AbortError' })
    assert.ok(parts >= 4)
  },

  async 'errors are sentences'() {
    await assert.rejects(client.chat({ model: 'nobody', messages }), /nobody/)
    await assert.rejects(client.chat({ model: embedder, messages }), /embed/i)
  },
})
