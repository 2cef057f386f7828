import { useState } from 'react'
import { Dashboard } from './components/Dashboard'
import { ExpiringBanner } from './components/ExpiringBanner'
import { Landing } from './components/Landing'
import { SessionEndedDialog } from './components/SessionEndedDialog'
import { noteSignOut, SignedOut } from './components/SignedOut'
import { Problem, TopBar } from './components/TopBar'
import { UserChanged } from './components/UserChanged'
import { type Session, useSession } from './useSession'

export function App() {
  const { status, session, receivedAt, expiring, ended, problem, login, signInAgain, logout, refresh, dismissEnded } = useSession()
  const [before, acknowledge] = useFormerUser(session)

  // The dashboard stays behind the dialog when a session ends, so that nobody loses what they were looking at.
  const shown = session ?? ended?.last ?? null

  function signOut() {
    if (session) noteSignOut(session.user.name ?? session.user.sub)
    void logout()
  }

  return (
    <>
      <TopBar user={shown?.user ?? null} onSignIn={status === 'anonymous' && !ended ? () => login() : null} onSignOut={session ? signOut : null} />
      {problem && <Problem problem={problem} signedIn={status === 'signed_in'} onRetry={() => refresh({ slide: false })} />}
      {session && before && <UserChanged from={before} to={session.user} onDismiss={acknowledge} />}
      {session && expiring && (
        <ExpiringBanner session={session} receivedAt={receivedAt} onStay={() => refresh()} onSignIn={() => signInAgain()} />
      )}
      {shown ? (
        // The key drops everything that was fetched and typed as another user.
        <Dashboard key={shown.user.sub} session={shown} receivedAt={session ? receivedAt : null} refresh={refresh} />
      ) : status === 'loading' ? (
        <main className="loading" aria-busy="true">
          <span className="spinner" role="status" aria-label="Looking for your session" />
        </main>
      ) : status === 'failed' ? (
        <main className="loading" />
      ) : (
        <>
          <SignedOut />
          <Landing onSignIn={() => login()} />
        </>
      )}
      {ended && <SessionEndedDialog reason={ended.reason} last={ended.last} onSignIn={() => signInAgain()} onLeave={dismissEnded} />}
    </>
  )
}

/** Who this page belonged to, when another tab has signed in as someone else. */
function useFormerUser(session: Session | null): [Session['user'] | null, () => void] {
  const [user, setUser] = useState(session?.user ?? null)
  const [former, setFormer] = useState<Session['user'] | null>(null)
  if (session && session.user.sub !== user?.sub) {
    setFormer(user)
    setUser(session.user)
  }
  return [former, () => setFormer(null)]
}
