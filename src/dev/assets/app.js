// The demo of `bff dev`: no framework and no build, so that every request to bff can be read here.
// A React app does the same in examples/react/src/useSession.ts and api.ts.

const byId = (id) => document.getElementById(id)

let session = null
let receivedAt = 0
let lookingAgain

// ---- bff

/** Asks who is signed in. `slide: false` does not extend the idle timeout. */
async function look({ slide }) {
  let answer
  try {
    answer = await call('GET', slide ? '/bff/session' : '/bff/session?slide=false')
  } catch {
    return problem('bff cannot be reached. This page tries again by itself.', 5)
  }
  const { response, body } = answer
  if (response.status >= 500) return problem(`${body.title ?? 'bff is not ready'}. You are still signed in.`, retryAfter(response))
  if (response.status === 403) return problem(body.detail ?? body.title ?? 'bff refused the request.')

  problem(null)
  if (body.authenticated) {
    session = body
    receivedAt = Date.now()
    lookAgainIn(Math.min(body.session.expires_in, body.session.ends_in) + 1)
    showSession()
  } else {
    ended(body.code)
  }
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
  try {
    const { response, body } = await call('POST', '/bff/logout')
    if (response.ok) location.assign(body.redirect_to)
    else problem(body.detail ?? body.title ?? `Sign-out failed with ${response.status}.`)
  } catch {
    problem('bff cannot be reached; you are still signed in.')
  }
}

async function callApi(method, path, json) {
  let answer
  try {
    answer = await call(method, path, json)
  } catch (error) {
    return show(byId('outcome'), el('p', { class: 'empty' }, String(error)))
  }
  show(byId('outcome'), wire(method, path, answer))
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
      const answer = await call('GET', `/api/hello?call=${i + 1}`).catch(() => null)
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
  if (over) ended(body.code)
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
  clock('idle', 'Idle timeout', own.expires_in)
  clock('whole', 'Session', own.ends_in)
  if (token) clock('token', 'Access token', token.expires_in)
  byId('session-json').replaceChildren(...coloured(session))
  tick()
}

const WHY = {
  session_superseded: 'You signed in somewhere else, and that session took the place of this one.',
  session_expired: 'It was idle for too long, or it reached its longest life.',
  login_required: 'It was ended elsewhere: in another tab, at the provider, or by an administrator.',
}

function ended(code) {
  clearTimeout(lookingAgain)
  byId('sign-out').hidden = true
  if (session) {
    session = null
    byId('ended-why').textContent = WHY[code] ?? 'You are no longer signed in.'
    byId('ended').showModal()
    tick()
  } else if (!byId('ended').open) {
    byId('signed-in').hidden = true
    byId('signed-out').hidden = false
  }
}

function problem(text, retryInSeconds) {
  byId('problem').hidden = !text
  byId('problem').textContent = text ?? ''
  if (retryInSeconds) lookAgainIn(retryInSeconds)
}

const AROUND = 2 * Math.PI * 42
const clocks = new Map()

function clock(key, name, seconds) {
  if (!clocks.has(key)) {
    const hand = svg('circle', { class: 'hand', cx: 50, cy: 50, r: 42, 'stroke-dasharray': AROUND })
    const left = el('p', { class: 'left', role: 'timer', 'aria-label': name })
    const ring = el(
      'div',
      { class: 'ring' },
      svg('svg', { viewBox: '0 0 100 100', 'aria-hidden': 'true' }, svg('circle', { class: 'track', cx: 50, cy: 50, r: 42 }), hand),
      el('div', {}, el('h2', {}, name), left),
    )
    byId('clocks').append(ring)
    clocks.set(key, { ring, hand, left, whole: 0 })
  }
  const it = clocks.get(key)
  it.seconds = seconds
  it.whole = Math.max(it.whole, seconds)
}

function tick() {
  const elapsed = (Date.now() - receivedAt) / 1000
  for (const { ring, hand, left, whole, seconds } of clocks.values()) {
    const remaining = session ? Math.max(0, seconds - elapsed) : 0
    const part = whole > 0 ? remaining / whole : 0
    hand.setAttribute('stroke-dashoffset', AROUND * (1 - part))
    ring.toggleAttribute('data-low', part < 0.2)
    left.textContent = clockText(remaining)
  }
  byId('session-age').textContent = session ? `${Math.floor(elapsed)} s ago` : ''
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
byId('look').addEventListener('click', () => look({ slide: false }))
byId('hello').addEventListener('click', () => callApi('GET', '/api/hello'))
byId('echo').addEventListener('click', () => callApi('POST', '/api/echo', { note: 'written in the browser' }))
byId('volley').addEventListener('click', volley)
byId('refused-call').addEventListener('click', async () => {
  const { response, body } = await call('GET', '/api/hello').catch(() => ({ response: { status: 0 }, body: {} }))
  byId('refused-answer').textContent = `${response.status} ${body.code ?? ''}`
})
byId('ended').addEventListener('close', () => {
  if (!session) ended()
})
addEventListener('focus', lookIfVisible)
document.addEventListener('visibilitychange', lookIfVisible)
setInterval(tick, 250)

look({ slide: true })

fetch('/dev/info.json')
  .then((response) => response.json())
  .then(({ control }) => {
    byId('control').href = control
    byId('control').hidden = false
  })
  .catch(() => {}) // another provider is configured: there is no such page
