import { useEffect, useState } from 'react'

/** Seconds left of `seconds`, which were true at `since` (milliseconds); counts by the clock, not by the tick. */
export function useCountdown(seconds: number, since: number | null): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    if (since === null) return
    setNow(Date.now())
    const ticking = setInterval(() => setNow(Date.now()), 250)
    return () => clearInterval(ticking)
  }, [since])
  return since === null ? 0 : Math.max(0, seconds - Math.max(0, now - since) / 1000)
}

/** `4:59`, `7:59:59`. */
export function clockText(seconds: number): string {
  const whole = Math.ceil(seconds)
  const two = (n: number) => String(n).padStart(2, '0')
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}
