import { startBffDev } from '../support/bff'
import { freePort } from '../support/ports'
import { expect, test as base } from '@playwright/test'

/** `bff dev`, and a page that may complain of nothing: no script error, no breach of the content security policy. */
const test = base.extend<{ demo: string }>({
  demo: async ({ context }, use) => {
    const complaints: string[] = []
    context.on('weberror', (error) => complaints.push(String(error.error())))
    context.on('console', (message) => {
      if (/Content Security Policy/i.test(message.text())) complaints.push(message.text())
    })
    const bff = await startBffDev(await freePort())
    await use(bff.publicUrl)
    await bff.stop()
    expect(complaints).toEqual([])
    expect(bff.output()).not.toContain('panicked at')
  },
})

test('the demo signs in, calls its API and signs out', async ({ page, demo }) => {
  await page.goto(demo)
  await page.getByRole('button', { name: 'Try it' }).click()
  await expect(page.getByText('401 login_required')).toBeVisible()

  await page.getByRole('link', { name: 'Sign in', exact: true }).click()
  await page.getByRole('button', { name: /^bob/i }).click()
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(/bob/i)

  await page.getByRole('button', { name: 'POST /api/echo' }).click()
  await expect(page.getByText('Arrived at the API')).toBeVisible()
  await expect(page.locator('[data-mark=bearer]')).toBeVisible()
  await page.getByRole('button', { name: '20 at once' }).click()
  await expect(page.getByText('20 of 20 arrived with a bearer token')).toBeVisible()

  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page.getByRole('link', { name: 'As alice' })).toBeVisible()
  await expect(page.getByText('is signed out: the session has ended here and at the identity provider.')).toBeVisible()
  await page.reload()
  await expect(page.getByText('is signed out'), 'said once').toBeHidden()
  await page.getByRole('link', { name: 'As alice' }).click()
  await expect(page.getByRole('heading', { level: 1 }), 'no form for login_hint').toHaveText(/alice/i)
})

test('whoever cancels at the provider is back where they were', async ({ page, demo }) => {
  await page.goto(demo)
  await page.getByRole('link', { name: 'Sign in', exact: true }).click()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await expect(page).toHaveURL(new RegExp(`^${demo}/`))
  await page.goto(demo)
  await expect(page.getByRole('link', { name: 'As alice' })).toBeVisible()
})

test('the demo asks before the session expires, and shows what it hears', async ({ page }) => {
  const bff = await startBffDev(await freePort(), { more: '[session]\nidle_timeout = "12s"\n' })
  await page.goto(`${bff.publicUrl}/bff/login?login_hint=alice`)
  const asked = page.getByText('You will be signed out soon.')
  await expect(asked).toBeVisible({ timeout: 20_000 })
  await page.getByRole('button', { name: 'Stay signed in' }).first().click()
  await expect(asked).toBeHidden()
  await expect(page.locator('.log')).toContainText('expiring')
  await bff.stop()
})

test('a WebSocket passes with the session, and ends with it', async ({ page, demo }) => {
  await page.goto(`${demo}/bff/login?login_hint=alice`)
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(/alice/i)
  const echoed = await page.evaluate(async () => {
    const socket = new WebSocket('/api/ws')
    const closed = new Promise<number>((resolve) => (socket.onclose = (event) => resolve(event.code)))
    Object.assign(window, { socketClosed: closed })
    await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)))
    socket.send('good morning')
    return new Promise((resolve) => (socket.onmessage = (event) => resolve(event.data)))
  })
  expect(echoed).toBe('good morning')

  const code = await page.evaluate(async () => {
    await fetch('/bff/logout', { method: 'POST', headers: { 'X-CSRF': '1' } })
    return (window as unknown as { socketClosed: Promise<number> }).socketClosed
  })
  expect(code).toBe(1008)
})

test('the provider misbehaves as it is told, and the demo shows it', async ({ page, context, demo }) => {
  await page.goto(`${demo}/bff/login?login_hint=alice`)
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(/alice/i)
  const opened = context.waitForEvent('page')
  await page.getByRole('link', { name: 'Provider controls' }).click()
  const control = await opened
  await expect(control.getByRole('status')).toHaveText('Behaving')
  await expect(control.getByRole('cell', { name: 'alice' }).first()).toBeVisible()
  await expect(control.getByRole('cell', { name: /POST \/.*token/ }).first()).toBeVisible()

  await control.getByText('503', { exact: true }).first().click()
  await expect(control.getByRole('status')).toHaveText('Misbehaving: 503 at token')
  await control.getByRole('button', { name: 'Behave again' }).click()
  await expect(control.getByRole('status')).toHaveText('Behaving')

  await control.getByRole('button', { name: 'Revoke every session and token' }).click()
  await expect(control.getByText('Nobody is signed in.')).toBeVisible()
  await page.bringToFront()
  await page.getByRole('button', { name: 'GET /api/hello' }).click()
  await expect(page.getByText('Refused with 401')).toBeVisible()
})
