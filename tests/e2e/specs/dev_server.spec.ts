import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { freePort } from '../support/ports'
import { expect, signIn, test as base } from '../support/world'

const REACT = resolve(import.meta.dirname, '../../../examples/react')

/** Vite's dev server over a copy of the example, which a test may edit. */
const test = base.extend<{ vite: { folder: string; port: number } }>({
  vite: async ({}, use) => {
    const folder = await mkdtemp(join(tmpdir(), 'bff-vite-'))
    for (const name of ['index.html', 'package.json', 'public', 'src']) await cp(join(REACT, name), join(folder, name), { recursive: true })
    await symlink(join(REACT, 'node_modules'), join(folder, 'node_modules'))
    const load = (path: string) => import(pathToFileURL(join(REACT, 'node_modules', path)).href)
    const [{ createServer }, { default: react }] = await Promise.all([load('vite/dist/node/index.js'), load('@vitejs/plugin-react/dist/index.js')])
    const port = await freePort()
    const server = await createServer({
      root: folder,
      configFile: false,
      cacheDir: join(folder, '.vite'),
      logLevel: 'error',
      plugins: [react()],
      server: { host: '127.0.0.1', port, strictPort: true, fs: { allow: [folder, REACT] } },
    })
    await server.listen()
    await use({ folder, port })
    await server.close()
    await rm(folder, { recursive: true, force: true })
  },
  frontend: async ({ vite }, use) => use(`upstream = "http://127.0.0.1:${vite.port}"`),
})

test('a page that is opened at the dev server’s own address says which one to open', async ({ page, vite }) => {
  await page.goto(`http://127.0.0.1:${vite.port}/`)
  await expect(page.getByRole('alert')).toContainText("Open bff's address, not Vite's")
})

test('the dev server works behind bff, and an edit updates the page in place', async ({ page, world, vite }) => {
  const sockets: string[] = []
  page.on('websocket', (socket) => sockets.push(socket.url()))
  await signIn(page, world)
  await expect(page.getByRole('heading', { name: 'Call the API' })).toBeVisible()
  expect(sockets.length, 'Vite has opened its socket').toBeGreaterThan(0)
  for (const url of sockets) expect(new URL(url).host, 'through bff').toBe(new URL(world.origin).host)

  await page.evaluate(() => Object.assign(window, { stillThisPage: true }))
  const file = join(vite.folder, 'src/components/ApiPanel.tsx')
  await writeFile(file, (await readFile(file, 'utf8')).replace('<h2>Call the API</h2>', '<h2>Call your API</h2>'))
  await expect(page.getByRole('heading', { name: 'Call your API' })).toBeVisible()
  expect(await page.evaluate(() => 'stillThisPage' in window), 'without a reload').toBe(true)

  await page.getByRole('button', { name: 'GET /api/hello' }).click()
  await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
})
