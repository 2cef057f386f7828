// Everything that a test needs, its own: a provider, an API, bff, and a browser that is watched for leaks.

import { test as base, expect, type BrowserContext, type BrowserContextOptions, type Page } from '@playwright/test'
import { resolve } from 'node:path'
import { startApi, type RunningApi } from './api'
import { ADMIN_KEY, originOf, SESSION_KEY, startBff, type RunningBff, type Store } from './bff'
import { find, watch } from './leaks'
import { freePort } from './ports'
import { CLIENT_SECRET, startProvider, type BackchannelLogout, type RunningProvider } from './provider'
import { startRedis } from './redis'

export { expect }

export interface World {
  bff: RunningBff
  /** Of several, the first. */
  provider: RunningProvider
  /** Every token that any of them has given out. */
  tokens: () => string[]
  api: RunningApi
  /** The origin that the browser sees. */
  origin: string
  /** That and those of the sites beside it. */
  origins: string[]
  /** Where administration is, with `administered`. */
  adminOrigin: string
}

interface Options {
  accessTokenSeconds: number
  refreshBefore: string
  idleTimeout: string
  /** More lines of the `[session]` table. */
  session: string
  store: Store['kind']
  administered: boolean
  backchannelLogout: BackchannelLogout
  oldForm: 'fails' | 'asks-anew'
  tls: boolean
  /** Sites beside it: `shop` is at shop.localhost. */
  sites: string[]
  /** The `[frontend]` table; null takes the built React example. */
  frontend: string | null
  /** Several providers, by what bff calls them, each with lines of its own; none: the one. */
  providers: Record<string, string>
}

/** The build of the React example. */
export const DIST = resolve(import.meta.dirname, '../../../examples/react/dist')

// The one that examples/react/bff.toml proposes.
const POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

/** Three ways to sign in: one with a picture, one with a long name, one with nothing said of it. */
export const WAYS_IN = {
  staff: 'label = "Staff of Example Corporation"\nlogo = "/favicon.svg"',
  customers: 'label = "Customers, partners and everybody else whom somebody invited to have a look"',
  google: '',
}

interface Fixtures {
  world: World
  /** Opens one more browser, which shares no cookie with the others, and is as well watched. */
  anotherBrowser: (options?: BrowserContextOptions) => Promise<Page>
}

export const test = base.extend<Options & Fixtures>({
  accessTokenSeconds: [300, { option: true }],
  refreshBefore: ['60s', { option: true }],
  idleTimeout: ['30m', { option: true }],
  session: ['', { option: true }],
  store: ['memory', { option: true }],
  administered: [false, { option: true }],
  backchannelLogout: ['none', { option: true }],
  oldForm: ['fails', { option: true }],
  tls: [false, { option: true }],
  sites: [[], { option: true }],
  frontend: [null, { option: true }],
  providers: [{}, { option: true }],

  world: [
    async ({ accessTokenSeconds, refreshBefore, idleTimeout, session, store, administered, backchannelLogout, oldForm, tls, sites, frontend, providers }, use) => {
      const port = await freePort()
      const adminPort = administered ? await freePort() : null
      const redis = store === 'redis' ? await startRedis() : null
      // Two sites, as in life: bff on localhost, the provider on 127.0.0.1. Strict cookies do not cross.
      const publicUrl = originOf({ port, tls })
      const beside = Object.fromEntries(sites.map((name) => [name, originOf({ port, tls }, name)]))
      const start = (name?: string) => startProvider({ publicUrl, sites: beside, accessTokenSeconds, backchannelLogout, oldForm, name })
      const named = await Promise.all(Object.entries(providers).map(async ([name, lines]) => ({ name, lines, running: await start(name) })))
      const all = named.length ? named.map(({ running }) => running) : [await start()]
      const provider = all[0]!
      const api = await startApi(provider.accessTokenIsGood)
      const stopOthers = () => Promise.all([...all.map((one) => one.stop()), api.stop(), redis?.stop()])
      const bff = await startBff({
        port,
        tls,
        adminPort,
        sites,
        issuer: provider.issuer,
        api: api.origin,
        idleTimeout,
        session,
        store: redis ? { kind: 'redis', url: redis.url } : { kind: store === 'sqlite' ? 'sqlite' : 'memory' },
        refreshBefore,
        providers: named.map(({ name, lines, running }) => ({ name, lines, issuer: running.issuer })),
        frontend: frontend ?? `dir = "${DIST}"\nheaders = { Content-Security-Policy = "${POLICY}" }`,
      }).catch(async (error) => {
        await stopOthers()
        throw error
      })
      await use({ bff, provider, tokens: () => all.flatMap((one) => [...one.tokens]), api, origin: bff.publicUrl, origins: [publicUrl, ...Object.values(beside)], adminOrigin: `http://127.0.0.1:${adminPort}` })
      await bff.stop()
      await stopOthers()
      const secrets = [...all.flatMap((one) => [...one.tokens]), CLIENT_SECRET, SESSION_KEY, ADMIN_KEY]
      expect(find([{ where: 'log', text: bff.output() }], secrets), 'secrets in the log').toEqual([])
      expect(bff.output(), 'a panic in the log').not.toContain('panicked at')
    },
    { auto: true },
  ],

  context: async ({ context, world }, use) => {
    const seemWell = guard(context, world)
    await use(context)
    await seemWell()
  },

  anotherBrowser: async ({ browser, world }, use) => {
    const opened: { context: BrowserContext; seemWell: () => Promise<void> }[] = []
    await use(async (options) => {
      const context = await browser.newContext(options)
      opened.push({ context, seemWell: guard(context, world) })
      return context.newPage()
    })
    for (const { seemWell } of opened) await seemWell()
    for (const { context } of opened) await context.close()
  },
})

