// How soon a page says that its session is over.

import type { Page } from '@playwright/test'
import { trafficOf } from './network'

/** When the page shows the dialog, in milliseconds of `Date.now()`. To be called before that. */
export function momentOfEnd(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const look = () => document.querySelector('dialog[open]') && resolve(Date.now())
        new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true })
        look()
      }),
  )
}

/** Milliseconds from the request that ends the sessions, which `act` makes on another page, until each page says so. */
export async function timesToEnd(pages: Page[], cause: { page: Page; method: string; path: string }, act: () => Promise<void>) {
  const { requests } = await trafficOf(cause.page)
  const ends = Promise.all(pages.map(momentOfEnd))
  await act()
  const moments = await ends
  const request = requests.find(({ method, url }) => method === cause.method && new URL(url).pathname === cause.path)
  if (!request) throw new Error(`no ${cause.method} ${cause.path} was sent`)
  return { start: request.at, took: moments.map((moment) => Math.round(moment - request.at)) }
}
