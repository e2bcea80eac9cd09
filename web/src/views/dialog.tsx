// A modal dialog on the browser's own: focus, Escape and the background are taken care of.
import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { Icon } from './icons'

export function Dialog({
  title,
  close,
  children,
  side = false,
}: {
  title: string
  close: () => void
  children: ComponentChildren
  side?: boolean
}) {
  const element = useRef<HTMLDialogElement>(null)
  // Not after the next frame: a key pressed at once must find it open.
  useLayoutEffect(() => {
    const dialog = element.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog
      ref={element}
      class={side ? 'dialog side' : 'dialog'}
      aria-label={title}
      onClose={close}
      onClick={(event) => event.target === element.current && close()}
    >
      <div class="dialog-body">
        <header>
          <h2>{title}</h2>
          <button type="button" class="quiet" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  )
}
