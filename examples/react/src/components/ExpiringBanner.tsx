import { useState } from 'react'
import type { Session, SignInOutcome } from '../useSession'
import { clockText, useCountdown } from '../useCountdown'

interface ExpiringBannerProps {
  session: Session
  receivedAt: number
  onStay: () => Promise<void>
  onSignIn: () => Promise<SignInOutcome>
}

/** The last minute. The idle timeout can be put off; the end of the session can't, but there is time to save. */
export function ExpiringBanner({ session, receivedAt, onStay, onSignIn }: ExpiringBannerProps) {
  const { expires_in, ends_in } = session.session
  const left = useCountdown(Math.min(expires_in, ends_in), receivedAt)
  const [busy, setBusy] = useState(false)
  const final = ends_in < expires_in + 1

  async function stay() {
    setBusy(true)
    await onStay()
    setBusy(false)
  }

  return (
    <section className="banner expiring" aria-label="Your session is about to expire">
      <p className="left" role="timer" aria-label="Time left">
        {clockText(left)}
      </p>
      <div role="alert">
        <strong>{final ? 'Your session is about to end' : 'You will be signed out soon'}</strong>
        <p className="muted">
          {final
            ? 'It has reached its longest time. Sign in again to go on; what you typed stays.'
            : 'Nothing has happened here for a while.'}
        </p>
      </div>
      {final ? (
        <button className="button primary" onClick={onSignIn}>
          Sign in again
        </button>
      ) : (
        <button className="button primary" disabled={busy} onClick={stay}>
          Stay signed in
        </button>
      )}
    </section>
  )
}
