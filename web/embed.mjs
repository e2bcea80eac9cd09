// node embed.mjs DIST OUT: writes OUT/page_files.cpp, which holds the files of DIST, plain and compressed, for
// src/serve/page.h. The bytes are brought in by the assembler (.incbin), which is much faster than a literal.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { extname, join, resolve } from 'node:path'
import { constants, gzipSync } from 'node:zlib'
import { contentTypes } from './content_types.mjs'

const [dist, out] = process.argv.slice(2).map((path) => resolve(path))
const compressed = `${dist}-gzip`
rmSync(compressed, { recursive: true, force: true })
mkdirSync(compressed)
mkdirSync(out, { recursive: true })
const names = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(dist.length + 1))
  .sort()

let symbols = 0
const assembly = []
const declarations = []

/** Brings in a file; the C++ expression of its bytes. */
function bring(path) {
  const symbol = `hearth_page_${(symbols += 1)}`
  if (/["\\]/.test(path)) throw new Error(`a path with quotes cannot be embedded: ${path}`)
  assembly.push(`${symbol}:\\n.incbin \\"${path}\\"\\n${symbol}_end:\\n.byte 0\\n`)
  declarations.push(`extern const char ${symbol}[], ${symbol}_end[];`)
  return `text(${symbol}, ${symbol}_end)`
}

const rows = []
let notices = '{}'
for (const name of names) {
  const path = join(dist, name)
  if (name === 'notices.txt') {
    notices = bring(path)
    continue
  }
  const type = contentTypes[extname(name)]
  if (!type) throw new Error(`${name}: a file of an unknown type`)
  const bytes = readFileSync(path)
  const small = gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION })
  let gzip = '{}'
  if (small.length < bytes.length) {
    const target = join(compressed, `${name.replaceAll('/', '_')}.gz`)
    writeFileSync(target, small)
    gzip = bring(target)
  }
  const etag = createHash('sha256').update(bytes).digest('hex').slice(0, 24)
  const address = name === 'index.html' ? '/' : `/${name}`
  rows.push(
    `      {"${address}", "${type}", "\\"${etag}\\"",\n       ${bring(path)},\n       ${gzip}, ${name.startsWith('assets/')}},`,
  )
}

writeFileSync(
  join(out, 'page_files.cpp'),
  `// Made by web/embed.mjs.
#include <array>

#include "serve/page.h"

__asm__(
    ".section .rodata\\n"
${assembly.map((text) => `    "${text}"`).join('\n')}
    ".text\\n");

extern "C" {
${declarations.join('\n')}
}

namespace hearth::serve {
namespace {

std::string_view text(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

std::span<const PageFile> page_files() noexcept {
  static const std::array<PageFile, ${rows.length}> files = {{
${rows.join('\n')}
  }};
  return files;
}

std::string_view page_notices() noexcept { return ${notices}; }

}  // namespace hearth::serve
`,
)
