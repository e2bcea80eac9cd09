// Light, dark, or as the system says. public/theme.js applies it before the first paint.
import { Store } from './store'

export type Theme = 'system' | 'light' | 'dark'

function read(): Theme {
  const theme = document.documentElement.dataset.theme
  return theme === 'light' || theme === 'dark' ? theme : 'system'
}

export const theme = new Store<Theme>(read())

export function setTheme(next: Theme): void {
  theme.set(next)
  if (next === 'system') {
    delete document.documentElement.dataset.theme
    localStorage.removeItem('hearth.theme')
  } else {
    document.documentElement.dataset.theme = next
    localStorage.setItem('hearth.theme', next)
  }
}
