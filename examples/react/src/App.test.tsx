import { act } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FakeEventSource } from './fakeEventSource'

const ALICE = {
  authenticated: true,
  user: { sub: '1', name: 'Alice' },
  session: { tag: 'a', created_at: '2026-11-21T09:00:00Z', expires_in: 1_800, ends_in: 28_800 },
  logout_url: '/bff/logout?sid=s',
}
const BOB = { ...ALICE, user: { sub: '2', name: 'Bob' }, session: { ...ALICE.session, tag: 'b' } }

const HERE = { tag: 'a', current: true, browser: 'Firefox on Linux', created_at: '2026-11-21T09:00:00Z', last_seen: '2026-11-21T11:59:00Z', expires_in: 1_800 }
const PHONE = { ...HERE, tag: 'p/1', current: false, browser: 'Safari on iPhone', last_seen: '2026-11-21T09:30:00Z' }
const LAPTOP = { ...PHONE, tag: 'l', browser: 'Chrome on macOS', last_seen: '2026-11-20T09:30:00Z' }

let root: Root
let page: HTMLElement
/** What bff answers, by `METHOD path`; a function is asked each time. */
let bff: Record<string, [status: number, body?: unknown] | (() => [status: number, body?: unknown])>
const fetched = vi.fn<typeof fetch>(async (url, init) => {
  const answer = bff[`${init?.method ?? 'GET'} ${url}`] ?? [404, { code: 'no_route', title: 'No such route' }]
  const [status, body] = typeof answer === 'function' ? answer() : answer
  const headers = { 'Content-Type': 'application/json' }
  return new Response(status === 204 ? null : JSON.stringify(body), { status, headers })
})

beforeEach(() => {
  bff = {
    'GET /bff/session': [200, ALICE],
    'GET /bff/session?slide=false': [200, ALICE],
    'GET /bff/sessions': [200, { sessions: [HERE, PHONE, LAPTOP] }],
  }
  vi.useFakeTimers({ now: new Date('2026-11-21T12:00:00Z') })
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true)
  vi.stubGlobal('fetch', fetched)
  vi.stubGlobal('EventSource', FakeEventSource)
  vi.stubGlobal('BroadcastChannel', undefined)
  vi.resetModules()
})

afterEach(async () => {
  await act(async () => root.unmount())
  page.remove()
  vi.useRealTimers()
  vi.unstubAllGlobals()
  fetched.mockClear()
})

async function open() {
  const { App } = await import('./App')
  page = document.body.appendChild(document.createElement('div'))
  root = createRoot(page)
  await act(async () => root.render(<App />))
  await act(async () => FakeEventSource.last.open())
}

const says = (name: string, data: unknown) => act(async () => FakeEventSource.last.says(name, data))
const find = (selector: string) => page.querySelector(selector)
const rows = () => [...page.querySelectorAll('.sessions .device')].map((row) => row.textContent)
const sent = (call: string) => fetched.mock.calls.filter(([url, init]) => `${init?.method ?? 'GET'} ${url}` === call)

function button(name: string, within: ParentNode = page): HTMLButtonElement {
  const found = [...within.querySelectorAll('button')].filter((b) => (b.getAttribute('aria-label') ?? b.textContent) === name)
  expect(found, `one button ${name}`).toHaveLength(1)
  return found[0]!
}

async function press(name: string, within?: ParentNode) {
  await act(async () => button(name, within).click())
}

test.each([
  ['signed_out_elsewhere', 'You were signed out elsewhere'],
  ['expired', 'Your session expired'],
  ['evicted', 'You were signed out'],
  ['superseded', 'Another sign-in took its place'],
  ['revoked', 'An administrator ended your session'],
  ['provider_logout', 'Signed out at your identity provider'],
  ['refresh_refused', 'Please sign in again'],
  ['logout', 'You signed out'],
  ['a_reason_of_next_year', 'Your session has ended'],
])('the page says at once why the session ended: %s', async (reason, title) => {
  await open()
  bff['GET /bff/session?slide=false'] = [200, { authenticated: false, ended: reason }]
  await says('ended', { reason })
  // Whose place was taken has to look first whether it goes on.
  if (reason === 'superseded') await act(() => vi.advanceTimersByTimeAsync(1_000))
  expect(find('dialog h2')?.textContent).toBe(title)
  expect(find('dialog')?.textContent).toContain('You were signed in as Alice')
  expect(rows()).toHaveLength(3) // what was on the page is still there
})

