// `fetch` for API routes behind bff. Copy this file into your app, beside session.ts.
//
// It adds the header without which bff forwards nothing, and the one that says which session the page believes in, so
// that a call never goes out as another user who has signed in since. Every refusal becomes an `ApiError`; where it
// means that the session is over or another one, the page is told.

import { currentTag, refused } from './session'

/** RFC 9457, as bff and many APIs send it. */
export interface Problem {
  type?: string
  title?: string
  status: number
  code?: string
  detail?: string
  request_id?: string
  login_url?: string
  /** Why the session is over, where this refusal is the first to say so. */
  ended?: string
}

export class ApiError extends Error {
  readonly status: number
  readonly problem: Problem
  /** Seconds to wait before another try, where the answer named them. */
  readonly retryAfter: number | null

  constructor(status: number, problem: Problem, retryAfter: number | null = null) {
    super(problem.detail ?? problem.title ?? `The API answered ${status}.`)
    this.name = 'ApiError'
    this.status = status
    this.problem = problem
    this.retryAfter = retryAfter
  }

  get sessionEnded(): boolean {
    return this.status === 401 && SESSION_ENDED.includes(this.problem.code ?? '')
  }

  /** Where the login begins that the call asks for first, for `stepUp`; the session stays. Then make the call again. */
  get stepUp(): string | null {
    return this.status === 401 && this.problem.code === 'step_up_required' ? (this.problem.login_url ?? null) : null
  }

  /** Nothing was done: this browser is signed in anew, perhaps as someone else. Ask the user before trying again. */
  get userChanged(): boolean {
    return this.status === 409 && this.problem.code === 'user_changed'
  }
}

// An API may answer 401 on its own account; only these codes are bff's word that the session is over.
const SESSION_ENDED = ['login_required', 'session_expired', 'session_superseded']

/** Like `fetch`, for a path of this origin; rejects with `ApiError` unless the answer is 2xx or 3xx. */
export async function api(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  const tag = currentTag()
  headers.set('X-CSRF', '1')
  if (tag) headers.set('X-BFF-Session', tag)
  if (!headers.has('Accept')) headers.set('Accept', 'application/json')

  const response = await fetch(path, { ...init, headers })
  if (response.status < 400) return response

  throw refusal(response.status, await problemOf(response), tag, response.headers.get('Retry-After'))
}

/**
 * The `ApiError` of a refusal that was sent as `tag`; where it means that the session is over or another one, the page is
 * told. `api` calls it; so does any other client that you prefer.
 */
export function refusal(status: number, problem: Problem, tag: string | null, retryAfter: string | null = null): ApiError {
  const error = new ApiError(status, problem, Number(retryAfter) || null)
  if (error.sessionEnded || error.userChanged) refused(problem.ended ?? problem.code ?? '', tag)
  return error
}

/**
 * `api` for JSON both ways. An answer without a body (204, an empty 200) is `undefined`: ask for `apiJson<void>` there.
 * Plain text is a string; anything else that is not JSON rejects with an `ApiError` that says what came instead.
 */
export async function apiJson<T>(path: string, init: Omit<RequestInit, 'body'> & { body?: unknown } = {}): Promise<T> {
  const { body, ...rest } = init
  const headers = new Headers(rest.headers)
  if (body !== undefined) headers.set('Content-Type', 'application/json')
  const response = await api(path, { ...rest, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  const type = response.headers.get('Content-Type') ?? ''
  const text = await response.text()
  if (text === '') return undefined as T
  try {
    return JSON.parse(text) as T
  } catch {
    if (/^text\/plain\b/i.test(type)) return text as T
    const call = `${rest.method ?? 'GET'} ${path}`
    // What no route takes is the app's, which answers with its page.
    const detail = /^text\/html\b/i.test(type)
      ? `${call} answered a page where JSON was expected. Perhaps no [[route]] of bff.toml has this path: bff explain ${call} says.`
      : `${call} answered ${type || 'something'} where JSON was expected.`
    throw new ApiError(response.status, { status: response.status, code: 'not_json', title: 'Not JSON', detail })
  }
}

async function problemOf(response: Response): Promise<Problem> {
  const type = response.headers.get('Content-Type') ?? ''
  if (/^application\/(problem\+)?json\b/i.test(type)) {
    const body: unknown = await response.json().catch(() => null)
    if (typeof body === 'object' && body !== null) return { ...body, status: response.status }
  }
  return { status: response.status, title: response.statusText }
}
