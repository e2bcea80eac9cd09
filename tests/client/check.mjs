// A list of named checks, run in order; the first that fails ends the script.
export { strict as assert } from 'node:assert'

export const url = process.env.HEARTH_URL
export const chat = 'chat'
export const thinker = 'thinker'
export const endless = 'endless'
export const embedder = 'embed'

export const weatherParameters = {
  type: 'object',
  properties: { city: { type: 'string', maxLength: 12 }, days: { type: 'integer', minimum: 1, maximum: 9 } },
  required: ['city', 'days'],
  additionalProperties: false,
}

export const heronSchema = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 12 },
    age: { type: 'integer', minimum: 0, maximum: 40 },
    colours: { type: 'array', items: { enum: ['grey', 'white'] }, minItems: 1, maxItems: 3 },
  },
  required: ['name', 'age', 'colours'],
  additionalProperties: false,
}

export async function run(client, checks) {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check()
    } catch (error) {
      console.error(`FAIL ${client}: ${name}`)
      throw error
    }
    console.log(`ok   ${client}: ${name}`)
  }
}
