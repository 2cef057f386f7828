// The demo of `bff dev`: no framework and no build, so that every request to bff can be read here.
// A React app does the same in examples/react/src/session.ts and api.ts.

const byId = (id) => document.getElementById(id)

// Where the endpoints are, and the path that this app is mounted at: most often /bff, and none.
const { bff, mount } = document.documentElement.dataset

let session = null
let receivedAt = 0
let lookingAgain
let stream = null
let loginChannel = null

// ---- bff

/** Asks who is signed in. `slide: false` does not extend the idle timeout; `told` is why nobody may be. */
async function look({ slide, told }) {
  let answer
  try {
    answer = await call('GET', `${bff}/session${slide ? '' : '?slide=false'}`)
  } catch {
    return problem('bff cannot be reached. This page tries again by itself.', 5)
  }
  const { response, body } = answer
  if (response.status >= 500) return problem(`${body.title ?? 'bff is not ready'}. Nobody is signed out by that.`, retryAfter(response))
  if (response.status === 403) return problem(body.detail ?? body.title ?? 'bff refused the request.')

  problem(null)
  if (body.authenticated) {
    const another = session?.session.tag !== body.session.tag
    session = body
    receivedAt = Date.now()
    lookAgainIn(Math.min(body.session.expires_in, body.session.ends_in) + 3)
    showSession()
    if (another || stream === null) listen()
  } else {
    ended(body.ended ?? told ?? body.code)
  }
}

/** bff says at once what becomes of the session: extended, about to expire, ended and why. To listen is not to use it. */
function listen() {
  hangUp()
  stream = new EventSource(`${bff}/session/events`)
  const on = (name, heard) => stream.addEventListener(name, ({ data }) => (hear(name, data), heard(JSON.parse(data))))
  on('signed_in', ({ tag }) => tag === session?.session.tag || look({ slide: false }))
  on('extended', retime)
  on('expiring', ({ expires_in }) => {
    // What runs out is the idle timeout, or the session, which nothing puts off.
    if (session.session.ends_in - (Date.now() - receivedAt) / 1000 > expires_in + 2) retime({ expires_in })
    expiring(true)
  })
  // The same user signed in once more: how is in the session, and nothing is over.
  on('renewed', () => look({ slide: false }))
  on('ended', ({ reason }) => {
    hangUp()
    // On another node the session may go on under another cookie.
    if (reason === 'superseded' && session) setTimeout(() => look({ slide: false, told: reason }), 1_000)
    else ended(reason)
  })
}

function hangUp() {
  stream?.close()
  stream = null
}

/** What the stream says of the session's times, the others moved on to now. */
function retime({ expires_in, ends_in }) {
  const passed = (Date.now() - receivedAt) / 1000
  const { session: own, token } = session
  own.expires_in = expires_in ?? own.expires_in - passed
  own.ends_in = ends_in ?? own.ends_in - passed
  if (token) token.expires_in = Math.max(0, token.expires_in - passed)
  receivedAt = Date.now()
  lookAgainIn(Math.min(own.expires_in, own.ends_in) + 3)
  showSession()
}

/** One request, noted in the log. What needs the session needs `X-CSRF: 1`. */
async function call(method, path, json) {
  const start = performance.now()
  const headers = { Accept: 'application/json', 'X-CSRF': '1' }
  if (json !== undefined) headers['Content-Type'] = 'application/json'
  let response
  try {
    response = await fetch(path, { method, headers, cache: 'no-store', ...(json !== undefined && { body: JSON.stringify(json) }) })
  } catch (error) {
    note(method, path, 0, performance.now() - start)
    throw error
  }
  const body = await response.json().catch(() => ({}))
  const elapsed = performance.now() - start
  note(method, path, response.status, elapsed)
  return { response, body, elapsed, sent: headers }
}

