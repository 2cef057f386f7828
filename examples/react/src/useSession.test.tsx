import { act, Fragment, StrictMode } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FakeEventSource } from './fakeEventSource'

type Hook = typeof import('./useSession') & typeof import('./session')
type View = ReturnType<Hook['useSession']>

const SIGNED_IN = {
  authenticated: true,
  user: { sub: '1', name: 'Alice' },
  session: { tag: 't', created_at: '2026-11-21T09:00:00Z', expires_in: 60, ends_in: 600 },
  logout_url: '/bff/logout?sid=s',
}
const ANONYMOUS = { authenticated: false, login_url: '/bff/login' }

let root: Root
let view: View
let hook: Hook
const fetched = vi.fn<typeof fetch>()
const navigated = vi.fn()

beforeEach(async () => {
  FakeEventSource.all = []
  vi.useFakeTimers()
  vi.stubGlobal('EventSource', FakeEventSource)
  vi.stubGlobal('BroadcastChannel', undefined)
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true)
  vi.stubGlobal('fetch', fetched)
  vi.spyOn(window.location, 'assign').mockImplementation(navigated)
  vi.resetModules() // the hook's state is the module's: each test has its own
  hook = { ...(await import('./session')), ...(await import('./useSession')) }
})

afterEach(async () => {
  await act(async () => root.unmount())
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
  fetched.mockReset()
  navigated.mockReset()
})

function answers(...bodies: [status: number, body: unknown, headers?: Record<string, string>][]) {
  for (const [status, body, headers = {}] of bodies) fetched.mockResolvedValueOnce(Response.json(body, { status, headers }))
}

async function mount(Wrapper: typeof StrictMode | typeof Fragment = Fragment) {
  function Probe() {
    view = hook.useSession()
    return null
  }
  root = createRoot(document.createElement('div'))
  await act(async () => root.render(<Wrapper><Probe /></Wrapper>))
}

/** Signed in, with the stream open. */
async function mountWithStream() {
  answers([200, SIGNED_IN])
  await mount()
  await act(async () => FakeEventSource.last.open())
  return FakeEventSource.last
}

async function become(visibility: DocumentVisibilityState) {
  vi.spyOn(document, 'visibilityState', 'get').mockReturnValue(visibility)
  await act(async () => document.dispatchEvent(new Event('visibilitychange')))
}

const looks = () => fetched.mock.calls.map(([url]) => url).slice(1)
const LOOK = '/bff/session?slide=false'

test('the first look carries the CSRF header and counts as activity', async () => {
  answers([200, SIGNED_IN])
  await mount()
  const [url, init] = fetched.mock.calls[0]!
  expect(url).toBe('/bff/session')
  expect(new Headers(init?.headers).get('X-CSRF')).toBe('1')
  expect(view.status).toBe('signed_in')
  expect(view.session?.user.name).toBe('Alice')
})

test.each([
  ['200', 200, ANONYMOUS],
  ['401', 401, { ...ANONYMOUS, code: 'login_required' }],
])('a visitor without a session is anonymous, whether bff says so with %s', async (_, status, body) => {
  answers([status, body])
  await mount()
  expect(view.status).toBe('anonymous')
  expect(view.ended).toBeNull()
})

test('503 is no sign-out: the session stays and the look is repeated after Retry-After', async () => {
  answers([200, SIGNED_IN], [503, { code: 'store_unavailable' }, { 'Retry-After': '7' }], [200, SIGNED_IN])
  await mount()
  await act(() => view.refresh())
  expect(view.status).toBe('signed_in')
  expect(view.problem?.code).toBe('store_unavailable')
  await act(() => vi.advanceTimersByTimeAsync(7_000))
  expect(fetched).toHaveBeenCalledTimes(3)
  expect(view.problem).toBeNull()
})

test('a network failure is no sign-out either', async () => {
  answers([200, SIGNED_IN])
  await mount()
  fetched.mockRejectedValueOnce(new TypeError('Failed to fetch'))
  await act(() => view.refresh())
  expect(view.status).toBe('signed_in')
  expect(view.problem?.status).toBe(0)
})

test('a sign-out that fails changes nothing, and the end of the session is still noticed', async () => {
  answers([200, SIGNED_IN], [503, { code: 'store_unavailable' }], [401, { code: 'session_expired' }])
  await mount()
  await act(() => view.logout())
  expect([view.status, view.problem?.code]).toEqual(['signed_in', 'store_unavailable'])
  expect(navigated).not.toHaveBeenCalled()
  await act(() => vi.advanceTimersByTimeAsync(63_000))
  expect(view.ended?.reason).toBe('session_expired')
})

