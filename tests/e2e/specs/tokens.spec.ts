import { find, watch } from '../support/leaks'
import { expect, expectSignedIn, sessionOf, signIn, test } from '../support/world'

test('a call arrives with the bearer token, and without the cookie', async ({ page, world }) => {
  await signIn(page, world)
  await page.getByRole('button', { name: 'POST /api/echo' }).click()
  const arrived = page.getByRole('region', { name: 'As it arrived at the API' })
  await expect(arrived).toContainText('Bearer ••••')
  await expect(arrived).toContainText('written in the browser')

  const [call] = world.api.seen
  expect(call?.method).toBe('POST')
  expect(world.provider.tokens.has(call!.token!), 'the token is one that the provider gave out').toBe(true)
  expect(call!.headers.cookie).toBeUndefined()
  expect(call!.headers['x-csrf']).toBeUndefined()
})

test('a forged header does not reach the API', async ({ page, world }) => {
  await signIn(page, world)
  const status = await page.evaluate(async () => {
    const headers = { 'X-CSRF': '1', Authorization: 'Bearer forged', 'X-Forwarded-User': 'root' }
    return (await fetch('/api/hello', { headers })).status
  })
  expect(status).toBe(200)
  expect(world.api.seen[0]?.token).not.toBe('forged')
  expect(world.provider.tokens.has(world.api.seen[0]!.token!)).toBe(true)
})

test('a call without the CSRF header reaches nobody', async ({ page, world }) => {
  await signIn(page, world)
  const answer = await page.evaluate(async () => {
    const response = await fetch('/api/hello')
    return { status: response.status, body: await response.json() }
  })
  expect(answer).toMatchObject({ status: 403, body: { code: 'csrf' } })
  expect(world.api.seen).toEqual([])
})

test('a call without a session gets 401 and no redirect', async ({ page, world }) => {
  await page.goto(world.origin)
  const answer = await page.evaluate(async () => {
    const response = await fetch('/api/hello', { headers: { 'X-CSRF': '1' } })
    return { status: response.status, redirected: response.redirected, type: response.headers.get('Content-Type'), body: await response.json() }
  })
  expect(answer).toMatchObject({ status: 401, redirected: false, type: expect.stringContaining('application/problem+json'), body: { code: 'login_required' } })
})

test.describe('with access tokens that live a few seconds', () => {
  test.use({ accessTokenSeconds: 5, refreshBefore: '1s' })

  test('twenty calls at once renew the token once, and all arrive', async ({ page, world }) => {
    await signIn(page, world)
    await page.getByRole('button', { name: 'GET /api/hello' }).click()
    await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
    const before = world.api.seen.at(-1)!.token
    expect(world.provider.refreshes()).toBe(0)

    await expect.poll(() => world.provider.accessTokenIsGood(before!), { message: 'the token runs out' }).toBe(false)
    await page.getByRole('button', { name: '20 at once' }).click()
    await expect(page.getByRole('status').filter({ hasText: 'of 20' })).toHaveText('20 of 20 arrived with a bearer token')

    const tokens = new Set(world.api.seen.slice(-20).map((call) => call.token))
    expect(tokens.size, 'all twenty carry the same new token').toBe(1)
    expect([...tokens][0]).not.toBe(before)
    expect(world.provider.refreshes()).toBe(1)
    expect(world.provider.failures()).toEqual([])
  })

  test('an outage of the provider is no sign-out, and heals by itself', async ({ page, world }) => {
    await signIn(page, world)
    world.provider.failing.token = true
    await expect(async () => {
      // The old token serves while it lives; after that there is none.
      await page.getByRole('button', { name: 'GET /api/hello' }).click()
      await expect(page.getByRole('region', { name: 'Refused' })).toContainText('provider_unavailable', { timeout: 1_000 })
    }).toPass({ timeout: 15_000 })
    await expectSignedIn(page)
    await expect(page.getByRole('dialog')).toHaveCount(0)

    world.provider.failing.token = false
    await expect(async () => {
      await page.getByRole('button', { name: 'GET /api/hello' }).click()
      await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible({ timeout: 1_000 })
    }).toPass({ timeout: 15_000 })
    await expectSignedIn(page)
  })
})

test('the search for leaks finds a leak', async ({ page, context, world }) => {
  await signIn(page, world)
  const [token] = world.provider.tokens
  expect(find([{ where: 'a page', text: `<p>${token}</p>` }], world.provider.tokens)).toHaveLength(1)
  expect(world.provider.tokens.size, 'access, refresh and ID token').toBe(3)
  expect(context.pages()).toHaveLength(1)
})

test('the search for leaks hears event streams, and further browsers', async ({ world, anotherBrowser }) => {
  const context = (await anotherBrowser()).context()
  const watched = watch(context)
  const tab = await context.newPage()
  await signIn(tab, world)
  // No secret, and said by the stream.
  const { tag } = (await sessionOf(tab)).session
  await expect.poll(async () => (await watched.search([tag])).map(({ where }) => where)).toContain('event stream')
})
