// A form outlives its session: the sign-in in a window of its own (docs/frontends.md).

import type { BrowserContext, Page } from '@playwright/test'
import { expect, expectLanding, expectSignedIn, giveName, signIn, test, type World } from '../support/world'

const TYPED = '{ "note": "an hour of work" }'
const posted = (world: World) => world.api.seen.filter(({ method }) => method === 'POST')

/** Alice has typed something when her session ends, by a sign-out in a tab that is gone again. */
async function endWhileTyping(page: Page, context: BrowserContext, world: World) {
  await signIn(page, world)
  await page.getByLabel('Body').fill(TYPED)
  const tab = await context.newPage()
  await tab.goto(world.origin)
  await tab.getByRole('button', { name: 'Sign out', exact: true }).click()
  await tab.getByRole('button', { name: 'Sign out here too' }).click()
  await expectLanding(tab)
  await tab.close()
  await expect(page.getByRole('dialog', { name: 'You signed out' })).toBeVisible()
}

async function signInAgain(page: Page, context: BrowserContext): Promise<Page> {
  const opened = context.waitForEvent('page')
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in again' }).click()
  return opened
}

test('the same user goes on where they were, and sends what they typed', async ({ page, context, world }) => {
  await endWhileTyping(page, context, world)
  await page.evaluate(() => Object.assign(window, { stillThisPage: true }))
  const popup = await signInAgain(page, context)
  await giveName(popup)
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expect.poll(() => popup.isClosed(), { message: 'the window closes itself' }).toBe(true)
  await expectSignedIn(page)
  expect(await page.evaluate(() => 'stillThisPage' in window), 'without a reload').toBe(true)
  await expect(page.getByLabel('Body')).toHaveValue(TYPED)
  expect(posted(world), 'nothing goes out by itself').toEqual([])
  await page.getByRole('button', { name: 'POST /api/echo' }).click()
  await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toContainText('an hour of work')
})

test('of what one user typed nothing is sent or shown as another', async ({ page, context, world }) => {
  await endWhileTyping(page, context, world)
  await giveName(await signInAgain(page, context), 'bob')
  await expect(page.getByText('You are now Bob Example.')).toBeVisible()
  await expectSignedIn(page, 'bob')
  await expect(page.getByLabel('Body')).not.toHaveValue(TYPED)
  await page.reload()
  await expectSignedIn(page, 'bob')
  await expect(page.getByLabel('Body')).not.toHaveValue(TYPED)
  expect(posted(world)).toEqual([])
})

test('where the browser opens no window, the page itself goes, and finds the draft again', async ({ page, context, world }) => {
  await page.addInitScript(() => (window.open = () => null))
  await endWhileTyping(page, context, world)
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in again' }).click()
  await giveName(page)
  await expectSignedIn(page)
  await expect(page.getByLabel('Body')).toHaveValue(TYPED)
  expect(context.pages()).toHaveLength(1)
})

test('a window that is closed by hand costs one more press', async ({ page, context, world }) => {
  await endWhileTyping(page, context, world)
  await (await signInAgain(page, context)).close()
  await expect(page.getByRole('dialog', { name: 'You signed out' })).toBeVisible()
  await giveName(await signInAgain(page, context))
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expect(page.getByLabel('Body')).toHaveValue(TYPED)
})
