// No token in anything that a browser can see, and none in the log.

import type { BrowserContext, Page, Response } from '@playwright/test'
import { trafficOf } from './network'

export interface Leak {
  where: string
  token: string
}

interface Place {
  where: string
  text: string
}

/** Collects all that the pages of a context receive, to be searched once the test knows every token. */
export function watch(context: BrowserContext) {
  const received: Promise<Place>[] = []
  context.on('response', (response) => received.push(textOf(response)))
  const traffic: ReturnType<typeof trafficOf>[] = []
  // A window may close itself before anybody can look in; then it has heard no stream either.
  const closed = (page: Page) => async (error: unknown) => {
    if (!page.isClosed()) await page.waitForEvent('close', { timeout: 5_000 }).catch(() => Promise.reject(error))
    return { requests: [], messages: [] }
  }
  context.on('page', (page) => traffic.push(trafficOf(page).catch(closed(page))))

  return {
    async search(tokens: Iterable<string>): Promise<Leak[]> {
      const places = await Promise.all(received)
      for (const { messages } of await Promise.all(traffic)) places.push({ where: 'event stream', text: JSON.stringify(messages) })
      for (const page of context.pages()) places.push(...(await visibleIn(page)))
      for (const cookie of await context.cookies()) places.push({ where: `cookie ${cookie.name}`, text: decoded(cookie.value) })
      return find(places, tokens)
    },
  }
}

export function find(places: Place[], tokens: Iterable<string>): Leak[] {
  const wanted = [...tokens]
  return places.flatMap(({ where, text }) =>
    wanted.filter((token) => text.includes(token)).map((token) => ({ where, token: `${token.slice(0, 6)}…` })),
  )
}

async function textOf(response: Response): Promise<Place> {
  const where = `${response.request().method()} ${response.url().split('?')[0]}`
  const headers = (await response.headersArray().catch(() => [])).filter(
    // The one exception: the id_token_hint in the redirect to the provider's end-session endpoint.
    ({ name, value }) => !(name.toLowerCase() === 'location' && /\/session\/end\?/.test(value)),
  )
  // A redirect, and an answer whose page is gone, have no body to read. A stream has no end; its messages are heard.
  const isStream = response.headers()['content-type']?.startsWith('text/event-stream')
  const body = isStream ? '' : await response.text().catch(() => '')
  return { where, text: headers.map((h) => `${h.name}: ${h.value}`).join('\n') + body }
}

/** What a script could read: the document, storage, and cookies that are not HttpOnly. */
async function visibleIn(page: Page): Promise<Place[]> {
  // Has no document of ours, and refuses storage with an error that no page of ours made.
  if (page.url() === 'about:blank') return []
  const text = await page
    .evaluate(async () => {
      const databases = await indexedDB.databases()
      const cached = await caches.keys()
      const stores = [JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), JSON.stringify(databases), cached.join()]
      return [document.documentElement.outerHTML, document.cookie, location.href, window.name, ...stores].join('\n')
    })
    .catch(() => '') // a blocked page has no document of its own
  return [{ where: `page ${page.url().split('?')[0]}`, text }]
}

function decoded(value: string): string {
  return `${value}\n${Buffer.from(value, 'base64url').toString('latin1')}`
}
