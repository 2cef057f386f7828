import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  plugins: [react()],
  // The port that `[frontend] upstream` in bff.toml names. Open bff's address in the browser, never this one:
  // the page, its session and its hot updates all travel through bff.
  server: { port: 5173, strictPort: true },
  build: {
    // A `data:` URL would need `img-src data:` in the Content-Security-Policy.
    assetsInlineLimit: 0,
  },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'] },
})
