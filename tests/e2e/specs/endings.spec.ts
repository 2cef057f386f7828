// Every reason of docs/endings.md, as the demo and the React example tell it, with no help from a reload.

import type { Browser, Page } from '@playwright/test'
import { expect, test } from '@playwright/test'
import { ADMIN_KEY, startBffDev } from '../support/bff'
import { freePort } from '../support/ports'
import { DIST } from '../support/world'

interface Stage {
  page: Page
  browser: Browser
  origin: string
  admin: string
  control: string
}

interface End {
  reason: string
  /** What the pages call it: the demo, the React example. */
  titles: [demo: string, react: string]
  session?: string
  bring: (stage: Stage) => Promise<unknown>
}

const ENDS: End[] = [
  {
    reason: 'logout',
    titles: ['You signed out', 'You signed out'],
    bring: async ({ page, origin }) => {
      const tab = await page.context().newPage()
      await tab.goto(origin)
      await tab.getByRole('button', { name: 'Sign out', exact: true }).click()
      await expect(tab.getByText('signed out').first()).toBeVisible()
      await tab.close()
    },
  },
  {
    reason: 'signed_out_elsewhere',
    titles: ['You were signed out elsewhere', 'You were signed out elsewhere'],
    bring: (stage) => elsewhere(stage, (page) => page.evaluate(() => fetch('/bff/sessions', { method: 'DELETE', headers: { 'X-CSRF': '1' } }))),
  },
  {
    reason: 'revoked',
    titles: ['An administrator ended your session', 'An administrator ended your session'],
    bring: async ({ page, admin }) => {
      const headers = { Authorization: `Bearer ${ADMIN_KEY}` }
      const { sessions } = await (await page.request.get(`${admin}/api/sessions`, { headers })).json()
      for (const { id } of sessions) expect((await page.request.delete(`${admin}/api/sessions/${id}`, { headers })).ok()).toBe(true)
    },
  },
  {
    reason: 'provider_logout',
    titles: ['Signed out at the identity provider', 'Signed out at your identity provider'],
    bring: ({ page, control }) => page.request.post(`${control}/state`, { data: { sign_out_user: 'alice' } }),
  },
  {
    reason: 'refresh_refused',
    titles: ['The provider no longer vouches for you', 'Please sign in again'],
    bring: async ({ page, control }) => {
      await page.request.post(`${control}/state`, { data: { revoke_all: true } })
      const answered = page.waitForResponse((response) => response.url().endsWith('/api/echo'))
      await page.getByRole('button', { name: 'POST /api/echo' }).click()
      const answer = await answered
      expect([answer.status(), (await answer.json()).ended], 'the 401 that discovers it').toEqual([401, 'refresh_refused'])
    },
  },
  {
    reason: 'superseded',
    titles: ['Another sign-in took its place', 'Another sign-in took its place'],
    session: 'max_per_user = 1',
    bring: (stage) => elsewhere(stage, async () => {}),
  },
  {
    reason: 'expired',
    titles: ['Your session expired', 'Your session expired'],
    session: 'idle_timeout = "4s"',
    bring: async () => {},
  },
]

for (const [i, app] of ['the demo', 'the React example'].entries()) {
  for (const { reason, titles, session = '', bring } of ENDS) {
    test(`${app} says why: ${reason}`, async ({ page, browser }) => {
      const [port, adminPort] = [await freePort(), await freePort()]
      const files = i === 0 ? '' : `[frontend]\ndir = "${DIST}"\n`
      const bff = await startBffDev(port, { adminPort, more: `${files}[session]\n${session}\n` })
      try {
        await page.goto(`${bff.publicUrl}/bff/login?login_hint=alice`)
        await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alice Adams')
        const stage = { page, browser, origin: bff.publicUrl, admin: `http://127.0.0.1:${adminPort}`, control: bff.controlUrl }
        await bring(stage)
        await expect(page.getByRole('dialog', { name: titles[i]! })).toBeVisible()
        await page.getByRole('button', { name: 'Not now' }).click()
        await expect(page.getByRole('main').getByText('Sign in', { exact: true })).toBeVisible()
      } finally {
        await bff.stop()
      }
    })
  }
}

/** Alice in a browser that shares nothing with the first. */
async function elsewhere({ browser, origin }: Stage, act: (page: Page) => Promise<unknown>) {
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(`${origin}/bff/login?login_hint=alice`)
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alice Adams')
  await act(page)
  await context.close()
}
