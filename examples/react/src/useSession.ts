// Who is signed in, as bff sees it. Copy this file into your app; it needs React and nothing else.
//
//   const { status, session, login, logout } = useSession()
//
// All components share one state: one request when the first of them mounts, then a look whenever the tab comes back
// and when the session should have run out. Those looks never keep the session alive; only `refresh()` does.

import { useSyncExternalStore } from 'react'

/** The answer of `GET /bff/session` for someone who is signed in. */
export interface Session {
  user: { sub: string; name?: string; email?: string; picture?: string; [claim: string]: unknown }
  /** `expires_in`: seconds until the idle timeout; `ends_in`: seconds until the end, however busy the user is. */
  session: { tag: string; created_at: string; expires_in: number; ends_in: number }
  token?: { expires_in: number }
  auth?: { acr?: string; amr?: string[]; auth_time?: string }
  logout_url: string
}

export interface SessionState {
  status: 'loading' | 'anonymous' | 'signed_in'
  session: Session | null
  /** When `session` was received, in milliseconds of `Date.now()`: what countdowns start from. */
  receivedAt: number
  /** Set when a session ended while this page was open: why, and whose it was. */
  ended: { code: string; last: Session } | null
  /** Why the last look failed (bff or the network is away, or it refused us). Says nothing about being signed in. */
  problem: { status: number; code: string; detail: string } | null
}

const BASE = '/bff'
const RETRY_SECONDS = 5
const initial: SessionState = { status: 'loading', session: null, receivedAt: 0, ended: null, problem: null }

let state = initial
let timer: ReturnType<typeof setTimeout> | undefined
let newest = 0
const listeners = new Set<() => void>()

/** Asks bff again. `refresh()` counts as activity and extends the idle timeout; `refresh({ slide: false })` does not. */
export async function refresh({ slide = true } = {}): Promise<void> {
  const look = ++newest
  let response: Response
  let body: any
  try {
    response = await fetch(`${BASE}/session${slide ? '' : '?slide=false'}`, {
      headers: { Accept: 'application/json', 'X-CSRF': '1' },
      cache: 'no-store',
    })
    body = await response.json().catch(() => ({}))
  } catch {
    if (look === newest) failed(0, { code: 'network', detail: 'The server cannot be reached.' }, RETRY_SECONDS)
    return
  }
  if (look !== newest) return // a later look will answer

  if (response.ok && body.authenticated) {
    publish({ status: 'signed_in', session: body, receivedAt: Date.now(), ended: null, problem: null })
    lookAgainIn(Math.min(body.session.expires_in, body.session.ends_in) + 1)
  } else if (response.ok || response.status === 401) {
    const last = state.session ?? state.ended?.last
    const code = body.code ?? state.ended?.code ?? 'session_expired'
    publish({ ...initial, status: 'anonymous', ended: last ? { code, last } : null })
  } else {
    // 403 is a fault in the setup, 503 a store or provider that is away. Neither signs anyone out.
    const retryAfter = Number(response.headers.get('Retry-After')) || RETRY_SECONDS
    failed(response.status, body, response.status >= 500 ? retryAfter : undefined)
  }
}

/** Leaves for the provider; comes back to `returnTo`, by default the page that the user is on. */
export function login(returnTo = location.pathname + location.search + location.hash): void {
  location.assign(`${BASE}/login?return_to=${encodeURIComponent(returnTo)}`)
}

/** Ends the session here, then at the provider. */
export async function logout(): Promise<void> {
  try {
    const response = await fetch(`${BASE}/logout`, { method: 'POST', headers: { Accept: 'application/json', 'X-CSRF': '1' } })
    if (response.ok) {
      location.assign((await response.json()).redirect_to)
      return
    }
    failed(response.status, await response.json().catch(() => ({})))
  } catch {
    failed(0, { code: 'network', detail: 'The server cannot be reached; you are still signed in.' })
  }
}

/** Forgets that a session has ended: the user chose to go on without one. */
export function dismissEnded(): void {
  publish({ ...state, ended: null })
}

export function useSession() {
  return { ...useSyncExternalStore(subscribe, () => state), login, logout, refresh, dismissEnded }
}

function failed(status: number, body: { code?: string; title?: string; detail?: string }, retryInSeconds?: number) {
  const detail = body.detail ?? body.title ?? `The server answered ${status}.`
  publish({ ...state, problem: { status, code: body.code ?? 'unknown', detail } })
  if (retryInSeconds !== undefined) lookAgainIn(retryInSeconds)
}

function publish(next: SessionState) {
  state = next
  if (next.status === 'anonymous') clearTimeout(timer)
  listeners.forEach((listener) => listener())
}

function lookAgainIn(seconds: number) {
  clearTimeout(timer)
  if (listeners.size > 0) timer = setTimeout(look, Math.min(seconds, 86_400) * 1000)
}

function look() {
  if (document.visibilityState === 'visible') void refresh({ slide: false })
}

/** Another part of the app (api.ts) was told 401. */
function told(event: Event) {
  const code: string = (event as CustomEvent).detail?.code ?? 'session_expired'
  newest++ // an answer under way may be from before
  const last = state.session ?? state.ended?.last
  if (last) publish({ ...initial, status: 'anonymous', ended: { code, last } })
}

function subscribe(listener: () => void) {
  listeners.add(listener)
  if (listeners.size === 1) {
    addEventListener('focus', look)
    addEventListener('bff:session-ended', told)
    document.addEventListener('visibilitychange', look)
    void refresh({ slide: state.status === 'loading' })
  }
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearTimeout(timer)
    removeEventListener('focus', look)
    removeEventListener('bff:session-ended', told)
    document.removeEventListener('visibilitychange', look)
  }
}
