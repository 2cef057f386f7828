// A call that asks for a stronger sign-in: the login in a window, then the call once more (docs/frontends.md).

import { test as base, type Page } from '@playwright/test'
import { startBffDev, type RunningBff } from '../support/bff'
import { freePort } from '../support/ports'
import { DIST, expect } from '../support/world'

const REACT = `[frontend]\ndir = "${DIST}"\n`
/** Of a strength that the development provider has never heard of. */
const GOLD = '[[route]]\npath = "/api/pay"\nupstream = "dev:api"\nrequire = { acr = "gold" }\n'

/** `bff dev` with these tables, whose demo API wants `mfa` for a payment; alice is signed in with less. */
const test = base.extend<{ asAlice: (more?: string) => Promise<void> }>({
  asAlice: async ({ page }, use) => {
    let bff: RunningBff | null = null
    await use(async (more = '') => {
      bff = await startBffDev(await freePort(), { more })
      await page.goto(`${bff.publicUrl}/bff/login?login_hint=alice`)
      await expectAlice(page)
      await page.evaluate(() => Object.assign(window, { stillThisPage: true }))
    })
    await bff!.stop()
    expect(await page.evaluate(() => 'stillThisPage' in window), 'without a reload').toBe(true)
    expect(bff!.output()).not.toContain('panicked at')
  },
})

const expectAlice = (page: Page) => expect(page.getByRole('heading', { level: 1 })).toHaveText('Alice Adams')

/** How often the page sends the payment. */
function payments(page: Page) {
  const sent: string[] = []
  page.on('request', (request) => new URL(request.url()).pathname === '/api/pay' && sent.push(request.method()))
  return sent
}

async function confirm(page: Page): Promise<Page> {
  const opened = page.waitForEvent('popup')
  await page.getByRole('button', { name: /^Confirm/ }).click()
  return opened
}

test('the API asks, the user signs in once more, and the invoice is paid', async ({ page, asAlice }) => {
  await asAlice(REACT)
  const sent = payments(page)
  await page.getByLabel('For').fill('Invoice 7')
  await page.getByRole('button', { name: 'Pay €1,240.00' }).click()
  await expect(page.getByRole('dialog', { name: 'Confirm that it is you' })).toBeVisible()
  await (await confirm(page)).getByRole('button', { name: /^alice/i }).click()
  await expect(page.getByText('Paid: Invoice 7.')).toBeVisible()
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expect(page.getByLabel('Signed in as'), 'the page knows it').toContainText('mfa')
  expect(sent).toEqual(['POST', 'POST'])
  await page.getByRole('button', { name: 'Pay €1,240.00' }).click()
  await expect.poll(() => sent.length, { message: 'and asks no more' }).toBe(3)
  await expect(page.getByText('Paid: Invoice 7.')).toBeVisible()
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await page.getByRole('button', { name: 'GET /api/hello' }).click()
  await expect(page.getByRole('region', { name: 'As it arrived at the API' }), 'with the rest of the page').toBeVisible()
})

test('a provider that answers with less is said once, and nobody is signed out', async ({ page, asAlice }) => {
  await asAlice(GOLD + REACT)
  const sent = payments(page)
  await page.getByRole('button', { name: 'Pay €1,240.00' }).click()
  const popup = await confirm(page)
  await expect(page.getByRole('alert')).toContainText('did not confirm that strongly enough')
  await expect.poll(() => popup.isClosed()).toBe(true)
  expect(sent).toEqual(['POST'])
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expectAlice(page)
})

test('whoever cancels pays nothing', async ({ page, asAlice }) => {
  await asAlice(REACT)
  const sent = payments(page)
  await page.getByRole('button', { name: 'Pay €1,240.00' }).click()
  await (await confirm(page)).getByRole('button', { name: 'Cancel' }).click()
  await expect(page.getByRole('alert')).toContainText('You did not confirm. Nothing was paid.')
  expect(sent).toEqual(['POST'])
})

test('the demo does the same', async ({ page, asAlice }) => {
  await asAlice()
  await page.getByRole('button', { name: 'Pay an invoice' }).click()
  await expect(page.getByText('Refused with 401')).toBeVisible()
  await (await confirm(page)).getByRole('button', { name: /^alice/i }).click()
  await expect(page.getByText('Arrived at the API')).toBeVisible()
  await expect(page.locator('.log'), 'on the stream that was open').toContainText('renewed')
  await expect(page.getByRole('dialog')).toHaveCount(0)
})
