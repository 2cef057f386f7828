// The React hook over session.ts. Copy both, and api.ts.
//
//   const { status, user, ended, problem, login, signInAgain, stepUp, logout } = useSession()

import { useSyncExternalStore } from 'react'
import { current, dismissEnded, login, logout, refresh, signInAgain, stepUp, subscribe } from './session'

export type { EndReason, Session, SessionState, SignInOutcome } from './session'

export function useSession() {
  return { ...useSyncExternalStore(subscribe, current), login, signInAgain, stepUp, logout, refresh, dismissEnded }
}
