// The Anthropic SDK against hearth serve.
import Anthropic from '@anthropic-ai/sdk'
import Ajv from 'ajv/dist/2020.js'
import { assert, chat, endless, run, thinker, url, weatherParameters } from './check.mjs'

const client = new Anthropic({ baseURL: url, apiKey: 'any', maxRetries: 0 })
const messages = [{ role: 'user', content: 'Tell me about the heron.' }]
const tools = [{ name: 'weather', description: 'Forecast', input_schema: weatherParameters }]
const ajv = new Ajv()

/** Checks the grammar of a stream of events; the kinds of its blocks. */
function assertOrder(events) {
  assert.equal(events[0].type, 'message_start')
  assert.equal(events.at(-1).type, 'message_stop')
  assert.equal(events.at(-2).type, 'message_delta')
  const kinds = []
  let open = null
  for (const event of events.slice(1, -2)) {
    if (event.type === 'ping') continue
    if (event.type === 'content_block_start') {
      assert.equal(open, null)
      assert.equal(event.index, kinds.length)
      open = event.index
      kinds.push(event.content_block.type)
    } else {
      assert.equal(event.index, open)
      if (event.type === 'content_block_stop') open = null
      else assert.equal(event.type, 'content_block_delta')
    }
  }
  assert.equal(open, null)
  return kinds
}

await run('anthropic', {
  async 'a message is answered'() {
    const reply = await client.messages.create({ model: endless, max_tokens: 20, system: 'Be brief.', messages })
    assert.equal(reply.type, 'message')
    assert.equal(reply.role, 'assistant')
    assert.match(reply.id, /^msg_/)
    assert.equal(reply.content[0].type, 'text')
    assert.ok(reply.content[0].text.length > 0)
    assert.equal(reply.stop_reason, 'max_tokens')
    assert.equal(reply.usage.output_tokens, 20)
    assert.ok(reply.usage.input_tokens > 5)
  },

  async 'events come in order'() {
    const stream = await client.messages.create({ model: endless, max_tokens: 12, messages, stream: true })
    const events = []
    for await (const event of stream) events.push(event)
    assert.deepEqual(assertOrder(events), ['text'])
    assert.equal(events.at(-2).delta.stop_reason, 'max_tokens')
    assert.equal(events.at(-2).usage.output_tokens, 12)
  },

  async 'the helper gathers the same text'() {
    const stream = client.messages.stream({ model: endless, max_tokens: 12, temperature: 0, messages })
    let text = ''
    stream.on('text', (delta) => (text += delta))
    const message = await stream.finalMessage()
    assert.equal(message.content[0].text, text)
    const whole = await client.messages.create({ model: endless, max_tokens: 12, temperature: 0, messages })
    assert.equal(whole.content[0].text, text)
  },

  async 'stop sequences are named'() {
    const reply = await client.messages.create({ model: endless, max_tokens: 400, stop_sequences: [' heron'], temperature: 1, messages })
    assert.equal(reply.stop_reason, 'stop_sequence')
    assert.equal(reply.stop_sequence, ' heron')
  },

  async 'thinking comes before text, in a block of its own'() {
    const stream = await client.messages.create({
      model: thinker, max_tokens: 2000, messages, stream: true, thinking: { type: 'enabled', budget_tokens: 1024 },
    })
    const events = []
    for await (const event of stream) events.push(event)
    const kinds = assertOrder(events)
    assert.equal(kinds[0], 'thinking')
    assert.ok(events.some((event) => event.delta?.type === 'thinking_delta' && event.delta.thinking))
  },

  async 'a demanded tool is called, and its result is read'() {
    const reply = await client.messages.create({ model: chat, max_tokens: 200, messages, tools, tool_choice: { type: 'any' } })
    assert.equal(reply.stop_reason, 'tool_use')
    const use = reply.content.find((block) => block.type === 'tool_use')
    assert.equal(use.name, 'weather')
    assert.ok(ajv.validate(weatherParameters, use.input), ajv.errorsText())
    const next = await client.messages.create({
      model: chat,
      max_tokens: 10,
      tools,
      messages: [
        ...messages,
        { role: 'assistant', content: reply.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'Rain.' }] },
      ],
    })
    assert.equal(next.role, 'assistant')
  },

  async 'a tool call is streamed as partial JSON'() {
    const stream = await client.messages.create({
      model: chat, max_tokens: 200, messages, tools, tool_choice: { type: 'tool', name: 'weather' }, stream: true,
    })
    const events = []
    for await (const event of stream) events.push(event)
    assert.ok(assertOrder(events).includes('tool_use'))
    const { index } = events.find((event) => event.content_block?.type === 'tool_use')
    const json = events.filter((event) => event.index === index).map((event) => event.delta?.partial_json ?? '').join('')
    assert.ok(ajv.validate(weatherParameters, JSON.parse(json)), ajv.errorsText())
    assert.equal(events.at(-2).delta.stop_reason, 'tool_use')
  },

  async 'tokens are counted as they are then charged'() {
    const counted = await client.messages.countTokens({ model: chat, system: 'Be brief.', messages })
    const reply = await client.messages.create({ model: chat, max_tokens: 1, system: 'Be brief.', messages })
    const { input_tokens: read, cache_read_input_tokens: remembered } = reply.usage
    assert.equal(counted.input_tokens, read + (remembered ?? 0))
  },

  async 'errors are the ones that the client knows'() {
    await assert.rejects(client.messages.create({ model: 'nobody', max_tokens: 5, messages }), Anthropic.NotFoundError)
    await assert.rejects(
      client.messages.create({ model: chat, max_tokens: 5, messages: [{ role: 'user', content: 7 }] }),
      (error) => error instanceof Anthropic.BadRequestError && error.error.error.type === 'invalid_request_error',
    )
  },
})
