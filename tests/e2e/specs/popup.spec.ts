import type { Page } from '@playwright/test'
import { expect, expectLanding, expectSignedIn, giveName, sessionOf, test } from '../support/world'

/** What any page of the app does: listens on the channel, and opens the window. */
async function openWindow(page: Page, query = ''): Promise<Page> {
  const opened = page.waitForEvent('popup')
  await page.evaluate((query) => {
    const heard: unknown[] = []
    Object.assign(window, { heard })
    new BroadcastChannel('bff-login').onmessage = ({ data }) => heard.push(data)
    window.open(`/bff/login?mode=popup${query}`, 'bff-login', 'popup,width=480,height=720')
  }, query)
  return opened
}

const heard = (page: Page) => page.evaluate(() => (window as any).heard)

test('a login in a window of its own says so and closes', async ({ page, world }) => {
  await page.goto(world.origin)
  await expectLanding(page)
  const popup = await openWindow(page, '&return_to=/reports/7')
  const closed = popup.waitForEvent('close')
  await giveName(popup)
  await closed
  await expect.poll(() => heard(page)).toHaveLength(1)
  const { session, user } = await sessionOf(page)
  expect(user.sub).toBe('alice')
  expect(await heard(page)).toEqual([{ type: 'bff-login', outcome: 'signed_in', session: session.tag }])
  expect(page.url(), 'the page has not moved').toBe(`${world.origin}/`)
})

test('a login that is cancelled in its window says so and closes', async ({ page, world }) => {
  await page.goto(world.origin)
  const popup = await openWindow(page)
  const closed = popup.waitForEvent('close')
  await popup.getByRole('button', { name: 'Cancel' }).click()
  await closed
  await expect.poll(() => heard(page)).toEqual([{ type: 'bff-login', outcome: 'failed', error: 'access_denied' }])
  expect(await sessionOf(page)).toMatchObject({ authenticated: false })
})

test('a login that fails in its window says so and closes', async ({ page, world }) => {
  world.provider.failing.token = true
  await page.goto(world.origin)
  const popup = await openWindow(page)
  const closed = popup.waitForEvent('close')
  await giveName(popup)
  await closed
  await expect.poll(() => heard(page)).toEqual([{ type: 'bff-login', outcome: 'failed', error: 'provider_unavailable' }])
})

test('a window that cannot close itself has a button and a way on', async ({ page, world }) => {
  await page.goto(world.origin)
  await page.goto(`${world.origin}/bff/login?mode=popup&return_to=/reports/7`)
  await giveName(page)
  await expect(page.getByRole('heading', { name: 'Signed in' })).toBeVisible()
  await expect(page.getByRole('button', { name: 'Close this window' })).toBeVisible()
  await page.getByRole('link', { name: 'Go on in this window' }).click()
  await expect(page).toHaveURL(`${world.origin}/reports/7`)
  await expectSignedIn(page)
})
