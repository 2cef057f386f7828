import { useState } from 'react'
import { ApiError, apiJson } from '../api'
import { useDraft } from '../useDraft'

/** What the example API answers: the request as it arrived there, the token blanked. */
interface Received {
  method: string
  path: string
  headers: Record<string, string>
  bearer: boolean
  token?: string
  body?: unknown
}

interface Call {
  method: 'GET' | 'POST'
  path: string
  body?: unknown
}

type Outcome =
  | { call: Call; tag: string; received: Received; elapsed: number }
  | { call: Call; tag: string; error: unknown; elapsed: number }

export function ApiPanel({ user, tag, onAnswer }: { user: string; tag: string; onAnswer: () => void }) {
  const draft = useDraft(user, 'body', '{ "note": "written in the browser" }')
  const [outcome, setOutcome] = useState<Outcome | null>(null)
  const [volley, setVolley] = useState<(boolean | null)[] | null>(null)
  const [busy, setBusy] = useState(false)

  async function one(call: Call) {
    setBusy(true)
    setVolley(null)
    const start = performance.now()
    try {
      const received = await apiJson<Received>(call.path, { method: call.method, body: call.body })
      if (call.method === 'POST') draft.sent()
      setOutcome({ call, tag, received, elapsed: performance.now() - start })
    } catch (error) {
      setOutcome({ call, tag, error, elapsed: performance.now() - start })
    }
    setBusy(false)
    onAnswer()
  }

  async function twentyAtOnce() {
    setBusy(true)
    setOutcome(null)
    setVolley(Array(20).fill(null))
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const arrived = await apiJson<Received>(`/api/hello?call=${i + 1}`).then((r) => r.bearer, () => false)
        setVolley((before) => before && before.with(i, arrived))
      }),
    )
    setBusy(false)
    onAnswer()
  }

  function post() {
    let body: unknown = draft.text
    try {
      body = JSON.parse(draft.text)
    } catch {
      // Not JSON: sent as a JSON string.
    }
    void one({ method: 'POST', path: '/api/echo', body })
  }

  return (
    <section className="card calls" aria-label="Call the API">
      <header>
        <div>
          <h2>Call the API</h2>
          <p className="muted">Plain fetch from this page. See what became of it on the way.</p>
        </div>
        <div className="actions">
          <button className="button primary" disabled={busy} onClick={() => one({ method: 'GET', path: '/api/hello' })}>
            GET /api/hello
          </button>
          <button className="button" disabled={busy} onClick={twentyAtOnce}>
            20 at once
          </button>
        </div>
      </header>
      <form
        className="composer"
        onSubmit={(event) => {
          event.preventDefault()
          post()
        }}
      >
        <label htmlFor="body">Body</label>
        <input id="body" value={draft.text} spellCheck={false} onChange={(event) => draft.setText(event.target.value)} />
        <button className="button" disabled={busy}>
          POST /api/echo
        </button>
      </form>
      {volley && <Volley calls={volley} />}
      {outcome && <Wire outcome={outcome} />}
      {!outcome && !volley && (
        <p className="empty">The request will be shown twice: as it left this page, and as it arrived at the API.</p>
      )}
    </section>
  )
}

function Volley({ calls }: { calls: (boolean | null)[] }) {
  const arrived = calls.filter((c) => c === true).length
  const done = calls.filter((c) => c !== null).length
  return (
    <div className="volley">
      <ol aria-hidden="true">
        {calls.map((c, i) => (
          <li key={i} data-state={c === null ? 'waiting' : c ? 'arrived' : 'failed'} />
        ))}
      </ol>
      <p role="status">
        {done < calls.length ? `${done} of ${calls.length} answered` : `${arrived} of ${calls.length} arrived with a bearer token`}
      </p>
    </div>
  )
}

function Wire({ outcome }: { outcome: Outcome }) {
  const { call, tag, elapsed } = outcome
  return (
    <div className="wire-view">
      <section aria-label="As it left this page">
        <h3>Left this page</h3>
        <p className="request-line">
          <b>{call.method}</b> {call.path}
        </p>
        <dl className="headers">
          <Header name="cookie" value="added by the browser; no script can read it" mark="cookie" />
          <Header name="x-csrf" value="1" />
          <Header name="x-bff-session" value={tag} />
          <Header name="accept" value="application/json" />
          {call.body !== undefined && <Header name="content-type" value="application/json" />}
        </dl>
      </section>
      {'received' in outcome ? (
        <Arrived received={outcome.received} elapsed={elapsed} />
      ) : (
        <Refused error={outcome.error} elapsed={elapsed} />
      )}
    </div>
  )
}

function Arrived({ received, elapsed }: { received: Received; elapsed: number }) {
  const headers = Object.entries(received.headers).filter(([name]) => name !== 'authorization')
  return (
    <section aria-label="As it arrived at the API">
      <h3>
        Arrived at the API <small>{Math.round(elapsed)} ms there and back</small>
      </h3>
      <p className="request-line">
        <b>{received.method}</b> {received.path}
      </p>
      <dl className="headers">
        {received.bearer ? (
          <Header name="authorization" value={`Bearer ${received.token ?? '…'}`} mark="bearer" />
        ) : (
          <Header name="authorization" value="none" mark="missing" />
        )}
        {headers.map(([name, value]) => (
          <Header key={name} name={name} value={value} />
        ))}
        {received.body !== undefined && <Header name="(body)" value={JSON.stringify(received.body)} />}
      </dl>
    </section>
  )
}

function Refused({ error, elapsed }: { error: unknown; elapsed: number }) {
  const problem = error instanceof ApiError ? error.problem : null
  return (
    <section aria-label="Refused" className="refused">
      <h3>
        {problem ? `Refused with ${problem.status}` : 'No answer'} <small>{Math.round(elapsed)} ms</small>
      </h3>
      <p>{error instanceof Error ? error.message : String(error)}</p>
      {problem && (
        <dl className="headers">
          {problem.code && <Header name="code" value={problem.code} />}
          {problem.request_id && <Header name="request_id" value={problem.request_id} />}
        </dl>
      )}
    </section>
  )
}

function Header({ name, value, mark }: { name: string; value: string; mark?: 'cookie' | 'bearer' | 'missing' }) {
  return (
    <div data-mark={mark}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}
