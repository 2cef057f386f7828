// Everything that a test needs, its own: a provider, an API, bff, and a browser that is watched for leaks.

import { test as base, expect, type BrowserContext, type Page } from '@playwright/test'
import { resolve } from 'node:path'
import { startApi, type RunningApi } from './api'
import { originOf, startBff, type RunningBff } from './bff'
import { find, watch } from './leaks'
import { freePort } from './ports'
import { CLIENT_SECRET, startProvider, type RunningProvider } from './provider'

export { expect }

export interface World {
  bff: RunningBff
  provider: RunningProvider
  api: RunningApi
  /** The origin that the browser sees. */
  origin: string
}

interface Options {
  accessTokenSeconds: number
  refreshBefore: string
  idleTimeout: string
  backchannelLogout: boolean
  tls: boolean
  /** The `[frontend]` table; null takes the built React example. */
  frontend: string | null
}

const DIST = resolve(import.meta.dirname, '../../../examples/react/dist')

// The one that examples/react/bff.toml proposes.
const POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

export const test = base.extend<Options & { world: World }>({
  accessTokenSeconds: [300, { option: true }],
  refreshBefore: ['60s', { option: true }],
  idleTimeout: ['30m', { option: true }],
  backchannelLogout: [false, { option: true }],
  tls: [false, { option: true }],
  frontend: [null, { option: true }],

  world: [
    async ({ accessTokenSeconds, refreshBefore, idleTimeout, backchannelLogout, tls, frontend }, use) => {
      const port = await freePort()
      // Two sites, as in life: bff on localhost, the provider on 127.0.0.1. Strict cookies do not cross.
      const provider = await startProvider({ publicUrl: originOf({ port, tls }), accessTokenSeconds, backchannelLogout })
      const api = await startApi(provider.accessTokenIsGood)
      const bff = await startBff({
        port,
        tls,
        issuer: provider.issuer,
        api: api.origin,
        idleTimeout,
        refreshBefore,
        frontend: frontend ?? `dir = "${DIST}"\nheaders = { Content-Security-Policy = "${POLICY}" }`,
      }).catch(async (error) => {
        await Promise.all([provider.stop(), api.stop()])
        throw error
      })
      await use({ bff, provider, api, origin: bff.publicUrl })
      await bff.stop()
      await Promise.all([provider.stop(), api.stop()])
      const secrets = [...provider.tokens, CLIENT_SECRET]
      expect(find([{ where: 'log', text: bff.output() }], secrets), 'secrets in the log').toEqual([])
      expect(bff.output(), 'a panic in the log').not.toContain('panicked at')
    },
    { auto: true },
  ],

  context: async ({ context, world }, use) => {
    const watched = watch(context)
    const complaints: string[] = []
    context.on('weberror', (error) => complaints.push(String(error.error())))
    context.on('console', (message) => {
      if (/Content Security Policy/i.test(message.text())) complaints.push(message.text())
    })
    await use(context)
    expect(complaints, 'script errors and breaches of the content security policy').toEqual([])
    expect(await watched.search([...world.provider.tokens, CLIENT_SECRET]), 'tokens that the browser can see').toEqual([])
  },
})

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

export async function sessionCookie(context: BrowserContext) {
  return (await context.cookies()).find((cookie) => /^(__Host-Http-)?bff$/.test(cookie.name))
}
