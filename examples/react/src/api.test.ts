import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ApiError, api, apiJson } from './api'

const fetched = vi.fn<typeof fetch>()
const { currentTag, refused } = vi.hoisted(() => ({ currentTag: vi.fn<() => string | null>(), refused: vi.fn() }))
vi.mock('./session', () => ({ currentTag, refused }))

beforeEach(() => {
  vi.stubGlobal('fetch', fetched)
  currentTag.mockReturnValue('t')
})

afterEach(() => {
  vi.unstubAllGlobals()
  fetched.mockReset()
  refused.mockReset()
})

function answer(status: number, body: unknown, headers: Record<string, string> = {}) {
  fetched.mockResolvedValueOnce(
    new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/problem+json', ...headers } }),
  )
}

test('every call carries the CSRF header and keeps its own headers', async () => {
  answer(200, {})
  await api('/api/orders', { method: 'DELETE', headers: { 'If-Match': '"7"' } })
  const headers = new Headers(fetched.mock.calls[0]![1]?.headers)
  expect([headers.get('X-CSRF'), headers.get('If-Match')]).toEqual(['1', '"7"'])
})

test('every call says which session the page believes in, if any', async () => {
  answer(200, {})
  await api('/api/orders')
  currentTag.mockReturnValue(null)
  answer(200, {})
  await api('/api/orders')
  const sent = fetched.mock.calls.map(([, init]) => new Headers(init?.headers).get('X-BFF-Session'))
  expect(sent).toEqual(['t', null])
})

test('JSON goes out with its type and comes back parsed', async () => {
  answer(200, { id: 7 })
  expect(await apiJson<{ id: number }>('/api/orders', { method: 'POST', body: { count: 1 } })).toEqual({ id: 7 })
  const init = fetched.mock.calls[0]![1]!
  expect([init.body, new Headers(init.headers).get('Content-Type')]).toEqual(['{"count":1}', 'application/json'])
})

test.each(['login_required', 'session_expired', 'session_superseded'])('401 %s tells the app that the session is over', async (code) => {
  answer(401, { code, title: 'Unauthorized' })
  await expect(api('/api/orders')).rejects.toMatchObject({ status: 401, sessionEnded: true })
  expect(refused).toHaveBeenCalledWith(code, 't')
})

test('409 user_changed says what was sent, even if the page has learned better since', async () => {
  answer(409, { code: 'user_changed' })
  const call = api('/api/orders', { method: 'POST' })
  currentTag.mockReturnValue('u')
  await expect(call).rejects.toMatchObject({ status: 409, userChanged: true, sessionEnded: false })
  expect(refused).toHaveBeenCalledWith('user_changed', 't')
})

test.each([
  ['an API’s own 401', 401, { title: 'No such token' }],
  ['step-up', 401, { code: 'step_up_required' }],
  ['a refusal', 403, { code: 'csrf' }],
  ['an API’s own conflict', 409, { code: 'edited_meanwhile' }],
  ['an outage', 503, { code: 'store_unavailable' }],
])('%s does not', async (_, status, body) => {
  answer(status, body)
  await expect(api('/api/orders')).rejects.toMatchObject({ status, sessionEnded: false })
  expect(refused).not.toHaveBeenCalled()
})

test('a refusal keeps the problem and the time to wait', async () => {
  answer(503, { code: 'provider_unavailable', detail: 'Ask later.', request_id: 'r1' }, { 'Retry-After': '5' })
  const error = await api('/api/orders').catch((e: unknown) => e)
  expect(error).toBeInstanceOf(ApiError)
  expect(error).toMatchObject({ message: 'Ask later.', retryAfter: 5, problem: { request_id: 'r1', status: 503 } })
})

test('a refusal that says why the session ended tells the app that', async () => {
  answer(401, { code: 'session_expired', ended: 'refresh_refused' })
  await expect(api('/api/orders')).rejects.toMatchObject({ sessionEnded: true })
  expect(refused).toHaveBeenCalledWith('refresh_refused', 't')
})

test.each<[string, Response, unknown]>([
  ['204', new Response(null, { status: 204 }), undefined],
  ['205', new Response(null, { status: 205 }), undefined],
  ['an empty 200', new Response('', { headers: { 'Content-Type': 'application/json' } }), undefined],
  ['an empty 201 without a type', new Response('', { status: 201 }), undefined],
  ['JSON', Response.json([1, 2]), [1, 2]],
  ['null', Response.json(null), null],
  ['JSON of a type of its own', new Response('{"a":1}', { headers: { 'Content-Type': 'application/vnd.shop+json' } }), { a: 1 }],
  ['JSON that calls itself text', new Response('{"a":1}', { headers: { 'Content-Type': 'text/plain' } }), { a: 1 }],
  ['text', new Response('done', { headers: { 'Content-Type': 'text/plain; charset=utf-8' } }), 'done'],
])('apiJson takes %s', async (_, response, expected) => {
  fetched.mockResolvedValueOnce(response)
  expect(await apiJson('/api/orders')).toEqual(expected)
})

/** It said text/html, and left one to find out that the app's own page had answered. */
test('a page where JSON was expected points to the routes', async () => {
  fetched.mockResolvedValueOnce(new Response('<!doctype html>', { headers: { 'Content-Type': 'text/html; charset=utf-8' } }))
  await expect(apiJson('/apis/orders')).rejects.toMatchObject({
    status: 200,
    problem: { code: 'not_json' },
    message:
      'GET /apis/orders answered a page where JSON was expected. Perhaps no [[route]] of bff.toml has this path: bff explain GET /apis/orders says.',
  })
})

test('whatever else is not JSON is named', async () => {
  fetched.mockResolvedValueOnce(new Response('a,b', { headers: { 'Content-Type': 'text/csv' } }))
  await expect(apiJson('/api/orders')).rejects.toThrow('GET /api/orders answered text/csv where JSON was expected.')
})

test('an answer that is no problem+json still has a message', async () => {
  fetched.mockResolvedValueOnce(new Response('<h1>Bad Gateway</h1>', { status: 502, statusText: 'Bad Gateway', headers: { 'Content-Type': 'text/html' } }))
  await expect(api('/api/orders')).rejects.toThrow('Bad Gateway')
})