async function signOut() {
  const { user } = session
  hangUp() // this page need not be told
  try {
    const { response, body } = await call('POST', `${bff}/logout`)
    if (response.ok) {
      sessionStorage.setItem(SIGNED_OUT, user.name ?? user.sub)
      return location.assign(body.redirect_to)
    }
    problem(body.detail ?? body.title ?? `Sign-out failed with ${response.status}.`)
  } catch {
    problem('bff cannot be reached; you are still signed in.')
  }
  listen()
}

/** Signs in again in a window of its own, so that this page stays as it is. */
function signInAgain(event) {
  const done = ({ outcome, error }) => {
    if (outcome === 'signed_in') look({ slide: false })
    else byId('ended-why').textContent = `That did not work (${error ?? 'unknown'}). Try once more.`
  }
  // A window that may not be opened: the link goes there with the page itself.
  if (openLogin(`${bff}/login?mode=popup`, done)) event.preventDefault()
}

/** A login in a window of its own, and what came of it; false where the browser opens none. The newest alone is heard. */
function openLogin(address, done) {
  loginChannel?.close()
  const channel = new BroadcastChannel('bff-login')
  loginChannel = channel
  channel.onmessage = ({ data }) => {
    if (data?.type !== 'bff-login') return
    channel.close()
    done(data)
  }
  return open(address, 'bff-login', 'popup,width=480,height=680') !== null
}

/** What a call asks for that needs a stronger sign-in: that, and then the call once more. */
function confirmation(link, again) {
  const said = el('p', { role: 'alert' })
  const confirm = el('button', { class: 'button primary small', type: 'button' }, 'Confirm that it is you')
  confirm.addEventListener('click', () => {
    const address = new URL(link, location.origin)
    address.searchParams.set('return_to', location.pathname + location.search)
    const done = ({ outcome, error }) => {
      if (outcome === 'signed_in') return again()
      said.textContent = WEAKER[error] ?? `That did not work (${error ?? 'unknown'}). Nothing was paid.`
    }
    const popup = new URL(address)
    popup.searchParams.set('mode', 'popup')
    if (!openLogin(popup, done)) location.assign(address)
  })
  return el('div', { class: 'confirmation' }, el('p', {}, 'The API wants a stronger sign-in first.'), confirm, said)
}

const WEAKER = {
  step_up_failed: 'The identity provider answered with less than was asked for. Nothing was paid; you are still signed in.',
  access_denied: 'You did not confirm. Nothing was paid.',
}

async function callApi(method, path, json, confirmed = false) {
  let answer
  try {
    answer = await call(method, path, json)
  } catch (error) {
    return show(byId('outcome'), el('p', { class: 'empty' }, String(error)))
  }
  show(byId('outcome'), wire(method, path, answer))
  if (answer.body.code === 'step_up_required' && !confirmed) {
    byId('outcome').append(confirmation(answer.body.login_url, () => callApi(method, path, json, true)))
  }
  if (!endedHere(answer)) await look({ slide: false })
}

async function volley() {
  const cells = Array.from({ length: 20 }, () => el('li', { 'data-state': 'waiting' }))
  const status = el('p', { role: 'status' }, '0 of 20 answered')
  show(byId('outcome'), el('div', { class: 'volley' }, el('ol', { 'aria-hidden': 'true' }, ...cells), status))
  let answered = 0
  let arrived = 0
  await Promise.all(
    cells.map(async (cell, i) => {
      const answer = await call('GET', `${mount}/api/hello?call=${i + 1}`).catch(() => null)
      const good = answer?.response.ok && answer.body.bearer
      cell.dataset.state = good ? 'arrived' : 'failed'
      answered += 1
      arrived += good ? 1 : 0
      status.textContent = answered < 20 ? `${answered} of 20 answered` : `${arrived} of 20 arrived with a bearer token`
      if (answer) endedHere(answer)
    }),
  )
  if (session) await look({ slide: false })
}

