// node test/run.mjs: bundles test/logic.test.ts with the esbuild that Vite brings, and runs it.
import { build } from 'esbuild'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const folder = await mkdtemp(join(tmpdir(), 'hearth-page-'))
process.on('exit', () => void rm(folder, { recursive: true, force: true }))
const outfile = join(folder, 'logic.test.mjs')
await build({
  entryPoints: [fileURLToPath(new URL('logic.test.ts', import.meta.url))],
  bundle: true,
  platform: 'node',
  format: 'esm',
  outfile,
  logLevel: 'warning',
})
await import(pathToFileURL(outfile))
