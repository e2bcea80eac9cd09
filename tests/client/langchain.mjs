// LangChain's client for OpenAI against hearth serve.
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { z } from 'zod'
import { assert, chat, embedder, endless, run, url } from './check.mjs'

const configuration = { baseURL: `${url}/v1` }
const model = (name, more = {}) => new ChatOpenAI({ model: name, apiKey: 'any', configuration, maxRetries: 0, maxTokens: 200, ...more })
const question = [new SystemMessage('Be brief.'), new HumanMessage('Tell me about the heron.')]
const weather = tool(({ city }) => `Rain in ${city}.`, {
  name: 'weather',
  description: 'Forecast',
  schema: z.object({ city: z.string().max(12) }),
})

await run('langchain', {
  async 'a chat is answered'() {
    const reply = await model(endless, { maxTokens: 15 }).invoke(question)
    assert.ok(reply.content.length > 0)
    assert.equal(reply.response_metadata.finish_reason, 'length')
    assert.equal(reply.usage_metadata.output_tokens, 15)
  },

  async 'chunks add up to a message'() {
    let whole
    let chunks = 0
    for await (const chunk of await model(endless, { maxTokens: 15 }).stream(question)) {
      whole = whole ? whole.concat(chunk) : chunk
      chunks += 1
    }
    assert.ok(chunks > 3)
    assert.ok(whole.content.length > 0)
    assert.equal(whole.usage_metadata.output_tokens, 15)
  },

  async 'a bound tool is called, and its result is read'() {
    const bound = model(chat).bindTools([weather], { tool_choice: 'required' })
    const reply = await bound.invoke(question)
    assert.equal(reply.tool_calls.length >= 1, true)
    const [call] = reply.tool_calls
    assert.equal(call.name, 'weather')
    assert.equal(typeof call.args.city, 'string')
    const result = await weather.invoke(call)
    assert.ok(result instanceof ToolMessage)
    const next = await model(chat, { maxTokens: 10 }).bindTools([weather]).invoke([...question, reply, result])
    assert.equal(next.getType(), 'ai')
  },

  async 'structured output is parsed'() {
    const schema = z.object({ name: z.string().max(12), age: z.number().int().min(0).max(40) })
    const structured = model(endless, { maxTokens: 400 }).withStructuredOutput(schema, { method: 'jsonSchema', name: 'heron' })
    const value = await structured.invoke(question)
    assert.ok(schema.safeParse(value).success)
  },

  async 'a batch is answered'() {
    const replies = await model(endless, { maxTokens: 6 }).batch([question, question, question])
    assert.equal(replies.length, 3)
  },

  async 'texts are embedded'() {
    const embeddings = new OpenAIEmbeddings({ model: embedder, apiKey: 'any', configuration, maxRetries: 0 })
    const vectors = await embeddings.embedDocuments(['heron', 'river'])
    assert.deepEqual(vectors.map((vector) => vector.length), [64, 64])
    assert.deepEqual(await embeddings.embedQuery('heron'), vectors[0])
  },
})
