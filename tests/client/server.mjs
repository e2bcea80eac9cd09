// hearth serve for a test: in a home of its own, on a free port, with the tiny models.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeModels } from './models.mjs'

/**
 * Models like `models` (paths by name) whose seed is always the same: "tiny-chat" becomes "chat". A random seed would end
 * an answer, or its reasoning, before the first word once in a while.
 */
export async function createSeeded(url, models) {
  for (const [name, path] of Object.entries(models)) {
    const file = await readFile(path)
    const digest = `sha256:${createHash('sha256').update(file).digest('hex')}`
    const post = async (where, body) => {
      const reply = await fetch(`${url}${where}`, { method: 'POST', body })
      if (!reply.ok) throw new Error(`${where} of ${name}: ${await reply.text()}`)
    }
    await post(`/api/blobs/${digest}`, file)
    const files = { [`${name}.gguf`]: digest }
    await post('/api/create', JSON.stringify({ model: name.replace('tiny-', ''), files, parameters: { seed: 3 }, stream: false }))
  }
}

/** Starts it; resolves when it listens. */
export async function startHearth(program, options = []) {
  const home = await mkdtemp(join(tmpdir(), 'hearth-client-'))
  const models = await makeModels(home)
  const environment = { PATH: process.env.PATH, HOME: home, HEARTH_OFFLINE: '1', HEARTH_NO_MEASUREMENTS: '1' }
  const child = spawn(
    program,
    ['serve', ...Object.values(models), '--port', '0', '--ctx', '4096', '--keep-alive', '-1', ...options],
    { env: environment, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let log = ''
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await new Promise((resolve) => child.once('exit', resolve))
    }
    await rm(home, { recursive: true, force: true })
  }
  const url = await new Promise((resolve, reject) => {
    child.stderr.on('data', (part) => (log += part))
    child.stdout.on('data', (part) => {
      log += part
      const found = log.match(/Hearth is at (http:\/\/\S+)/)
      if (found) resolve(found[1].replace(/\/$/, ''))
    })
    child.once('exit', (code) => reject(new Error(`hearth serve ended with ${code}:\n${log}`)))
    child.once('error', reject)
  }).catch(async (error) => {
    await stop()
    throw error
  })
  return { url, models, stop, log: () => log, exited: () => child.exitCode ?? child.signalCode }
}
