// One site, three providers: a person chooses, and this browser remembers what.

import { expect, expectSignedIn, giveName, sessionOf, test, WAYS_IN } from '../support/world'

test.use({ providers: WAYS_IN })

test('a person signs in by keyboard alone, at the one that they choose', async ({ page, world }) => {
  await page.goto(`${world.origin}/bff/login?return_to=/reports/7`)
  const links = page.getByRole('listitem').getByRole('link')
  await expect(links).toHaveText([/Staff/, /Customers/, /google/])
  await page.keyboard.press('Tab')
  await expect(links.first()).toBeFocused()
  await page.keyboard.press('Tab')
  await expect(links.nth(1)).toBeFocused()
  const outline = await links.nth(1).evaluate((link) => getComputedStyle(link).outlineStyle)
  expect(outline, 'where the focus is can be seen').toBe('solid')
  await page.keyboard.press('Enter')
  await giveName(page)
  await expect(page).toHaveURL(`${world.origin}/reports/7`)
  await expectSignedIn(page)
  expect(await sessionOf(page)).toMatchObject({ authenticated: true, provider: 'customers' })
})

test('the last choice stands first, and another is one key further', async ({ page, world }) => {
  const signOut = () => page.evaluate(async () => (await fetch('/bff/logout', { method: 'POST', headers: { 'X-CSRF': '1' } })).status)
  await page.goto(`${world.origin}/bff/login?provider=google`)
  await giveName(page)
  await expectSignedIn(page)
  expect(await signOut()).toBe(200)
  await page.goto(`${world.origin}/bff/login`)
  const links = page.getByRole('listitem').getByRole('link')
  await expect(links).toHaveText([/google\s*Last used/, /Staff/, /Customers/])
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await giveName(page, 'bob')
  await expectSignedIn(page, 'bob')
  expect(await sessionOf(page)).toMatchObject({ provider: 'staff' })
})

test('in a window of its own', async ({ page, world }) => {
  await page.goto(world.origin)
  const opened = page.waitForEvent('popup')
  await page.evaluate(() => {
    const heard: unknown[] = []
    Object.assign(window, { heard })
    new BroadcastChannel('bff-login').onmessage = ({ data }) => heard.push(data)
    window.open('/bff/login?mode=popup', 'bff-login', 'popup,width=390,height=720')
  })
  const popup = await opened
  const closed = popup.waitForEvent('close')
  await popup.getByRole('link', { name: 'Staff' }).click()
  await giveName(popup)
  await closed
  await expect.poll(() => page.evaluate(() => (window as any).heard)).toMatchObject([{ outcome: 'signed_in' }])
  expect(await sessionOf(page)).toMatchObject({ provider: 'staff' })
})