/** True where an answer said that the session is over. An API's own 401 has another code, or none. */
function endedHere({ response, body }) {
  const over = response.status === 401 && ['login_required', 'session_expired', 'session_superseded'].includes(body.code)
  if (over) ended(body.ended ?? body.code)
  return over
}

function lookAgainIn(seconds) {
  clearTimeout(lookingAgain)
  lookingAgain = setTimeout(lookIfVisible, Math.min(seconds, 86_400) * 1000)
}

function lookIfVisible() {
  if (document.visibilityState === 'visible') look({ slide: false })
}

function retryAfter(response) {
  return Number(response.headers.get('Retry-After')) || 5
}

// ---- what is shown

function showSession() {
  const { user, session: own, token } = session
  const name = user.name ?? user.sub
  byId('signed-out').hidden = true
  byId('signed-in').hidden = false
  byId('sign-out').hidden = false
  if (byId('ended').open) byId('ended').close()
  byId('name').textContent = name
  byId('email').textContent = user.email ?? user.sub
  byId('initials').textContent = name.split(/\s+/).map((w) => w[0]).slice(0, 2).join('').toUpperCase()
  const age = (receivedAt - Date.parse(own.created_at)) / 1000
  // The first look extends the session, so that the most ever seen of the idle timeout is all of it.
  clock('idle', 'Idle timeout', own.expires_in, Math.max(own.expires_in, clocks.get('idle')?.whole ?? 0))
  clock('whole', 'Session', own.ends_in, age + own.ends_in)
  if (token) clock('token', 'Access token', token.expires_in, lifetimeOf(token, age))
  expiring(false)
  byId('session-json').replaceChildren(...coloured(session))
  tick()
}

/** The words of docs/endings.md, and the codes of refusals that know no better. */
const WHY = {
  logout: ['You signed out', 'In another tab of this browser.'],
  signed_out_elsewhere: ['You were signed out elsewhere', 'From another of your browsers.'],
  revoked: ['An administrator ended your session', 'On the administration page, or with bff sessions revoke.'],
  provider_logout: ['Signed out at the identity provider', 'It told bff through its back channel, and bff told this page.'],
  superseded: ['Another sign-in took its place', 'Your account was signed in to again, and that session replaced this one.'],
  expired: ['Your session expired', 'It was idle for too long, or it reached its longest life.'],
  evicted: ['No room for your session', 'session.memory was full, and yours had not been used for the longest time.'],
  refresh_refused: ['The provider no longer vouches for you', 'bff wanted to renew the access token, and the provider refused the refresh token.'],
}
WHY.session_superseded = WHY.superseded
WHY.session_expired = WHY.expired

function ended(reason) {
  clearTimeout(lookingAgain)
  hangUp()
  expiring(false)
  byId('sign-out').hidden = true
  if (session) {
    session = null
    const [title, text] = WHY[reason] ?? ['Your session has ended', 'You are no longer signed in.']
    byId('ended-title').textContent = title
    byId('ended-why').textContent = text
    byId('ended-reason').textContent = reason ?? ''
    byId('ended').showModal()
    tick()
  } else if (byId('ended').open) {
    // Who knows better comes later: the stream after a call that was refused.
    const [title, text] = WHY[reason] ?? []
    if (title && !(reason in { session_expired: 1, session_superseded: 1 })) {
      byId('ended-title').textContent = title
      byId('ended-why').textContent = text
      byId('ended-reason').textContent = reason
    }
  } else {
    byId('signed-in').hidden = true
    byId('signed-out').hidden = false
    const name = sessionStorage.getItem(SIGNED_OUT)
    sessionStorage.removeItem(SIGNED_OUT)
    if (name) {
      byId('goodbye').hidden = false
      byId('goodbye').textContent = `${name} is signed out: the session has ended here and at the identity provider.`
    }
  }
}

/** The last minute of a session. */
function expiring(soon) {
  byId('expiring').hidden = !soon
}

