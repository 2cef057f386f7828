// Who is signed in, as bff sees it. Copy this file into your app; it needs nothing. Beside it, `useSession.ts` is the hook
// for React; docs/frontends.md has the same few lines for Vue, Angular and plain scripts.
//
// The whole page shares one state: one request when the first listener subscribes, then bff's event stream, which says at
// once that the session was extended, is about to expire or has ended, and why. Where there is no stream, the page looks
// again now and then. Neither the stream nor those looks keep the session alive; only `refresh()` and your API calls do.

/** The answer of `GET /bff/session` for someone who is signed in. */
export interface Session {
  user: { sub: string; name?: string; email?: string; picture?: string; [claim: string]: unknown }
  /** `expires_in`: seconds until the idle timeout; `ends_in`: seconds until the end, however busy the user is. */
  session: { tag: string; created_at: string; expires_in: number; ends_in: number }
  /** Null: the provider did not say. */
  token?: { expires_in: number | null }
  /** How they signed in; null where the provider did not say. */
  auth?: { acr: string | null; amr: string[]; auth_time: string | null }
  logout_url: string
  /** Where they signed in, of several providers. */
  provider?: string
}

/** Why a session is over: bff's words of docs/endings.md, or the code of a refusal that could not say more. */
export type EndReason =
  | ('logout' | 'expired' | 'superseded' | 'refresh_refused' | 'revoked' | 'provider_logout' | 'signed_out_elsewhere' | 'evicted')
  | ('login_required' | 'session_expired' | 'session_superseded')

export interface SessionState {
  /** `failed`: nobody has been able to say yet who is signed in, and `problem` says why. */
  status: 'loading' | 'failed' | 'anonymous' | 'signed_in'
  session: Session | null
  /** Whose page this is: also for as long as it only says that their session is over. Null for a visitor. */
  user: Session['user'] | null
  /** When the times in `session` were true, in milliseconds of `Date.now()`: what countdowns start from. */
  receivedAt: number
  /** The session is about to end; `refresh()` puts that off, unless `ends_in` is what runs out. */
  expiring: boolean
  /** Set when a session ended while this page was open: why, and whose it was. */
  ended: { reason: EndReason; last: Session } | null
  /** Why the last look failed (bff or the network is away, or it refused us). Ends no session. */
  problem: { status: number; code: string; detail: string } | null
}

/** What came of `signInAgain()`. */
export interface SignInOutcome {
  /**
   * `signed_in`: as the user of before, so that what they typed may be sent. `user_changed`: as somebody else; send
   * nothing. `left`: no window could be opened, and the page itself is on its way to sign in.
   */
  outcome: 'signed_in' | 'user_changed' | 'failed' | 'left'
  /** Of `failed`: a fixed word, such as `access_denied` where the user said no. */
  error?: string | undefined
}

const BASE = '/bff'
const NOT_BFF = `Nothing of bff answers at ${BASE}/session here. Open bff's address, not Vite's: http://localhost:8080 with bff dev.`
const RETRY_SECONDS = 5
const POLL_SECONDS = 60
const HIDDEN_LONG = 60_000
const initial: SessionState = {
  status: 'loading',
  session: null,
  user: null,
  receivedAt: 0,
  expiring: false,
  ended: null,
  problem: null,
}

let state = initial
let newest = 0
let timer: ReturnType<typeof setTimeout> | undefined
let stream: { source: EventSource; tag: string } | null = null
let refusals = 0 // how many streams in a row were not given to us
let hiddenSince = Infinity
let resting: ReturnType<typeof setTimeout> | undefined
let otherTabs: BroadcastChannel | null = null
let waiting: BroadcastChannel | null = null // for what a sign-in in another window comes to
let superseded = false // said so, which a look has yet to confirm
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
    body = (await response.json().catch(() => null)) ?? {}
  } catch {
    if (look === newest) failed(0, { code: 'network', detail: 'The server cannot be reached.' }, RETRY_SECONDS)
    return
  }
  if (look !== newest) return // a later look will answer

  const says = response.ok ? 'authenticated' in body : response.status === 401 && ('authenticated' in body || 'code' in body)
  if (says && body.authenticated) {
    signedIn(body)
  } else if (says) {
    // No reason: the cookie is gone. Either the browser took it away, or another tab has signed out.
    const word = superseded ? 'superseded' : body.code
    end(state.ended?.reason ?? body.ended ?? word ?? (Date.now() >= endOf(state) ? 'expired' : 'login_required'))
  } else if (response.status < 500 && (!('code' in body) || response.status === 404)) {
    failed(response.status, { code: 'not_bff', detail: NOT_BFF })
  } else {
    // 403 is a fault in the setup, 503 a store or provider that is away. Neither signs anyone out.
    const retryAfter = Number(response.headers.get('Retry-After')) || RETRY_SECONDS
    failed(response.status, body, response.status >= 500 ? retryAfter : undefined)
  }
}