test('403 is a fault to show, and is not tried over and over', async () => {
  answers([403, { code: 'csrf', detail: 'The header is missing.' }])
  await mount()
  expect(view.status).toBe('failed')
  expect(view.problem).toEqual({ status: 403, code: 'csrf', detail: 'The header is missing.' })
  await act(() => vi.advanceTimersByTimeAsync(3_600_000))
  expect(fetched).toHaveBeenCalledTimes(1)
})

test('a first look that meets an outage says so, and the page comes up by itself when it is over', async () => {
  answers([503, { code: 'store_unavailable', detail: 'Try again in a moment.' }], [200, SIGNED_IN])
  await mount()
  expect([view.status, view.problem?.detail]).toEqual(['failed', 'Try again in a moment.'])
  await act(() => vi.advanceTimersByTimeAsync(5_000))
  expect([view.status, view.problem]).toEqual(['signed_in', null])
})

test.each([
  ['the page that Vite answers everything with', new Response('<!doctype html>', { headers: { 'Content-Type': 'text/html' } })],
  ['its 404', new Response('', { status: 404 })],
  ['the 404 of a bff that has another base_path', Response.json({ code: 'no_route', detail: 'Nothing is served here.' }, { status: 404 })],
  ['JSON of somebody else', Response.json({ hello: 'world' })],
  ['a 401 of somebody else', new Response('Unauthorized', { status: 401 })],
])('%s is no visitor: the page says which address to open', async (_, answer) => {
  fetched.mockResolvedValueOnce(answer)
  await mount()
  expect([view.status, view.problem?.code]).toEqual(['failed', 'not_bff'])
  expect(view.problem?.detail).toContain("Open bff's address, not Vite's")
  await act(() => vi.advanceTimersByTimeAsync(3_600_000))
  expect(fetched).toHaveBeenCalledTimes(1)
})

test('HTML of a proxy whose bff is away is an outage', async () => {
  fetched.mockResolvedValueOnce(new Response('<h1>Bad Gateway</h1>', { status: 502 }))
  answers([200, ANONYMOUS])
  await mount()
  expect([view.status, view.problem?.status]).toEqual(['failed', 502])
  await act(() => vi.advanceTimersByTimeAsync(5_000))
  expect(view.status).toBe('anonymous')
})

test('the reason of an end is the one that bff gives, not the code of the refusal', async () => {
  answers([200, SIGNED_IN], [200, { ...ANONYMOUS, ended: 'refresh_refused' }])
  await mount()
  await act(() => view.refresh({ slide: false }))
  expect(view.ended?.reason).toBe('refresh_refused')
})

