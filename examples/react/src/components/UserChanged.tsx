import type { Session } from '../useSession'

interface UserChangedProps {
  from: Session['user']
  to: Session['user']
  onDismiss: () => void
}

/** A browser has one session: who signs in in one tab, or in the window of *Sign in again*, is signed in in all of them. */
export function UserChanged({ from, to, onDismiss }: UserChangedProps) {
  return (
    <div className="banner" role="status">
      <p>
        <strong>You are now {to.name ?? to.sub}.</strong> Somebody else signed in, so this page has put away what it held for{' '}
        {from.name ?? from.sub}, and sent nothing of it.
      </p>
      <button className="button quiet small" onClick={onDismiss}>
        Got it
      </button>
    </div>
  )
}
