// hearth serve for a test: in a home of its own, on a free port, with the tiny models.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeModels } from './models.mjs'

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
  return { url, stop, log: () => log, exited: () => child.exitCode ?? child.signalCode }
}
