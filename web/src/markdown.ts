// Markdown to safe HTML, block by block, so that a growing answer renders only its last block anew.
import DOMPurify from 'dompurify'
import { Marked, type Tokens } from 'marked'
import { Store } from './store'

const LARGEST_HIGHLIGHTED = 30_000

type Highlight = (code: string, language: string) => string | null
/** Null until the chunk is there; views render again then. */
export const highlighter = new Store<Highlight | null>(null)
let fetching = false

function fetchHighlighter(): void {
  if (fetching) return
  fetching = true
  import('./highlight').then(
    (module) => highlighter.set(module.highlight),
    () => undefined, // code stays plain
  )
}

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

function codeHtml(text: string, language: string): string {
  if (language) fetchHighlighter()
  const known = text.length <= LARGEST_HIGHLIGHTED ? highlighter.get()?.(text, language.toLowerCase()) : null
  return (
    `<div class="code"><div class="code-head"><span>${escape(language) || 'text'}</span>` +
    `<button type="button" class="code-copy" data-copy="">Copy</button></div>` +
    `<pre tabindex="0"><code>${known ?? escape(text)}</code></pre></div>`
  )
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    code({ text, lang }: Tokens.Code) {
      return codeHtml(text, (lang ?? '').trim().split(/\s/)[0])
    },
    // A model's HTML is text like any other.
    html({ text }: Tokens.HTML | Tokens.Tag) {
      return escape(text)
    },
    // Pictures from elsewhere would tell who looks at them: a link does not.
    image({ href, text }: Tokens.Image) {
      return `<a href="${escape(href)}">${escape(text || href)}</a>`
    },
    table(token: Tokens.Table) {
      const row = (cells: Tokens.TableCell[], tag: string) =>
        `<tr>${cells
          .map(
            (cell) =>
              `<${tag}${cell.align ? ` align="${cell.align}"` : ''}>${this.parser.parseInline(cell.tokens)}</${tag}>`,
          )
          .join('')}</tr>`
      return (
        `<div class="table" tabindex="0"><table><thead>${row(token.header, 'th')}</thead>` +
        `<tbody>${token.rows.map((cells) => row(cells, 'td')).join('')}</tbody></table></div>`
      )
    },
  },
})

DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return
  node.setAttribute('target', '_blank')
  node.setAttribute('rel', 'noopener noreferrer nofollow')
})

function sanitise(html: string): string {
  return DOMPurify.sanitize(html, {
    RETURN_TRUSTED_TYPE: true,
    ALLOWED_TAGS: [
      'a', 'b', 'blockquote', 'br', 'button', 'code', 'del', 'div', 'em', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'i',
      'input', 'li', 'ol', 'p', 'pre', 's', 'span', 'strong', 'sub', 'sup', 'table', 'tbody', 'td', 'th', 'thead', 'tr',
      'ul',
    ],
    ALLOWED_ATTR: ['align', 'checked', 'class', 'data-copy', 'disabled', 'href', 'start', 'tabindex', 'type'],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
  }) as unknown as string // a TrustedHTML where browsers have it: innerHTML takes both
}

export interface Block {
  raw: string
  html: string
}

/** The blocks of `text`; those of `before` that did not change are taken over as they are. */
export function blocks(text: string, before: Block[]): Block[] {
  const tokens = marked.lexer(text)
  // References ("[1]: https://…") belong to the whole text.
  const { links } = tokens
  const linked = Object.keys(links).length > 0
  const result: Block[] = []
  for (const token of tokens) {
    if (token.type === 'space' || token.type === 'def') continue
    const known = before[result.length]
    if (!linked && known?.raw === token.raw) {
      result.push(known)
      continue
    }
    const html = marked.parser(Object.assign([token], { links }))
    result.push({ raw: token.raw, html: sanitise(html) })
  }
  return result
}
