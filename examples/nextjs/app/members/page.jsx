import Link from 'next/link'
import { orders } from '../orders'
import { Orders } from '../Orders'

// bff lets nobody here without a session: whoever opens this page is sent to sign in and comes back.
export default async function Members() {
  return (
    <main>
      <h1>Members</h1>
      <Orders list={(await orders()) ?? []} />
      <Link href="/" prefetch={false}>
        Home
      </Link>
    </main>
  )
}
