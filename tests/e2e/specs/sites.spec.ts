import type { Page } from '@playwright/test'
import { callApi, expect, expectLanding, expectSignedIn, giveName, sessionOf, test } from '../support/world'

test.use({ sites: ['shop', 'desk'] })

/** A page of each site, where the person has signed in; the provider asks who it is once. */
async function signInAtEach(open: () => Promise<Page>, origins: string[]): Promise<Page[]> {
  const pages: Page[] = []
  for (const origin of origins) {
    const page = await open()
    await page.goto(origin)
    await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
    if (pages.length === 0) await giveName(page)
    await expectSignedIn(page)
    await expect(page).toHaveURL(`${origin}/`)
    pages.push(page)
  }
  return pages
}

test('a browser is signed in at three sites at once, and signs out at one of them', async ({ context, world, anotherBrowser }) => {
  const pages = await signInAtEach(() => context.newPage(), world.origins)
  const cookies = (await context.cookies()).filter((cookie) => /^bff-\d+$/.test(cookie.name))
  expect(cookies.map((cookie) => cookie.domain).sort()).toEqual(['desk.localhost', 'localhost', 'shop.localhost'])
  expect(new Set(cookies.map((cookie) => cookie.value)).size).toBe(3)
  const sessions = await Promise.all(pages.map(sessionOf))
  expect(sessions.map((session) => session.user.sub)).toEqual(['alice', 'alice', 'alice'])
  expect(new Set(sessions.map((session) => session.session.tag)).size, 'each has a session of its own').toBe(3)
  for (const page of pages) expect(await callApi(page)).toMatchObject({ status: 200 })
  expect(new Set(world.api.seen.map((seen) => seen.token)).size, 'and a token of its own').toBe(3)

  const [main, shop, desk] = pages as [Page, Page, Page]
  await shop.getByRole('button', { name: 'Sign out' }).click()
  // Not at the provider, where a sign-out is one for all that it has given.
  await expect(shop.getByRole('button', { name: 'Sign out here too' })).toBeVisible()
  await shop.goto(world.origins[1]!)
  await expectLanding(shop)
  expect(await callApi(shop)).toEqual({ status: 401, code: 'login_required' })
  for (const page of [main, desk]) {
    await expect(page.getByRole('dialog')).toHaveCount(0)
    await page.reload()
    await expectSignedIn(page)
    expect(await callApi(page)).toMatchObject({ status: 200 })
  }

  // What opens one site opens no other, whoever carries it there.
  const kept = cookies.find((cookie) => cookie.domain === 'desk.localhost')!
  const thief = await anotherBrowser()
  await thief.context().addCookies([{ ...kept, domain: 'shop.localhost' }])
  await thief.goto(world.origins[1]!)
  expect(await callApi(thief)).toMatchObject({ status: 401 })
})
