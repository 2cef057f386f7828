import { expect, expectSignedIn, signIn, test } from '../support/world'

// As they stand in the address bar: what a person would be sent in a link.
const FOREIGN = [
  '//evil.example',
  '///evil.example',
  '////evil.example',
  '/\\evil.example',
  '\\/evil.example',
  '\\\\evil.example',
  '/%09/evil.example',
  '/%0a/evil.example',
  '/%0d/evil.example',
  '/%0b/evil.example',
  '/%20/evil.example',
  'https:evil.example',
  'https:/evil.example',
  'http:///evil.example',
  'https://evil.example',
  'http://localhost@evil.example',
  'javascript:alert(1)',
  'data:text/html,x',
  '/%2f%2fevil.example',
  '/%5cevil.example',
  '%2f%2fevil.example',
  '//evil%E3%80%82example',
  '%0d%0aLocation:%20https://evil.example',
  '/.%2f%5cevil.example',
  '/..//evil.example',
]

test('no return_to leads off our origin, as this browser reads it', async ({ page, world }) => {
  const strayed: string[] = []
  const home = [world.origin, world.provider.issuer]
  page.on('request', (request) => {
    if (request.isNavigationRequest() && !home.includes(new URL(request.url()).origin)) strayed.push(request.url())
  })
  page.on('dialog', (dialog) => {
    strayed.push(`dialog ${dialog.message()}`)
    void dialog.dismiss()
  })
  // The provider knows the user, so each login below runs through without a form.
  await signIn(page, world)

  for (const returnTo of FOREIGN) {
    await test.step(returnTo, async () => {
      const answer = await page.goto(`${world.origin}/bff/login?return_to=${returnTo}`)
      expect(new URL(page.url()).origin, returnTo).toBe(world.origin)
      expect([200, 400, 404], returnTo).toContain(answer?.status())
      expect(await page.evaluate(() => location.origin), returnTo).toBe(world.origin)
    })
  }
  expect(strayed).toEqual([])
  await page.goto(world.origin)
  await expectSignedIn(page)
})
