// What Chromium itself sends: looking ahead, links of other sites, forms without a referrer.

import type { Page, Request } from '@playwright/test'
import { DIST, expect, expectSignedIn, giveName, loginCookies, sessionOf, signIn, test } from '../support/world'

/** The head of a request as it left the browser; `request.headers()` knows only what the page asked for. */
const heads = (request: Request) => request.allHeaders()

/** Puts speculation rules for `path` into the page, and waits until the browser has tried. */
async function lookAhead(page: Page, kind: 'prefetch' | 'prerender', path: string) {
  const seen: { url: string; status: number; blocked?: string }[] = []
  const network = await page.context().newCDPSession(page)
  network.on('Preload.prefetchStatusUpdated', ({ key, status, prefetchStatus }) => {
    if (status === 'Failure' || status === 'Success') seen.push({ url: key.url, status: status === 'Success' ? 200 : 0, blocked: prefetchStatus })
  })
  network.on('Preload.prerenderStatusUpdated', ({ key, status, prerenderStatus }) => {
    if (status === 'Failure' || status === 'Success' || status === 'Ready')
      seen.push({ url: key.url, status: status === 'Failure' ? 0 : 200, blocked: prerenderStatus })
  })
  await network.send('Preload.enable')
  await page.evaluate(
    ([kind, path]) => {
      const rules = document.createElement('script')
      rules.type = 'speculationrules'
      rules.text = JSON.stringify({ [kind!]: [{ urls: [path], eagerness: 'immediate' }] })
      document.head.append(rules)
    },
    [kind, path],
  )
  await expect.poll(() => seen.length, { message: `${kind} of ${path} was tried` }).toBeGreaterThan(0)
  return seen
}

/** It came here, and was refused; the browser may know that before the line is in the log. */
const expectRefused = (bff: { output(): string }, tried = 'it was tried') =>
  expect.poll(() => bff.output(), { message: tried }).toContain('prefetch_refused')

test.describe('looking ahead', () => {
  // The example's own policy would keep the browser from acting on the rules.
  test.use({ frontend: `dir = "${DIST}"\nheaders = { Content-Security-Policy = "script-src 'self' 'inline-speculation-rules'" }` })

  for (const kind of ['prefetch', 'prerender'] as const) {
    test(`a ${kind} of the link to sign out signs nobody out`, async ({ page, world }) => {
      await signIn(page, world)
      const { logout_url: logout } = await sessionOf(page)
      const tried = await lookAhead(page, kind, logout)
      expect(tried.every(({ status }) => status === 0), JSON.stringify(tried)).toBe(true)
      await expectRefused(world.bff)
      expect(await sessionOf(page)).toMatchObject({ authenticated: true })

      // The click itself does.
      await page.goto(`${world.origin}${logout}`)
      await page.getByRole('button', { name: 'Sign out here too' }).click()
      await page.goto(world.origin)
      expect(await sessionOf(page)).toMatchObject({ authenticated: false })
    })
  }

  test('a prefetch of a page that needs a session begins no login', async ({ page, context, world }) => {
    await page.goto(world.origin)
    const tried = await lookAhead(page, 'prefetch', '/members')
    await expectRefused(world.bff, JSON.stringify(tried))
    expect(await loginCookies(context)).toEqual({ underWay: [], over: [] })
    await page.goto(`${world.origin}/members`)
    await giveName(page)
    await expect(page.getByRole('heading', { name: 'Members only' })).toBeVisible()
  })
})

test('a link of another site keeps the one session', async ({ page, context, world }) => {
  await signIn(page, world)
  const before = await sessionOf(page)
  const other = await context.newPage()
  const asked: Request[] = []
  other.on('request', (request) => asked.push(request))
  await other.goto(`${world.api.origin}/links?to=${encodeURIComponent(`${world.origin}/members?from=mail`)}`)
  await other.getByRole('link', { name: 'Go' }).click()
  await expect(other.getByRole('heading', { name: 'Members only' })).toBeVisible()
  await expect(other).toHaveURL(`${world.origin}/members?from=mail`)

  const steps = asked.filter((request) => request.isNavigationRequest() && request.url().startsWith(world.origin))
  const sites = await Promise.all(steps.map(async (request) => (await heads(request))['sec-fetch-site']))
  expect(sites, 'the step of our own').toEqual(['cross-site', 'same-origin'])
  const after = await sessionOf(page)
  expect(after.session.tag).toBe(before.session.tag)

  // The step leaves no trace in the history.
  await other.goBack()
  await expect(other).toHaveURL(/\/links\?/)
})

test('whoever has no session signs in after one step, and comes back', async ({ page, world }) => {
  await page.goto(`${world.api.origin}/links?to=${encodeURIComponent(`${world.origin}/members?from=mail`)}`)
  await page.getByRole('link', { name: 'Go' }).click()
  await giveName(page)
  await expect(page.getByRole('heading', { name: 'Members only' })).toBeVisible()
  await expect(page).toHaveURL(`${world.origin}/members?from=mail`)
})

test('a form on a page that sends no referrer arrives', async ({ page, world }) => {
  await signIn(page, world)
  await page.evaluate(() => {
    const policy = document.createElement('meta')
    policy.name = 'referrer'
    policy.content = 'no-referrer'
    document.head.append(policy)
    document.body.insertAdjacentHTML('beforeend', '<form method="post" action="/members/new"><button>Send it</button></form>')
  })
  const sent = page.waitForRequest((request) => request.method() === 'POST')
  await page.getByRole('button', { name: 'Send it' }).click()
  const head = await heads(await sent)
  expect(head['origin']).toBe('null')
  expect(head['sec-fetch-site']).toBe('same-origin')
  await expect(page.getByRole('heading', { name: 'Members only' })).toBeVisible()
  expect(world.api.seen.at(-1)).toMatchObject({ method: 'POST', path: '/members/new' })
})

test('a place that is written as people write it is come back to', async ({ page, world }) => {
  for (const [written, shown] of [
    ['/größe', '/gr%C3%B6%C3%9Fe'],
    ['/a b?q=größer als', '/a%20b?q=gr%C3%B6%C3%9Fer%20als'],
  ]) {
    await page.context().clearCookies()
    await page.goto(`${world.origin}/bff/login?return_to=${written}`)
    await giveName(page)
    await expectSignedIn(page)
    await expect(page).toHaveURL(`${world.origin}${shown}`)
  }
})

test('a place that is too long is no dead end', async ({ page, world }) => {
  await page.goto(`${world.origin}/bff/login?return_to=/${'a'.repeat(3000)}`)
  await giveName(page)
  await expectSignedIn(page)
  await expect(page).toHaveURL(`${world.origin}/`)
})
