import { expect, expectLanding, expectSignedIn, sessionCookie, signIn, test } from '../support/world'

test('signing out ends the session here and at the provider', async ({ page, context, world, browser }) => {
  await signIn(page, world)
  const old = await sessionCookie(context)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign out here too' }).click()
  await expectLanding(page)
  await expect(page.getByRole('status').filter({ hasText: 'You are signed out.' })).toBeVisible()
  await expect(page).toHaveURL(`${world.origin}/`)
  expect(await sessionCookie(context), 'the cookie is gone').toBeUndefined()

  const thief = await browser.newContext()
  await thief.addCookies([old!])
  const replayed = await thief.request.get(`${world.origin}/api/hello`, { headers: { 'X-CSRF': '1' } })
  expect(replayed.status(), 'a kept cookie opens nothing').toBe(401)
  await thief.close()

  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByLabel('User'), 'the provider asks again').toBeVisible()
})

test('the session is over before the provider is asked, and the answer names no token', async ({ page, context, world, browser }) => {
  await signIn(page, world)
  const old = await sessionCookie(context)
  const answer = await page.evaluate(async () => (await fetch('/bff/logout', { method: 'POST', headers: { 'X-CSRF': '1' } })).json())
  expect(Object.keys(answer)).toEqual(['redirect_to'])
  expect(answer.redirect_to).toMatch(/^\/bff\/logout\/continue(\?|$)/)

  const thief = await browser.newContext()
  await thief.addCookies([old!])
  const replayed = await thief.request.get(`${world.origin}/api/hello`, { headers: { 'X-CSRF': '1' } })
  expect(replayed.status()).toBe(401)
  await thief.close()
})

test('another tab hears of the sign-out', async ({ page, context, world }) => {
  await signIn(page, world)
  const other = await context.newPage()
  await other.goto(world.origin)
  await expectSignedIn(other)

  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign out here too' }).click()
  await expectLanding(page)
  await expect(other.getByRole('dialog', { name: 'You signed out' })).toBeVisible()
})

test.describe('with an idle timeout of a few seconds', () => {
  test.use({ idleTimeout: '4s' })

  test('the page says by itself that the session has ended, and signing in again goes on', async ({ page, world }) => {
    await signIn(page, world)
    const dialog = page.getByRole('dialog', { name: 'Your session expired' })
    await expect(dialog).toBeVisible({ timeout: 15_000 })
    await expect(dialog).toContainText('You were signed in as Alice Example')

    // The provider still knows the user, so the window comes and goes with no form.
    await dialog.getByRole('button', { name: 'Sign in again' }).click()
    await expect(dialog).toHaveCount(0)
    await expectSignedIn(page)
    await page.getByRole('button', { name: 'GET /api/hello' }).click()
    await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
  })

  test('who leaves the dialog is a visitor again', async ({ page, world }) => {
    await signIn(page, world)
    const dialog = page.getByRole('dialog', { name: 'Your session expired' })
    await expect(dialog).toBeVisible({ timeout: 15_000 })
    await dialog.getByRole('button', { name: 'Not now' }).click()
    await expectLanding(page)
    await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
    await expectSignedIn(page)
  })
})

test.describe('with an idle timeout that a busy machine does not run into', () => {
  test.use({ idleTimeout: '10s' })

  test('calls keep the session alive beyond the timeout', async ({ page, world }) => {
    await signIn(page, world)
    const start = Date.now()
    await expect(async () => {
      await page.getByRole('button', { name: 'GET /api/hello' }).click()
      await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible({ timeout: 1_000 })
      expect(Date.now() - start).toBeGreaterThan(13_000)
    }).toPass({ intervals: [500], timeout: 40_000 })
    await expect(page.getByRole('dialog')).toHaveCount(0)
  })
})
