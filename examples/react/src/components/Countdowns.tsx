import { useState } from 'react'
import type { Session } from '../useSession'
import { clockText, useCountdown } from '../useCountdown'

interface CountdownsProps {
  session: Session
  receivedAt: number | null
  onExtend: () => void
}

export function Countdowns({ session, receivedAt, onExtend }: CountdownsProps) {
  const { expires_in, ends_in } = session.session
  return (
    <section className="card clocks" aria-label="Time left">
      <Ring name="Idle timeout" note="starts over with every call" seconds={expires_in} since={receivedAt} />
      <Ring name="Session" note="ends then, however busy you are" seconds={ends_in} since={receivedAt} />
      {session.token && (
        <Ring name="Access token" note="renewed on the server, early" seconds={session.token.expires_in} since={receivedAt} />
      )}
      <button className="button quiet small" onClick={onExtend} disabled={receivedAt === null}>
        Extend now
      </button>
    </section>
  )
}

const AROUND = 2 * Math.PI * 42

function Ring({ name, note, seconds, since }: { name: string; note: string; seconds: number; since: number | null }) {
  const left = useCountdown(seconds, since)
  // Nobody tells a browser how long the whole is; the longest seen is near enough for a picture.
  const [whole, setWhole] = useState(seconds)
  if (seconds > whole) setWhole(seconds)
  const part = whole > 0 ? left / whole : 0
  return (
    <div className="ring" data-low={part < 0.2 || undefined}>
      <svg viewBox="0 0 100 100" aria-hidden="true">
        <circle className="track" cx="50" cy="50" r="42" />
        <circle className="hand" cx="50" cy="50" r="42" strokeDasharray={AROUND} strokeDashoffset={AROUND * (1 - part)} />
      </svg>
      <div>
        <h2>{name}</h2>
        <p className="left" role="timer" aria-label={name}>
          {clockText(left)}
        </p>
        <p className="muted">{note}</p>
      </div>
    </div>
  )
}
