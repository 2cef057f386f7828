// The administration page: who is signed in, how lively it is, and how to end a session.
// It asks nothing but the API beside it (api/openapi.json). No framework and no build.
//
// Names, subjects and user agents are chosen by strangers: all of it becomes text, never markup,
// and control characters that could make one name look like another are shown (`visible`).

const KEY = 'bff.admin_key'
const PAGE = 50
const STATS_EVERY = 2_000
const LIST_EVERY = 10_000
const LONGEST_WAIT = 15_000

const byId = (id) => document.getElementById(id)

let key = remembered()
let clockAhead = 0 // of the server's clock, in ms

// ---- the API

/** An answer other than the one asked for, or none at all (`status` 0). */
class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? sentenceFor(status))
    this.status = status
    this.title = problem.title
    this.requestId = problem.request_id
    this.retryAfter = retryAfter
  }
}

function sentenceFor(status) {
  if (status === 0) return 'The administration listener cannot be reached.'
  return `The administration listener answered ${status}.`
}

async function ask(path, { method = 'GET', signal, bearer = key } = {}) {
  let response
  try {
    response = await fetch(path, {
      method,
      signal,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      headers: { Accept: 'application/json', Authorization: `Bearer ${bearer}` },
    })
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Refused(0, {})
  }
  noteClock(response.headers.get('Date'))
  if (response.status === 204) return null
  let body
  try {
    body = await response.json()
  } catch (error) {
    if (signal?.aborted) throw error
    body = null
  }
  if (response.ok && body) return body
  const retryAfter = Number(response.headers.get('Retry-After')) || undefined
  throw new Refused(response.status, body ?? {}, retryAfter)
}