test('a session about to expire can be kept', async () => {
  await open()
  expect(find('.expiring')).toBeNull()
  await says('expiring', { expires_in: 60 })
  expect(find('.expiring')?.textContent).toContain('1:00')
  await act(() => vi.advanceTimersByTimeAsync(15_000))
  expect(find('.expiring [role=timer]')?.textContent).toBe('0:45')
  await press('Stay signed in')
  expect(sent('GET /bff/session')).toHaveLength(2)
  expect(find('.expiring')).toBeNull()
})

test('the end of a session can’t be put off, so the banner offers to sign in again', async () => {
  await open()
  await says('extended', { expires_in: 1_800, ends_in: 60 })
  await says('expiring', { expires_in: 60 })
  expect(find('.expiring')?.textContent).toContain('about to end')
  expect(button('Sign in again')).toBeTruthy()
})

test('the list says which browser is this one, and when the others were last seen', async () => {
  await open()
  expect(rows()).toEqual([
    'Firefox on Linux This browserSigned in 3 hours agoActive now',
    'Safari on iPhone Signed in 3 hours agoLast seen 2 hours ago',
    'Chrome on macOS Signed in 3 hours agoLast seen yesterday',
  ])
})

test('one session is signed out, after a question', async () => {
  await open()
  await press('Sign out Safari on iPhone')
  expect(find('dialog h2')?.textContent).toBe('Sign out Safari on iPhone?')
  expect(sent('DELETE /bff/sessions?tag=p%2F1')).toHaveLength(0)

  bff['DELETE /bff/sessions?tag=p%2F1'] = [204]
  bff['GET /bff/sessions'] = [200, { sessions: [HERE, LAPTOP] }]
  await press('Sign out', find('dialog')!)
  expect(find('dialog')).toBeNull()
  expect(rows()).toHaveLength(2)
  expect(find('.done')?.textContent).toBe('Safari on iPhone is signed out.')
  const headers = new Headers(sent('DELETE /bff/sessions?tag=p%2F1')[0]![1]?.headers)
  expect([headers.get('X-CSRF'), headers.get('X-BFF-Session')]).toEqual(['1', 'a'])
})

test('who cancels signs nobody out', async () => {
  await open()
  await press('Sign out everywhere else')
  await press('Cancel')
  expect(find('dialog')).toBeNull()
  expect(fetched.mock.calls.some(([, init]) => init?.method === 'DELETE')).toBe(false)
})

test('a session that is gone already is no error', async () => {
  await open()
  await press('Sign out Safari on iPhone')
  bff['DELETE /bff/sessions?tag=p%2F1'] = [404, { code: 'no_such_session' }]
  await press('Sign out', find('dialog')!)
  expect(find('.done')?.textContent).toBe('Safari on iPhone was signed out already.')
})

test('everywhere else is signed out at once, and the page says that nothing is left', async () => {
  await open()
  await press('Sign out everywhere else')
  expect(find('dialog')?.textContent).toContain('2 other browsers')
  bff['DELETE /bff/sessions'] = [200, { ended: 2 }]
  bff['GET /bff/sessions'] = [200, { sessions: [HERE] }]
  await press('Sign out', find('dialog')!)
  expect(find('.done')?.textContent).toBe('2 other browsers are signed out.')
  expect(find('.sessions')?.textContent).toContain('not signed in anywhere else')
  expect(find('.sessions')?.textContent).not.toContain('Sign out everywhere else')
})

test('a sign-out that fails keeps the question open and says so', async () => {
  await open()
  await press('Sign out Chrome on macOS')
  bff['DELETE /bff/sessions?tag=l'] = [503, { code: 'store_unavailable' }]
  await press('Sign out', find('dialog')!)
  expect(find('dialog [role=alert]')?.textContent).toContain('That did not work.')
  bff['DELETE /bff/sessions?tag=l'] = [204]
  await press('Sign out', find('dialog')!)
  expect(find('dialog')).toBeNull()
})

test('a list that can’t be had can be asked for again', async () => {
  bff['GET /bff/sessions'] = [503, { code: 'store_unavailable' }]
  await open()
  expect(find('.sessions [role=alert]')?.textContent).toContain('can’t show your sessions')
  bff['GET /bff/sessions'] = [200, { sessions: [HERE] }]
  await press('Try again')
  expect(find('.sessions [role=alert]')).toBeNull()
  expect(rows()).toHaveLength(1)
})

