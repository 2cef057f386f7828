import type { Page } from '@playwright/test'
import { trafficOf } from '../support/network'
import { callApi, expect, expectLanding, expectSignedIn, giveName, signIn, test, type World } from '../support/world'

test('a tab that has heard nothing does not act as the user who signed in since', async ({ page, context, world }) => {
  // A hidden tab has no event stream and does not look; it still shows alice when it comes to the front.
  await page.addInitScript(() => Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' }))
  const { requests } = await trafficOf(page)
  await signIn(page, world)
  const other = await context.newPage()
  await becomeBob(other, world)
  await expectSignedIn(page)

  const answered = page.waitForResponse(`${world.origin}/api/hello`)
  await page.getByRole('button', { name: 'GET /api/hello' }).click()
  const answer = await answered
  expect([answer.status(), (await answer.json()).code]).toEqual([409, 'user_changed'])

  await expect(page.getByText('You are now Bob Example.')).toBeVisible()
  await expectSignedIn(page, 'bob')
  await expect(page.getByRole('region', { name: 'As it arrived at the API' }), 'nothing of alice is left').toHaveCount(0)
  expect(world.api.seen, 'nothing was forwarded').toEqual([])
  expect(requests.filter(({ url }) => url.endsWith('/session/events')), 'it had no stream').toEqual([])

  // Asked again, knowing who asks.
  await page.getByRole('button', { name: 'Got it' }).click()
  await page.getByRole('button', { name: 'GET /api/hello' }).click()
  await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
  expect(world.api.seen).toHaveLength(1)
})

test('a tab that is in view hears of the sign-out, then of the new user', async ({ page, context, world }) => {
  await signIn(page, world)
  const other = await context.newPage()
  await other.goto(world.origin)
  await signOut(other)
  await expect(page.getByRole('dialog', { name: 'You signed out' })).toBeVisible()

  await signIn(other, world, 'bob')
  await expectSignedIn(page, 'bob')
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expect(page.getByText('You are now Bob Example.')).toBeVisible()
  expect(await callApi(page)).toMatchObject({ status: 200 })
})

async function becomeBob(page: Page, world: World) {
  await page.goto(world.origin)
  await signOut(page)
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await giveName(page, 'bob')
  await expectSignedIn(page, 'bob')
}

async function signOut(page: Page) {
  await page.getByRole('button', { name: 'Sign out', exact: true }).click()
  await page.getByRole('button', { name: 'Sign out here too' }).click()
  await expectLanding(page)
}