describe('signing in again in a window', () => {
  const channels: { name: string; onmessage: (event: { data: unknown }) => void; close: () => void }[] = []
  const opened = vi.fn<(url: string, name: string, features: string) => unknown>()

  beforeEach(() => {
    channels.length = 0
    opened.mockReturnValue({})
    vi.stubGlobal('open', opened)
    vi.stubGlobal('BroadcastChannel', vi.fn(function (name: string) {
      const channel = { name, postMessage: vi.fn(), close: vi.fn(), onmessage: () => {} }
      channels.push(channel)
      return channel
    }))
  })
  afterEach(() => opened.mockReset())

  /** What the window's last page says. */
  const windowSays = (data: object) =>
    act(async () => channels.filter(({ name }) => name === 'bff-login').forEach((channel) => channel.onmessage({ data: { type: 'bff-login', ...data } })))

  async function expired() {
    const stream = await mountWithStream()
    await act(async () => stream.says('ended', { reason: 'expired' }))
    expect(view.status).toBe('anonymous')
  }

  test('the page stays, and goes on as the same user', async () => {
    await expired()
    const again = view.signInAgain('/orders?page=2')
    expect(opened.mock.calls[0]?.[0]).toBe('/bff/login?mode=popup&return_to=%2Forders%3Fpage%3D2')
    answers([200, { ...SIGNED_IN, session: { ...SIGNED_IN.session, tag: 'new' } }])
    await windowSays({ outcome: 'signed_in', session: 'new' })
    expect(await again).toEqual({ outcome: 'signed_in' })
    expect([view.status, view.ended, hook.currentTag()]).toEqual(['signed_in', null, 'new'])
    expect(navigated).not.toHaveBeenCalled()
  })

  test('somebody else is somebody else', async () => {
    await expired()
    const again = view.signInAgain()
    answers([200, { ...SIGNED_IN, user: { sub: '2', name: 'Bob' }, session: { ...SIGNED_IN.session, tag: 'bobs' } }])
    await windowSays({ outcome: 'signed_in' })
    expect(await again).toEqual({ outcome: 'user_changed' })
  })

  test('a sign-in that fails leaves the page as it was, and can be tried again', async () => {
    await expired()
    const again = view.signInAgain()
    await windowSays({ outcome: 'failed', error: 'access_denied' })
    expect(await again).toEqual({ outcome: 'failed', error: 'access_denied' })
    expect([view.status, view.ended?.reason]).toEqual(['anonymous', 'expired'])
  })

  test('words that are not of bff’s window are not heard', async () => {
    await expired()
    let settled = false
    void view.signInAgain().then(() => (settled = true))
    await act(async () => channels.at(-1)!.onmessage({ data: 'hello' }))
    expect(settled).toBe(false)
    await windowSays({ outcome: 'failed' })
    expect(settled).toBe(true)
  })

  test('where no window may be opened, the page itself goes', async () => {
    await expired()
    opened.mockReturnValue(null)
    expect(await view.signInAgain('/here')).toEqual({ outcome: 'left' })
    expect(navigated).toHaveBeenCalledWith('/bff/login?return_to=%2Fhere')
  })

  test('its taking the place of a session that still lives is no end', async () => {
    const stream = await mountWithStream()
    const again = view.signInAgain()
    await act(async () => stream.says('ended', { reason: 'superseded' }))
    expect(view.ended).toBeNull()
    answers([200, { ...SIGNED_IN, session: { ...SIGNED_IN.session, tag: 'new' } }])
    await windowSays({ outcome: 'signed_in' })
    expect([await again, view.ended, hook.currentTag()]).toEqual([{ outcome: 'signed_in' }, null, 'new'])
  })
})

test('an older answer that arrives late changes nothing', async () => {
  answers([200, SIGNED_IN])
  await mount()
  let late!: (response: Response) => void
  fetched.mockReturnValueOnce(new Promise((resolve) => (late = resolve)))
  answers([200, ANONYMOUS])
  await act(async () => {
    const older = view.refresh()
    await view.refresh()
    late(Response.json(SIGNED_IN))
    await older
  })
  expect(view.status).toBe('anonymous')
})

test('login keeps the page, its query and its fragment', async () => {
  answers([200, ANONYMOUS])
  await mount()
  view.login('/orders?page=2#total')
  expect(navigated).toHaveBeenCalledWith('/bff/login?return_to=%2Forders%3Fpage%3D2%23total')
})

test('logout posts with the CSRF header, then goes where bff says', async () => {
  answers([200, SIGNED_IN], [200, { redirect_to: '/bff/logout/continue' }])
  await mount()
  await act(() => view.logout())
  const [url, init] = fetched.mock.calls[1]!
  expect([url, init?.method]).toEqual(['/bff/logout', 'POST'])
  expect(new Headers(init?.headers).get('X-CSRF')).toBe('1')
  expect(navigated).toHaveBeenCalledWith('/bff/logout/continue')
})

test('the stream tells the end at once, with its reason, and nothing connects or looks again', async () => {
  const stream = await mountWithStream()
  expect(stream.url).toBe('/bff/session/events')
  await act(async () => stream.says('ended', { reason: 'revoked' }))
  expect(view.status).toBe('anonymous')
  expect(view.ended).toMatchObject({ reason: 'revoked', last: { user: { name: 'Alice' } } })
  expect(view.user?.name, 'whose page it is').toBe('Alice')
  expect(stream.readyState).toBe(stream.CLOSED)
  await act(() => vi.advanceTimersByTimeAsync(3_600_000))
  expect([FakeEventSource.all.length, looks()]).toEqual([1, []])
})

test('while the stream stands, nobody looks: not after an hour of extensions, not when the tab is focused', async () => {
  const stream = await mountWithStream()
  for (let minute = 0; minute < 60; minute++) {
    await act(() => vi.advanceTimersByTimeAsync(59_000))
    await act(async () => stream.says('extended', { expires_in: 60, ends_in: 36_000 }))
    await act(async () => window.dispatchEvent(new Event('focus')))
  }
  expect(view.status).toBe('signed_in')
  expect([FakeEventSource.all.length, looks()]).toEqual([1, []])
})

