// The README's component and docs/frontends.md, as they are written there.

import { rm } from 'node:fs/promises'
import { callApi, expect, giveName, test } from '../support/world'
import { build, documented, MAIN, PAGE, project, readmeComponent, typeCheck } from '../support/written'

const folders: string[] = []
test.afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})
test.setTimeout(180_000)

async function written(files: Record<string, string>): Promise<string> {
  const folder = await project(files)
  folders.push(folder)
  return folder
}

const POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
const served = (dir: string) => `dir = "${dir}"\nheaders = { Content-Security-Policy = "${POLICY}" }`

test('all of it is well typed', async () => {
  const docs = await documented()
  const files = Object.fromEntries([...docs].filter(([name]) => /\.tsx?$/.test(name)).map(([name, body]) => [`src/${name}`, body]))
  expect(Object.keys(files).length).toBeGreaterThan(7)
  // Each recipe lies beside the files that it is told to lie beside.
  const beside = ['vue', 'angular', 'axios', 'query', 'form', 'step_up'].flatMap((recipe) =>
    ['session', 'api', 'useDraft'].map((name) => [`src/${recipe}/${name}.ts`, `export * from '../${name}'\n`]),
  )
  typeCheck(await written({ ...files, ...Object.fromEntries(beside) }))
})

test.describe('the README’s component, with the form of docs/frontends.md', () => {
  test.use({
    idleTimeout: '10s',
    frontend: async ({}, use) => {
      const form = (await documented()).get('form/OrderForm.tsx')!
      const folder = await written({
        'index.html': PAGE,
        'src/main.tsx': MAIN,
        'src/App.tsx': await readmeComponent(),
        'src/Orders.tsx': "export { OrderForm as Orders } from './OrderForm'\n",
        'src/OrderForm.tsx': form,
      })
      typeCheck(folder)
      await use(served(await build(folder)))
    },
  })

  test('signs in, keeps a form over an expiry, and sends it as the same user', async ({ page, context, world }) => {
    await page.goto(world.origin)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await giveName(page)
    await expect(page.getByText('Hello Alice Example')).toBeVisible()
    await page.getByLabel('Order').fill('three pears')
    await expect(page.getByRole('alert')).toContainText('Your session is over (expired).', { timeout: 20_000 })
    await page.getByRole('button', { name: 'Save' }).click()
    await expect(page.getByRole('status')).toHaveText('Not saved yet. Once signed in, press Save again.')

    // The provider still knows alice, so the window comes and goes.
    const opened = context.waitForEvent('page')
    await page.getByRole('button', { name: 'Sign in again' }).click()
    await opened
    await expect(page.getByRole('alert')).toHaveCount(0)
    await expect(page.getByLabel('Order')).toHaveValue('three pears')
    await page.getByRole('button', { name: 'Save' }).click()
    await expect(page.getByRole('status')).toHaveText('Saved.')
    expect(world.api.seen.filter(({ method }) => method === 'POST')).toHaveLength(1)
    await expect.poll(() => context.pages().length, { message: 'the window has closed itself' }).toBe(1)
  })

  test('finds what was typed again after a reload, and nothing that was emptied', async ({ page, world }) => {
    await page.goto(world.origin)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await giveName(page)
    for (const text of ['three pears', '']) {
      await page.getByLabel('Order').fill(text)
      await page.reload()
      await expect(page.getByLabel('Order')).toHaveValue(text)
    }
  })

  test('says what is wrong while nobody can tell who is signed in', async ({ page, world }) => {
    for (const [answer, said] of [
      [{ status: 503, json: { code: 'store_unavailable', detail: 'Your session cannot be looked up right now.' } }, 'cannot be looked up'],
      [{ status: 404, body: 'Not found' }, "Open bff's address, not Vite's"],
      [{ status: 200, contentType: 'text/html', body: '<!doctype html>' }, "Open bff's address, not Vite's"],
    ] as const) {
      await page.route('**/bff/session*', (route) => route.fulfill(answer))
      await page.goto(world.origin)
      await expect(page.getByRole('alert')).toContainText(said)
      await page.unrouteAll()
    }
  })
})

test.describe('plain JavaScript', () => {
  test.use({
    frontend: async ({}, use) => {
      const docs = await documented()
      await use(served(await written({ 'index.html': docs.get('plain/index.html')!, 'app.js': docs.get('plain/app.js')! })))
    },
  })

  test('signs in, calls the API, hears of the end, and signs out', async ({ page, context, world }) => {
    await page.goto(world.origin)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await giveName(page)
    await expect(page.getByRole('status')).toHaveText('Hello Alice Example')
    await page.getByRole('button', { name: 'Call the API' }).click()
    await expect(page.locator('#answer')).toContainText('"bearer":true')

    const tab = await context.newPage()
    await tab.goto(world.origin)
    await tab.getByRole('button', { name: 'Sign out' }).click()
    await expect(page.getByRole('status')).toHaveText('Your session is over: logout.')
    await tab.getByRole('button', { name: 'Sign out here too' }).click()
    await expect(tab.getByRole('status')).toHaveText('Nobody is signed in.')
  })
})

