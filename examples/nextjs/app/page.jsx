import { cookies } from 'next/headers'
import Link from 'next/link'
import { orders } from './orders'
import { Orders } from './Orders'
import { SignOut } from './SignOut'

async function changeTheme() {
  'use server'
  const jar = await cookies()
  const dark = jar.get('theme')?.value === 'dark'
  jar.set('theme', dark ? 'light' : 'dark', { path: '/', httpOnly: true, sameSite: 'lax' })
}

export default async function Home() {
  const list = await orders()
  return (
    <main>
      <h1>Orders</h1>
      {list ? (
        <>
          <Orders list={list} />
          <SignOut />
        </>
      ) : (
        <>
          <p>Nobody is signed in.</p>
          {/* A navigation, so a plain link: next/link would fetch it. */}
          <a href="/bff/login?return_to=/">Sign in</a>
        </>
      )}
      <p>
        <Link href="/members" prefetch={false}>
          Members
        </Link>
      </p>
      <form action={changeTheme}>
        <button>Change the theme</button>
      </form>
    </main>
  )
}
