import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { keyWanted, rememberKey } from './api'
import { focusWanted, route, shortcutsOpen, sidebarOpen, start } from './app'
import { useStore } from './store'
import './styles/tokens.css'
import './styles/base.css'
import './styles/layout.css'
import './styles/chat.css'
import './styles/pages.css'
import { dismiss, toasts } from './toasts'
import { ChatPage } from './views/chat'
import { Dialog } from './views/dialog'
import { MachinePage } from './views/machine'
import { ModelsPage } from './views/models'
import { newChat, Sidebar } from './views/sidebar'

function Toasts() {
  const list = useStore(toasts)
  return (
    <div class="toasts" role="status">
      {list.map((toast) => (
        <div key={toast.id} class={`toast ${toast.tone}`}>
          <span>{toast.text}</span>
          {toast.action && (
            <button
              type="button"
              onClick={() => {
                toast.action?.run()
                dismiss(toast.id)
              }}
            >
              {toast.action.label}
            </button>
          )}
        </div>
      ))}
    </div>
  )
}

function KeyDialog() {
  return (
    <Dialog title="This Hearth asks for a key" close={() => keyWanted.set(false)}>
      <form
        class="key-form"
        onSubmit={(event) => {
          event.preventDefault()
          rememberKey(String(new FormData(event.currentTarget).get('key') ?? '').trim())
          void start()
        }}
      >
        <label for="key">The key that was given to hearth serve with --api-key</label>
        <input id="key" name="key" type="password" autocomplete="current-password" required />
        <button type="submit" class="primary">
          Continue
        </button>
      </form>
    </Dialog>
  )
}

const shortcuts: [string, string][] = [
  ['Enter', 'Send'],
  ['Shift Enter', 'New line'],
  ['Esc', 'Stop the answer'],
  ['↑', 'Edit the last message (in an empty box)'],
  ['/', 'Write'],
  ['Ctrl K', 'Search conversations'],
  ['Alt N', 'New conversation'],
  ['?', 'This list'],
]

function Shortcuts() {
  return (
    <Dialog title="Keys" close={() => shortcutsOpen.set(false)}>
      <dl class="shortcuts">
        {shortcuts.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(' ').map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  )
}

function onKey(event: KeyboardEvent): void {
  if (event.isComposing || document.querySelector('dialog[open]')) return
  const typing = (event.target as HTMLElement).closest?.('input, textarea, select') !== null
  const focus = (id: string) => {
    focusWanted.set(false)
    document.getElementById(id)?.focus()
    event.preventDefault()
  }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    sidebarOpen.set(matchMedia('(max-width: 800px)').matches)
    focus('search')
  } else if (event.altKey && event.code === 'KeyN') {
    event.preventDefault()
    newChat()
  } else if (event.key === 'Escape') {
    sidebarOpen.set(false)
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    if (event.key === '/') focus('composer')
    if (event.key === '?') shortcutsOpen.set(true)
  }
}

function App() {
  const place = useStore(route)
  const wanted = useStore(keyWanted)
  const keys = useStore(shortcutsOpen)
  useEffect(() => {
    addEventListener('keydown', onKey)
    void start()
    return () => removeEventListener('keydown', onKey)
  }, [])
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          document.getElementById('main')?.focus()
        }}
      >
        Skip to the content
      </a>
      <Sidebar />
      <div class="stage">
        {place.page === 'chat' && <ChatPage id={place.id} />}
        {place.page === 'models' && <ModelsPage />}
        {place.page === 'machine' && <MachinePage />}
      </div>
      <Toasts />
      {wanted && <KeyDialog />}
      {keys && <Shortcuts />}
    </>
  )
}

const root = document.getElementById('app')
if (root) render(<App />, root)