// One page each, which shows the name and calls the API with the client that the recipe makes.
const CLIENTS: Record<string, { recipes: string[]; main: string }> = {
  vue: {
    recipes: ['vue/useSession.ts'],
    main: `import { createApp, defineComponent, h } from 'vue'
import { apiJson } from '../api'
import { useSession } from './useSession'
createApp(defineComponent(() => {
  const { state, login } = useSession()
  const call = () => apiJson('/api/hello').catch(() => {})
  return () => state.value.user
    ? h('p', [state.value.ended ? 'Over: ' + state.value.ended.reason : 'Hello ' + state.value.user.name, h('button', { onClick: call }, 'Call')])
    : h('button', { onClick: () => login() }, 'Sign in')
})).mount('#root')`,
  },
  axios: {
    recipes: ['axios/http.ts'],
    main: `import { current, login, subscribe } from '../session'
import { http } from './http'
const root = document.getElementById('root')
function show() {
  const { user, ended } = current()
  const text = document.createElement('p'), button = document.createElement('button')
  text.textContent = ended ? 'Over: ' + ended.reason : user ? 'Hello ' + user.name : ''
  button.textContent = user ? 'Call' : 'Sign in'
  button.onclick = () => (user ? http.get('/api/hello').catch(() => {}) : login())
  root.replaceChildren(text, button)
}
subscribe(show)`,
  },
  query: {
    recipes: ['query/queryClient.ts', 'query/Orders.tsx'],
    main: `import { QueryClientProvider } from '@tanstack/react-query'
import { createRoot } from 'react-dom/client'
import { useSession } from '../useSession'
import { Orders } from './Orders'
import { queryClient } from './queryClient'
function App() {
  const { user, ended, login } = useSession()
  if (!user) return <button onClick={() => login()}>Sign in</button>
  return <QueryClientProvider client={queryClient}>
    <p>{ended ? 'Over: ' + ended.reason : 'Hello ' + user.name}</p><Orders key={user.sub} />
    <button onClick={() => queryClient.refetchQueries()}>Call</button>
  </QueryClientProvider>
}
createRoot(document.getElementById('root')!).render(<App />)`,
  },
}

for (const [name, { recipes, main }] of Object.entries(CLIENTS)) {
  test.describe(name, () => {
    test.use({
      frontend: async ({}, use) => {
        const docs = await documented()
        const files = recipes.map((recipe) => [`src/${recipe}`, docs.get(recipe)!.replaceAll("from './session'", "from '../session'").replaceAll("from './api'", "from '../api'")])
        const page = PAGE.replace('/src/main.tsx', `/src/${name}/main.tsx`)
        await use(served(await build(await written({ 'index.html': page, [`src/${name}/main.tsx`]: main, ...Object.fromEntries(files) }))))
      },
    })

    test('calls arrive with a token, and the one that is refused tells the page why', async ({ page, world }) => {
      await page.goto(world.origin)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await giveName(page)
      await expect(page.getByText('Hello Alice Example')).toBeVisible()
      await page.getByRole('button', { name: 'Call' }).click()
      await expect.poll(() => world.api.seen.at(-1)?.token, { message: 'the API got a token' }).toBeTruthy()
      // No stream will say it before the call does.
      await page.route('**/bff/session/events', (route) => route.abort())
      await page.reload()
      await expect(page.getByText('Hello Alice Example')).toBeVisible()
      const cookies = await page.context().cookies()
      await callApi(page)
      await page.evaluate(async () => (await fetch('/bff/logout', { method: 'POST', headers: { 'X-CSRF': '1' } })).text())
      await page.context().addCookies(cookies)
      await page.getByRole('button', { name: 'Call' }).click()
      await expect(page.getByText('Over: logout')).toBeVisible()
    })
  })
}

const MUI = `import { Alert, Button } from '@mui/material'
import { useState } from 'react'
export default function App() {
  const [count, setCount] = useState(0)
  return <><Button variant="contained" onClick={() => setCount(count + 1)}>Pressed {count}</Button><Alert severity="info">Styled</Alert></>
}
`

test.describe('MUI and Emotion under the policy of docs/frontends.md', () => {
  test.use({
    frontend: async ({}, use) => {
      const dir = await build(await written({ 'index.html': PAGE, 'src/main.tsx': MAIN, 'src/App.tsx': MUI }))
      await use((await documented()).get('mui')!.replace('[frontend]\n', '').replace('"dist"', `"${dir}"`))
    },
  })

  test('are styled, and the browser complains of nothing', async ({ page, world }) => {
    await page.goto(world.origin)
    const button = page.getByRole('button', { name: 'Pressed 0' })
    await expect(button).toHaveCSS('background-color', 'rgb(25, 118, 210)')
    await button.click()
    await expect(page.getByRole('button', { name: 'Pressed 1' })).toBeVisible()
  })

  test('and a style that somebody else writes is still refused', async ({ browser, world }) => {
    const context = await browser.newContext() // which is not watched for complaints
    const page = await context.newPage()
    await page.goto(world.origin)
    await expect(page.getByRole('alert')).toBeVisible()
    const refused = await page.evaluate(
      () =>
        new Promise<string>((resolve) => {
          document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective))
          const style = document.createElement('style')
          style.textContent = 'body { display: none }'
          document.head.append(style)
        }),
    )
    expect(refused).toBe('style-src-elem')
    await expect(page.getByRole('alert')).toBeVisible()
    await context.close()
  })
})