const api = {
  stats: (options) => ask('api/stats', options),
  sites: (options) => ask('api/sites', options),
  page: (query, sort, cursor, signal) => ask(`api/sessions?${parameters({ q: query, ...at, sort, limit: PAGE, cursor })}`, { signal }),
  latest: (place, cursor) => ask(`api/sessions?${parameters({ ...place, sort: 'last_seen', limit: 200, cursor })}`),
  session: (id, signal) => ask(`api/sessions/${encodeURIComponent(id)}`, { signal }),
  ofSubject: (subject, signal) => ask(`api/sessions?${parameters({ subject, limit: PAGE })}`, { signal }),
  end: (id) => ask(`api/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' }),
  endAll: (subject) => ask(`api/sessions?${parameters({ subject })}`, { method: 'DELETE' }),
  endAt: (place) => ask(`api/sessions?${parameters(place)}`, { method: 'DELETE' }),
}

function parameters(given) {
  // The site of bff.toml has an empty name.
  const isGiven = ([name, value]) => value !== null && (value !== '' || name === 'site')
  return new URLSearchParams(Object.entries(given).filter(isGiven))
}

/** Countdowns run by the server's clock. `Date` counts whole seconds, so less than two are no difference. */
function noteClock(date) {
  const at = Date.parse(date)
  if (Number.isNaN(at)) return
  const ahead = at + 500 - Date.now()
  clockAhead = Math.abs(ahead) < 2_000 ? 0 : ahead
}

const now = () => Date.now() + clockAhead

// ---- the key

function remembered() {
  try {
    return sessionStorage.getItem(KEY)
  } catch {
    return null // storage is switched off: the key lives as long as this page
  }
}

function remember(value) {
  key = value
  try {
    if (value === null) sessionStorage.removeItem(KEY)
    else sessionStorage.setItem(KEY, value)
  } catch {} // as above
}

async function openWith(candidate) {
  const button = byId('key-open')
  keyProblem(null)
  // A header holds nothing else, and no key has it.
  if (!/^[\x21-\x7e]+$/.test(candidate)) return keyProblem('This is not the key: it has blanks or other characters that no key has.')
  busy(button, true)
  try {
    await api.stats({ bearer: candidate })
    enter(candidate)
  } catch (error) {
    if (error.status === 401) keyProblem('This is not the key.')
    else if (error.status === 0) keyProblem('The administration listener cannot be reached. Is bff running?')
    else if (error.status === 404) keyProblem('There is no administration here: server.admin_key is not set.')
    else enter(candidate) // the key is good, something else is not, and the dashboard says what
  } finally {
    busy(button, false)
  }
}

function enter(candidate) {
  remember(candidate)
  byId('key-form').reset()
  showKey(false)
  start()
}

function keyProblem(text) {
  const input = byId('key')
  say(byId('key-problem'), text)
  if (text === null) input.removeAttribute('aria-invalid')
  else {
    input.setAttribute('aria-invalid', 'true')
    input.focus()
    input.select()
  }
}

function showKey(shown) {
  byId('key').type = shown ? 'text' : 'password'
  byId('key-show').textContent = shown ? 'Hide' : 'Show'
  byId('key-show').setAttribute('aria-pressed', String(shown))
}

/** Back to the first screen. `why` where it was not the person's own wish. */
function leave(why) {
  // Where nothing was shown yet, the address says what is to be.
  if (!byId('dashboard').hidden) putInAddress(EVERYWHERE)
  stop()
  remember(null)
  for (const dialog of [byId('confirm'), byId('drawer')]) if (dialog.open) dialog.close()
  byId('dashboard').hidden = true
  byId('connected').hidden = true
  byId('gate').hidden = false
  document.title = 'bff administration'
  forgetShown()
  keyProblem(why ?? null)
  byId('key').focus()
}

// ---- what goes on by itself

let statsTimer
let listTimer
let failures = 0
let polls = 0
let life = new AbortController()

function start() {
  stop()
  life = new AbortController()
  byId('gate').hidden = true
  byId('dashboard').hidden = false
  byId('connected').hidden = false
  byId('pulse').textContent = 'Connecting'
  at = placeInAddress()
  noteSites(at.site === null ? [] : [{ ...at, tenant: null }, at])
  pollStats()
  openList('')
  loadSites()
}

function stop() {
  clearTimeout(statsTimer)
  clearTimeout(listTimer)
  life.abort()
  listing?.abort()
}

async function pollStats() {
  clearTimeout(statsTimer)
  const { signal } = life
  const turn = ++polls // of two at once the later one goes on
  let wait = STATS_EVERY
  try {
    const stats = await api.stats({ signal })
    if (signal.aborted || turn !== polls) return
    const wasAway = failures > 0
    failures = 0
    reachable(null)
    showStats(stats)
    if (wasAway) loadList({ quiet: true })
  } catch (error) {
    if (signal.aborted || turn !== polls) return
    if (error.status === 401) return leave('The key is not accepted any more.')
    failures += 1
    wait = Math.min(STATS_EVERY * 2 ** (failures - 1), LONGEST_WAIT)
    reachable(error)
  }
  statsTimer = setTimeout(() => document.visibilityState === 'visible' && pollStats(), wait)
}

function reachable(error) {
  const pulse = byId('pulse')
  pulse.dataset.kind = error ? 'away' : 'live'
  pulse.textContent = error ? 'Reconnecting' : 'Live'
  byId('dashboard').toggleAttribute('data-stale', error !== null)
  const banner = byId('unreachable')
  if (error && banner.dataset.said !== error.message) {
    banner.dataset.said = error.message
    banner.replaceChildren(
      el('p', {}, el('b', {}, error.status === 0 ? error.message : 'The figures cannot be read.'), ' ',
        error.status === 0
          ? 'What you see is what was known last. This page tries again by itself.'
          : withRequestId(error)),
      button('Try now', 'small', pollStats),
    )
  }
  if (!error) delete banner.dataset.said
  banner.hidden = error === null
}

// ---- figures

const count = new Intl.NumberFormat('en')
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

function rate(value) {
  const digits = value === 0 || value >= 100 ? 0 : value >= 1 ? 1 : 2
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const total = (value) => (value >= 100_000 ? compact : count).format(value)

const figures = [
  figure('figure-sessions', 'sessions', (value) => count.format(Math.round(value)), (value) => (value === 1 ? 'session' : 'sessions')),
  figure('figure-requests', 'requests_per_s', rate, () => 'per second'),
  figure('figure-refreshes', 'refreshes_per_s', rate, () => 'per second'),
]

const STORES = { memory: 'Memory', sqlite: 'SQLite', redis: 'Redis', postgres: 'PostgreSQL', cookie: 'Cookie' }
const STORE_STATES = { ok: 'Healthy', degraded: 'Degraded', failed: 'Failed' }

function showStats(stats) {
  const history = stats.history ?? []
  const latest = history.at(-1)
  const [sessions, requests, refreshes] = figures
  sessions.show(stats.sessions, history)
  requests.show(latest?.requests_per_s, history)
  refreshes.show(latest?.refreshes_per_s, history)

  const { state = 'unknown', detail } = stats.store_state ?? {}
  setText(byId('store-kind'), STORES[stats.store] ?? visible(stats.store))
  setText(byId('store-state'), STORE_STATES[state] ?? visible(state))
  byId('store-state').dataset.kind = state
  say(byId('store-detail'), detail ? visible(detail) : null)
  for (const name of ['logins', 'requests', 'refreshes']) {
    const value = stats[`${name}_total`]
    const cell = byId(`total-${name}`)
    cell.textContent = Number.isFinite(value) ? total(value) : '–'
    cell.title = Number.isFinite(value) ? count.format(value) : ''
  }
  all = stats.sessions ?? null
  showExtent()
  document.title = all === null ? 'bff administration' : `${count.format(all)} signed in · bff`
}

function figure(id, member, format, unit) {
  const host = byId(id)
  const part = (name) => host.querySelector(`[data-${name}]`)
  const name = host.querySelector('h2').textContent
  const picture = plot(part('plot'), name, (value) => `${format(value)} ${unit(value)}`)
  return {
    show(value, history) {
      const samples = history
        .map((sample) => ({ at: moment(sample.at), value: sample[member] }))
        .filter((point) => Number.isFinite(point.at) && Number.isFinite(point.value))
      const points = averaged(samples)
      part('value').textContent = Number.isFinite(value) ? format(value) : '–'
      picture.show(points)
      if (points.length < 2) {
        part('span').textContent = 'measuring'
        part('extremes').textContent = ''
        return
      }
      const values = points.map((point) => point.value)
      const [low, high] = [Math.min(...values), Math.max(...values)]
      part('span').textContent = `last ${span(points.at(-1).at - points[0].at)}`
      part('extremes').textContent = member === 'sessions' ? (low === high ? '' : `${format(low)} – ${format(high)}`) : `peak ${format(high)}`
    },
  }
}

/**
 * At most about a hundred points, each the mean of a stretch that begins at a round time, so that the
 * line does not shiver as time goes on. The newest sample stands as it is: it is the number above.
 */
function averaged(samples) {
  if (samples.length < 2) return samples
  const [first, last] = [samples[0].at, samples.at(-1).at]
  const apart = (last - first) / (samples.length - 1)
  const stretch = Math.max(Math.round((Math.ceil(samples.length / MOST_POINTS) * apart) / 1000), 1) * 1000
  const groups = Map.groupBy(samples.slice(0, -1), ({ at }) => Math.floor(at / stretch))
  const mean = (group, of) => group.reduce((sum, sample) => sum + of(sample), 0) / group.length
  return [...[...groups.values()].map((group) => ({ at: mean(group, ({ at }) => at), value: mean(group, ({ value }) => value) })), samples.at(-1)]
}

/**
 * A line over time, drawn to the pixels it has. The pointer and the arrow keys read single values off
 * it; for those who hear it, it is a slider that cannot be set.
 */
function plot(host, name, describe) {
  const area = svg('path', { class: 'area' })
  const line = svg('path', { class: 'line' })
  const needle = svg('line', { class: 'needle' })
  const dot = svg('circle', { class: 'dot', r: 3.5 })
  const picture = svg('svg', { 'aria-hidden': 'true' }, area, line, needle, dot)
  const tip = el('p', { class: 'tip', 'aria-hidden': 'true' })
  tip.hidden = true
  host.append(picture, tip)
  set(host, { tabindex: 0, role: 'slider', 'aria-readonly': 'true', 'aria-label': `${name} over time` })

  let points = []
  let places = []
  let read = null // the moment whose value is read off

  function show(next) {
    points = next
    draw()
    if (document.activeElement !== host) pronounce() // else it would talk every two seconds
  }

  function pronounce() {
    const place = read === null ? places.at(-1) : nearest(places, (p) => p.at, read)
    const text = place ? `${describe(place.value)}, ${read === null ? 'now' : clockTime(place.at)}` : 'nothing yet'
    set(host, { 'aria-valuemin': 0, 'aria-valuemax': Math.max(places.length - 1, 0), 'aria-valuenow': Math.max(places.indexOf(place), 0), 'aria-valuetext': text })
  }

  function draw() {
    const [width, height] = [host.clientWidth, host.clientHeight]
    if (width === 0) return
    picture.setAttribute('viewBox', `0 0 ${width} ${height}`)
    places = placed(points, width, height)
    const runs = unbroken(places)
    line.setAttribute('d', runs.map((run) => `M${run.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join('L')}`).join(''))
    area.setAttribute(
      'd',
      runs.map((run) => `M${run[0].x.toFixed(1)} ${height}L${run.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join('L')}L${run.at(-1).x.toFixed(1)} ${height}Z`).join(''),
    )
    mark()
  }

  function mark() {
    const place = read === null ? places.at(-1) : nearest(places, (p) => p.at, read)
    picture.toggleAttribute('data-empty', !place)
    needle.toggleAttribute('data-shown', read !== null)
    tip.hidden = read === null || !place
    if (!place) return
    set(dot, { cx: place.x, cy: place.y })
    set(needle, { x1: place.x, x2: place.x, y1: 0, y2: host.clientHeight })
    if (read === null) return
    tip.replaceChildren(el('b', {}, describe(place.value)), ' ', el('span', {}, clockTime(place.at)))
    const half = tip.offsetWidth / 2
    const left = Math.min(Math.max(place.x, half - 8), host.clientWidth - half + 8)
    tip.style.transform = `translateX(${(left - half).toFixed(1)}px)`
  }

  function readAt(at) {
    read = at
    mark()
  }

  host.addEventListener('pointermove', (event) => {
    const x = event.clientX - host.getBoundingClientRect().left
    readAt(nearest(places, (place) => place.x, x)?.at ?? null)
  })
  host.addEventListener('pointerleave', () => readAt(null))
  host.addEventListener('blur', () => readAt(null))
  host.addEventListener('keydown', (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }
    if (event.key === 'Escape') return readAt(null)
    if (!(event.key in steps) || places.length === 0) return
    event.preventDefault()
    const from = read === null ? places.length - 1 : places.indexOf(nearest(places, (place) => place.at, read))
    const to = Math.min(Math.max(from + steps[event.key], 0), places.length - 1)
    readAt(places[to].at)
    pronounce()
  })
  new ResizeObserver(draw).observe(host)
  return { show }
}

const LEAST_SPAN = 60_000
const MOST_POINTS = 100

/** Where each point lies. The scale begins at zero unless all is far from it. */
function placed(points, width, height) {
  if (points.length === 0) return []
  const [first, last] = [points[0].at, points.at(-1).at]
  const begin = Math.min(first, last - LEAST_SPAN)
  const values = points.map((point) => point.value)
  const high = Math.max(...values)
  const low = Math.min(...values)
  const floor = low > high * 0.6 ? Math.max(0, low - (high - low) - high * 0.02) : 0
  const room = Math.max(high - floor, Number.EPSILON)
  const [top, bottom] = [6, height - 4]
  return points.map(({ at, value }) => ({
    at,
    value,
    x: ((at - begin) / (last - begin)) * width,
    y: high === 0 ? bottom : bottom - ((value - floor) / room) * (bottom - top),
  }))
}

/** Splits where samples are missing: a straight line there would be invented. */
function unbroken(places) {
  const steps = places.slice(1).map((place, i) => place.at - places[i].at).sort((a, b) => a - b)
  const usual = steps[Math.floor(steps.length / 2)] ?? 0
  const runs = []
  for (const place of places) {
    const run = runs.at(-1)
    if (run && place.at - run.at(-1).at <= usual * 3) run.push(place)
    else runs.push([place])
  }
  return runs
}

function nearest(list, of, wanted) {
  let best = null
  for (const item of list) if (best === null || Math.abs(of(item) - wanted) < Math.abs(of(best) - wanted)) best = item
  return best
}

// ---- the list

let all = null // how many there are, where the store can tell
let query = ''
let sort = '' // by name
let trail = [null] // the cursors of the pages up to this one
let shown = null // this page's sessions; null before the first answer
let more = null // the cursor of the next page
let shownAt = 0
let listing = null
const rows = new Map()

function openList(text) {
  query = text
  trail = [null]
  loadList()
}

async function loadList({ quiet = false } = {}) {
  clearTimeout(listTimer)
  listing?.abort()
  listing = new AbortController()
  const { signal } = listing
  if (!quiet) byId('list').setAttribute('aria-busy', 'true')
  if (shown === null) showWaiting()
  let wait = LIST_EVERY
  try {
    const page = await api.page(query, sort, trail.at(-1), signal)
    if (signal.aborted) return
    if (page.sessions.length === 0 && trail.length > 1) {
      trail.pop() // all of this page have ended
      return loadList({ quiet })
    }
    shown = page.sessions
    more = page.next
    noteSites(shown)
    shownAt = Date.now()
    listProblem(null)
    showList()
  } catch (error) {
    if (signal.aborted) return
    if (error.status === 401) return leave('The key is not accepted any more.')
    if (error.status === 400 && trail.length > 1) {
      trail = [null] // a cursor that is no longer known
      return loadList({ quiet })
    }
    wait = Math.min((error.retryAfter ?? 5) * 1_000, LONGEST_WAIT)
    listProblem(error)
  }
  byId('list').setAttribute('aria-busy', 'false')
  listTimer = setTimeout(lookAgain, wait)
}

function lookAgain() {
  if (document.visibilityState === 'visible') loadList({ quiet: true })
}

function showList() {
  showRows(shown.map(rowOf))
  showEmpty()
  showExtent()
  byId('previous').disabled = trail.length === 1
  byId('next').disabled = more === null
}

/** Puts rows in place and keeps the focus: on its row, or on the one that took its place. */
function showRows(next) {
  const body = byId('rows')
  const focused = body.contains(document.activeElement) ? document.activeElement.closest('tr') : null
  const place = focused ? [...body.children].indexOf(focused) : -1
  if (next.length !== body.children.length || next.some((row, i) => row !== body.children[i])) {
    body.replaceChildren(...next)
    if (focused) {
      const heir = next.includes(focused) ? focused : next[Math.min(place, next.length - 1)]
      const target = heir?.querySelector('button') ?? byId('search')
      target.focus({ preventScroll: true })
    }
  }
  const kept = new Set(next)
  for (const [id, row] of rows) if (!kept.has(row)) rows.delete(id)
  tick()
}

function rowOf(session) {
  const row = rows.get(session.id) ?? newRow(session.id)
  rows.set(session.id, row)
  row.session = session
  const [name, subject, browser, client, site, created, seen, expires] = row.parts
  setText(name, visible(session.name))
  setText(subject, visible(session.subject))
  subject.title = visible(session.subject)
  name.title = visible(session.name)
  setText(browser, session.readable === false ? 'Unreadable record' : visible(session.browser ?? 'Unknown browser'))
  browser.title = session.readable === false ? UNREADABLE : visible(session.user_agent ?? '')
  setText(client, visible(session.client ?? 'Unknown'))
  client.title = visible(session.client ?? '')
  setText(site, placeName(session))
  site.title = placeName(session)
  row.toggleAttribute('data-unreadable', session.readable === false)
  setTime(created, session.created_at, 'ago')
  setTime(seen, session.last_seen, 'ago')
  setTime(expires, session.expires_at, 'left')
  return row
}

function newRow(id) {
  const name = el('bdi')
  const open = el('button', { class: 'row-open', type: 'button', 'aria-haspopup': 'dialog' }, name)
  const subject = el('bdi', { class: 'mono' })
  const browser = el('span')
  const client = el('bdi', { class: 'mono' })
  const site = el('bdi')
  const [created, seen, expires] = [el('time'), el('time'), el('time')]
  const cell = (label, className, ...children) => el('td', { role: 'cell', 'data-label': label, class: className }, ...children)
  const row = el(
    'tr',
    { role: 'row' },
    cell('Name', 'name', open),
    cell('Subject', 'subject', subject),
    cell('Browser', 'browser', browser),
    cell('Address', 'client', client),
    cell('Site', 'site', site),
    cell('Signed in', 'number created', created),
    cell('Last seen', 'number seen', seen),
    cell('Expires in', 'number expires', expires),
  )
  row.parts = [name, subject, browser, client, site, created, seen, expires]
  row.addEventListener('click', () => {
    if (getSelection().toString() === '') openDrawer(row.session) // text that is being selected is no click
  })
  row.dataset.id = id
  return row
}

function showWaiting() {
  byId('empty').hidden = true
  const bar = (className) => el('td', { role: 'cell', class: className }, el('span', { class: 'bar' }))
  const cells = ['name', 'subject', 'browser', 'client', 'site', 'number created', 'number seen', 'number expires']
  const waiting = Array.from({ length: 8 }, () => el('tr', { role: 'row', class: 'waiting', 'aria-hidden': 'true' }, ...cells.map(bar)))
  byId('rows').replaceChildren(...waiting)
  byId('extent').textContent = 'Loading'
  byId('turn').hidden = true
  byId('paging').hidden = false
}

function showEmpty() {
  const empty = byId('empty')
  empty.hidden = shown.length > 0
  if (shown.length > 0) return
  if (query === '') {
    const where = at.site === null ? [] : [' at ', el('bdi', {}, placeName(at))]
    empty.replaceChildren(
      el('p', { class: 'empty-title' }, 'Nobody is signed in', ...where),
      el('p', {}, 'Sessions appear here as soon as somebody signs in.'),
    )
  } else {
    empty.replaceChildren(
      el('p', { class: 'empty-title' }, 'No session matches ', el('bdi', {}, `“${visible(query)}”`)),
      el('p', {}, 'First and last names are found by how they begin, e-mail addresses, subjects and provider sids only when they are complete.'),
      button('Show all sessions', 'small', () => {
        byId('search').value = ''
        openList('')
        byId('search').focus()
      }),
    )
  }
}

function showExtent() {
  if (shown === null) return
  const before = (trail.length - 1) * PAGE
  const here = shown.length
  let text
  if (here === 0) text = ''
  else if (trail.length === 1 && more === null) text = here === 1 ? '1 session' : `${count.format(here)} sessions`
  else {
    text = `${count.format(before + 1)}–${count.format(before + here)}`
    // The count may lag behind the list; less than what is shown would be nonsense.
    if (query === '' && at.site === null && all !== null && all >= before + here) text += ` of ${count.format(all)}`
  }
  setText(byId('extent'), text)
  byId('turn').hidden = trail.length === 1 && more === null
  byId('paging').hidden = here === 0 && byId('turn').hidden
}

function listProblem(error) {
  const notice = byId('list-problem')
  const empty = byId('empty')
  byId('list').toggleAttribute('data-stale', error !== null && shown !== null)
  if (error === null) {
    notice.hidden = true
    notice.replaceChildren()
    return
  }
  const title = error.title ?? 'The sessions cannot be listed'
  if (shown === null) {
    notice.hidden = true
    byId('rows').replaceChildren()
    byId('paging').hidden = true
    empty.hidden = false
    empty.replaceChildren(
      el('p', { class: 'empty-title' }, error.status === 0 ? 'No answer' : visible(title)),
      el('p', {}, withRequestId(error)),
      ...(error.status === 503 ? [el('p', {}, 'Nobody is signed out by this.')] : []),
      button('Try again', 'small', () => loadList()),
    )
    return
  }
  if (error.status === 0) return // the banner at the top says so already
  notice.hidden = false
  notice.replaceChildren(
    el(
      'div',
      {},
      el('p', {}, el('b', {}, visible(title)), el('br'), withRequestId(error)),
      el('p', { class: 'muted' }, `Nobody is signed out by this. Below is the list as it was at ${clockTime(shownAt + clockAhead)}.`),
    ),
    button('Try again', 'small', () => loadList({ quiet: true })),
  )
}

function withRequestId(error) {
  return visible(error.requestId ? `${error.message} (request ${error.requestId})` : error.message)
}

// ---- sites and tenants

const EVERYWHERE = { site: null, tenant: null }
const MOST_COUNTED = 1_000

const sites = new Map() // the tenants of each site, of those served and those seen
let at = EVERYWHERE // where the sessions of the list are

async function loadSites() {
  const { signal } = life
  try {
    const known = await api.sites({ signal })
    if (signal.aborted) return
    noteSites(known.sites.flatMap(({ site, tenants }) => [{ site, tenant: null }, ...tenants.map((tenant) => ({ site, tenant }))]))
  } catch (error) {
    if (!(error instanceof Refused) && !signal.aborted) throw error
    // The list and the figures say what is wrong; sites are picked from those seen.
  }
}

function noteSites(places) {
  let isNew = false
  for (const { site, tenant } of places) {
    isNew ||= !sites.has(site) || (tenant !== null && !sites.get(site).has(tenant))
    if (!sites.has(site)) sites.set(site, new Set())
    if (tenant !== null) sites.get(site).add(tenant)
  }
  if (isNew) drawSites()
}

/** Nothing of it where there is one site alone. */
function drawSites() {
  const tenants = sites.get(at.site) ?? new Set()
  const several = sites.size > 1 || [...sites.values()].some((tenants) => tenants.size > 0)
  byId('sites').hidden = !several
  byId('list').toggleAttribute('data-sites', several)
  offer(byId('site'), 'all', [...sites.keys()].sort(), at.site, (site) => placeName({ site, tenant: null }))
  offer(byId('tenant'), 'all', [...tenants].sort(), at.tenant, visible)
  byId('tenant-field').hidden = tenants.size === 0
  byId('end-site').hidden = at.site === null
  setText(byId('end-site'), at.tenant === null ? 'End all sessions of this site' : 'End all sessions of this tenant')
}

/** Names stand behind a mark, since one of them is empty. */
function offer(select, none, names, chosen, write) {
  select.replaceChildren(el('option', { value: '' }, none), ...names.map((name) => el('option', { value: `=${name}` }, write(name))))
  select.value = chosen === null ? '' : `=${chosen}`
}

const picked = (select) => (select.value === '' ? null : select.value.slice(1))

function openAt(place) {
  at = place
  putInAddress(place)
  drawSites()
  openList(query)
}

/** So that it is the same after a reload, and can be told to others. */
function putInAddress(place) {
  const said = new URLSearchParams(Object.entries(place).filter(([, name]) => name !== null))
  const fragment = place.site === null ? '' : `#${said}`
  if (location.hash !== fragment) history.replaceState(null, '', location.pathname + location.search + fragment)
}

function placeInAddress() {
  const said = new URLSearchParams(location.hash.slice(1))
  return said.has('site') ? { site: said.get('site'), tenant: said.get('tenant') } : EVERYWHERE
}

function placeName({ site, tenant }) {
  const name = site === '' ? '(bff.toml)' : site
  return visible(tenant === null || tenant === undefined ? name : `${name}/${tenant}`)
}

async function confirmEndAt(place) {
  const counted = await countedAt(place)
  if (counted === null || key === null) return
  const { number, isAll } = counted
  const name = () => el('bdi', {}, placeName(place))
  const one = isAll && number === 1
  const many = `${isAll ? '' : 'more than '}${count.format(number)} ${one ? 'session' : 'sessions'}`
  const tenantsToo = place.tenant === null && sites.get(place.site)?.size > 0 ? ' Those of its tenants are among them.' : ''
  askFirst(
    ['End all sessions at ', name(), '?'],
    [el('p', {}, el('b', {}, many), ` ${one ? 'ends' : 'end'} at once, with whatever is open there: streams, WebSockets, downloads.${tenantsToo}`)],
    isAll ? `End ${many}` : 'End all of them',
    async () => {
      const { ended } = await api.endAt(place)
      const gone = (session) => session.site === place.site && (place.tenant === null || session.tenant === place.tenant)
      return { gone, outcome: [`Ended ${count.format(ended)} ${ended === 1 ? 'session' : 'sessions'} at `, name(), '.'] }
    },
  )
}

/** How many sessions are there, as far as it is worth counting; null where nobody can say. */
async function countedAt(place) {
  busy(byId('end-site'), true)
  try {
    let [number, cursor] = [0, null]
    do {
      const page = await api.latest(place, cursor)
      number += page.sessions.length
      cursor = page.next
    } while (cursor !== null && number < MOST_COUNTED)
    return { number, isAll: cursor === null }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    if (error.status === 401) leave('The key is not accepted any more.')
    else toast(withRequestId(error))
    return null
  } finally {
    busy(byId('end-site'), false)
    byId('end-site').focus() // which the dialog gives back
  }
}

// ---- the drawer

const UNREADABLE = 'None of the keys in session.keys opens this record: they were replaced, or another installation wrote it.'

let chosen = null // the session that the drawer shows
let siblings = null // the sessions of the same subject, once known
let siblingsMore = false
let namesakes = false // whether another provider calls somebody so
let looking = null

function openDrawer(session) {
  chosen = session
  siblings = null
  siblingsMore = false
  namesakes = false
  drawDrawer()
  if (!byId('drawer').open) {
    byId('drawer').showModal()
    byId('drawer-title').focus()
  }
  byId('drawer-scroll').scrollTop = 0
  lookCloser()
}

/** The newest facts, and what else the user has open. */
async function lookCloser() {
  looking?.abort()
  looking = new AbortController()
  const { signal } = looking
  const { id, subject } = chosen
  try {
    const [session, page] = await Promise.all([api.session(id, signal), api.ofSubject(subject, signal)])
    if (signal.aborted) return
    chosen = session
    // Another provider may call somebody else so.
    siblings = page.sessions.filter((other) => other.issuer === session.issuer)
    namesakes = siblings.length < page.sessions.length
    siblingsMore = page.next !== null
    drawDrawer()
  } catch (error) {
    if (signal.aborted) return
    if (error.status === 401) return leave('The key is not accepted any more.')
    if (error.status === 404) {
      byId('drawer').close()
      toast('This session has ended meanwhile.')
      return loadList({ quiet: true })
    }
    drawDrawer(error)
  }
}

function drawDrawer(error) {
  const { name, subject, browser, user_agent, readable } = chosen
  byId('drawer-title').replaceChildren(el('bdi', {}, visible(name)))
  setText(byId('drawer-browser'), readable === false ? 'Unreadable record' : visible(browser ?? 'Unknown browser'))
  const many = siblings === null ? '' : siblingsMore ? `${siblings.length}+` : String(siblings.length)
  byId('end-all').textContent = siblings === null ? 'End all of this user' : `End all ${many} of this user`
  byId('end-all').hidden = siblings === null ? sites.size > 1 : siblings.length < 2 || namesakes

  const parts = []
  if (error) parts.push(el('div', { class: 'notice', role: 'alert' }, el('p', {}, withRequestId(error)), button('Try again', 'small', lookCloser)))
  if (readable === false) {
    parts.push(el('div', { class: 'notice' }, el('p', {}, el('b', {}, 'Unreadable.'), ` ${UNREADABLE} Its user has to sign in again; it can still be ended.`)))
  }
  parts.push(lifeline(chosen))
  parts.push(
    facts('Session', [
      ['Id', copyable(chosen.id, 'session id')],
      ['Tag', chosen.tag && copyable(chosen.tag, 'tag')],
      ['Subject', copyable(subject, 'subject')],
      ['Site', placeName(chosen)],
      ['Issuer', chosen.issuer && el('bdi', { class: 'mono' }, visible(chosen.issuer))],
      ['Client id', chosen.client_id && el('bdi', { class: 'mono' }, visible(chosen.client_id))],
      ['Provider sid', chosen.provider_sid && copyable(chosen.provider_sid, 'provider sid')],
    ]),
    facts('Times', [
      ['Signed in', fullTime(chosen.created_at, 'ago')],
      ['Last seen', fullTime(chosen.last_seen, 'ago')],
      ['Expires if unused', fullTime(chosen.expires_at, 'in')],
      ['Ends in any case', fullTime(chosen.ends_at, 'in')],
      ['Access token expires', chosen.token_expires_at && fullTime(chosen.token_expires_at, 'in')],
    ]),
    facts('Sign-in', [
      ['Address', chosen.client && copyable(chosen.client, 'address')],
      ['Browser', chosen.browser && el('bdi', {}, visible(browser))],
      ['User agent', user_agent && el('bdi', { class: 'mono' }, visible(user_agent))],
      ['acr', chosen.acr && el('bdi', { class: 'mono' }, visible(chosen.acr))],
      ['amr', chosen.amr?.length > 0 && el('bdi', { class: 'mono' }, visible(chosen.amr.join(' ')))],
    ]),
  )
  if (siblings?.length > 1) parts.push(others())
  const scroll = byId('drawer-scroll')
  const focused = scroll.contains(document.activeElement)
  scroll.replaceChildren(...parts)
  if (focused) byId('drawer-title').focus({ preventScroll: true })
  tick()
}

/** From the sign-in to the absolute limit, with the idle limit between. */
function lifeline({ created_at, expires_at, ends_at }) {
  const [begin, idle, end] = [created_at, expires_at, ends_at].map(moment)
  const whole = Math.max(end - begin, 1)
  const part = (at) => (Math.min(Math.max((at - begin) / whole, 0), 1) * 100).toFixed(2)
  const lived = svg('rect', { class: 'lived', height: 8, width: part(now()) })
  const left = svg('rect', { class: 'left', height: 8, width: part(idle) })
  const picture = svg(
    'svg',
    { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('rect', { class: 'whole', width: 100, height: 8 }),
    left,
    lived,
  )
  const remaining = el('time', { class: 'remaining' })
  setTime(remaining, expires_at, 'left')
  return el(
    'section',
    { class: 'lifeline', 'aria-label': 'Life of the session' },
    el('p', { class: 'lead' }, remaining, ' ', el('span', { class: 'muted' }, idle < end ? 'left unless it is used' : 'left in any case')),
    picture,
    el('p', { class: 'range' }, el('span', {}, `signed in ${clockTime(begin, 'short')}`), el('span', {}, `ends ${clockTime(end, 'short')}`)),
  )
}

function facts(title, entries) {
  const list = el('dl')
  for (const [name, value] of entries) {
    list.append(el('div', {}, el('dt', {}, name), el('dd', {}, value || el('span', { class: 'muted' }, chosen.readable === false ? 'sealed' : 'none'))))
  }
  return el('section', { class: 'facts' }, el('h3', {}, title), list)
}

function fullTime(value, sense) {
  const relative = el('time', { class: 'muted' })
  setTime(relative, value, sense)
  return el('span', { class: 'moment' }, el('span', {}, dateTime(value)), ' ', relative)
}

function copyable(value, what) {
  const copy = el('button', { class: 'copy', type: 'button', 'aria-label': `Copy the ${what}` }, 'Copy')
  copy.addEventListener('click', async () => {
    copy.textContent = (await copied(value)) ? 'Copied' : 'Not copied'
    setTimeout(() => (copy.textContent = 'Copy'), 2_000)
  })
  return el('span', { class: 'copyable' }, el('bdi', { class: 'mono' }, visible(value)), copy)
}

/** The clipboard API is missing on plain http; there a selection is copied. */
async function copied(value) {
  try {
    await navigator.clipboard.writeText(value)
    return true
  } catch {
    const area = el('textarea', { class: 'unseen', 'aria-hidden': 'true' })
    area.value = value
    const before = document.activeElement
    byId('drawer').append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    before?.focus()
    return done
  }
}

function others() {
  const list = el('ul')
  for (const session of siblings) {
    const current = session.id === chosen.id
    const seen = el('time', { class: 'muted' })
    setTime(seen, session.last_seen, 'ago')
    const inside = [el('span', {}, session.readable === false ? 'Unreadable record' : visible(session.browser ?? 'Unknown browser')), current ? el('span', { class: 'muted' }, 'this one') : seen]
    const item = current ? el('span', { class: 'other', 'aria-current': 'true' }, ...inside) : el('button', { class: 'other', type: 'button' }, ...inside)
    if (!current) item.addEventListener('click', () => openDrawer(session))
    list.append(el('li', {}, item))
  }
  return el('section', { class: 'others' }, el('h3', {}, siblingsMore ? 'Sessions of this user, the first of many' : 'Sessions of this user'), list)
}

// ---- ending

let act = null // what the confirmation would do; answers who is gone and what to say

function confirmEnd(session) {
  const where = session.readable === false ? 'a browser whose record cannot be read' : visible(session.browser ?? 'an unknown browser')
  askFirst(
    ['End the session of ', el('bdi', {}, visible(session.name)), '?'],
    [
      el('p', {}, el('bdi', {}, el('b', {}, visible(session.name))), ` is signed out of ${where} at once, with whatever is open there: streams, WebSockets, downloads.`),
      subjectLine(session),
    ],
    'End session',
    async () => {
      const gone = (other) => other.id === session.id
      try {
        await api.end(session.id)
        return { gone, outcome: ['Ended the session of ', el('bdi', {}, visible(session.name)), '.'] }
      } catch (error) {
        if (error.status === 404) return { gone, outcome: ['That session had ended already.'] }
        throw error
      }
    },
  )
}

function confirmEndAll(session) {
  const many = siblings === null || siblingsMore ? 'All their sessions' : siblings.length === 2 ? 'Both sessions' : `All ${siblings.length} sessions`
  askFirst(
    ['End all sessions of ', el('bdi', {}, visible(session.name)), '?'],
    [
      el('p', {}, el('bdi', {}, el('b', {}, visible(session.name))), ` is signed out everywhere at once. ${many} end, in each browser, with whatever is open there.`),
      subjectLine(session),
    ],
    siblings === null || siblingsMore ? 'End all sessions' : `End all ${siblings.length} sessions`,
    async () => {
      const { ended } = await api.endAll(session.subject)
      const outcome = [`Ended ${count.format(ended)} ${ended === 1 ? 'session' : 'sessions'} of `, el('bdi', {}, visible(session.name)), '.']
      return { gone: (other) => other.subject === session.subject, outcome: ended === 0 ? ['They had all ended already.'] : outcome }
    },
  )
}

/** Names repeat and can be made up; the subject is the provider's own. */
function subjectLine({ subject }) {
  return el('p', { class: 'subject-line' }, el('span', { class: 'muted' }, 'Subject'), el('bdi', { class: 'mono' }, visible(subject)))
}

function askFirst(title, text, yes, action) {
  act = action
  byId('confirm-title').replaceChildren(...title)
  byId('confirm-text').replaceChildren(...text)
  byId('confirm-yes').textContent = yes
  say(byId('confirm-problem'), null)
  byId('confirm').showModal()
  byId('confirm-no').focus()
}

async function carryOut() {
  const yes = byId('confirm-yes')
  busy(yes, true)
  say(byId('confirm-problem'), null)
  try {
    const { gone, outcome } = await act()
    // In this order the focus comes back to a row, which passes it on when it goes.
    byId('confirm').close()
    byId('drawer').close()
    drop(gone)
    toast(...outcome)
    loadList({ quiet: true })
    pollStats()
  } catch (error) {
    if (error.status === 401) leave('The key is not accepted any more.')
    else if (error.status === 0) say(byId('confirm-problem'), `${error.message} Whether it was carried out is not known; to try again does no harm.`)
    else if (error instanceof Refused) say(byId('confirm-problem'), withRequestId(error))
    else throw error
  } finally {
    busy(yes, false)
  }
}

/** Takes rows away before the list is asked again. */
function drop(gone) {
  if (shown === null) return
  shown = shown.filter((session) => !gone(session))
  showRows(shown.map(rowOf))
}

// ---- time

function tick() {
  const at = now()
  for (const element of document.querySelectorAll('time[data-at]')) {
    const distance = Number(element.dataset.at) - at
    const { sense } = element.dataset
    if (sense === 'ago') setText(element, ago(-distance))
    else if (sense === 'in') setText(element, distance > 0 ? `in ${span(distance)}` : 'over')
    else {
      setText(element, distance > 0 ? countdown(distance) : 'expired')
      element.dataset.state = distance <= 0 ? 'over' : distance < 60_000 ? 'low' : ''
    }
  }
}

function setTime(element, value, sense) {
  const at = moment(value)
  if (!Number.isFinite(at)) {
    delete element.dataset.at
    setText(element, '–')
    return
  }
  element.dataset.at = at
  element.dataset.sense = sense
  element.dateTime = new Date(at).toISOString()
  element.title = dateTime(value)
}

/** A moment of the API: RFC 3339, or milliseconds since 1970. */
function moment(value) {
  return typeof value === 'number' ? value : Date.parse(value)
}

function ago(ms) {
  return ms < 5_000 ? 'just now' : `${span(ms)} ago`
}

function span(ms) {
  const seconds = Math.round(ms / 1000)
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 10 && minutes % 60 !== 0) return `${hours} h ${minutes % 60} min`
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`
}

function countdown(ms) {
  const whole = Math.ceil(ms / 1000)
  const two = (n) => String(n).padStart(2, '0')
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

const clocks = {
  full: new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' }),
  short: new Intl.DateTimeFormat(undefined, { timeStyle: 'short' }),
  dated: new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit', second: '2-digit' }),
}

function clockTime(at, length = 'full') {
  return Number.isFinite(at) ? clocks[length].format(at) : '–'
}

function dateTime(value) {
  return clockTime(moment(value), 'dated')
}

// ---- text

/**
 * Text of strangers, with what is not seen and turns the rest around made visible: controls, and the
 * marks that override the direction of writing.
 */
function visible(text) {
  return String(text ?? '').replace(/[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, '\ufffd')
}

// ---- the DOM, without innerHTML

function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children)
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children)
}

function filled(element, attributes, children) {
  set(element, attributes)
  element.append(...children)
  return element
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
}

function button(text, className, action) {
  const element = el('button', { class: `button ${className}`, type: 'button' }, text)
  element.addEventListener('click', () => action())
  return element
}

/** Touches the text only where it changes, so that live regions speak only then. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function say(element, text) {
  element.hidden = text === null
  setText(element, text ?? '')
}

function busy(element, on) {
  element.disabled = on
  element.toggleAttribute('data-busy', on)
}

function toast(...children) {
  const element = el('div', { class: 'toast' }, el('p', {}, ...children))
  const dismiss = el('button', { class: 'link', type: 'button' }, 'Dismiss')
  dismiss.addEventListener('click', () => element.remove())
  element.append(dismiss)
  byId('toasts').append(element)
  while (byId('toasts').childElementCount > 3) byId('toasts').firstElementChild.remove()
  setTimeout(() => element.remove(), 8_000)
}

/** Nothing of what the key opened stays on the page without it. */
function forgetShown() {
  shown = null
  more = null
  chosen = null
  siblings = null
  all = null
  rows.clear()
  sites.clear()
  at = EVERYWHERE
  drawSites()
  for (const id of ['rows', 'drawer-scroll', 'drawer-title', 'drawer-browser', 'confirm-title', 'confirm-text', 'toasts']) byId(id).replaceChildren()
  byId('search').value = ''
  for (const it of figures) it.show(undefined, [])
  listProblem(null)
  reachable(null)
}

// ---- start

byId('key-form').addEventListener('submit', (event) => {
  event.preventDefault()
  openWith(byId('key').value.trim())
})
byId('key-show').addEventListener('click', () => showKey(byId('key').type === 'password'))
byId('forget').addEventListener('click', () => leave())

let typing
byId('search').addEventListener('input', () => {
  clearTimeout(typing)
  typing = setTimeout(() => {
    const text = byId('search').value.trim()
    if (text !== query) openList(text)
  }, 250)
})
byId('sort').addEventListener('change', () => {
  sort = byId('sort').value
  openList(query)
})
byId('site').addEventListener('change', () => openAt({ site: picked(byId('site')), tenant: null }))
byId('tenant').addEventListener('change', () => openAt({ ...at, tenant: picked(byId('tenant')) }))
addEventListener('hashchange', () => {
  if (byId('dashboard').hidden) return
  const place = placeInAddress()
  noteSites(place.site === null ? [] : [{ ...place, tenant: null }, place])
  openAt(place)
})
byId('end-site').addEventListener('click', () => confirmEndAt(at))
addEventListener('keydown', (event) => {
  const writes = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey
  if (event.key !== '/' || writes || byId('dashboard').hidden || document.querySelector('dialog[open]')) return
  event.preventDefault()
  byId('search').focus()
  byId('search').select()
})

byId('previous').addEventListener('click', () => turnTo(trail.slice(0, -1)))
byId('next').addEventListener('click', () => turnTo([...trail, more]))

async function turnTo(cursors) {
  trail = cursors
  await loadList()
  if (byId('list').getBoundingClientRect().top < 0) byId('sessions-title').scrollIntoView({ block: 'start' })
}

byId('end-one').addEventListener('click', () => confirmEnd(chosen))
byId('end-all').addEventListener('click', () => confirmEndAll(chosen))
byId('drawer-close').addEventListener('click', () => byId('drawer').close())
byId('drawer').addEventListener('close', () => looking?.abort())
byId('drawer').addEventListener('click', (event) => {
  if (event.target === byId('drawer')) byId('drawer').close() // beside it
})
byId('confirm-no').addEventListener('click', () => byId('confirm').close())
byId('confirm-yes').addEventListener('click', carryOut)
byId('confirm').addEventListener('cancel', (event) => {
  if (byId('confirm-yes').disabled) event.preventDefault() // it is being carried out
})

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState !== 'visible' || byId('dashboard').hidden) return
  pollStats()
  lookAgain()
})
setInterval(tick, 1_000)

if (key === null) leave()
else start()
