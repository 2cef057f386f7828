import type { Page } from '@playwright/test'
import { ADMIN_KEY } from '../support/bff'
import { timesToEnd } from '../support/endings'
import { callApi, expect, expectSignedIn, giveName, signIn, test } from '../support/world'

test.use({ administered: true })

const EVIL = '<img src=x onerror=alert(1)>'
const AT_ONCE = 2_000

test('nothing is shown without the key', async ({ page, world, anotherBrowser }) => {
  await signIn(page, world)
  const admin = await anotherBrowser()
  await admin.goto(world.adminOrigin)
  await admin.getByLabel('Key', { exact: true }).fill('not-the-administration-key')
  await admin.getByRole('button', { name: 'Open' }).click()
  await expect(admin.getByRole('alert')).toHaveText('This is not the key.')
  await expect(admin.getByText('Alice Example')).toHaveCount(0)

  await open(admin)
  await expect(row(admin, 'Alice Example')).toBeVisible()
  await admin.reload()
  await expect(row(admin, 'Alice Example'), 'the tab keeps the key').toBeVisible()
  expect(await admin.context().cookies(world.adminOrigin)).toEqual([])

  await admin.getByRole('button', { name: 'Forget key' }).click()
  await expect(admin.getByLabel('Key', { exact: true })).toBeVisible()
  await expect(admin.getByText('Alice Example')).toHaveCount(0)
  expect(await admin.evaluate(() => [sessionStorage.length, localStorage.length])).toEqual([0, 0])
})

