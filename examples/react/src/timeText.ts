/** `14:05:09` today, `3 Nov 2026, 14:05` before. */
export function timeText(iso: string): string {
  const time = new Date(iso)
  if (Number.isNaN(time.getTime())) return iso
  const today = time.toDateString() === new Date().toDateString()
  return time.toLocaleString(undefined, today ? { timeStyle: 'medium' } : { dateStyle: 'medium', timeStyle: 'short' })
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]

/** `just now`, `5 minutes ago`, `yesterday`. */
export function agoText(iso: string, now = Date.now()): string {
  const seconds = (now - new Date(iso).getTime()) / 1000
  if (Number.isNaN(seconds)) return iso
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? []
  if (!unit || !size) return 'just now'
  return new Intl.RelativeTimeFormat('en', { numeric: 'auto' }).format(-Math.floor(seconds / size), unit)
}
