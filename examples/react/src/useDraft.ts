import { useEffect, useState } from 'react'

/**
 * What a user has typed and not sent yet. It outlives a reload, and the way to a sign-in that needs the whole page; it
 * is never shown to anybody else, and forgotten once it is as it began, or `sent()` says that it has arrived.
 */
export function useDraft(user: string, name: string, initial: string) {
  const key = `draft:${name}`
  const [text, setText] = useState(() => draftOf(user, key) ?? initial)
  useEffect(() => {
    if (text === initial) sessionStorage.removeItem(key)
    else sessionStorage.setItem(key, JSON.stringify({ user, text }))
  }, [user, key, text, initial])
  return { text, setText, sent: () => sessionStorage.removeItem(key) }
}

function draftOf(user: string, key: string): string | null {
  const kept = sessionStorage.getItem(key)
  if (kept === null) return null
  const draft: { user: string; text: string } = JSON.parse(kept)
  if (draft.user === user) return draft.text
  sessionStorage.removeItem(key)
  return null
}
