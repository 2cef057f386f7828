// Nothing that axe finds, on any page of ours: on a phone and on a desk, light and dark.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page, TestInfo } from '@playwright/test'
import { ADMIN_KEY, startBffDev, startBffDevWith } from '../support/bff'
import { freePort } from '../support/ports'
import { expect, giveName, signIn, test, WAYS_IN } from '../support/world'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
// A trace of all that axe reads takes longer than the reading.
test.use({ trace: 'off' })
test.setTimeout(240_000)

const WIDTHS = [390, 1280]
const SCHEMES = ['light', 'dark'] as const

/** Looks at the page as it stands, in every width and scheme, and keeps a picture of each. */
async function check(page: Page, name: string, info: TestInfo) {
  for (const width of WIDTHS) {
    for (const colorScheme of SCHEMES) {
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await page.screenshot({ path: info.outputPath(`${name}-${width}-${colorScheme}.png`), fullPage: true })
      const where = `${name} at ${width} px, ${colorScheme}`
      // In the world of the devtools, where the page's policy does not reach.
      const found = await page.evaluate(`${AXE}; axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
        violations.flatMap(({ id, nodes }) => nodes.map((node) => id + ': ' + node.html.slice(0, 160) + ' ' + (node.any[0]?.message ?? ''))))`)
      expect.soft(found, where).toEqual([])
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      expect.soft(overflow, `${where}: nothing to scroll sideways`).toBe(0)
    }
  }
}

test.describe('bff’s own pages', () => {
  test.use({ frontend: '' })

  test('of refusals and of steps', async ({ page, world }, info) => {
    await page.goto(`${world.origin}/nothing/here`)
    await check(page, 'not-found', info)
    await page.goto(`${world.origin}/api/hello`)
    await check(page, 'plain-link-to-an-api', info)
    await page.goto(`${world.origin}/bff/callback?state=of-nobody&code=none`)
    await check(page, 'sign-in-failed', info)
    await page.goto(`${world.origin}/bff/login?return_to=https://elsewhere.example/`)
    await check(page, 'bad-return-address', info)
    await page.goto(`${world.origin}/bff/logout?sid=of-nobody`)
    await check(page, 'signed-out-or-not', info)
  })

  test('of a window in which somebody signed in, or did not', async ({ page, world }, info) => {
    // Opened by hand, so that it does not close itself.
    await page.goto(world.origin)
    await page.goto(`${world.origin}/bff/login?mode=popup&return_to=/members`)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await expect(page.getByRole('button', { name: 'Close this window' })).toBeVisible()
    await check(page, 'window-failed', info)
    await page.goto(`${world.origin}/bff/login?mode=popup&return_to=/members`)
    await giveName(page)
    await expect(page.getByRole('heading', { name: 'Signed in' })).toBeVisible()
    await check(page, 'window-signed-in', info)
  })

  test('of a link from another site, on its way', async ({ page, world }, info) => {
    // The page goes on by itself; the pictures are of it standing still.
    const address = `${world.origin}/members?from=mail`
    const linked = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' }
    const answer = await page.request.get(address, { headers: linked, maxRedirects: 0 })
    const body = (await answer.text()).replace(/<meta http-equiv="refresh"[^>]*>/, '')
    await page.route(address, (route) => route.fulfill({ headers: answer.headers(), body }))
    await page.goto(address)
    await expect(page.getByRole('link', { name: 'Continue' })).toBeVisible()
    await check(page, 'one-moment', info)
  })
})

test.describe('several providers', () => {
  test.use({ providers: WAYS_IN })

  test('the page that offers them', async ({ page, world }, info) => {
    await page.goto(`${world.origin}/bff/login`)
    await expect(page.getByRole('link', { name: 'Staff of Example Corporation' })).toBeVisible()
    await check(page, 'choose-provider', info)
    await page.getByRole('link', { name: 'Staff' }).click()
    await giveName(page)
    await page.evaluate(async () => fetch('/bff/logout', { method: 'POST', headers: { 'X-CSRF': '1' } }))
    await page.goto(`${world.origin}/bff/login?return_to=/reports`)
    await expect(page.getByText('Last used')).toBeVisible()
    await check(page, 'choose-provider-again', info)
  })
})

