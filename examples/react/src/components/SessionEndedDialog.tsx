import { useEffect, useRef } from 'react'
import type { Session } from '../useSession'

interface SessionEndedDialogProps {
  code: string
  last: Session
  onSignIn: () => void
  onLeave: () => void
}

const WHY: Record<string, string> = {
  session_expired: 'You were away for a while, so we signed you out.',
  session_superseded: 'You signed in somewhere else, and that session took the place of this one.',
  login_required: 'You were signed out, perhaps in another tab.',
}

export function SessionEndedDialog({ code, last, onSignIn, onLeave }: SessionEndedDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} className="ended" aria-labelledby="ended-title" onClose={onLeave}>
      <h2 id="ended-title">Your session has ended</h2>
      <p>{WHY[code] ?? 'You are no longer signed in.'} What you see stays as it is; sign in again to go on.</p>
      <p className="muted">You were signed in as {last.user.name ?? last.user.sub}.</p>
      <form method="dialog" className="actions">
        <button type="button" className="button primary" autoFocus onClick={onSignIn}>
          Sign in again
        </button>
        <button className="button quiet">Not now</button>
      </form>
    </dialog>
  )
}
