import { useEffect, useRef, useState } from 'react'
import { ApiError, api, apiJson } from '../api'
import { agoText } from '../timeText'

/** One of the user's sessions, as `GET /bff/sessions` lists them: this browser's first. */
interface OwnSession {
  tag: string
  current: boolean
  browser: string
  created_at: string
  last_seen: string
  expires_in: number
}

/** What a confirmation is asked for: one session, or all but this one. */
type Doomed = { one: OwnSession } | { others: number }

export function SessionsPanel() {
  const [sessions, setSessions] = useState<OwnSession[] | null>(null)
  const [failure, setFailure] = useState<unknown>(null)
  const [doomed, setDoomed] = useState<Doomed | null>(null)
  const [done, setDone] = useState('')
  const [busy, setBusy] = useState(false)
  const newest = useRef(0)

  async function load() {
    const mine = ++newest.current
    setBusy(true)
    try {
      const answer = await apiJson<{ sessions: OwnSession[] }>('/bff/sessions')
      if (mine !== newest.current) return
      setSessions(answer.sessions)
      setFailure(null)
    } catch (error) {
      if (mine !== newest.current) return
      setFailure(error)
    }
    setBusy(false)
  }

  useEffect(() => {
    void load()
    return () => void newest.current++
  }, [])

  async function signOut(doomed: Doomed) {
    setDone(await ('one' in doomed ? endOne(doomed.one) : endOthers()))
    void load()
  }

  const others = sessions?.filter((s) => !s.current).length ?? 0
  return (
    <section className="card sessions" aria-label="Your sessions" aria-busy={busy}>
      <header>
        <div>
          <h2>Your sessions</h2>
          <p className="muted">Where you are signed in to this app. Sign out what you don’t recognise.</p>
        </div>
        <div className="actions">
          {others > 0 && (
            <button className="button small" onClick={() => setDoomed({ others })}>
              Sign out everywhere else
            </button>
          )}
          {sessions && (
            <button className="button quiet small" disabled={busy} onClick={() => (setDone(''), load())}>
              Refresh
            </button>
          )}
        </div>
      </header>
      <p className="done" role="status">
        {done}
      </p>
      {failure !== null && <Failure error={failure} again={load} busy={busy} stale={sessions !== null} />}
      {sessions ? (
        <ul>
          {sessions.map((session) => (
            <Device key={session.tag} session={session} onSignOut={() => setDoomed({ one: session })} />
          ))}
        </ul>
      ) : (
        failure === null && <Skeleton />
      )}
      {sessions && others === 0 && failure === null && (
        <p className="alone muted">You are not signed in anywhere else. Other browsers appear here when you use them.</p>
      )}
      {doomed && <Confirm doomed={doomed} onConfirm={() => signOut(doomed)} onCancel={() => setDoomed(null)} />}
    </section>
  )
}

async function endOne({ tag, browser }: OwnSession): Promise<string> {
  try {
    await api(`/bff/sessions?tag=${encodeURIComponent(tag)}`, { method: 'DELETE' })
    return `${browser} is signed out.`
  } catch (error) {
    if (error instanceof ApiError && error.problem.code === 'no_such_session') return `${browser} was signed out already.`
    throw error
  }
}

async function endOthers(): Promise<string> {
  const { ended } = await apiJson<{ ended: number }>('/bff/sessions', { method: 'DELETE' })
  return ended === 1 ? 'One other browser is signed out.' : `${ended} other browsers are signed out.`
}

function Device({ session, onSignOut }: { session: OwnSession; onSignOut: () => void }) {
  const { browser, current, created_at, last_seen } = session
  return (
    <li data-current={current || undefined}>
      <DeviceIcon browser={browser} />
      <div className="device">
        <p>
          <strong>{browser}</strong> {current && <span className="badge">This browser</span>}
        </p>
        <p className="muted">
          <span>Signed in {agoText(created_at)}</span>
          <span>{current ? 'Active now' : `Last seen ${agoText(last_seen)}`}</span>
        </p>
      </div>
      {!current && (
        <button className="button quiet small" aria-label={`Sign out ${browser}`} onClick={onSignOut}>
          Sign out
        </button>
      )}
    </li>
  )
}

function DeviceIcon({ browser }: { browser: string }) {
  const mobile = /android|iphone|ipad|ios|mobile/i.test(browser)
  return (
    <svg className="device-icon" viewBox="0 0 24 24" aria-hidden="true">
      {mobile ? <path d="M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2" /> : <path d="M5 5h14v10H5zM2.5 19h19" />}
    </svg>
  )
}

function Skeleton() {
  return (
    <ul role="status" aria-label="Loading your sessions" className="skeleton">
      {[0, 1].map((i) => (
        <li key={i} aria-hidden="true">
          <span />
          <div>
            <span />
            <span />
          </div>
        </li>
      ))}
    </ul>
  )
}

function Failure({ error, again, busy, stale }: { error: unknown; again: () => void; busy: boolean; stale: boolean }) {
  return (
    <div className="failure" role="alert">
      <p>
        <strong>{stale ? 'This list may be out of date.' : 'We can’t show your sessions right now.'}</strong> {reasonText(error)}
      </p>
      <button className="button quiet small" disabled={busy} onClick={again}>
        Try again
      </button>
    </div>
  )
}

interface ConfirmProps {
  doomed: Doomed
  onConfirm: () => Promise<void>
  onCancel: () => void
}

function Confirm({ doomed, onConfirm, onCancel }: ConfirmProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<unknown>(null)
  useEffect(() => dialog.current?.showModal(), [])

  async function confirm() {
    setBusy(true)
    setFailure(null)
    try {
      await onConfirm()
      dialog.current?.close()
    } catch (error) {
      setFailure(error)
      setBusy(false)
    }
  }

  return (
    <dialog ref={dialog} className="ended" aria-labelledby="confirm-title" onClose={onCancel}>
      <h2 id="confirm-title">{'one' in doomed ? `Sign out ${doomed.one.browser}?` : 'Sign out everywhere else?'}</h2>
      <p>
        {'one' in doomed
          ? 'It is signed out at once; what is not saved there is lost.'
          : `${doomed.others === 1 ? 'One other browser is' : `${doomed.others} other browsers are`} signed out at once; what is not saved there is lost. You stay signed in here.`}
      </p>
      {failure !== null && (
        <p className="failure" role="alert">
          <strong>That did not work.</strong> {reasonText(failure)}
        </p>
      )}
      <form method="dialog" className="actions">
        <button type="button" className="button danger" disabled={busy} onClick={confirm}>
          {busy ? 'Signing out…' : 'Sign out'}
        </button>
        <button className="button quiet" autoFocus>
          Cancel
        </button>
      </form>
    </dialog>
  )
}

function reasonText(error: unknown): string {
  if (!(error instanceof ApiError)) return 'The server cannot be reached.'
  if (error.userChanged) return 'Someone else has signed in in this browser.'
  if (error.status >= 500) return 'The server can’t answer at the moment. Try again shortly.'
  return error.message
}
