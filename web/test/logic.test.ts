// What the page computes, without a browser.
// @ts-expect-error: node's own modules have no types here, and this file is not part of the page.
import assert from 'node:assert/strict'
// @ts-expect-error: as above
import { test } from 'node:test'
import { readEvents } from '../src/api'
import { readChunk, requestBody } from '../src/chat/request'
import { alternatives, branch, newestLeaf } from '../src/chat/tree'
import { age, bytes, duration, parameters, speed } from '../src/format'
import type { ConversationDocument, Message } from '../src/types'

const message = (id: string, parent: string | null, more: Partial<Message> = {}): Message => ({
  id,
  parent,
  role: 'user',
  content: id,
  created: 0,
  ...more,
})

const tree: ConversationDocument = {
  messages: [message('a', null), message('b', 'a'), message('c', 'b'), message('d', 'a'), message('e', 'd'), message('f', 'd')],
  leaf: 'c',
  settings: {},
}
const ids = (list: Message[]) => list.map(({ id }) => id)

test('a branch goes from the first message to the leaf', () => {
  assert.deepEqual(ids(branch(tree)), ['a', 'b', 'c'])
  assert.deepEqual(ids(branch({ ...tree, leaf: null })), [])
  assert.deepEqual(ids(branch({ ...tree, leaf: 'gone' })), [])
  const circle = { ...tree, messages: [message('a', 'b'), message('b', 'a')], leaf: 'a' }
  assert.deepEqual(ids(branch(circle)), ['b', 'a'])
})

test('alternatives and the newest leaf', () => {
  assert.deepEqual(ids(alternatives(tree, tree.messages[1])), ['b', 'd'])
  assert.equal(newestLeaf(tree, 'a'), 'f')
  assert.equal(newestLeaf(tree, 'c'), 'c')
  const circle = { ...tree, messages: [message('a', 'b'), message('b', 'a')] }
  assert.ok(newestLeaf(circle, 'a'))
})

async function events(text: string, cuts: number[]): Promise<string[]> {
  const bytes = new TextEncoder().encode(text)
  const ends = [...cuts, bytes.length]
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      let begin = 0
      for (const end of ends) {
        controller.enqueue(bytes.slice(begin, end))
        begin = end
      }
      controller.close()
    },
  })
  const list: string[] = []
  for await (const data of readEvents(stream)) list.push(data)
  return list
}

test('events are read however they are cut', async () => {
  const text = ': hello\n\ndata: {"ä":1}\n\ndata:two\r\ndata: lines\r\n\r\nevent: x\ndata:  spaced\n\n: end\n\n'
  const expected = ['{"ä":1}', 'two\nlines', ' spaced']
  assert.deepEqual(await events(text, []), expected)
  const length = new TextEncoder().encode(text).length
  for (let cut = 1; cut < length; ++cut) assert.deepEqual(await events(text, [cut]), expected, `cut at ${cut}`)
  assert.deepEqual(await events(text, Array.from({ length: length - 1 }, (_, index) => index + 1)), expected)
})

test('chunks of a chat', () => {
  assert.deepEqual(readChunk('{"choices":[{"delta":{"content":"x","reasoning_content":null}}]}'), {
    content: 'x', reasoning: '', finish: undefined, usage: undefined,
  })
  assert.equal(readChunk('{"choices":[{"delta":{"reasoning":"y"}}]}').reasoning, 'y')
  assert.equal(readChunk('{"choices":[{"delta":{},"finish_reason":"stop"}]}').finish, 'stop')
  assert.deepEqual(readChunk('{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}').usage, {
    prompt: 3, cached: 0, completion: 4,
  })
  assert.throws(() => readChunk('{"error":{"message":"full"}}'), /full/)
  assert.throws(() => readChunk('{"error":"plain"}'), /plain/)
})

test('a request alternates roles, and holds files and settings', () => {
  const body = JSON.parse(
    requestBody('m', { system: 'Be brief.', temperature: 0.5, thinking: 'off' }, [
      message('one', null, { attachments: [{ name: 'n.md', text: 'a ```` b' }] }),
      message('x', 'one', { role: 'assistant', content: '' }),
      message('two', 'x'),
      message('three', 'two', { role: 'assistant', reasoning: 'hidden' }),
    ]),
  )
  assert.deepEqual(
    body.messages.map((one: { role: string }) => one.role),
    ['system', 'user', 'assistant'],
  )
  assert.equal(body.messages[1].content, 'File "n.md":\n`````\na ```` b\n`````\n\none\n\ntwo')
  assert.equal(body.messages[2].content, 'three')
  assert.equal(body.temperature, 0.5)
  assert.deepEqual(body.chat_template_kwargs, { enable_thinking: false })
  assert.equal('system' in body, false)
  assert.equal('thinking' in body, false)
})

test('numbers for people', () => {
  assert.equal(bytes(0), '0 bytes')
  assert.equal(bytes(1536), '1.5 KiB')
  assert.equal(bytes(25 * 1024 ** 3), '25.0 GiB')
  assert.equal(bytes(400 * 1024 ** 2), '400 MiB')
  assert.equal(parameters(4.02e9), '4.0 B')
  assert.equal(speed(123.4), '123')
  assert.equal(speed(12.34), '12.3')
  assert.equal(duration(9_000), '9.0 s')
  assert.equal(duration(61_000), '1 min 1 s')
  const noon = new Date(2026, 10, 21, 12)
  assert.equal(age(noon.getTime(), noon), 'Today')
  assert.equal(age(noon.getTime() - 86_400_000, noon), 'Yesterday')
  assert.equal(age(new Date(2026, 2, 3).getTime(), noon), 'March 2026')
})