test('an extension moves all countdowns to the same moment', async () => {
  answers([200, { ...SIGNED_IN, token: { expires_in: 300 } }])
  await mount()
  await act(() => vi.advanceTimersByTimeAsync(40_000))
  await act(async () => FakeEventSource.last.says('extended', { expires_in: 60, ends_in: 560 }))
  expect(view.receivedAt).toBe(Date.now())
  expect([view.session?.session.expires_in, view.session?.session.ends_in, view.session?.token?.expires_in]).toEqual([60, 560, 260])
})

test('a session about to expire says so until its end is put off', async () => {
  const stream = await mountWithStream()
  await act(() => vi.advanceTimersByTimeAsync(45_000))
  await act(async () => stream.says('expiring', { expires_in: 15 }))
  expect([view.expiring, view.session?.session.expires_in, view.session?.session.ends_in]).toEqual([true, 15, 555])

  answers([200, { ...SIGNED_IN, session: { ...SIGNED_IN.session, expires_in: 15, ends_in: 555 } }])
  await act(() => view.refresh({ slide: false }))
  expect(view.expiring).toBe(true)

  answers([200, { ...SIGNED_IN, session: { ...SIGNED_IN.session, ends_in: 555 } }])
  await act(() => view.refresh())
  expect(view.expiring).toBe(false)
})

test('activity does not put off the end that comes however busy the user is', async () => {
  const stream = await mountWithStream()
  await act(async () => stream.says('extended', { expires_in: 60, ends_in: 30 }))
  await act(async () => stream.says('expiring', { expires_in: 30 }))
  expect([view.expiring, view.session?.session.expires_in], 'the idle timeout is not what runs out').toEqual([true, 60])
  await act(async () => stream.says('extended', { expires_in: 60, ends_in: 30 }))
  expect(view.expiring).toBe(true)
})

test('a stream that stands but says nothing does not keep a dead session on the page', async () => {
  await mountWithStream()
  answers([401, { code: 'session_expired' }])
  await act(() => vi.advanceTimersByTimeAsync(62_000))
  expect(looks()).toEqual([])
  await act(() => vi.advanceTimersByTimeAsync(1_000))
  expect(looks()).toEqual([LOOK])
  expect(view.ended?.reason).toBe('session_expired')
})

test('a broken connection is the browser’s to mend', async () => {
  const stream = await mountWithStream()
  await act(async () => stream.fails('broken'))
  await act(() => vi.advanceTimersByTimeAsync(30_000))
  expect([FakeEventSource.all.length, looks()]).toEqual([1, []])
})

test('without a stream the page looks, without sliding, ever less often, and asks for the stream each time', async () => {
  fetched.mockImplementation(async () => Response.json({ ...SIGNED_IN, session: { ...SIGNED_IN.session, expires_in: 3_600, ends_in: 9_000 } }))
  await mount()
  const times: number[] = []
  const start = Date.now()
  for (let i = 0; i < 8; i++) {
    await act(async () => FakeEventSource.last.fails('refused'))
    const before = looks().length
    while (looks().length === before) await act(() => vi.advanceTimersByTimeAsync(1_000))
    times.push((Date.now() - start) / 1000)
  }
  expect(times).toEqual([2, 6, 14, 30, 62, 122, 182, 242])
  expect(new Set(looks())).toEqual(new Set([LOOK]))
  expect(FakeEventSource.all).toHaveLength(9)
})

test('without a stream it looks again when the session should have run out, and tells that it expired', async () => {
  vi.stubGlobal('EventSource', undefined)
  const short = { ...SIGNED_IN, session: { ...SIGNED_IN.session, expires_in: 20 } }
  answers([200, short], [200, ANONYMOUS])
  await mount()
  await act(() => vi.advanceTimersByTimeAsync(21_000))
  expect(looks()).toEqual([LOOK])
  expect(view.ended).toMatchObject({ reason: 'expired', last: { user: { name: 'Alice' } } })
})