/** Watches all that a browser is told, and says at the end whether that was well. */
function guard(context: BrowserContext, world: World) {
  const watched = watch(context)
  const complaints: string[] = []
  context.on('weberror', (error) => complaints.push(String(error.error())))
  context.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(message.text())
  })
  return async () => {
    expect(complaints, 'script errors and breaches of the content security policy').toEqual([])
    const secrets = [...world.tokens(), CLIENT_SECRET, SESSION_KEY]
    expect(await watched.search(secrets), 'tokens that the browser can see').toEqual([])
  }
}

/** Through the provider's own form. */
export async function giveName(page: Page, user = 'alice') {
  await page.getByLabel('User').fill(user)
  await page.getByRole('button', { name: 'Continue' }).click()
}

/** From the landing page, as a person does it. */
export async function signIn(page: Page, world: World, user = 'alice') {
  await page.goto(world.origin)
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await giveName(page, user)
  await expectSignedIn(page, user)
}

export async function expectSignedIn(page: Page, user = 'alice') {
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(new RegExp(`^${user} example$`, 'i'))
}

export async function expectLanding(page: Page) {
  await expect(page.getByRole('main').getByRole('button', { name: 'Sign in' })).toBeVisible()
}

/** `GET /bff/session` as the page's own script would ask, without extending anything. */
export async function sessionOf(page: Page): Promise<any> {
  return page.evaluate(async () => (await fetch('/bff/session?slide=false', { headers: { 'X-CSRF': '1' } })).json())
}

/** A call by the page's own script; the app's hook hears nothing of it. */
export async function callApi(page: Page): Promise<{ status: number; code?: string }> {
  return page.evaluate(async () => {
    const answer = await fetch('/api/hello', { headers: { 'X-CSRF': '1' } })
    return { status: answer.status, code: (await answer.json()).code }
  })
}

/** The cookies of logins: three secrets each while one is under way, and less than one of them afterwards. */
export async function loginCookies(context: BrowserContext) {
  const all = (await context.cookies()).filter((cookie) => /bff-\d+-login-/.test(cookie.name))
  const underWay = all.filter((cookie) => cookie.value.length >= 300)
  return { underWay, over: all.filter((cookie) => !underWay.includes(cookie)) }
}

export async function sessionCookie(context: BrowserContext) {
  return (await context.cookies()).find((cookie) => /^(__Host-Http-)?bff-\d+$/.test(cookie.name))
}