/** Leaves for the provider; comes back to `returnTo`, by default the page that the user is on. */
export function login(returnTo = here()): void {
  location.assign(`${BASE}/login?return_to=${encodeURIComponent(returnTo)}`)
}

/**
 * Signs in again in a small window of its own: the page stays as it is, with all that was typed. To be called as a click
 * is handled, since browsers open no windows otherwise. Who closes that window has simply not answered yet, so leave the
 * button there to be pressed again.
 */
export function signInAgain(returnTo?: string): Promise<SignInOutcome> {
  return inWindow(`${BASE}/login`, returnTo)
}

/**
 * The second login that a call asks for, in such a window: `loginUrl` is that of the refusal (`ApiError.stepUp`). After
 * `signed_in` make the call again, once. `failed` with `step_up_failed`: the provider answered with less; all is as before.
 */
export function stepUp(loginUrl: string): Promise<SignInOutcome> {
  return inWindow(loginUrl)
}

async function inWindow(link: string, returnTo = here()): Promise<SignInOutcome> {
  const before = state.user?.sub
  const page = new URL(link, location.origin)
  page.searchParams.delete('mode')
  page.searchParams.delete('return_to')
  const asked = page.searchParams.toString()
  const address = (mode: string) =>
    `${page.pathname}?${mode}return_to=${encodeURIComponent(returnTo)}${asked && `&${asked}`}`
  // Who has closed a window is not answered: only the newest is listened to, so that nothing is done twice.
  waiting?.close()
  const told = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('bff-login')
  // Without BroadcastChannel nobody would hear: the window is severed from this page (COOP).
  if (!told || !open(address('mode=popup&'), 'bff-login', 'popup,width=480,height=680')) {
    told?.close()
    waiting = null
    location.assign(address(''))
    return { outcome: 'left' }
  }
  waiting = told
  const { outcome, error } = await new Promise<{ outcome: string; error?: string }>((resolve) => {
    told.onmessage = ({ data }) => data?.type === 'bff-login' && resolve(data)
  })
  told.close()
  if (outcome === 'signed_in') await refresh({ slide: false })
  if (waiting === told) waiting = null
  if (outcome !== 'signed_in' || !state.session) return { outcome: 'failed', error: error ?? state.problem?.code }
  return { outcome: before === undefined || state.session.user.sub === before ? 'signed_in' : 'user_changed' }
}

/** Ends the session here, then at the provider. */
export async function logout(): Promise<void> {
  hangUp() // this page need not be told
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
  listen()
}

function here(): string {
  return location.pathname + location.search + location.hash
}

/** Forgets that a session has ended: the user chose to go on without one. */
export function dismissEnded(): void {
  publish({ ...state, ended: null })
}

/** What to send as `X-BFF-Session`, so that bff refuses the call (409) should the cookie be another user's by then. */
export function currentTag(): string | null {
  return state.session?.session.tag ?? null
}

/** To be told when bff refuses a call that was made as `tag`, and why: the session is over, or is not the one we know. */
export function refused(why: string, tag: string | null): void {
  const known = currentTag()
  if (known === null) return
  newest++ // an answer under way may be from before
  if (why === 'user_changed' || tag !== known) lookAgainIn(0, refetch)
  else end(why as EndReason)
}

/** What is known now: the same object until something changes. */
export function current(): SessionState {
  return state
}

function signedIn(session: Session, expiring?: boolean) {
  superseded = false
  const now = { session, receivedAt: Date.now() }
  const same = session.session.tag === currentTag()
  const putOff = endOf(now) > endOf(state) + 1_500 // they are whole seconds, said at two times
  expiring ??= same && state.expiring && !putOff
  publish({ ...now, status: 'signed_in', expiring, ended: null, problem: null })
  if (!same) otherTabs?.postMessage(session.session.tag)
  listen()
  planLook()
}

function end(reason: EndReason) {
  superseded = false
  const last = state.session ?? state.ended?.last
  publish({ ...initial, status: 'anonymous', ended: last ? { reason, last } : null })
}

function failed(status: number, body: { code?: string; title?: string; detail?: string }, retryInSeconds?: number) {
  const detail = body.detail ?? body.title ?? `The server answered ${status}.`
  const unknown = state.status === 'loading' || state.status === 'failed'
  publish({ ...state, status: unknown ? 'failed' : state.status, problem: { status, code: body.code ?? 'unknown', detail } })
  if (retryInSeconds !== undefined) lookAgainIn(retryInSeconds)
}

function publish(next: Omit<SessionState, 'user'>) {
  state = { ...next, user: (next.session ?? next.ended?.last)?.user ?? null }
  if (next.status === 'anonymous') clearTimeout(timer)
  listeners.forEach((listener) => listener())
}

