// The openai package (the official client) against hearth serve.
import OpenAI from 'openai'
import Ajv from 'ajv/dist/2020.js'
import { assert, chat, embedder, endless, heronSchema, run, thinker, url, weatherParameters } from './check.mjs'

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 })
const question = [{ role: 'user', content: 'Tell me about the heron.' }]
const weather = { type: 'function', function: { name: 'weather', description: 'Forecast', parameters: weatherParameters } }
const ajv = new Ajv()

function assertUsage(usage) {
  assert.ok(usage.prompt_tokens > 5)
  assert.ok(usage.completion_tokens > 0)
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
}

await run('openai', {
  async 'models are listed and found'() {
    const names = []
    for await (const model of client.models.list()) {
      assert.equal(model.object, 'model')
      names.push(model.id)
    }
    for (const name of [chat, thinker, endless, embedder]) assert.ok(names.includes(name), `${name} of ${names}`)
    assert.equal((await client.models.retrieve(chat)).id, chat)
    await assert.rejects(client.models.retrieve('nobody'), OpenAI.NotFoundError)
  },

  async 'a chat is answered'() {
    const reply = await client.chat.completions.create({ model: chat, messages: question, max_tokens: 20 })
    assert.equal(reply.object, 'chat.completion')
    assert.match(reply.id, /^chatcmpl-/)
    assert.equal(reply.model, chat)
    assert.ok(Math.abs(reply.created - Date.now() / 1000) < 600)
    assert.equal(reply.choices.length, 1)
    const [choice] = reply.choices
    assert.equal(choice.index, 0)
    assert.equal(choice.message.role, 'assistant')
    assert.ok(['stop', 'length'].includes(choice.finish_reason))
    assertUsage(reply.usage)
    assert.ok(reply.usage.completion_tokens <= 20)
  },

  async 'the same seed says the same; several choices differ'() {
    const ask = (seed, n) =>
      client.chat.completions.create({ model: endless, messages: question, max_tokens: 24, seed, n, temperature: 1 })
    const [one, two] = [await ask(7, 1), await ask(7, 1)]
    assert.equal(one.choices[0].message.content, two.choices[0].message.content)
    const three = await ask(8, 3)
    assert.deepEqual(three.choices.map((choice) => choice.index), [0, 1, 2])
    assert.equal(new Set(three.choices.map((choice) => choice.message.content)).size, 3)
    assert.equal(three.usage.completion_tokens, 72)
  },

  async 'a stream has a role first, text, a reason, the usage last'() {
    const stream = await client.chat.completions.create({
      model: chat,
      messages: question,
      max_tokens: 40,
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1)
    assert.ok(chunks.every((chunk) => chunk.object === 'chat.completion.chunk' && chunk.model === chat))
    assert.equal(chunks[0].choices[0].delta.role, 'assistant')
    const last = chunks.at(-1)
    assert.deepEqual(last.choices, [])
    assertUsage(last.usage)
    const reasons = chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.finish_reason).filter(Boolean)
    assert.equal(reasons.length, 1)
    assert.equal(chunks.at(-2).choices[0].finish_reason, reasons[0])
  },

  async 'a streamed answer is the one that is not streamed'() {
    const request = { model: endless, messages: question, max_tokens: 30, temperature: 0 }
    const whole = await client.chat.completions.create(request)
    const streamed = await client.chat.completions.stream(request).finalChatCompletion()
    assert.equal(streamed.choices[0].message.content, whole.choices[0].message.content)
    assert.equal(streamed.choices[0].finish_reason, 'length')
  },

  async 'stop strings end an answer and are not in it'() {
    const reply = await client.chat.completions.create({
      model: endless, messages: question, max_tokens: 400, stop: [' heron', ' river'], temperature: 1,
    })
    assert.equal(reply.choices[0].finish_reason, 'stop')
    assert.doesNotMatch(reply.choices[0].message.content, / heron| river/)
  },

  async 'log-probabilities are told'() {
    const reply = await client.chat.completions.create({
      model: endless, messages: question, max_tokens: 5, logprobs: true, top_logprobs: 3,
    })
    const { content } = reply.choices[0].logprobs
    assert.equal(content.length, 5)
    for (const token of content) {
      assert.ok(token.logprob <= 0)
      assert.equal(token.top_logprobs.length, 3)
      assert.ok(token.top_logprobs[0].logprob >= token.top_logprobs[2].logprob)
      assert.deepEqual(Buffer.from(token.bytes).toString(), token.token)
    }
    assert.equal(content.map((token) => token.token).join('').trim(), reply.choices[0].message.content.trim())
  },

  async 'reasoning is told apart'() {
    const reply = await client.chat.completions.create({ model: thinker, messages: question, max_tokens: 200, seed: 3 })
    assert.ok(reply.choices[0].message.reasoning_content.length > 0)
    assert.doesNotMatch(reply.choices[0].message.reasoning_content, /<\/?think>/)
  },

  async 'a demanded tool is called with valid arguments'() {
    const reply = await client.chat.completions.create({
      model: chat, messages: question, tools: [weather], tool_choice: 'required', max_tokens: 200,
    })
    const [choice] = reply.choices
    assert.equal(choice.finish_reason, 'tool_calls')
    const [call] = choice.message.tool_calls
    assert.equal(call.type, 'function')
    assert.ok(call.id.length > 0)
    assert.equal(call.function.name, 'weather')
    const values = JSON.parse(call.function.arguments)
    assert.ok(ajv.validate(weatherParameters, values), ajv.errorsText())
    const next = await client.chat.completions.create({
      model: chat,
      messages: [...question, choice.message, { role: 'tool', tool_call_id: call.id, content: 'Rain.' }],
      tools: [weather],
      max_tokens: 10,
    })
    assert.equal(next.choices[0].message.role, 'assistant')
  },

  async 'a tool call is streamed in pieces'() {
    const stream = client.chat.completions.stream({
      model: chat, messages: question, tools: [weather], max_tokens: 200,
      tool_choice: { type: 'function', function: { name: 'weather' } },
    })
    const seen = []
    for await (const chunk of stream)
      for (const call of chunk.choices[0]?.delta.tool_calls ?? []) seen.push(call)
    assert.equal(seen[0].index, 0)
    assert.equal(seen[0].function.name, 'weather')
    assert.ok(seen[0].id)
    const whole = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0]
    assert.ok(ajv.validate(weatherParameters, JSON.parse(whole.function.arguments)), ajv.errorsText())
  },

  async 'an answer follows a JSON schema'() {
    for (let seed = 0; seed < 5; ++seed) {
      const reply = await client.chat.completions.create({
        model: endless, messages: question, max_tokens: 400, seed, temperature: 1.2,
        response_format: { type: 'json_schema', json_schema: { name: 'heron', strict: true, schema: heronSchema } },
      })
      assert.equal(reply.choices[0].finish_reason, 'stop')
      const value = JSON.parse(reply.choices[0].message.content)
      assert.ok(ajv.validate(heronSchema, value), ajv.errorsText())
    }
  },

  async 'an answer is a JSON object'() {
    const reply = await client.chat.completions.create({
      model: chat, messages: question, max_tokens: 300, response_format: { type: 'json_object' },
    })
    if (reply.choices[0].finish_reason === 'stop')
      assert.equal(typeof JSON.parse(reply.choices[0].message.content), 'object')
  },

  async 'text is completed'() {
    const reply = await client.completions.create({ model: chat, prompt: 'The heron', max_tokens: 8, echo: true })
    assert.equal(reply.object, 'text_completion')
    assert.ok(reply.choices[0].text.startsWith('The heron'))
    let streamed = ''
    for await (const chunk of await client.completions.create({ model: endless, prompt: 'A', max_tokens: 6, stream: true }))
      streamed += chunk.choices[0]?.text ?? ''
    assert.ok(streamed.length > 0)
  },

  async 'responses: an answer'() {
    const reply = await client.responses.create({ model: chat, input: 'Tell me about the heron.', max_output_tokens: 20 })
    assert.equal(reply.object, 'response')
    assert.match(reply.id, /^resp_/)
    const message = reply.output.find((item) => item.type === 'message')
    assert.equal(message.role, 'assistant')
    assert.equal(message.content[0].type, 'output_text')
    assert.equal(reply.output_text, message.content[0].text)
    assert.ok(reply.usage.output_tokens > 0)
  },

  async 'responses: events come in order'() {
    const stream = await client.responses.create({
      model: endless, input: [{ role: 'user', content: 'Tell me.' }], max_output_tokens: 20, stream: true,
    })
    const events = []
    for await (const event of stream) events.push(event)
    assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index))
    const kinds = events.map((event) => event.type)
    assert.deepEqual(kinds.slice(0, 4), [
      'response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added',
    ])
    assert.deepEqual(kinds.slice(-4, -1), [
      'response.output_text.done', 'response.content_part.done', 'response.output_item.done',
    ])
    assert.equal(kinds.at(-1), 'response.incomplete')
    const text = events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta).join('')
    assert.equal(text, events.find((event) => event.type === 'response.output_text.done').text)
  },

  async 'responses: a tool is called'() {
    const reply = await client.responses.create({
      model: chat, input: 'Weather?', max_output_tokens: 200, tool_choice: 'required',
      tools: [{ type: 'function', name: 'weather', parameters: weatherParameters, strict: true }],
    })
    const call = reply.output.find((item) => item.type === 'function_call')
    assert.equal(call.name, 'weather')
    assert.ok(ajv.validate(weatherParameters, JSON.parse(call.arguments)), ajv.errorsText())
  },

  async 'texts are embedded'() {
    const reply = await client.embeddings.create({ model: embedder, input: ['heron', 'river', 'heron'] })
    assert.equal(reply.object, 'list')
    assert.deepEqual(reply.data.map((one) => one.index), [0, 1, 2])
    const [one, two, three] = reply.data.map((entry) => entry.embedding)
    assert.equal(one.length, 64)
    assert.deepEqual(one, three)
    assert.notDeepEqual(one, two)
    const floats = await client.embeddings.create({ model: embedder, input: 'heron', encoding_format: 'float' })
    floats.data[0].embedding.forEach((value, index) => assert.ok(Math.abs(value - one[index]) < 1e-5))
  },

  async 'errors are the ones that the client knows'() {
    await assert.rejects(
      client.chat.completions.create({ model: 'nobody', messages: question }),
      (error) => error instanceof OpenAI.NotFoundError && /nobody/.test(error.message),
    )
    await assert.rejects(
      client.chat.completions.create({ model: chat, messages: 'no list' }),
      (error) => error instanceof OpenAI.BadRequestError && error.param === 'messages',
    )
    await assert.rejects(
      client.chat.completions.create({ model: chat, messages: question, temperature: 'warm' }),
      OpenAI.BadRequestError,
    )
    await assert.rejects(
      client.chat.completions.create({
        model: chat,
        messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }] }],
      }),
      (error) => error instanceof OpenAI.BadRequestError && /image/i.test(error.message),
    )
    await assert.rejects(
      client.chat.completions.create({ model: chat, messages: [{ role: 'user', content: 'heron '.repeat(9000) }] }),
      (error) => error instanceof OpenAI.BadRequestError && /\d{4}/.test(error.message),
    )
  },

  async 'hanging up ends the work'() {
    const stream = await client.chat.completions.create({ model: endless, messages: question, stream: true })
    let pieces = 0
    for await (const _ of stream) if ((pieces += 1) === 5) break
    const busy = async () => {
      const { models } = await (await fetch(`${url}/hearth/status`)).json()
      return models.some((model) => model.generating > 0)
    }
    const deadline = Date.now() + 20_000
    while ((await busy()) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.ok(!(await busy()), 'nothing is generated for a client that went away')
  },

  async 'many at once are all answered'() {
    const replies = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        client.chat.completions.create({ model: endless, messages: question, max_tokens: 16, seed: index }),
      ),
    )
    for (const reply of replies) assert.equal(reply.usage.completion_tokens, 16)
  },
})
