// Who is signed in, as bff sees it. Copy this file into your app; it needs nothing and no build. The session.ts of
// ../../react does the same with types, and more: a sign-in in a window of its own, many tabs, streams that break off.

const headers = { Accept: 'application/json', 'X-CSRF': '1' }
const listeners = new Set()

let state = { status: 'loading', user: null, tag: null, ended: null, problem: null }
let stream = null

/** Calls `listener` now and after every change. */
export function subscribe(listener) {
  listeners.add(listener)
  listener(state)
  return () => listeners.delete(listener)
}

/** Asks bff. `slide: false` only looks, and keeps no session alive. */
export async function refresh({ slide = true } = {}) {
  try {
    const response = await fetch(`/bff/session${slide ? '' : '?slide=false'}`, { headers, cache: 'no-store' })
    const body = await response.json().catch(() => ({}))
    if (body.authenticated) signedIn(body)
    else if ('authenticated' in body || response.status === 401) end(body.ended ?? body.code)
    else failed(body.detail ?? `The server answered ${response.status}.`) // an outage signs nobody out
  } catch {
    failed('The server cannot be reached.')
  }
}

/** Leaves for the provider, and comes back to this page. */
export function login() {
  location.assign(`/bff/login?return_to=${encodeURIComponent(location.pathname + location.search)}`)
}

/** Ends the session here, then at the provider. */
export async function logout() {
  hangUp() // this page need not be told
  const response = await fetch('/bff/logout', { method: 'POST', headers })
  if (response.ok) location.assign((await response.json()).redirect_to)
  else await refresh()
}

/** `fetch` for JSON, for a path of a route of bff. A call never goes out as somebody who has signed in since. */
export async function api(path, { method = 'GET', body } = {}) {
  const own = state.tag ? { 'X-BFF-Session': state.tag } : {}
  const json = body === undefined ? {} : { 'Content-Type': 'application/json' }
  const response = await fetch(path, { method, headers: { ...headers, ...own, ...json }, body: body && JSON.stringify(body) })
  const answer = await response.json().catch(() => ({}))
  if (response.ok) return answer
  if (response.status === 401 || answer.code === 'user_changed') await refresh({ slide: false })
  throw new Error(answer.detail ?? `The API answered ${response.status}.`)
}

function signedIn({ user, session: { tag } }) {
  if (tag !== state.tag) listen()
  publish({ status: 'signed_in', user, tag, ended: null, problem: null })
}

/** `user` stays, so that a page can say whose session is over. */
function end(reason) {
  hangUp()
  const ended = state.tag ? (reason ?? 'login_required') : null
  publish({ status: 'anonymous', user: ended ? state.user : null, tag: null, ended, problem: null })
}

function failed(problem) {
  publish({ ...state, status: state.status === 'loading' ? 'failed' : state.status, problem })
}

/** bff says at once when the session is over, and why. To listen is not to use it. */
function listen() {
  hangUp()
  stream = new EventSource('/bff/session/events')
  stream.addEventListener('ended', ({ data }) => end(JSON.parse(data).reason))
}

function hangUp() {
  stream?.close()
  stream = null
}

function publish(next) {
  state = next
  listeners.forEach((listener) => listener(state))
}

document.addEventListener('visibilitychange', () => {
  // While the stream stands there is nothing to ask.
  if (document.visibilityState === 'visible' && stream?.readyState !== EventSource.OPEN) refresh({ slide: false })
})
refresh()