test('without a stream it looks again when the tab comes back', async () => {
  answers([200, SIGNED_IN], [200, SIGNED_IN], [200, ANONYMOUS])
  await mount()
  await act(async () => FakeEventSource.last.fails('refused'))
  await act(async () => window.dispatchEvent(new Event('focus')))
  await act(async () => FakeEventSource.last.fails('refused'))
  await become('visible')
  expect(looks()).toEqual([LOOK, LOOK])
  expect(view.ended?.reason, 'before its time: signed out in another tab').toBe('login_required')
})

test('a tab that is hidden for long hangs up, and looks without sliding when it is shown again', async () => {
  const stream = await mountWithStream()
  await become('hidden')
  await act(() => vi.advanceTimersByTimeAsync(59_000))
  expect(stream.readyState).toBe(1)
  await act(() => vi.advanceTimersByTimeAsync(600_000))
  expect([stream.readyState, looks()]).toEqual([stream.CLOSED, []])

  answers([200, SIGNED_IN])
  await become('visible')
  expect(looks()).toEqual([LOOK])
  expect(FakeEventSource.all).toHaveLength(2)
})

test('a machine that slept trusts its old stream no more', async () => {
  const stream = await mountWithStream()
  await become('hidden')
  vi.setSystemTime(Date.now() + 7_200_000) // and no timer has fired
  answers([401, { code: 'session_expired' }])
  await become('visible')
  expect([stream.readyState, looks()]).toEqual([stream.CLOSED, [LOOK]])
  expect(view.ended?.reason).toBe('session_expired')
})

/** It became 0, which says that the token is over. */
test('a token of which nobody knows the end stays so', async () => {
  answers([200, { ...SIGNED_IN, token: { expires_in: null } }])
  await mount()
  await act(async () => FakeEventSource.last.says('extended', { expires_in: 60, ends_in: 600 }))
  expect(view.session?.token).toEqual({ expires_in: null })
})

test('a tab that is hidden for a moment keeps its stream', async () => {
  const stream = await mountWithStream()
  await become('hidden')
  await act(() => vi.advanceTimersByTimeAsync(5_000))
  await become('visible')
  await act(() => vi.advanceTimersByTimeAsync(40_000))
  expect([stream.readyState, looks()]).toEqual([1, []])
})

test('a tab that is opened in the background takes no connection', async () => {
  answers([200, SIGNED_IN], [200, SIGNED_IN])
  vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden')
  await mount()
  expect([view.status, FakeEventSource.all.length]).toEqual(['signed_in', 0])
  await become('visible')
  expect(FakeEventSource.all).toHaveLength(1)
})

test('a refused call ends the session here too, and the stream then says why', async () => {
  const stream = await mountWithStream()
  await act(async () => hook.refused('session_superseded', 't'))
  expect([view.status, view.ended?.reason]).toEqual(['anonymous', 'session_superseded'])
  await act(async () => stream.says('ended', { reason: 'superseded' }))
  expect(view.ended?.reason).toBe('superseded')
})

test('a visitor’s look does not blur the reason', async () => {
  const stream = await mountWithStream()
  await act(async () => stream.says('ended', { reason: 'provider_logout' }))
  answers([401, { ...ANONYMOUS, code: 'login_required' }])
  await act(async () => window.dispatchEvent(new Event('focus')))
  expect(looks()).toEqual([LOOK])
  expect(view.ended?.reason).toBe('provider_logout')
})

test('user_changed reloads who is signed in, once, and follows that session', async () => {
  const stream = await mountWithStream()
  const bob = { ...SIGNED_IN, user: { sub: '2', name: 'Bob' }, session: { ...SIGNED_IN.session, tag: 'u' } }
  answers([200, bob])
  await act(async () => {
    for (let call = 0; call < 20; call++) hook.refused('user_changed', 't')
    await vi.advanceTimersByTimeAsync(0)
  })
  expect(looks()).toEqual([LOOK])
  expect([view.session?.user.name, view.ended, hook.currentTag()]).toEqual(['Bob', null, 'u'])
  expect(stream.readyState).toBe(stream.CLOSED)
  expect(FakeEventSource.all).toHaveLength(2)
})

test('a late refusal of a call from an earlier session ends nothing', async () => {
  await mountWithStream()
  answers([200, SIGNED_IN])
  await act(async () => {
    hook.refused('session_expired', 'earlier')
    await vi.advanceTimersByTimeAsync(0)
  })
  expect([view.status, looks().length]).toEqual(['signed_in', 1])
})

