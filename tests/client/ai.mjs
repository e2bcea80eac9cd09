// The Vercel AI SDK with its provider for OpenAI-compatible servers against hearth serve.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embed, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'
import Ajv from 'ajv/dist/2020.js'
import { assert, chat, embedder, endless, heronSchema, run, thinker, url, weatherParameters } from './check.mjs'

const hearth = createOpenAICompatible({
  name: 'hearth', baseURL: `${url}/v1`, includeUsage: true, supportsStructuredOutputs: true,
})
const prompt = 'Tell me about the heron.'
const ajv = new Ajv()

await run('ai', {
  async 'text is generated'() {
    const { text, finishReason, usage } = await generateText({ model: hearth(endless), prompt, maxOutputTokens: 15 })
    assert.ok(text.length > 0)
    assert.equal(finishReason, 'length')
    assert.equal(usage.outputTokens, 15)
  },

  async 'a stream has its parts in order'() {
    const result = streamText({ model: hearth(endless), prompt, maxOutputTokens: 15 })
    const kinds = []
    for await (const part of result.fullStream) {
      assert.notEqual(part.type, 'error', String(part.error))
      if (kinds.at(-1) !== part.type) kinds.push(part.type)
    }
    assert.deepEqual(kinds, ['start', 'start-step', 'text-start', 'text-delta', 'text-end', 'finish-step', 'finish'])
    assert.equal((await result.usage).outputTokens, 15)
  },

  async 'reasoning is streamed apart'() {
    const result = streamText({ model: hearth(thinker), prompt, maxOutputTokens: 200, seed: 3 })
    assert.ok((await result.reasoningText).length > 0)
  },

  async 'a tool is called, run, and its result is answered'() {
    const seen = []
    const { steps } = await generateText({
      model: hearth(chat),
      prompt,
      maxOutputTokens: 200,
      stopWhen: stepCountIs(2),
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
      tools: {
        weather: tool({
          description: 'Forecast',
          inputSchema: jsonSchema(weatherParameters),
          execute: (input) => {
            seen.push(input)
            return { forecast: 'rain' }
          },
        }),
      },
    })
    assert.ok(seen.length >= 1)
    assert.ok(ajv.validate(weatherParameters, seen[0]), ajv.errorsText())
    assert.equal(steps.length, 2)
    assert.equal(steps[0].finishReason, 'tool-calls')
  },

  async 'an object follows its schema'() {
    const { object } = await generateObject({
      model: hearth(endless), prompt, schema: jsonSchema(heronSchema), maxOutputTokens: 400,
    })
    assert.ok(ajv.validate(heronSchema, object), ajv.errorsText())
  },

  async 'a text is embedded'() {
    const { embedding } = await embed({ model: hearth.textEmbeddingModel(embedder), value: 'heron' })
    assert.equal(embedding.length, 64)
  },
})
