import type { Page } from '@playwright/test'
import { expect, expectLanding, test } from '../support/world'

/** What becomes of a worker's registration, by the page's own script. */
async function register(page: Page, script: string, scope?: string): Promise<string> {
  return page.evaluate(
    async ({ script, scope }) => {
      try {
        const registration = await navigator.serviceWorker.register(script, scope ? { scope } : {})
        return new URL(registration.scope).pathname
      } catch (error) {
        return (error as Error).name
      }
    },
    { script, scope },
  )
}

const registrations = (page: Page) => page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length)

test('a script below an anonymous route becomes no worker, for the whole origin least of all', async ({ page, world }) => {
  await page.goto(world.origin)
  await expectLanding(page)
  for (const scope of [undefined, '/widgets/', '/']) {
    expect(await register(page, '/widgets/sw.js', scope), `scope ${scope}`).toMatch(/^(Type|Security)Error$/)
  }
  expect(await registrations(page)).toBe(0)
  await page.reload()
  await expectLanding(page)
})

test('a route that may have workers has them for itself alone', async ({ page, world }) => {
  await page.goto(world.origin)
  await expectLanding(page)
  expect(await register(page, '/next/sw.js', '/'), 'Service-Worker-Allowed stays behind').toBe('SecurityError')
  expect(await register(page, '/next/sw.js')).toBe('/next/')
  await page.reload()
  await expectLanding(page)
})
