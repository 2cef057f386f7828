// `bff dev` with several sites and tenants: one browser is somebody else at each, and goes from one to the next by the menu.

import type { Page } from '@playwright/test'
import { startBffDevWith } from '../support/bff'
import { freePort } from '../support/ports'
import { expect, test as base } from '@playwright/test'

const GROUND = (port: number) => `[server]
listen = "127.0.0.1:${port}"
sites  = "sites"

[[route]]
path     = "/api"
upstream = "dev:api"
`

/** A shop, a team on a path of its host, and a desk as its file says it is in production. */
const SITES = (port: number) => ({
  'sites/shop.toml': `public_url = "http://shop.localhost:${port}"\n`,
  'sites/team.toml': `public_url = "http://shop.localhost:${port}/team"\nbase_path = "/auth"\n`,
  'sites/desk.toml': 'public_url = "https://desk.example.com"\n',
})

type Started = Awaited<ReturnType<typeof startBffDevWith>> & { port: number }

/** It runs, and no page may complain: of a script's error or a breach of the content security policy. */
const test = base.extend<{ bff: Started }>({
  bff: async ({ context }, use) => {
    const complaints: string[] = []
    context.on('weberror', (error) => complaints.push(String(error.error())))
    context.on('console', (message) => {
      if (/Content Security Policy/i.test(message.text())) complaints.push(message.text())
    })
    const port = await freePort()
    const bff = await startBffDevWith(GROUND(port), port, SITES(port))
    await use({ ...bff, port })
    await bff.stop()
    expect(complaints).toEqual([])
    expect(bff.output()).not.toContain('panicked at')
  },
})

/** What opens the menu, and says where one is. */
function menuOf(page: Page, says: string | RegExp) {
  return page.locator('summary', { hasText: says })
}

/** To another app by the menu, and in as this person. */
async function goTo(page: Page, app: string, person: string) {
  await menuOf(page, /one of \d+ apps/).click()
  await page.getByRole('navigation', { name: 'Apps of this process' }).getByRole('link', { name: app }).click()
  await signIn(page, person)
}

async function signIn(page: Page, person: string) {
  await page.getByRole('link', { name: `As ${person}` }).click()
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(new RegExp(person, 'i'))
}

async function isSignedIn(page: Page, url: string, person: string) {
  await page.goto(url)
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(new RegExp(person, 'i'))
}

test('the menu leads from site to site, and each has a session of its own', async ({ page, bff }) => {
  const [shop, team, desk] = ['shop.localhost', 'shop.localhost', 'desk.example.com.localhost'].map((host) => `http://${host}:${bff.port}/`)
  await page.goto(shop!)
  await signIn(page, 'alice')
  await goTo(page, 'desk', 'bob')
  await expect(page).toHaveURL(desk!)
  await goTo(page, 'team', 'alice')
  await expect(page).toHaveURL(`${team}team/`)
  await page.getByRole('button', { name: 'GET /api/hello' }).click()
  await expect(page.locator('[data-mark=bearer]')).toBeVisible()
  await expect(page.locator('.request-line').first()).toHaveText('GET /team/api/hello')

  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page).toHaveURL(`${team}team/`)
  await expect(page.getByText('is signed out: the session has ended here and at the identity provider.')).toBeVisible()
  await isSignedIn(page, shop!, 'alice')
  await isSignedIn(page, desk!, 'bob')
})

test('the provider says where somebody signs in, and ends one session there', async ({ page, context, bff }) => {
  await page.goto(`http://shop.localhost:${bff.port}/`)
  await page.getByRole('link', { name: 'Sign in', exact: true }).click()
  await expect(page.getByText('To sign in at shop.')).toBeVisible()
  await page.getByRole('button', { name: /^alice/i }).click()
  await goTo(page, 'desk', 'bob')

  const controls = await context.newPage()
  await controls.goto(bff.controlUrl)
  const bobs = controls.getByRole('row', { name: /^bob desk/ })
  await expect(controls.getByRole('row', { name: /^alice shop/ })).toBeVisible()
  await bobs.getByRole('button', { name: /^Sign out/ }).click()
  await expect(page.getByRole('dialog', { name: 'Signed out at the identity provider' })).toBeVisible()
  await isSignedIn(page, `http://shop.localhost:${bff.port}/`, 'alice')
})

test('the menu is one of the keyboard too', async ({ page, bff }) => {
  await page.goto(`http://shop.localhost:${bff.port}/`)
  const menu = menuOf(page, 'shop, one of 3 apps')
  await menu.focus()
  await page.keyboard.press('Enter')
  const own = page.getByRole('link', { name: 'shop', exact: false }).and(page.locator('[aria-current=page]'))
  await expect(own).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(own).toBeHidden()
  await expect(menu).toBeFocused()
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(`http://desk.example.com.localhost:${bff.port}/`)
})

test('the menu finds one of many tenants, and each is another app', async ({ page }) => {
  const port = await freePort()
  const names = Array.from({ length: 100 }, (_, i) => `customer-${i + 1}`)
  const desk = `public_url = "https://{tenant}.desk.example.com"\n${names.map((name) => `[tenants.${name}]\n`).join('')}[tenants.acme]\nhost = "help.acme.example"\n`
  const bff = await startBffDevWith(GROUND(port), port, { ...SITES(port), 'sites/desk.toml': desk })
  try {
    expect(bff.output()).toContain('and 96 more')
    await page.goto(`http://shop.localhost:${port}/`)
    await signIn(page, 'alice')
    const lookFor = async (text: string) => {
      await menuOf(page, /one of 103 apps/).click()
      await expect(page.getByText('and 43 more: type a part of the name')).toBeVisible()
      await page.getByRole('searchbox').fill(text)
      await page.getByRole('navigation', { name: 'Apps of this process' }).getByRole('link', { name: text }).first().click()
    }
    await lookFor('customer-77')
    await expect(page).toHaveURL(`http://customer-77.desk.example.com.localhost:${port}/`)
    await signIn(page, 'bob')
    await menuOf(page, /one of 103 apps/).click()
    await page.getByRole('searchbox').fill('acme')
    await page.getByRole('searchbox').press('Enter')
    await expect(page).toHaveURL(`http://help.acme.example.localhost:${port}/`)
    await signIn(page, 'alice')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await expect(page.getByText('is signed out')).toBeVisible()
    await isSignedIn(page, `http://customer-77.desk.example.com.localhost:${port}/`, 'bob')
    await isSignedIn(page, `http://shop.localhost:${port}/`, 'alice')
  } finally {
    await bff.stop()
  }
})
