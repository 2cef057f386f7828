import { Dashboard } from './components/Dashboard'
import { Landing } from './components/Landing'
import { SessionEndedDialog } from './components/SessionEndedDialog'
import { Problem, TopBar } from './components/TopBar'
import { useSession } from './useSession'

export function App() {
  const { status, session, receivedAt, ended, problem, login, logout, refresh, dismissEnded } = useSession()

  // The dashboard stays behind the dialog when a session ends, so that nobody loses what they were looking at.
  const shown = session ?? ended?.last ?? null

  return (
    <>
      <TopBar user={shown?.user ?? null} onSignIn={status === 'anonymous' ? () => login() : null} onSignOut={logout} />
      {problem && <Problem problem={problem} signedIn={status === 'signed_in'} onRetry={() => refresh({ slide: false })} />}
      {shown ? (
        <Dashboard session={shown} receivedAt={session ? receivedAt : null} refresh={refresh} />
      ) : status === 'loading' ? (
        <main className="loading" aria-busy="true">
          <span className="spinner" role="status" aria-label="Looking for your session" />
        </main>
      ) : (
        <Landing onSignIn={() => login()} />
      )}
      {ended && <SessionEndedDialog code={ended.code} last={ended.last} onSignIn={() => login()} onLeave={dismissEnded} />}
    </>
  )
}
