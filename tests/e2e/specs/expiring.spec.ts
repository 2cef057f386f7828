import type { Page } from '@playwright/test'
import { momentOfEnd } from '../support/endings'
import { trafficOf } from '../support/network'
import { expect, expectSignedIn, signIn, test } from '../support/world'

// The warning comes a quarter of the timeout before the end: enough for a busy machine to press a button.
test.use({ idleTimeout: '24s' })
test.setTimeout(120_000)

const QUARTER = 6

test('who stays is kept signed in, and a second tab follows without asking', async ({ page, context, world }) => {
  await signIn(page, world)
  const second = await context.newPage()
  const { requests, messages } = await trafficOf(second)
  await second.goto(world.origin)
  await expectSignedIn(second)

  for (const tab of [page, second]) await expect(banner(tab)).toBeVisible({ timeout: 30_000 })
  expect(await secondsLeft(second)).toBeLessThanOrEqual(QUARTER)
  const warned = Date.now()
  await banner(page).getByRole('button', { name: 'Stay signed in' }).click()
  for (const tab of [page, second]) await expect(banner(tab)).toHaveCount(0)
  expect(await secondsLeft(second), 'its countdown starts over').toBeGreaterThan(QUARTER + 5)
  expect(messages.map(({ name }) => name)).toEqual(['signed_in', 'expiring', 'extended'])
  expect(requests.filter(({ at }) => at > warned), 'the second tab has asked nothing').toEqual([])

  // And it holds beyond the end that was announced.
  await expect(banner(page)).toBeVisible({ timeout: 30_000 })
  expect(Date.now() - warned).toBeGreaterThan(QUARTER * 1000)
  await expect(page.getByRole('dialog')).toHaveCount(0)
})

test('who does nothing is told that the session expired, in every tab and without polling', async ({ page, context, world }) => {
  const second = await context.newPage()
  const traffic = await Promise.all([page, second].map(trafficOf))
  await signIn(page, world)
  await second.goto(world.origin)
  await expectSignedIn(second)
  for (const tab of [page, second]) await expect(banner(tab)).toBeVisible({ timeout: 30_000 })

  const warned = Date.now()
  const ends = await Promise.all([page, second].map(momentOfEnd))
  for (const [i, tab] of [page, second].entries()) {
    await expect(tab.getByRole('dialog', { name: 'Your session expired' })).toBeVisible()
    const { requests, messages } = traffic[i]!
    expect(messages.map(({ name }) => name).slice(-2)).toEqual(['expiring', 'ended'])
    expect(JSON.parse(messages.at(-1)!.data)).toEqual({ reason: 'expired' })
    expect(requests.filter(({ at }) => at > warned && at < ends[i]!), 'it has asked nothing').toEqual([])
  }
  console.log(`  expired ${ends.map((end, i) => Math.round(end - traffic[i]!.messages.at(-2)!.at)).join(', ')} ms after the warning`)
})

function banner(page: Page) {
  return page.getByRole('region', { name: 'Your session is about to expire' })
}

async function secondsLeft(page: Page): Promise<number> {
  const [minutes, seconds] = (await page.getByRole('timer', { name: 'Idle timeout' }).innerText()).split(' ')[0]!.split(':').map(Number)
  return minutes! * 60 + seconds!
}
