import 'server-only'
import { headers } from 'next/headers'

const API = process.env.API_URL ?? 'http://127.0.0.1:9000'

/**
 * The orders of whoever asks for the page, or null where nobody is signed in. The token comes from bff with each
 * request and goes on to the API: never into props of a client component, which would send it to the browser.
 */
export async function orders() {
  const authorization = (await headers()).get('authorization')
  if (!authorization) return null
  const answer = await fetch(`${API}/orders`, { headers: { authorization }, cache: 'no-store' })
  if (!answer.ok) throw new Error(`the API answered ${answer.status}`)
  return answer.json()
}
