import { useEffect, useState } from 'react'

const KEY = 'signing-out'

/** Notes who signs out; the page that bff leads back to says that it is done. */
export function noteSignOut(name: string) {
  sessionStorage.setItem(KEY, name)
}

/** Confirms a sign-out, once, to whoever comes back from it. */
export function SignedOut() {
  const [name] = useState(() => sessionStorage.getItem(KEY))
  const [shown, setShown] = useState(true)
  useEffect(() => sessionStorage.removeItem(KEY), [])
  if (name === null || !shown) return null
  return (
    <div className="banner done-banner" role="status">
      <p>
        <strong>You are signed out.</strong> {name}’s session has ended, here and at your identity provider.
      </p>
      <button className="button quiet small" onClick={() => setShown(false)}>
        Got it
      </button>
    </div>
  )
}
