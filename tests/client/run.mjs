// node run.mjs HEARTH SCRIPT: starts HEARTH serve, creates the models of check.mjs and runs SCRIPT.mjs, in a process of
// its own. Exits with 0 when it passed and the server is still well.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createSeeded, startHearth } from './server.mjs'

const [program, script] = process.argv.slice(2)
const hearth = await startHearth(program)
await createSeeded(hearth.url, hearth.models)
const child = spawn(process.execPath, [fileURLToPath(new URL(`${script}.mjs`, import.meta.url))], {
  env: { ...process.env, HEARTH_URL: hearth.url },
  stdio: 'inherit',
})
let code = await new Promise((resolve) => child.once('exit', (status) => resolve(status ?? 1)))
if (hearth.exited() !== null) {
  console.error(`hearth serve ended by itself (${hearth.exited()})`)
  code = 1
} else {
  const health = await fetch(`${hearth.url}/health`)
  if (!health.ok) code = 1
}
await hearth.stop()
if (code !== 0) console.error(`--- what hearth serve said:\n${hearth.log()}`)
process.exit(code)
