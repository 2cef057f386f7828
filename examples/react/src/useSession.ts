// The React hook over session.ts. Copy both, and api.ts.
//
//   const { status, user, ended, problem, login, signInAgain, logout } = useSession()

import { useSyncExternalStore } from 'react'
import { current, dismissEnded, login, logout, refresh, signInAgain, subscribe } from './session'

export type { EndReason, Session, SessionState, SignInOutcome } from './session'

export function useSession() {
  return { ...useSyncExternalStore(subscribe, current), login, signInAgain, logout, refresh, dismissEnded }
}