test('an administrator finds a session and ends it, and its tab says so at once', async ({ page, world, anotherBrowser }, info) => {
  await signIn(page, world)
  const bob = await anotherBrowser({ userAgent: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:150.0) Gecko/20100101 Firefox/150.0' })
  await signIn(bob, world, 'bob')
  await callApi(bob)

  const admin = await anotherBrowser({ viewport: { width: 1280, height: 900 } })
  await admin.goto(world.adminOrigin)
  await open(admin)
  await expect(row(admin, 'Alice Example')).toBeVisible()
  await expect(row(admin, 'Bob Example')).toContainText('Firefox on Windows')
  await expect(admin.getByRole('article').filter({ hasText: 'Session store' })).toContainText('Memory')
  await expect(admin.locator('#figure-sessions [data-value]')).toHaveText('2')
  await admin.screenshot({ path: info.outputPath('administration.png'), fullPage: true })

  await admin.getByRole('searchbox').fill('alice')
  await expect(row(admin, 'Bob Example')).toHaveCount(0)
  await row(admin, 'Alice Example').getByRole('button').click()
  const drawer = admin.getByRole('dialog', { name: 'Alice Example' })
  await expect(drawer).toContainText('Ends in any case')
  await admin.screenshot({ path: info.outputPath('administration-session.png') })
  await drawer.getByRole('button', { name: 'End session' }).click()
  const confirmation = admin.getByRole('alertdialog')
  await expect(confirmation).toContainText('Alice Example is signed out of')

  const id = await row(admin, 'Alice Example').getAttribute('data-id')
  const deletion = { page: admin, method: 'DELETE', path: `/api/sessions/${id}` }
  const { took } = await timesToEnd([page], deletion, () => confirmation.getByRole('button', { name: 'End session' }).click())
  console.log(`  ended by an administrator: the tab says so after ${took[0]} ms`)
  await expect(page.getByRole('dialog', { name: 'An administrator ended your session' })).toBeVisible()
  expect(took[0]).toBeLessThan(AT_ONCE)
  expect(await callApi(page)).toEqual({ status: 401, code: 'session_expired' })

  await expect(admin.getByText('Ended the session of Alice Example.')).toBeVisible()
  await expect(admin.getByText('No session matches')).toBeVisible()
  await admin.getByRole('button', { name: 'Show all sessions' }).click()
  await expect(row(admin, 'Bob Example')).toBeVisible()
  await expect(row(admin, 'Alice Example')).toHaveCount(0)
  expect(await callApi(bob)).toMatchObject({ status: 200 })
  await expectSignedIn(bob, 'bob')
})

test('a name that is markup harms neither the administrator nor its owner', async ({ page, world, anotherBrowser }, info) => {
  const harm: string[] = []
  const admin = await anotherBrowser({ viewport: { width: 1280, height: 900 } })
  for (const tab of [page, admin]) {
    tab.on('dialog', (dialog) => {
      harm.push(`dialog ${dialog.message()}`)
      void dialog.dismiss()
    })
    tab.on('request', (request) => new URL(request.url()).pathname === '/x' && harm.push(request.url()))
  }
  world.provider.names.set('mallory', EVIL)
  await page.goto(`${world.origin}/bff/login`)
  await giveName(page, 'mallory')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(EVIL)

  await admin.goto(world.adminOrigin)
  await open(admin)
  await row(admin, EVIL).getByRole('button').click()
  const drawer = admin.getByRole('dialog', { name: EVIL })
  await expect(drawer.getByRole('heading', { level: 2 })).toHaveText(EVIL)
  await drawer.getByRole('button', { name: 'End session' }).click()
  const confirmation = admin.getByRole('alertdialog')
  await expect(confirmation).toContainText(`End the session of ${EVIL}?`)
  await admin.screenshot({ path: info.outputPath('administration-markup.png') })
  await confirmation.getByRole('button', { name: 'End session' }).click()
  await expect(admin.getByText(`Ended the session of ${EVIL}.`)).toBeVisible()
  await expect(page.getByRole('dialog', { name: 'An administrator ended your session' })).toContainText(EVIL)

  for (const tab of [page, admin]) await expect(tab.locator('img')).toHaveCount(0)
  expect(harm).toEqual([])
})

test('people are found by last name and e-mail address, and sorted by last use, on a phone too', async ({ page, world, anotherBrowser }, info) => {
  await signIn(page, world)
  const bob = await anotherBrowser({ userAgent: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:150.0) Gecko/20100101 Firefox/150.0' })
  await signIn(bob, world, 'bob')

  for (const { width, height } of [
    { width: 1280, height: 900 },
    { width: 390, height: 844 },
  ]) {
    const admin = await anotherBrowser({ viewport: { width, height } })
    await admin.goto(world.adminOrigin)
    await open(admin)
    await expect(row(admin, 'Bob Example')).toContainText('127.0.0.1')
    await expect(row(admin, 'Bob Example')).toContainText('Firefox on Windows')
    await admin.getByLabel('Sort by').selectOption('last seen')
    await expect(admin.locator('#rows tr').first(), 'who signed in last').toContainText('Bob Example')
    await admin.screenshot({ path: info.outputPath(`list-${width}.png`), fullPage: true })

    await admin.getByRole('searchbox').fill('exam')
    await expect(row(admin, 'Alice Example')).toBeVisible()
    await expect(row(admin, 'Bob Example')).toBeVisible()
    await admin.getByRole('searchbox').fill('BOB@example.com')
    await expect(row(admin, 'Alice Example')).toHaveCount(0)
    await row(admin, 'Bob Example').getByRole('button').click()
    await expect(admin.getByRole('dialog', { name: 'Bob Example' })).toContainText('127.0.0.1')
    await admin.screenshot({ path: info.outputPath(`session-${width}.png`) })
    expect(await admin.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is cut off').toBe(true)
  }
})

test.describe('with a site beside', () => {
  test.use({ sites: ['shop'] })

  test('the chosen site stays over a reload, and is in the address', async ({ world, anotherBrowser }) => {
    const admin = await anotherBrowser()
    await admin.goto(world.adminOrigin)
    await open(admin)
    await admin.getByLabel('Site').selectOption('shop')
    await expect(admin).toHaveURL(`${world.adminOrigin}/#site=shop`)
    await admin.reload()
    await expect(admin.getByLabel('Site')).toHaveValue('=shop')
    await expect(admin.getByRole('button', { name: 'End all sessions of this site' })).toBeVisible()

    await admin.getByRole('button', { name: 'Forget key' }).click()
    await expect(admin).toHaveURL(`${world.adminOrigin}/`)
  })
})

async function open(admin: Page) {
  await admin.getByLabel('Key', { exact: true }).fill(ADMIN_KEY)
  await admin.getByRole('button', { name: 'Open' }).click()
  await expect(admin.getByRole('heading', { name: 'Who is signed in' })).toBeVisible()
}

function row(admin: Page, name: string) {
  return admin.getByRole('row').filter({ has: admin.getByRole('button', { name, exact: true }) })
}
