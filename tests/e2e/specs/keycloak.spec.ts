// Keycloak's own pages in a real browser: the ways in which people stumble there, none of which may end in a
// page that says the sign-in failed. Runs where tests/providers.sh has installed Keycloak.

import { expect, test as base, type Page } from '@playwright/test'
import { startApi, type RunningApi } from '../support/api'
import { startBff, type BffOptions, type RunningBff } from '../support/bff'
import { KEYCLOAK_HOME, startKeycloak, type RunningKeycloak } from '../support/keycloak'
import { freePort } from '../support/ports'
import { DIST } from '../support/world'

interface House {
  bff: RunningBff
  api: RunningApi
  keycloak: RunningKeycloak
}

const test = base.extend<{ house: House; realmChanges: object }, { keycloak: RunningKeycloak }>({
  realmChanges: [{}, { option: true }],
  keycloak: [
    async ({}, use) => {
      const keycloak = await startKeycloak()
      await use(keycloak)
      await keycloak.stop()
    },
    { scope: 'worker', timeout: 200_000 },
  ],
  house: async ({ keycloak, realmChanges }, use, info) => {
    const port = await freePort()
    const name = `realm-${info.testId}-${info.repeatEachIndex}`
    const issuer = await keycloak.realm(name, `http://localhost:${port}`, realmChanges)
    const api = await startApi(async () => true)
    const frontend = `dir = "${DIST}"`
    const bff = await startBff({ ...PLAIN, port, issuer, api: api.origin, frontend })
    await use({ bff, api, keycloak })
    await bff.stop()
    await api.stop()
  },
})

const PLAIN = {
  tls: false,
  adminPort: null,
  idleTimeout: '30m',
  session: '',
  store: { kind: 'memory' },
  refreshBefore: '60s',
  sites: [] as string[],
  providers: [] as BffOptions['providers'],
} as const

// Keycloak is slow on a machine that does other things as well.
test.use({ actionTimeout: 30_000 })
test.setTimeout(180_000)
test.skip(!KEYCLOAK_HOME, 'needs Keycloak: tests/providers.sh browser')

async function begin(page: Page, house: House) {
  await page.goto(house.bff.publicUrl)
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await expect(form(page)).toBeVisible({ timeout: 30_000 })
}

const form = (page: Page) => page.locator('#kc-form-login')

const expectSignedIn = (page: Page) => expect(page.getByRole('heading', { level: 1 })).toHaveText('Alice Adams', { timeout: 30_000 })

async function fillIn(page: Page) {
  await page.locator('#username').fill('alice')
  await page.locator('#password').fill('alice')
  await page.locator('#kc-login').click()
}

// B8: Back after a login leads to Keycloak's form or past it. Either way the user is where they were.
test('back to the form and sign in again', async ({ page, house }) => {
  await begin(page, house)
  await fillIn(page)
  await expectSignedIn(page)
  await page.goBack()
  // A browser that kept the page shows it once more; Keycloak itself passes on whoever is signed in.
  if (await form(page).isVisible().catch(() => false)) await fillIn(page)
  await expectSignedIn(page)
})

// B8: the form of a tab that was left open while the user signed in in another one. Keycloak's script sends it on
// with temporarily_unavailable and authentication_expired.
test('a form that was left open', async ({ page, context, house }) => {
  await begin(page, house)
  const other = await context.newPage()
  await begin(other, house)
  await fillIn(other)
  await expectSignedIn(other)
  await page.bringToFront()
  await expectSignedIn(page)
})

test.describe('with a login that runs out in three seconds', () => {
  test.use({ realmChanges: { accessCodeLifespanLogin: 3, accessCodeLifespanUserAction: 3 } })

  // B7: Keycloak starts over by itself; so does the login here.
  test('a form that ran out', async ({ page, house }) => {
    await begin(page, house)
    await page.waitForTimeout(5_000)
    await fillIn(page)
    if (await form(page).isVisible()) await fillIn(page)
    await expectSignedIn(page)
  })
})

// B6: of many tabs each ends signed in, the oldest as well.
test('the oldest of seven tabs', async ({ context, house }) => {
  const tabs: Page[] = []
  for (let count = 0; count < 7; count++) {
    const page = await context.newPage()
    await begin(page, house)
    tabs.push(page)
  }
  await fillIn(tabs[6])
  await expectSignedIn(tabs[6])
  for (const tab of tabs) {
    await tab.bringToFront()
    await expectSignedIn(tab)
  }
})
