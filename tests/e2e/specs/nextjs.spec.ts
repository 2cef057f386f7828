// The Next.js example, built, behind `bff dev`. tests/e2e/nextjs.sh builds it and runs this; without, it is skipped.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { get, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import { resolve } from 'node:path'
import { expect, test as base, type Page } from '@playwright/test'
import { startBffDevWith } from '../support/bff'
import { freePort } from '../support/ports'

const APP = resolve(import.meta.dirname, '../../../examples/nextjs')

base.skip(!process.env.NEXTJS, 'tests/e2e/nextjs.sh builds the app and runs this')

const test = base.extend<{ origin: string }>({
  origin: async ({ context }, use) => {
    const complaints: string[] = []
    context.on('weberror', (error) => complaints.push(String(error.error())))
    const [port, next, api] = [await freePort(), await freePort(), await freePort()]
    const started = [
      start(['api/server.mjs'], { PORT: String(api) }),
      start(['node_modules/next/dist/bin/next', 'start', '--hostname', '127.0.0.1', '--port', String(next)], {
        API_URL: `http://127.0.0.1:${api}`,
      }),
    ]
    const written = await readFile(resolve(APP, 'bff.toml'), 'utf8')
    const configuration = written.replaceAll(':8080', `:${port}`).replaceAll(':3000', `:${next}`)
    const bff = await startBffDevWith(configuration, port)
    await answers(`http://127.0.0.1:${next}/`)
    await answers(`http://127.0.0.1:${api}/orders`)
    await use(bff.publicUrl)
    await bff.stop()
    for (const child of started) await stop(child)
    expect(complaints).toEqual([])
    expect(bff.output()).not.toContain('panicked at')
  },
})

test('pages are rendered for whoever is signed in, and for nobody', async ({ page, origin }) => {
  const seen = watchForTokens(page)
  await page.goto(origin)
  await expect(page.getByText('Nobody is signed in.')).toBeVisible()

  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: /^alice/i }).click()
  await expect(page.getByText('Order 17: three lamps')).toBeVisible()
  const html = await (await page.goto(origin))!.text()
  expect(html.replaceAll('<!-- -->', ''), 'by the server, from the API').toContain('Order 17: three lamps')

  await page.getByRole('link', { name: 'Members' }).click()
  await expect(page.getByRole('heading', { name: 'Members' })).toBeVisible()
  await expect(page.getByText('Order 18: a chair')).toBeVisible()
  await page.getByRole('link', { name: 'Home' }).click()

  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.goto(origin)
  await expect(page.getByText('Nobody is signed in.')).toBeVisible()
  await expect(page.getByText('Order 17')).toBeHidden()
  expect(await seen(), 'what looks like a token').toEqual([])
})

test('a page for members begins the login, and is reached by it', async ({ page, origin }) => {
  await page.goto(`${origin}/members`)
  await page.getByRole('button', { name: /^bob/i }).click()
  await expect(page).toHaveURL(`${origin}/members`)
  await expect(page.getByText('Order 17: three lamps')).toBeVisible()
})

test('a link of the router to a page for members begins the login too', async ({ page, origin }) => {
  await page.goto(origin)
  await page.getByRole('link', { name: 'Members' }).click()
  await page.getByRole('button', { name: /^alice/i }).click()
  await expect(page.getByRole('heading', { name: 'Members' })).toBeVisible()
})

test("a Server Action sets a cookie of the app's own", async ({ page, context, origin }) => {
  await page.goto(origin)
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'light')
  await page.getByRole('button', { name: 'Change the theme' }).click()
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark')
  await page.reload()
  await expect(page.locator('html'), 'rendered so by the server').toHaveAttribute('data-theme', 'dark')
  const theme = (await context.cookies()).find((cookie) => cookie.name === 'theme')
  expect(theme).toMatchObject({ value: 'dark', domain: 'localhost', httpOnly: true })
})

test('who does not send Fetch Metadata is served all the same', async ({ page, context, origin }) => {
  const HTML = { accept: 'text/html,application/xhtml+xml' }
  for (const headers of [{}, { accept: '*/*' }, HTML]) {
    const answer = await ask(`${origin}/`, headers)
    expect([answer.status, answer.text.includes('Nobody is signed in.')]).toEqual([200, true])
  }
  const members = await ask(`${origin}/members`, HTML)
  expect(members.status, 'an older browser is sent to sign in').toBe(303)
  const script = /\/_next\/static\/[^"]+\.js/.exec((await ask(`${origin}/`, HTML)).text)![0]
  expect((await ask(origin + script, {})).status).toBe(200)

  await page.goto(`${origin}/bff/login?login_hint=alice&return_to=/`)
  await expect(page.getByText('Order 17')).toBeVisible()
  const cookie = (await context.cookies(origin)).map(({ name, value }) => `${name}=${value}`).join('; ')
  const home = await ask(`${origin}/`, { ...HTML, cookie })
  expect(home.text.replaceAll('<!-- -->', ''), 'an older browser that is signed in').toContain('Order 17')
  const fetched = { accept: '*/*', rsc: '1', cookie }
  // Next sends a router that guessed `_rsc` to the right one.
  const guessed = await ask(`${origin}/members?_rsc=1`, { ...fetched, referer: `${origin}/` })
  const right = new URL(guessed.headers.location ?? '', origin).href
  const routed = await ask(right, { ...fetched, referer: `${origin}/` })
  expect([guessed.status, routed.status, routed.text.includes('three lamps')], "its router's fetch").toEqual([307, 200, true])
  const forged = await ask(right, { ...fetched, referer: 'https://evil.example/' })
  expect(forged.status, 'from elsewhere').toBe(403)
  const out = await ask(`${origin}/bff/logout`, { 'x-csrf': '1', cookie }, 'POST')
  expect(out.status).toBe(200)
  const after = await ask(`${origin}/`, { ...HTML, cookie })
  expect(after.text).toContain('Nobody is signed in.')
})

function start(args: string[], env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, args, {
    cwd: APP,
    env: { PATH: process.env.PATH, NEXT_TELEMETRY_DISABLED: '1', ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return child
}

async function stop(child: ChildProcess) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

async function answers(url: string) {
  await expect.poll(() => ask(url, {}).then(({ status }) => status > 0, () => false), { timeout: 30_000 }).toBe(true)
}

/** As a program asks that sends nothing of itself. Node's `fetch` sends Fetch Metadata. */
function ask(url: string, headers: OutgoingHttpHeaders, method = 'GET') {
  return new Promise<{ status: number; headers: IncomingHttpHeaders; text: string }>((done, failed) => {
    const asked = get(url, { headers, method }, async (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      for await (const piece of answer) text += piece
      done({ status: answer.statusCode ?? 0, headers: answer.headers, text })
    })
    asked.on('error', failed)
  })
}

/** Whatever the page receives is searched for a bearer token. */
function watchForTokens(page: Page) {
  const bodies: Promise<string>[] = []
  page.on('response', (response) => {
    if (response.status() < 300) bodies.push(response.text().catch(() => ''))
  })
  return async () => (await Promise.all(bodies)).filter((body) => /Bearer [\w-]{16,}/.test(body))
}