test('a call that would have gone out as someone else makes the page theirs, and drops what it held', async () => {
  await open()
  const input = find('#body') as HTMLInputElement
  bff['GET /api/hello'] = [409, { code: 'user_changed', title: 'Another user is signed in' }]
  bff['GET /bff/session?slide=false'] = [200, BOB]
  bff['GET /bff/sessions'] = [200, { sessions: [{ ...HERE, tag: 'b' }] }]
  await press('GET /api/hello')
  await act(() => vi.advanceTimersByTimeAsync(0))
  expect(find('.user h1')?.textContent).toBe('Bob')
  expect(find('.banner')?.textContent).toContain('You are now Bob.')
  expect(find('#body')).not.toBe(input)
  expect(rows()).toHaveLength(1)
  expect(find('dialog')).toBeNull()
  await press('Got it')
  expect(find('.banner')).toBeNull()
})

test('another sign-in that an API call meets first ends the session on the page', async () => {
  await open()
  bff['GET /api/hello'] = [401, { code: 'session_superseded' }]
  bff['GET /bff/session?slide=false'] = [401, { authenticated: false, code: 'session_superseded' }]
  await press('GET /api/hello')
  expect(find('dialog h2')?.textContent).toBe('Another sign-in took its place')
})

describe('a call that asks for a second login', () => {
  const ASKED: [number, unknown] = [401, { code: 'step_up_required', login_url: '/bff/login?acr_values=mfa&step_up=true' }]
  const opened = vi.fn<typeof window.open>(() => window)
  let channels: { onmessage: (event: { data: unknown }) => void }[]

  beforeEach(() => {
    channels = []
    opened.mockClear()
    vi.stubGlobal('open', opened)
    vi.stubGlobal(
      'BroadcastChannel',
      class {
        onmessage = () => {}
        constructor(name: string) {
          if (name === 'bff-login') channels.push(this)
        }
        close() {
          this.onmessage = () => {}
        }
        postMessage() {}
      },
    )
    bff['POST /api/pay'] = ASKED
  })

  async function askedToConfirm() {
    await open()
    await press('Pay €1,240.00')
    expect(find('dialog h2')?.textContent).toBe('Confirm that it is you')
    await press('Confirm')
  }
  const windowSays = (data: object, which = channels.length - 1) =>
    act(async () => channels[which]!.onmessage({ data: { type: 'bff-login', ...data } }))
  const panel = () => find('[aria-label="Pay an invoice"]')!

  test('is made again after it, once, and the page stays', async () => {
    await askedToConfirm()
    expect(opened.mock.calls[0]?.[0]).toMatch(/^\/bff\/login\?mode=popup&return_to=.*&acr_values=mfa&step_up=true$/)
    bff['POST /api/pay'] = [200, {}]
    await windowSays({ outcome: 'signed_in' })
    expect(panel().textContent).toContain('Paid: Invoice 2041.')
    expect(sent('POST /api/pay')).toHaveLength(2)
    expect(find('dialog')).toBeNull()
  })

  test.each([
    ['step_up_failed', 'Your identity provider did not confirm that strongly enough. Nothing was paid.'],
    ['access_denied', 'You did not confirm. Nothing was paid.'],
    ['provider_unavailable', 'That did not work. Nothing was paid.'],
  ])('is not where that fails: %s', async (error, sentence) => {
    await askedToConfirm()
    await windowSays({ outcome: 'failed', error })
    expect(panel().querySelector('[role=alert]')?.textContent).toContain(sentence)
    expect([sent('POST /api/pay').length, find('dialog')]).toEqual([1, null])
  })

  test('asks no third time', async () => {
    await askedToConfirm()
    await windowSays({ outcome: 'signed_in' })
    expect(panel().querySelector('[role=alert]')?.textContent).toContain('Nothing was paid.')
    expect([sent('POST /api/pay').length, find('dialog')]).toEqual([2, null])
  })

  test('pays once for two windows, of which one was closed by hand', async () => {
    await askedToConfirm()
    await press('Confirm')
    bff['POST /api/pay'] = [200, {}]
    await windowSays({ outcome: 'signed_in' }, 0)
    await windowSays({ outcome: 'signed_in' }, 1)
    expect(sent('POST /api/pay')).toHaveLength(2)
  })

  test('is not made as somebody else', async () => {
    await askedToConfirm()
    bff['GET /bff/session?slide=false'] = [200, BOB]
    await windowSays({ outcome: 'signed_in' })
    expect(sent('POST /api/pay')).toHaveLength(1)
    expect(page.textContent).toContain('You are now Bob.')
  })

  test('whoever cancels is asked no more', async () => {
    await open()
    await press('Pay €1,240.00')
    await press('Cancel')
    expect([find('dialog'), opened.mock.calls.length, sent('POST /api/pay').length]).toEqual([null, 0, 1])
  })
})
