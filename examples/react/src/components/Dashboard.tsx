import type { Session } from '../useSession'
import { ApiPanel } from './ApiPanel'
import { Countdowns } from './Countdowns'
import { PayPanel } from './PayPanel'
import { SessionsPanel } from './SessionsPanel'
import { UserCard } from './UserCard'

interface DashboardProps {
  session: Session
  /** Null once the session has ended: the clocks stand at zero. */
  receivedAt: number | null
  refresh: (options?: { slide?: boolean }) => Promise<void>
}

export function Dashboard({ session, receivedAt, refresh }: DashboardProps) {
  return (
    <main className="dashboard">
      <UserCard session={session} />
      <Countdowns session={session} receivedAt={receivedAt} onExtend={() => refresh()} />
      {/* The stream tells what a call did to the session, but not that its access token was renewed: hence the look. */}
      <ApiPanel user={session.user.sub} tag={session.session.tag} onAnswer={() => refresh({ slide: false })} />
      <PayPanel user={session.user.sub} />
      <SessionsPanel key={session.session.tag} />
    </main>
  )
}
