import type { BrowserContext, Page } from '@playwright/test'
import { timesToEnd } from '../support/endings'
import { trafficOf, type Traffic } from '../support/network'
import { callApi, expect, expectLanding, expectSignedIn, giveName, sessionCookie, signIn, test, type World } from '../support/world'

const TITLE = 'Signed out at your identity provider'
const AT_ONCE = 2_000

test.describe('a back-channel logout that names the user', () => {
  test.use({ backchannelLogout: 'user' })

  test('reaches every tab of every browser at once, by the event stream alone', async ({ page, context, world, anotherBrowser }) => {
    const tabs = [page, await context.newPage(), await anotherBrowser()]
    const traffic = await Promise.all(tabs.map(trafficOf))
    await signIn(tabs[0]!, world)
    await tabs[1]!.goto(world.origin)
    await expectSignedIn(tabs[1]!)
    await signIn(tabs[2]!, world)
    await expectQuiet(traffic, 5_000)

    const { start, took } = await signOutAtProvider(context, world, tabs)
    console.log(`  signed out at the provider: tabs say so after ${took.join(', ')} ms`)
    for (const [i, tab] of tabs.entries()) {
      await expect(tab.getByRole('dialog', { name: TITLE })).toBeVisible()
      expect(took[i], `tab ${i + 1}`).toBeLessThan(AT_ONCE)
      const { requests, messages } = traffic[i]!
      const asked = requests.filter(({ at }) => at > start - 5_000 && at < start + took[i]!)
      expect(asked, `tab ${i + 1} has asked nothing, before or after`).toEqual([])
      expect(messages.filter(({ at }) => at > start).map(({ name, data }) => [name, JSON.parse(data)])).toEqual([
        ['ended', { reason: 'provider_logout' }],
      ])
    }
    expect(world.provider.backchannelErrors).toEqual([])

    const codes = []
    for (const tab of tabs) codes.push((await callApi(tab)).code)
    expect(codes, 'the first refusal takes the cookie, also of the second tab').toEqual(['session_expired', 'login_required', 'session_expired'])
    expect(world.api.seen, 'nothing was forwarded').toEqual([])
  })
})

test.describe('a back-channel logout that names a session of the provider', () => {
  test.use({ backchannelLogout: 'session' })

  test('reaches that browser, and leaves the others of the same user alone', async ({ page, context, world, anotherBrowser }) => {
    await signIn(page, world)
    const other = await anotherBrowser()
    const { messages } = await trafficOf(other)
    await signIn(other, world)

    const { took } = await signOutAtProvider(context, world, [page])
    console.log(`  signed out at the provider: the tab says so after ${took[0]} ms`)
    expect(took[0]).toBeLessThan(AT_ONCE)
    await expect(page.getByRole('dialog', { name: TITLE })).toBeVisible()

    await other.getByRole('button', { name: 'GET /api/hello' }).click()
    await expect(other.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
    await expectSignedIn(other)
    expect(messages.map(({ name }) => name)).not.toContain('ended')
    expect(world.provider.backchannelErrors).toEqual([])
  })

  test('who signs in again is another session, which that logout does not touch', async ({ page, context, world }) => {
    await signIn(page, world)
    const old = await sessionCookie(context)
    await signOutAtProvider(context, world, [page])
    const opened = context.waitForEvent('page')
    await page.getByRole('dialog', { name: TITLE }).getByRole('button', { name: 'Sign in again' }).click()
    await giveName(await opened)
    await expect(page.getByRole('dialog')).toHaveCount(0)
    await expectSignedIn(page)
    expect((await sessionCookie(context))!.value).not.toBe(old!.value)
    expect(await callApi(page)).toMatchObject({ status: 200 })
  })

  test('a logout token for a session that is gone is no error', async ({ page, world }) => {
    await signIn(page, world)
    await page.getByRole('button', { name: 'Sign out', exact: true }).click()
    await page.getByRole('button', { name: 'Sign out here too' }).click()
    await expectLanding(page)
    expect(world.provider.backchannelErrors).toEqual([])
  })
})

/** At the provider's own page, in a tab of its own; until `tabs` say that their sessions are over. */
async function signOutAtProvider(context: BrowserContext, world: World, tabs: Page[]) {
  const provider = await context.newPage()
  await provider.goto(`${world.provider.issuer}/session/end`)
  return timesToEnd(tabs, { page: provider, method: 'POST', path: '/session/end/confirm' }, async () => {
    await provider.getByRole('button', { name: 'Sign out here too' }).click()
    await expect(provider.getByRole('heading', { name: 'Signed out' })).toBeVisible()
  })
}

/** Until no tab has sent anything for so long: nobody polls. */
async function expectQuiet(traffic: Traffic[], span: number) {
  const quietFor = () => Date.now() - Math.max(...traffic.flatMap(({ requests }) => requests.map(({ at }) => at)))
  await expect.poll(quietFor, { timeout: span + 10_000, message: 'all tabs are quiet' }).toBeGreaterThan(span)
}
