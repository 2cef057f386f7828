// For the tests: an EventSource whose other end is the test.

export class FakeEventSource extends EventTarget {
  static all: FakeEventSource[] = []
  static get last() {
    return FakeEventSource.all.at(-1)!
  }
  readonly CLOSED = 2
  readyState = 0
  onopen: (() => void) | null = null
  onerror: (() => void) | null = null

  readonly url: string

  constructor(url: string) {
    super()
    this.url = url
    FakeEventSource.all.push(this)
  }
  close() {
    this.readyState = 2
  }
  open() {
    this.readyState = 1
    this.onopen?.()
  }
  /** What bff says. */
  says(name: string, data: unknown) {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }))
  }
  /** The connection broke, and the browser connects again; or bff gave no stream (204, 404, 503), and it does not. */
  fails(how: 'broken' | 'refused') {
    this.readyState = how === 'broken' ? 0 : 2
    this.onerror?.()
  }
}