function problem(text, retryInSeconds) {
  byId('problem').hidden = !text
  byId('problem').textContent = text ?? ''
  if (retryInSeconds) lookAgainIn(retryInSeconds)
}

const SIGNED_OUT = 'signed-out'
const clocks = new Map()

/** `whole` is how long all of it is: null where nobody has said so, and then nothing is drawn, rather than a lie. */
function clock(key, name, seconds, whole) {
  if (!clocks.has(key)) {
    const rest = svg('rect', { height: 1 })
    const bar = svg('svg', { class: 'bar', viewBox: '0 0 100 1', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, rest)
    const left = el('b', {})
    const of = el('small', {})
    const row = el('div', { class: 'clock' }, el('h2', {}, name), el('p', { class: 'left', role: 'timer', 'aria-label': name }, left, of), bar)
    byId('clocks').append(row)
    clocks.set(key, { row, rest, bar, left, of })
  }
  Object.assign(clocks.get(key), { seconds, whole })
}

/** A token's lifetime shows when it is new: right after the sign-in, and when it has just been renewed. */
function lifetimeOf(token, age) {
  const before = clocks.get('token')
  const isNew = before ? token.expires_in > before.seconds + 1 : age < 5
  return isNew ? token.expires_in : (before?.whole ?? null)
}

function tick() {
  const elapsed = (Date.now() - receivedAt) / 1000
  for (const { row, rest, bar, left, of, whole, seconds } of clocks.values()) {
    const remaining = session ? Math.max(0, seconds - elapsed) : 0
    const part = whole ? Math.min(1, remaining / whole) : 1
    // A bar that is full says nothing: it comes when half of the time is gone.
    rest.setAttribute('width', 100 * part)
    bar.toggleAttribute('hidden', part > 0.5)
    row.toggleAttribute('data-low', part < 0.2)
    left.textContent = clockText(remaining)
    of.textContent = whole ? ` of ${clockText(rounded(whole))}` : ''
  }
  byId('session-age').textContent = session ? `${Math.floor(elapsed)} s ago` : ''
}

/** What was said a moment ago, in whole seconds, is a little less than what was meant. */
function rounded(seconds) {
  return seconds < 60 ? seconds : Math.round(seconds / 5) * 5
}

function clockText(seconds) {
  const whole = Math.ceil(seconds)
  const two = (n) => String(n).padStart(2, '0')
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

/** The request as it left this page beside the request as the API received it. */
function wire(method, path, { response, body, elapsed, sent }) {
  const left = el(
    'section',
    {},
    el('h3', {}, 'Left this page'),
    el('p', { class: 'request-line' }, el('b', {}, method), ` ${path}`),
    headerList([
      ['cookie', 'added by the browser; no script can read it', 'cookie'],
      ...Object.entries(sent).map(([name, value]) => [name.toLowerCase(), value]),
    ]),
  )
  const took = el('small', {}, `${Math.round(elapsed)} ms`)
  if (!response.ok) {
    const rows = ['code', 'request_id'].filter((key) => body[key]).map((key) => [key, body[key]])
    const why = body.detail ?? body.title ?? response.statusText
    return el(
      'div',
      { class: 'wire-view' },
      left,
      el('section', { class: 'refused' }, el('h3', {}, `Refused with ${response.status} `, took), el('p', {}, why), headerList(rows)),
    )
  }
  const rows = Object.entries(body.headers ?? {}).filter(([name]) => name.toLowerCase() !== 'authorization')
  if (body.body !== undefined) rows.push(['(body)', typeof body.body === 'string' ? body.body : JSON.stringify(body.body)])
  const token = body.bearer ? ['authorization', `Bearer ${body.token ?? '…'}`, 'bearer'] : ['authorization', 'none', 'missing']
  return el(
    'div',
    { class: 'wire-view' },
    left,
    el(
      'section',
      {},
      el('h3', {}, 'Arrived at the API ', took),
      el('p', { class: 'request-line' }, el('b', {}, body.method ?? method), ` ${body.path ?? path}`),
      headerList([token, ...rows]),
    ),
  )
}

function headerList(rows) {
  const list = el('dl', { class: 'headers' })
  for (const [name, value, mark] of rows) {
    list.append(el('div', mark ? { 'data-mark': mark } : {}, el('dt', {}, name), el('dd', {}, String(value))))
  }
  return list
}

function note(method, path, status, elapsed) {
  const kind = status === 0 || status >= 500 ? 'away' : status >= 400 ? 'refused' : 'good'
  byId('log').prepend(
    el(
      'li',
      { 'data-kind': kind },
      el('time', {}, new Date().toLocaleTimeString()),
      el('span', { class: 'what' }, el('b', {}, method), ` ${path}`),
      el('span', { class: 'status' }, status === 0 ? 'no answer' : String(status)),
      el('span', { class: 'took' }, `${Math.round(elapsed)} ms`),
    ),
  )
  trim()
}

/** What bff said on the event stream, among the rest. */
function hear(name, data) {
  byId('log').prepend(
    el(
      'li',
      { 'data-kind': 'heard' },
      el('time', {}, new Date().toLocaleTimeString()),
      el('span', { class: 'what' }, el('b', {}, 'event'), ` ${name} ${data}`),
      el('span', { class: 'status' }, 'heard'),
      el('span', { class: 'took' }),
    ),
  )
  trim()
}

function trim() {
  while (byId('log').childElementCount > 40) byId('log').lastElementChild.remove()
}

/** JSON as text, its keys, strings and numbers told apart. */
function coloured(value) {
  const text = JSON.stringify(value, null, 2)
  const parts = []
  let at = 0
  for (const match of text.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null/g)) {
    parts.push(text.slice(at, match.index))
    const kind = match[2] ? 'key' : match[1] ? 'string' : 'number'
    parts.push(el('span', { class: kind }, match[1] ?? match[0]), match[2] ?? '')
    at = match.index + match[0].length
  }
  parts.push(text.slice(at))
  return parts
}

// ---- the DOM, without innerHTML: what an API answers is text, never markup

function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children)
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children)
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