test('a call refused before anyone knows who is signed in does not spoil the first look', async () => {
  let first!: (response: Response) => void
  fetched.mockReturnValueOnce(new Promise((resolve) => (first = resolve)))
  await mount()
  await act(async () => {
    hook.refused('login_required', null)
    first(Response.json(SIGNED_IN))
  })
  expect(view.status).toBe('signed_in')
})

test('a stream of another session than the page’s makes it look', async () => {
  const stream = await mountWithStream()
  answers([200, { ...SIGNED_IN, session: { ...SIGNED_IN.session, tag: 'u' } }])
  await act(async () => stream.says('signed_in', { tag: 'u', expires_in: 60, ends_in: 600 }))
  await act(() => vi.advanceTimersByTimeAsync(1_000))
  expect([looks(), hook.currentTag(), FakeEventSource.all.length]).toEqual([[LOOK], 'u', 2])
})

test('a sign-in is told to the other tabs, and one told here is looked at', async () => {
  const channel = { postMessage: vi.fn(), close: vi.fn(), onmessage: (_: { data: string }) => {} }
  vi.stubGlobal('BroadcastChannel', vi.fn(function () { return channel }))
  answers([200, ANONYMOUS], [200, SIGNED_IN])
  await mount()
  expect(channel.postMessage).not.toHaveBeenCalled()
  await act(async () => channel.onmessage({ data: 't' }))
  expect([view.status, looks()]).toEqual(['signed_in', [LOOK]])
  expect(channel.postMessage.mock.calls).toEqual([['t']])
  await act(async () => channel.onmessage({ data: 't' }))
  expect(looks()).toHaveLength(1)
  await act(async () => root.unmount())
  expect(channel.close).toHaveBeenCalled()
})

test('signing out here is no news here', async () => {
  const stream = await mountWithStream()
  answers([200, { redirect_to: '/bff/logout/continue' }])
  await act(() => view.logout())
  await act(async () => stream.says('ended', { reason: 'logout' }))
  expect([stream.readyState, view.ended]).toEqual([stream.CLOSED, null])
})

test('a sign-out that fails listens again', async () => {
  await mountWithStream()
  answers([503, { code: 'store_unavailable' }])
  await act(() => view.logout())
  expect([view.status, FakeEventSource.all.length, FakeEventSource.last.readyState]).toEqual(['signed_in', 2, 0])
})

test('under StrictMode one stream stands, and none after the last component has gone', async () => {
  fetched.mockImplementation(async () => Response.json(SIGNED_IN))
  await mount(StrictMode)
  const open = () => FakeEventSource.all.filter((s) => s.readyState !== s.CLOSED).length
  expect(open()).toBe(1)
  await act(async () => root.unmount())
  expect(open()).toBe(0)
  const before = fetched.mock.calls.length
  await vi.advanceTimersByTimeAsync(3_600_000)
  expect([fetched.mock.calls.length, open()]).toEqual([before, 0])
})

test('a second login of the same user is told and loses nothing', async () => {
  const stream = await mountWithStream()
  answers([200, { ...SIGNED_IN, auth: { acr: 'mfa', amr: ['otp'], auth_time: null } }])
  await act(async () => stream.says('renewed', { tag: SIGNED_IN.session.tag, expires_in: 1_800, ends_in: 28_800 }))
  await act(() => vi.advanceTimersByTimeAsync(0))
  expect(looks()).toEqual([LOOK])
  expect([view.status, view.ended, view.session?.auth?.acr]).toEqual(['signed_in', null, 'mfa'])
  expect([FakeEventSource.all.length, stream.readyState]).toEqual([1, 1])
})

test('a stream whose session goes on under another cookie is opened again, without a word', async () => {
  const stream = await mountWithStream()
  answers([200, SIGNED_IN])
  await act(async () => stream.says('ended', { reason: 'superseded' }))
  expect([view.status, view.ended]).toEqual(['signed_in', null])
  await act(() => vi.advanceTimersByTimeAsync(1_000))
  expect([view.status, view.ended, looks()]).toEqual(['signed_in', null, [LOOK]])
  expect(FakeEventSource.all).toHaveLength(2)
})

test('a session whose place was taken is over once a look has said so, and says why', async () => {
  const stream = await mountWithStream()
  answers([200, ANONYMOUS])
  await act(async () => stream.says('ended', { reason: 'superseded' }))
  await act(() => vi.advanceTimersByTimeAsync(1_000))
  expect([view.status, view.ended?.reason]).toEqual(['anonymous', 'superseded'])
})