/** Opens the event stream of the session that we know, unless it is open already. */
function listen() {
  const tag = currentTag()
  if (stream && stream.tag !== tag) hangUp()
  // A hidden tab opens none: over HTTP/1.1 a browser has six connections for all tabs of an origin.
  if (stream || tag === null || listeners.size === 0 || document.visibilityState === 'hidden') return
  if (typeof EventSource === 'undefined') return

  const source = new EventSource(`${BASE}/session/events`)
  const on = (name: string, heard: (data: any) => void) =>
    source.addEventListener(name, (event) => {
      if (stream?.source === source) heard(JSON.parse((event as MessageEvent<string>).data))
    })
  stream = { source, tag }
  on('signed_in', (data) => (data.tag === tag ? retimed(data) : lookAgainIn(1, refetch)))
  on('extended', (data) => retimed(data))
  // The same user signed in once more: nothing is over, but how they signed in is new.
  on('renewed', () => lookAgainIn(0, refetch))
  on('expiring', (data) => {
    // The end is near: the idle timeout's, unless the other one comes as soon.
    const isFinal = state.receivedAt + (state.session?.session.ends_in ?? 0) * 1000 < Date.now() + data.expires_in * 1000 + 1_500
    retimed(isFinal ? {} : data, true)
  })
  on('ended', (data) => {
    hangUp()
    // Perhaps the same user signed in once more, on another node or in the window that this page waits for: then the
    // session goes on under another cookie, and the look will say so.
    if (data.reason === 'superseded' && state.session) {
      superseded = true
      lookAgainIn(1, refetch)
    } else end(data.reason) // better than what a refused call may have told before
  })
  source.onopen = () => (refusals = 0)
  source.onerror = () => {
    // The browser connects again by itself after a break, but not after an answer that is no stream.
    if (stream?.source !== source || source.readyState !== source.CLOSED) return
    hangUp()
    refusals++
    if (state.session) planLook()
  }
}

function hangUp() {
  stream?.source.close()
  stream = null
}

/** The session that we know, with what the stream says of its times, and the others moved on to now. */
function retimed(said: { expires_in?: number; ends_in?: number }, expiring?: boolean) {
  if (!state.session) return
  const { session, token } = state.session
  const left = (seconds: number) => Math.max(0, seconds - (Date.now() - state.receivedAt) / 1000)
  const times = {
    expires_in: said.expires_in ?? left(session.expires_in),
    ends_in: said.ends_in ?? left(session.ends_in),
  }
  signedIn(
    {
      ...state.session,
      session: { ...session, ...times },
      ...(token && { token: { expires_in: token.expires_in === null ? null : left(token.expires_in) } }),
    },
    expiring,
  )
}

function endOf({ session, receivedAt }: { session: Session | null; receivedAt: number }): number {
  return session ? receivedAt + Math.min(session.session.expires_in, session.session.ends_in) * 1000 : 0
}

/** The stream will say when the session ends; a look a little later is for the case that it could not. */
function planLook() {
  const left = (endOf(state) - Date.now()) / 1000
  if (stream) lookAgainIn(left + 3)
  else lookAgainIn(Math.min(left + 1, POLL_SECONDS, refusals > 0 ? 2 ** refusals : POLL_SECONDS))
}

function lookAgainIn(seconds: number, how = look) {
  clearTimeout(timer)
  if (listeners.size > 0) timer = setTimeout(how, Math.min(seconds, 86_400) * 1000)
}

function refetch() {
  void refresh({ slide: false })
}

function look() {
  if (document.visibilityState === 'visible') refetch()
}

/** Back on this tab. What happened meanwhile the stream has said, where it stood. */
function cameBack() {
  if (stream?.source.readyState !== 1 /* OPEN */) look()
}

function shownOrHidden() {
  clearTimeout(resting)
  if (document.visibilityState === 'hidden') {
    hiddenSince = Date.now()
    resting = setTimeout(hangUp, HIDDEN_LONG)
  } else {
    // The timer may not have fired: the machine was asleep. Then the stream is not to be trusted either.
    if (Date.now() - hiddenSince >= HIDDEN_LONG) hangUp()
    hiddenSince = Infinity
    cameBack()
  }
}

/** Calls `listener` after every change, until what this returns is called. The first listener starts it all. */
export function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  if (listeners.size === 1) {
    addEventListener('focus', cameBack)
    document.addEventListener('visibilitychange', shownOrHidden)
    otherTabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('bff')
    if (otherTabs) otherTabs.onmessage = ({ data: tag }) => tag !== currentTag() && (hangUp(), look())
    void refresh({ slide: state.status === 'loading' || state.status === 'failed' })
  }
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearTimeout(timer)
    clearTimeout(resting)
    hangUp()
    otherTabs?.close()
    removeEventListener('focus', cameBack)
    document.removeEventListener('visibilitychange', shownOrHidden)
  }
}