function show(parent, ...children) {
  parent.replaceChildren(...children)
}

// ---- start

byId('sign-out').addEventListener('click', signOut)
byId('extend').addEventListener('click', () => look({ slide: true }))
byId('stay').addEventListener('click', () => look({ slide: true }))
byId('again').addEventListener('click', signInAgain)
byId('look').addEventListener('click', () => look({ slide: false }))
byId('hello').addEventListener('click', () => callApi('GET', `${mount}/api/hello`))
byId('echo').addEventListener('click', () => callApi('POST', `${mount}/api/echo`, { note: 'written in the browser' }))
byId('pay').addEventListener('click', () => callApi('POST', `${mount}/api/pay`, { invoice: 2041, amount: '1240.00' }))
byId('volley').addEventListener('click', volley)
byId('refused-call').addEventListener('click', async () => {
  const { response, body } = await call('GET', `${mount}/api/hello`).catch(() => ({ response: { status: 0 }, body: {} }))
  byId('refused-answer').textContent = `${response.status} ${body.code ?? ''}`
})
byId('ended').addEventListener('close', () => {
  if (!session) ended()
})
// While the stream stands there is nothing to ask.
const cameBack = () => stream?.readyState === 1 || lookIfVisible()
addEventListener('focus', cameBack)
document.addEventListener('visibilitychange', cameBack)
setInterval(tick, 250)

look({ slide: true })

fetch('dev/info.json')
  .then((response) => response.json())
  .then(({ control }) => {
    byId('control').href = control
    byId('control').hidden = false
  })
  .catch(() => {}) // another provider is configured: there is no such page
