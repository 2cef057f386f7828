import type { Session, SessionState } from '../useSession'

interface TopBarProps {
  user: Session['user'] | null
  onSignIn: (() => void) | null
  onSignOut: (() => void) | null
}

export function TopBar({ user, onSignIn, onSignOut }: TopBarProps) {
  return (
    <header className="topbar">
      <a className="brand" href="/" aria-label="bff React example, home">
        <Mark />
        <span>
          bff <i>react</i>
        </span>
      </a>
      <div className="topbar-end">
        {user && (
          <>
            <span className="who">{user.name ?? user.sub}</span>
            {onSignOut && (
              <button className="button quiet" onClick={onSignOut}>
                Sign out
              </button>
            )}
          </>
        )}
        {!user && onSignIn && (
          <button className="button quiet" onClick={onSignIn}>
            Sign in
          </button>
        )}
      </div>
    </header>
  )
}

interface ProblemProps {
  problem: NonNullable<SessionState['problem']>
  signedIn: boolean
  onRetry: () => void
}

export function Problem({ problem, signedIn, onRetry }: ProblemProps) {
  const away = problem.status === 0 || problem.status >= 500
  const elsewhere = problem.code === 'not_bff'
  const title = away
    ? 'We can’t reach the server right now.'
    : elsewhere
      ? 'This is another address than bff’s.'
      : 'The server refused to say who is signed in.'
  return (
    <div className="banner" role="alert">
      <p>
        <strong>{title}</strong>{' '}
        {away ? `${signedIn ? 'You are still signed in. ' : ''}This page tries again by itself.` : problem.detail}
      </p>
      <button className="button quiet small" onClick={onRetry}>
        Try now
      </button>
    </div>
  )
}

function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <path d="M7 16h7M18 16h7" />
      <circle cx="16" cy="16" r="3.25" />
      <path className="guard" d="M16 6.5v3.5M16 22v3.5" />
    </svg>
  )
}