test('the React example', async ({ page, world }, info) => {
  await page.goto(world.origin)
  await expect(page.getByRole('main').getByRole('button', { name: 'Sign in' })).toBeVisible()
  await check(page, 'react-landing', info)
  await signIn(page, world)
  await page.getByRole('button', { name: 'GET /api/hello' }).click()
  await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
  await expect(page.getByRole('region', { name: 'Your sessions' }).getByRole('listitem')).toHaveCount(1)
  await check(page, 'react-signed-in', info)
  await page.evaluate(async () => (await fetch('/bff/logout', { method: 'POST', headers: { 'X-CSRF': '1' } })).text())
  await expect(page.getByRole('dialog')).toBeVisible()
  await check(page, 'react-ended', info)
})

test.describe('administration', () => {
  test.use({ administered: true })

  test('its page', async ({ page, world, anotherBrowser }, info) => {
    await signIn(await anotherBrowser(), world)
    await page.goto(world.adminOrigin)
    await check(page, 'administration-key', info)
    await page.getByLabel('Key', { exact: true }).fill(ADMIN_KEY)
    await page.getByRole('button', { name: 'Open' }).click()
    const name = page.getByRole('button', { name: 'Alice Example', exact: true })
    await expect(name).toBeVisible()
    await check(page, 'administration', info)
    await name.click()
    await expect(page.getByRole('dialog', { name: 'Alice Example' })).toBeVisible()
    await check(page, 'administration-session', info)
  })
})

test('the menu of sites', async ({ page }, info) => {
  const port = await freePort()
  const sites = ['shop', 'desk', 'customer-support'].map((name) => [`sites/${name}.toml`, `public_url = "http://${name}.localhost:${port}"\n`])
  const bff = await startBffDevWith(`[server]\nlisten = "127.0.0.1:${port}"\nsites = "sites"\n`, port, Object.fromEntries(sites))
  try {
    await page.goto(`http://localhost:${port}/`)
    await check(page, 'no-site-here', info)
    await page.getByRole('link', { name: `http://customer-support.localhost:${port}/` }).click()
    await page.getByRole('link', { name: 'As alice' }).click()
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alice Adams')
    await check(page, 'one-of-several-sites', info)
    await page.getByText('customer-support', { exact: true }).first().click()
    await expect(page.getByRole('link', { name: 'desk' })).toBeVisible()
    await check(page, 'menu-of-sites', info)
  } finally {
    await bff.stop()
  }
})

test('the demo and the development provider', async ({ page, anotherBrowser }, info) => {
  const bff = await startBffDev(await freePort())
  try {
    await page.goto(bff.publicUrl)
    await expect(page.getByRole('link', { name: 'As alice' })).toBeVisible()
    await check(page, 'demo-landing', info)
    await page.getByRole('link', { name: 'Sign in', exact: true }).click()
    await expect(page.getByRole('button', { name: 'Cancel' })).toBeVisible()
    await check(page, 'provider-login', info)
    await page.getByRole('button', { name: /^alice/i }).click()
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alice Adams')
    await page.getByRole('button', { name: 'GET /api/hello' }).click()
    await expect(page.getByText('Arrived at the API')).toBeVisible()
    await check(page, 'demo-signed-in', info)

    const controls = await anotherBrowser()
    await controls.goto(bff.controlUrl)
    await expect(controls.getByRole('cell', { name: 'alice' }).first()).toBeVisible()
    await check(controls, 'provider-controls', info)
    await controls.getByRole('button', { name: 'Sign alice out everywhere' }).click()
    await expect(page.getByRole('dialog')).toBeVisible()
    await check(page, 'demo-ended', info)

    await controls.goto(new URL('/authorize?client_id=nobody', bff.controlUrl).href)
    await check(controls, 'provider-refusal', info)
    await controls.goto(new URL('/end_session', bff.controlUrl).href)
    await check(controls, 'provider-signed-out', info)
  } finally {
    await bff.stop()
  }
})
