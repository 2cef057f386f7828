'use client'

export function SignOut() {
  async function signOut() {
    const answer = await fetch('/bff/logout', { method: 'POST', headers: { 'X-CSRF': '1' } })
    const { redirect_to } = await answer.json()
    // A navigation: what the router remembers of this user is gone with the page.
    window.location.assign(redirect_to)
  }
  return <button onClick={signOut}>Sign out</button>
}
