import type { Session } from '../useSession'

interface UserChangedProps {
  from: Session['user']
  to: Session['user']
  onDismiss: () => void
}

/** A browser has one session: who signs in in one tab is signed in in all of them. */
export function UserChanged({ from, to, onDismiss }: UserChangedProps) {
  return (
    <div className="banner" role="status">
      <p>
        <strong>You are now {to.name ?? to.sub}.</strong> Another tab signed in, so this page has put away what it showed for{' '}
        {from.name ?? from.sub}.
      </p>
      <button className="button quiet small" onClick={onDismiss}>
        Got it
      </button>
    </div>
  )
}
