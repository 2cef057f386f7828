import { useState } from 'react'
import type { Session } from '../useSession'
import { clockText, useCountdown } from '../useCountdown'

interface CountdownsProps {
  session: Session
  receivedAt: number | null
  onExtend: () => void
}

export function Countdowns({ session, receivedAt, onExtend }: CountdownsProps) {
  const { created_at, expires_in, ends_in } = session.session
  // The first look extends the session, so that the most ever seen of the idle timeout is all of it.
  const idle = useMost(expires_in)
  const age = receivedAt === null ? 0 : (receivedAt - Date.parse(created_at)) / 1000
  const token = session.token?.expires_in ?? null
  const tokenWhole = useTokenLifetime(token, age < 5)
  return (
    <section className="card clocks" aria-label="Time left">
      <Clock name="Idle timeout" note="starts over with every call" seconds={expires_in} whole={idle} since={receivedAt} />
      <Clock name="Session" note="ends then, however busy you are" seconds={ends_in} whole={age + ends_in} since={receivedAt} />
      {token !== null && (
        <Clock name="Access token" note="renewed on the server, early" seconds={token} whole={tokenWhole} since={receivedAt} />
      )}
      <button className="button quiet small" onClick={onExtend} disabled={receivedAt === null}>
        Extend now
      </button>
    </section>
  )
}

interface ClockProps {
  name: string
  note: string
  seconds: number
  /** How long the whole of it is; null where nobody has said so, and then nothing is drawn, rather than a lie. */
  whole: number | null
  since: number | null
}

function Clock({ name, note, seconds, whole, since }: ClockProps) {
  const left = useCountdown(seconds, since)
  const part = whole ? Math.min(1, left / whole) : null
  return (
    <div className="clock" data-low={(part ?? 1) < 0.2 || undefined}>
      <h2>{name}</h2>
      <p className="left" role="timer" aria-label={name}>
        {clockText(left)}
        {whole && <small> of {clockText(rounded(whole))}</small>}
      </p>
      {/* A bar that is full says nothing: it comes when half of the time is gone. */}
      {part !== null && part <= 0.5 && (
        <svg className="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
          <rect width={100 * part} height="1" />
        </svg>
      )}
      <p className="muted">{note}</p>
    </div>
  )
}

/** What was said a moment ago, in whole seconds, is a little less than what was meant. */
function rounded(seconds: number): number {
  return seconds < 60 ? seconds : Math.round(seconds / 5) * 5
}

/** The most that `seconds` has been. */
function useMost(seconds: number): number {
  const [most, setMost] = useState(seconds)
  if (seconds > most) setMost(seconds)
  return Math.max(most, seconds)
}

/** A token's whole lifetime shows when it is new: right after the sign-in, and when it has just been renewed. */
function useTokenLifetime(seconds: number | null, justSignedIn: boolean): number | null {
  const [seen, setSeen] = useState({ last: seconds, whole: justSignedIn ? seconds : null })
  if (seconds !== seen.last) {
    const renewed = seconds !== null && seen.last !== null && seconds > seen.last
    setSeen({ last: seconds, whole: renewed ? seconds : seen.whole })
  }
  return seen.whole
}
