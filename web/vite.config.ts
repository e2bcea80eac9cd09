import { defineConfig } from 'vite'

export default defineConfig({
  base: '/',
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
