import { expect, expectLanding, giveName, loginCookies, sessionCookie, signIn, test } from '../support/world'

test.use({ tls: true, ignoreHTTPSErrors: true, accessTokenSeconds: 5, refreshBefore: '1s' })

test('over TLS the browser speaks HTTP/2 and takes the prefixed cookies', async ({ page, context, world }) => {
  await page.goto(world.origin)
  expect(await page.evaluate(() => (performance.getEntriesByType('navigation')[0] as PerformanceResourceTiming).nextHopProtocol)).toBe('h2')

  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByLabel('User')).toBeVisible()
  const underWay = (await context.cookies()).filter((cookie) => cookie.domain === 'localhost')
  expect(underWay).toEqual([expect.objectContaining({ httpOnly: true, secure: true, sameSite: 'Lax', path: '/' })])
  expect(underWay[0]?.name).toMatch(/^__Host-Http-bff-\d+-login-/)

  await giveName(page)
  await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible()
  const { over } = await loginCookies(context)
  expect(over).toEqual([expect.objectContaining({ name: underWay[0]?.name, httpOnly: true, secure: true, sameSite: 'Lax', path: '/' })])
  expect((await context.cookies()).filter((cookie) => cookie.domain === 'localhost' && cookie.name !== over[0]?.name)).toEqual([
    expect.objectContaining({ name: expect.stringMatching(/^__Host-Http-bff-\d+$/), httpOnly: true, secure: true, sameSite: 'Strict', path: '/', expires: -1 }),
  ])

  const first = [...world.provider.tokens][0]!
  await expect.poll(() => world.provider.accessTokenIsGood(first), { message: 'the token runs out' }).toBe(false)
  await page.getByRole('button', { name: '20 at once' }).click()
  await expect(page.getByRole('status').filter({ hasText: 'of 20' })).toHaveText('20 of 20 arrived with a bearer token')
  expect(world.provider.refreshes()).toBe(1)
})

test('over TLS signing out takes the prefixed cookie away', async ({ page, context, world }) => {
  await signIn(page, world)
  expect(await sessionCookie(context)).toBeDefined()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign out here too' }).click()
  await expectLanding(page)
  expect(await sessionCookie(context)).toBeUndefined()
})
