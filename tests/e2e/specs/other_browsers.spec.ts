import type { Page } from '@playwright/test'
import { timesToEnd } from '../support/endings'
import { callApi, expect, expectSignedIn, giveName, signIn, test } from '../support/world'

const FIREFOX = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:150.0) Gecko/20100101 Firefox/150.0'
const AT_ONCE = 2_000

test('signing out everywhere else ends the other browsers at once, and not this one', async ({ page, world, anotherBrowser }) => {
  const others = [await anotherBrowser(), await anotherBrowser({ userAgent: FIREFOX })]
  for (const other of others) await signIn(other, world)
  const bob = await anotherBrowser()
  await signIn(bob, world, 'bob')
  await signIn(page, world)

  const mine = page.getByRole('region', { name: 'Your sessions' })
  await expect(mine.getByRole('listitem')).toHaveCount(3)
  await mine.getByRole('button', { name: 'Sign out everywhere else' }).click()
  const { took } = await timesToEnd(others, deletion(page), () => confirm(page, 'Sign out everywhere else?'))
  console.log(`  signed out everywhere else: the others say so after ${took.join(', ')} ms`)
  for (const [i, other] of others.entries()) {
    await expect(other.getByRole('dialog', { name: 'You were signed out elsewhere' })).toBeVisible()
    expect(took[i]).toBeLessThan(AT_ONCE)
    expect(await callApi(other)).toEqual({ status: 401, code: 'session_expired' })
  }
  expect(world.api.seen, 'nothing was forwarded').toEqual([])

  await expect(mine.getByRole('status')).toHaveText('2 other browsers are signed out.')
  await expect(mine.getByRole('listitem')).toHaveCount(1)
  for (const tab of [page, bob]) expect(await callApi(tab)).toMatchObject({ status: 200 })
  await expectSignedIn(bob, 'bob')
})

test('signing out one device ends that one at once, and no other', async ({ page, world, anotherBrowser }) => {
  const [firefox, third] = [await anotherBrowser({ userAgent: FIREFOX }), await anotherBrowser()]
  await signIn(firefox, world)
  await signIn(third, world)
  await signIn(page, world)

  const mine = page.getByRole('region', { name: 'Your sessions' })
  await mine.getByRole('button', { name: 'Sign out Firefox on Windows' }).click()
  const { took } = await timesToEnd([firefox], deletion(page), () => confirm(page, 'Sign out Firefox on Windows?'))
  console.log(`  signed out one device: it says so after ${took[0]} ms`)
  await expect(firefox.getByRole('dialog', { name: 'You were signed out elsewhere' })).toBeVisible()
  expect(took[0]).toBeLessThan(AT_ONCE)

  await expect(mine.getByRole('status')).toHaveText('Firefox on Windows is signed out.')
  await expect(mine.getByRole('listitem')).toHaveCount(2)
  expect(await callApi(third)).toMatchObject({ status: 200 })
  await expect(third.getByRole('dialog')).toHaveCount(0)
})

test.describe('where a user may have one session', () => {
  test.use({ session: 'max_per_user = 1' })

  test('a login in a second browser takes the place of the first, which is told', async ({ page, world, anotherBrowser }) => {
    await signIn(page, world)
    const second = await anotherBrowser()
    await second.goto(`${world.origin}/bff/login`)
    await expect(second.getByLabel('User')).toBeVisible()
    const login = { page: second, method: 'GET', path: '/bff/callback' }
    const { took } = await timesToEnd([page], login, () => giveName(second))
    console.log(`  superseded: the first browser says so after ${took[0]} ms`)
    expect(took[0]).toBeLessThan(AT_ONCE)
    await expect(page.getByRole('dialog', { name: 'Another sign-in took its place' })).toBeVisible()
    await expectSignedIn(second)

    expect(await callApi(page)).toEqual({ status: 401, code: 'session_superseded' })
    expect(world.api.seen, 'nothing was forwarded').toEqual([])
    expect(await callApi(second)).toMatchObject({ status: 200 })
  })
})

async function confirm(page: Page, question: string) {
  await page.getByRole('dialog', { name: question }).getByRole('button', { name: 'Sign out' }).click()
}

function deletion(page: Page) {
  return { page, method: 'DELETE', path: '/bff/sessions' }
}
