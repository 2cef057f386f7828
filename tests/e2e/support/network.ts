// What a page sends and what bff's event stream says to it, as the browser itself has it.

import type { Page } from '@playwright/test'

export interface Traffic {
  requests: { at: number; method: string; url: string }[]
  /** Messages of all event streams of the page. */
  messages: { at: number; name: string; id: string; data: string }[]
}

/** Fills up as it happens. `at` is in milliseconds of `Date.now()`. */
export async function trafficOf(page: Page): Promise<Traffic> {
  const traffic: Traffic = { requests: [], messages: [] }
  const network = await page.context().newCDPSession(page)
  network.on('Network.requestWillBeSent', ({ request, wallTime }) =>
    traffic.requests.push({ at: wallTime * 1000, method: request.method, url: request.url }),
  )
  network.on('Network.eventSourceMessageReceived', ({ eventName, eventId, data }) =>
    traffic.messages.push({ at: Date.now(), name: eventName, id: eventId, data }),
  )
  await network.send('Network.enable')
  return traffic
}
