import { expect, expectSignedIn, giveName, loginCookies, sessionOf, test } from '../support/world'

// Back to the form, and the provider answers at once: with a new code and the old state.
test.use({ oldForm: 'asks-anew' })

test('Back after a login goes on in the app, in the same session', async ({ page, context, world }) => {
  const errors: string[] = []
  const callbacks: string[] = []
  page.on('response', (r) => r.url().startsWith(world.origin) && r.status() >= 400 && errors.push(`${r.status()} ${r.url()}`))
  page.on('request', (r) => r.url().startsWith(`${world.origin}/bff/callback?`) && callbacks.push(r.url()))
  await page.goto(`${world.origin}/reports/7?tab=2`)
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await giveName(page)
  await expectSignedIn(page)
  const before = await sessionOf(page)
  const bought = () => world.provider.grantsOf('authorization_code')
  expect(bought()).toBe(1)

  await page.goBack({ waitUntil: 'load' })
  await expect(page).toHaveURL(`${world.origin}/reports/7?tab=2`)
  await expectSignedIn(page)
  const [first, again] = callbacks.map((url) => new URL(url).searchParams)
  expect(again?.get('state'), 'the old state').toBe(first?.get('state'))
  expect(again?.get('code'), 'and a new code').not.toBe(first?.get('code'))
  expect((await sessionOf(page)).session.tag).toBe(before.session.tag)
  expect(bought(), 'nothing more was bought').toBe(1)
  expect(errors).toEqual([])
  expect((await loginCookies(context)).underWay).toEqual([])

  // The next step back leads out of the login, not round in it.
  await page.goBack({ waitUntil: 'load' })
  expect(page.url().startsWith(world.origin)).toBe(true)
  await expectSignedIn(page)
})

test('Back after a login whose session is gone signs in once more, by itself', async ({ page, context, world }) => {
  await page.goto(`${world.origin}/reports/7`)
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await giveName(page)
  await expectSignedIn(page)
  const before = await sessionOf(page)
  await context.clearCookies({ name: /^bff-\d+$/ })

  await page.goBack({ waitUntil: 'load' })
  await expect(page).toHaveURL(`${world.origin}/reports/7`)
  await expectSignedIn(page)
  expect((await sessionOf(page)).session.tag).not.toBe(before.session.tag)
})

test('the oldest of seven tabs that sign in ends where it was going', async ({ context, world }) => {
  const tabs = await Promise.all(Array.from({ length: 7 }, () => context.newPage()))
  for (const [nth, tab] of tabs.entries()) {
    await tab.goto(`${world.origin}/bff/login?return_to=/reports/${nth}`)
    await expect(tab.getByLabel('User')).toBeVisible()
  }
  for (const [nth, tab] of tabs.entries()) {
    await tab.bringToFront()
    await giveName(tab)
    await expectSignedIn(tab)
    await expect(tab).toHaveURL(`${world.origin}/reports/${nth}`)
    // Its event stream would keep one of the browser's six connections to the origin.
    await tab.goto('about:blank')
  }
})
