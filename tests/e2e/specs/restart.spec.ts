import { trafficOf } from '../support/network'
import { redisIsInstalled } from '../support/redis'
import { callApi, expect, expectSignedIn, sessionCookie, signIn, test } from '../support/world'

for (const store of ['sqlite', 'redis'] as const) {
  test.describe(`with sessions in ${store}`, () => {
    test.use({ store })
    test.skip(store === 'redis' && !redisIsInstalled, 'redis-server is not installed')

    test('a session outlives the process, and the page does not notice more than a gap', async ({ page, context, world, anotherBrowser }) => {
      const other = await anotherBrowser()
      await signIn(other, world)
      const { requests, messages } = await trafficOf(page)
      await signIn(page, world)
      await expect(page.getByRole('region', { name: 'Your sessions' }).getByRole('listitem')).toHaveCount(2)
      const before = await sessionCookie(context)
      const streams = () => requests.filter(({ url }) => url.endsWith('/bff/session/events')).length
      await expect.poll(() => messages.map(({ name }) => name)).toEqual(['signed_in'])
      expect(streams()).toBe(1)

      await world.bff.crash()
      await expect.poll(streams, { message: 'the browser tries again, in vain' }).toBeGreaterThan(1)
      await expectSignedIn(page)
      await expect(page.getByRole('dialog')).toHaveCount(0)
      const back = page.waitForResponse((r) => r.url().endsWith('/bff/session/events') && r.status() === 200)
      await world.bff.start()
      await back

      await page.getByRole('button', { name: 'GET /api/hello' }).click()
      await expect(page.getByRole('region', { name: 'As it arrived at the API' })).toBeVisible()
      expect(world.provider.tokens.has(world.api.seen.at(-1)!.token!), 'with the token from before').toBe(true)
      await expectSignedIn(page)
      await expect(page.getByRole('dialog')).toHaveCount(0)
      expect(messages.map(({ name }) => name)).not.toContain('ended')
      expect((await sessionCookie(context))!.value, 'the same cookie').toBe(before!.value)

      // The new stream is as good as the old one.
      expect(await callApi(other)).toMatchObject({ status: 200 })
      await other.reload()
      await other.getByRole('button', { name: 'Sign out everywhere else' }).click()
      await other.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click()
      await expect(page.getByRole('dialog', { name: 'You were signed out elsewhere' })).toBeVisible()
      expect(messages.at(-1)!.name).toBe('ended')

      // And so is an end: no restart brings a session back.
      await world.bff.crash()
      await world.bff.start()
      expect(await callApi(page)).toEqual({ status: 401, code: 'session_expired' })
      expect(await callApi(other)).toMatchObject({ status: 200 })
    })
  })
}
