import { timeText } from '../timeText'
import type { Session } from '../useSession'

export function UserCard({ session }: { session: Session }) {
  const { user, auth } = session
  const name = user.name ?? user.sub
  return (
    <section className="card user" aria-label="Signed in as">
      <div className="user-head">
        <span className="avatar" aria-hidden="true">
          {initials(name)}
        </span>
        <div>
          <h1>{name}</h1>
          {user.email && <p className="muted">{user.email}</p>}
        </div>
      </div>
      <dl className="facts-list">
        <Fact name="Subject" value={<code>{user.sub}</code>} />
        <Fact name="Signed in" value={timeText(session.session.created_at)} />
        {auth?.auth_time && <Fact name="Password given" value={timeText(auth.auth_time)} />}
        {auth?.amr && auth.amr.length > 0 && <Fact name="Method" value={auth.amr.join(', ')} />}
        {auth?.acr && <Fact name="Assurance" value={<code>{auth.acr}</code>} />}
      </dl>
    </section>
  )
}

function Fact({ name, value }: { name: string; value: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}

function initials(name: string): string {
  const words = name.split(/[\s._@-]+/).filter(Boolean)
  return ((words[0]?.[0] ?? '?') + (words.length > 1 ? (words.at(-1)?.[0] ?? '') : '')).toUpperCase()
}
