import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig, type Plugin } from 'vite'

/** The folder of the npm package that a module belongs to. */
function packageFolder(module: string): string | null {
  if (module.startsWith('\0vite/')) return 'node_modules/vite' // its helper for dynamic imports
  const end = module.lastIndexOf('/node_modules/')
  if (end < 0) return null
  const parts = module.slice(end + '/node_modules/'.length).split('/')
  const name = parts[0].startsWith('@') ? parts.slice(0, 2) : parts.slice(0, 1)
  return join(module.slice(0, end), 'node_modules', ...name)
}

function licence(folder: string): string {
  const name = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file))
  if (!name) throw new Error(`${folder} has no licence file; hearth licenses must print one`)
  // Vite lists the licences of the tools it is built from, too; none of their code is in the page.
  return readFileSync(join(folder, name), 'utf8').split('# Licenses of bundled dependencies')[0].trim()
}

/** Collects the notices of every package whose code is in the page: hearth licenses prints them. */
function notices(): Plugin {
  return {
    name: 'hearth-notices',
    generateBundle(_options, bundle) {
      const folders = new Set<string>()
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== 'chunk') continue
        for (const module of chunk.moduleIds) {
          const folder = packageFolder(module.split('?')[0].replace(/^\0(?!vite\/)/, ''))
          if (folder && existsSync(join(folder, 'package.json'))) folders.add(folder)
        }
      }
      const texts = [...folders].sort().map((folder) => {
        const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
        return `${name} ${version} (npm)\n\n${licence(folder)}\n`
      })
      this.emitFile({ type: 'asset', fileName: 'notices.txt', source: texts.join(`\n${'-'.repeat(80)}\n\n`) })
    },
  }
}

export default defineConfig({
  base: '/',
  plugins: [notices()],
  build: {
    target: 'es2021',
    // Everything is embedded in the program and served from one place: inlining would only need a
    // weaker content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 400,
  },
})
