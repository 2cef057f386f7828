import { useEffect, useRef, useState } from 'react'
import type { EndReason, Session, SignInOutcome } from '../useSession'

interface SessionEndedDialogProps {
  reason: EndReason
  last: Session
  onSignIn: () => Promise<SignInOutcome>
  onLeave: () => void
}

const SUPERSEDED = {
  title: 'Another sign-in took its place',
  text: 'Your account was signed in to again, and that session replaced this one. If it was not you, sign in and look at your sessions.',
}

const EXPIRED = {
  title: 'Your session expired',
  text: 'Its time was up, so we signed you out to keep your account safe.',
}

const WHY: Record<EndReason, { title: string; text: string }> = {
  logout: { title: 'You signed out', text: 'You did so in another tab of this browser.' },
  signed_out_elsewhere: { title: 'You were signed out elsewhere', text: 'This session was ended from another of your browsers.' },
  expired: EXPIRED,
  evicted: { title: 'You were signed out', text: 'You had not been here for a while, and many others were. Sign in to go on.' },
  superseded: SUPERSEDED,
  revoked: { title: 'An administrator ended your session', text: 'If you expected to go on working, ask them why.' },
  provider_logout: {
    title: 'Signed out at your identity provider',
    text: 'You signed out there, or in another app that uses the same account.',
  },
  refresh_refused: { title: 'Please sign in again', text: 'Your identity provider no longer vouches for this session.' },
  session_expired: EXPIRED,
  session_superseded: SUPERSEDED,
  login_required: { title: 'You are no longer signed in', text: 'You were signed out, perhaps in another tab.' },
}

// A newer bff may know reasons that this page does not.
const UNKNOWN = { title: 'Your session has ended', text: 'You are no longer signed in.' }

export function SessionEndedDialog({ reason, last, onSignIn, onLeave }: SessionEndedDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  const [failure, setFailure] = useState<string | null>(null)
  const { title, text } = WHY[reason] ?? UNKNOWN

  async function signIn() {
    setFailure(null)
    const { outcome, error } = await onSignIn()
    if (outcome === 'failed') setFailure(error === 'access_denied' ? 'You did not sign in.' : 'That did not work. Please try again.')
  }

  return (
    <dialog ref={dialog} className="ended" aria-labelledby="ended-title" onClose={onLeave}>
      <h2 id="ended-title">{title}</h2>
      <p>{text} What you see and what you typed stays as it is; sign in again to go on.</p>
      <p className="muted">You were signed in as {last.user.name ?? last.user.sub}.</p>
      {failure && (
        <p className="failure" role="alert">
          {failure}
        </p>
      )}
      <form method="dialog" className="actions">
        <button type="button" className="button primary" autoFocus onClick={signIn}>
          Sign in again
        </button>
        <button className="button quiet">Not now</button>
      </form>
    </dialog>
  )
}
