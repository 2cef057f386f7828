import { expect, expectLanding, expectSignedIn, giveName, loginCookies, sessionCookie, sessionOf, signIn, test } from '../support/world'

test('sign in at the provider and come back', async ({ page, context, world }) => {
  await page.goto(world.origin)
  await expectLanding(page)
  expect(await sessionOf(page)).toMatchObject({ authenticated: false, login_url: '/bff/login' })

  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await expect(page).toHaveURL(new RegExp(`^${world.provider.issuer}/interaction/`))
  const asked = await context.cookies()
  expect(asked.filter((cookie) => /^bff-\d+-login-/.test(cookie.name)), 'a cookie for the login under way').toHaveLength(1)

  await giveName(page)
  await expectSignedIn(page)
  await expect(page).toHaveURL(`${world.origin}/`)
  await expect(page.getByText('alice@example.com')).toBeVisible()
  expect(await sessionOf(page)).toMatchObject({ authenticated: true, user: { sub: 'alice', name: 'Alice Example' } })

  const { underWay, over } = await loginCookies(context)
  expect(underWay, 'no login is left under way').toEqual([])
  expect(over, 'where it was going is remembered').toHaveLength(1)
  const cookies = (await context.cookies()).filter(({ domain, name }) => domain === 'localhost' && name !== over[0].name)
  expect(cookies, 'one cookie is left beside it, and no script can read it').toEqual([
    expect.objectContaining({ name: expect.stringMatching(/^bff-\d+$/), httpOnly: true, sameSite: 'Strict', path: '/', expires: -1 }),
  ])
  expect(await page.evaluate(() => document.cookie)).toBe('')
})

test('a deep link comes back to the same page, query and fragment', async ({ page, world }) => {
  const deep = `${world.origin}/reports/7?tab=2&q=a%20b#total`
  await page.goto(deep)
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await giveName(page)
  await expectSignedIn(page)
  expect(page.url()).toBe(deep)
})

test('a link to /bff/login with return_to goes there', async ({ page, world }) => {
  await page.goto(`${world.origin}/bff/login?return_to=%2Freports%2F7&login_hint=bob`)
  await expect(page.getByLabel('User')).toHaveValue('bob')
  await page.getByRole('button', { name: 'Continue' }).click()
  await expectSignedIn(page, 'bob')
  await expect(page).toHaveURL(`${world.origin}/reports/7`)
})

test('two tabs that sign in at once both end signed in', async ({ page, context, world }) => {
  const other = await context.newPage()
  for (const tab of [page, other]) {
    await tab.goto(world.origin)
    await tab.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
    await expect(tab.getByLabel('User')).toBeVisible()
  }
  await giveName(page)
  await expectSignedIn(page)
  await giveName(other)
  await expectSignedIn(other)

  for (const tab of [page, other]) {
    await tab.bringToFront()
    await tab.getByRole('button', { name: 'GET /api/hello' }).click()
    await expect(tab.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
    await expectSignedIn(tab)
  }
  expect((await loginCookies(context)).underWay, 'no login is left under way').toEqual([])
})

test('the back button after a login neither fails nor loops', async ({ page, world }) => {
  const logins: string[] = []
  const errors: string[] = []
  page.on('request', (request) => request.url().includes('/bff/login') && logins.push(request.url()))
  page.on('response', (r) => r.url().startsWith(world.origin) && r.status() >= 400 && errors.push(`${r.status()} ${r.url()}`))

  await signIn(page, world)
  expect(logins).toHaveLength(1)

  // The provider's pages lie between; go back until the app is there again.
  do await page.goBack({ waitUntil: 'load' })
  while (!page.url().startsWith(world.origin))
  await expectSignedIn(page)
  await page.goForward({ waitUntil: 'load' })
  expect(logins, 'no login has started by itself').toHaveLength(1)
  expect(errors).toEqual([])
})

test('opening the address of the callback again goes on in the session', async ({ page, world }) => {
  let callback = ''
  page.on('request', (request) => {
    if (request.url().startsWith(`${world.origin}/bff/callback?`)) callback = request.url()
  })
  await signIn(page, world)
  const before = await sessionOf(page)

  await page.goto(callback)
  await expectSignedIn(page)
  expect(page.url()).toBe(`${world.origin}/`)
  expect((await sessionOf(page)).session.tag).toBe(before.session.tag)
})

test('signing in as someone else ends the session that was there', async ({ page, context, world, browser }) => {
  await signIn(page, world)
  const old = await sessionCookie(context)
  await page.goto(`${world.origin}/bff/login?prompt=login`)
  await giveName(page, 'bob')
  await expectSignedIn(page, 'bob')

  const thief = await browser.newContext()
  await thief.addCookies([old!])
  const answer = await thief.request.get(`${world.origin}/api/hello`, { headers: { 'X-CSRF': '1' } })
  expect(answer.status()).toBe(401)
  await thief.close()
})

test.describe('a page that needs a session', () => {
  test('sends an anonymous visitor to sign in, then shows itself', async ({ page, world }) => {
    await page.goto(`${world.origin}/members?from=mail`)
    await giveName(page)
    await expect(page.getByRole('heading', { name: 'Members only' })).toBeVisible()
    await expect(page).toHaveURL(`${world.origin}/members?from=mail`)
  })

  test('opens from a link on another site, where the Strict cookie does not travel', async ({ page, world }) => {
    await signIn(page, world)
    await page.goto(`${world.api.origin}/links?to=${encodeURIComponent(`${world.origin}/members`)}`)
    await page.getByRole('link', { name: 'Go' }).click()
    await expect(page.getByRole('heading', { name: 'Members only' })).toBeVisible()
    await expect(page).toHaveURL(`${world.origin}/members`)
  })
})

test('a login that another site starts asks first', async ({ page, world }) => {
  await page.goto(`${world.api.origin}/links?to=${encodeURIComponent(`${world.origin}/bff/login?return_to=/reports/7`)}`)
  await page.getByRole('link', { name: 'Go' }).click()
  const go = page.getByRole('button', { name: 'Continue to sign in' }).or(page.getByRole('link', { name: 'Continue to sign in' }))
  await expect(go).toBeVisible()
  expect(new URL(page.url()).origin).toBe(world.origin)
  await go.click()
  await giveName(page)
  await expectSignedIn(page)
  await expect(page).toHaveURL(`${world.origin}/reports/7`)
})
