// Before the first paint: the theme that was chosen, if one was. (A module would run too late.)
try {
  const theme = localStorage.getItem('hearth.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // Storage is switched off: the system's theme.
}
