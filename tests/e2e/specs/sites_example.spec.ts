// examples/sites, as its README says: two apps from `bff dev` alone.

import { resolve } from 'node:path'
import { startBffDevAt } from '../support/bff'
import { freePort } from '../support/ports'
import { expect, test as base } from '@playwright/test'

const CONFIG = resolve(import.meta.dirname, '../../../examples/sites/bff.toml')

/** The origin of a site, by the first label of its host; no page may complain. */
const test = base.extend<{ at: (site: string) => string }>({
  at: async ({ context }, use) => {
    const complaints: string[] = []
    context.on('weberror', (error) => complaints.push(String(error.error())))
    context.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy/i.test(message.text())) complaints.push(message.text())
    })
    const port = await freePort()
    const bff = await startBffDevAt(CONFIG, port)
    await use((site) => `http://${site}.localhost:${port}/`)
    await bff.stop()
    expect(complaints).toEqual([])
  },
})

test('the shop keeps the basket over a sign-in, and the desk is another app', async ({ page, at }) => {
  await page.goto(at('shop'))
  await page.getByRole('button', { name: 'Add Moss Garden to the basket' }).click()
  await page.getByRole('button', { name: 'Sign in and order' }).click()
  await page.getByRole('button', { name: /^alice/i }).click()
  await expect(page).toHaveURL(at('shop'))
  await page.getByRole('button', { name: 'Order', exact: true }).click()
  await expect(page.getByRole('status')).toContainText('1 tin is on the way. The API took the order from alice, by a token')

  // The provider knows her; the desk does not yet.
  await page.goto(at('acme.desk'))
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByText('Acme Tools')).toBeVisible()
  await page.getByLabel('What is wrong?').fill('The kettle leaks')
  await page.getByRole('button', { name: 'Open a ticket' }).click()
  await expect(page.getByRole('listitem')).toContainText('The kettle leaks')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
})

test('each customer of the desk has a session of its own, and what is theirs alone', async ({ page, at }) => {
  for (const [site, person, workspace, plan] of [
    ['acme.desk', 'alice', 'Acme Tools', 'Team'],
    ['support.globex', 'bob', 'Globex', 'Enterprise'],
  ] as const) {
    await page.goto(`${at(site)}bff/login?login_hint=${person}`)
    await expect(page).toHaveURL(at(site))
    await expect(page.locator('#workspace')).toHaveText(workspace)
    await expect(page.locator('#plan')).toHaveText(plan)
    await expect(page.locator('#email')).toHaveText(`${person}@example.com`)
  }
  await page.goto(at('acme.desk'))
  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
  await page.goto(at('support.globex'))
  await expect(page.locator('#email')).toHaveText('bob@example.com')

  // Who comes to no customer's address is sent to the shop.
  await page.goto(at('nobody.desk'))
  await expect(page).toHaveURL(at('shop'))
})
