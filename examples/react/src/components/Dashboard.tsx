import type { Session } from '../useSession'
import { ApiPanel } from './ApiPanel'
import { Countdowns } from './Countdowns'
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
      <ApiPanel onAnswer={() => refresh({ slide: false })} />
    </main>
  )
}
