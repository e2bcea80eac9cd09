import { memo } from './memo'
import { useRef } from 'preact/hooks'
import { blocks, highlighter, type Block } from '../markdown'
import { useStore } from '../store'

const BlockView = memo(({ html }: { html: string }) => (
  <div class="block" dangerouslySetInnerHTML={{ __html: html }} />
))

export function Markdown({ text }: { text: string }) {
  const painter = useStore(highlighter)
  const last = useRef<{ painter: unknown; blocks: Block[] }>({ painter, blocks: [] })
  const known = last.current.painter === painter ? last.current.blocks : []
  last.current = { painter, blocks: blocks(text, known) }
  return (
    <div class="markdown">
      {last.current.blocks.map((block, index) => (
        <BlockView key={index} html={block.html} />
      ))}
    </div>
  )
}
