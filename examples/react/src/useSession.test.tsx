import { act } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

type Hook = typeof import('./useSession')
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
  vi.useFakeTimers()
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true)
  vi.stubGlobal('fetch', fetched)
  vi.spyOn(window.location, 'assign').mockImplementation(navigated)
  vi.resetModules() // the hook's state is the module's: each test has its own
  hook = await import('./useSession')
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

async function mount() {
  function Probe() {
    view = hook.useSession()
    return null
  }
  root = createRoot(document.createElement('div'))
  await act(async () => root.render(<Probe />))
}

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

test('it looks again, without sliding, when the session should have run out, and tells that it ended', async () => {
  answers([200, SIGNED_IN], [401, { code: 'session_expired' }])
  await mount()
  await act(() => vi.advanceTimersByTimeAsync(60_000))
  expect(fetched).toHaveBeenCalledTimes(1)
  await act(() => vi.advanceTimersByTimeAsync(1_000))
  expect(fetched.mock.calls[1]![0]).toBe('/bff/session?slide=false')
  expect(view.status).toBe('anonymous')
  expect(view.ended?.code).toBe('session_expired')
  expect(view.ended?.last.user.name).toBe('Alice')
})

test('it looks again, without sliding, when the tab comes back', async () => {
  answers([200, SIGNED_IN], [200, SIGNED_IN], [200, SIGNED_IN])
  await mount()
  await act(async () => window.dispatchEvent(new Event('focus')))
  await act(async () => document.dispatchEvent(new Event('visibilitychange')))
  expect(fetched.mock.calls.slice(1).map(([url]) => url)).toEqual(['/bff/session?slide=false', '/bff/session?slide=false'])
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
  await act(() => vi.advanceTimersByTimeAsync(61_000))
  expect(view.ended?.code).toBe('session_expired')
})

test('403 is a fault to show, and is not tried over and over', async () => {
  answers([403, { code: 'csrf', detail: 'The header is missing.' }])
  await mount()
  expect(view.status).toBe('loading')
  expect(view.problem).toEqual({ status: 403, code: 'csrf', detail: 'The header is missing.' })
  await act(() => vi.advanceTimersByTimeAsync(3_600_000))
  expect(fetched).toHaveBeenCalledTimes(1)
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

test('a 401 that another part of the app met ends the session here too', async () => {
  answers([200, SIGNED_IN])
  await mount()
  await act(async () => window.dispatchEvent(new CustomEvent('bff:session-ended', { detail: { code: 'session_superseded' } })))
  expect(view.status).toBe('anonymous')
  expect(view.ended?.code).toBe('session_superseded')
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
