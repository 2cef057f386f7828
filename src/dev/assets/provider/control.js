// The page that makes the development provider misbehave.
//
// GET  /control/state  {delay_ms, fail, fail_endpoints, access_token_seconds,
//                       several_apps, sessions: [{user, sid, apps, created_at, refresh_count}],
//                       requests: [{at, method, path, status, elapsed_ms}]}     (oldest first)
// POST /control/state  any of the first four, {revoke_all: true}, or {sign_out_user: name} and
//                       {sign_out_session: sid}, of which the apps hear through the back channel;
//                       answers as GET does. What the provider asked of an app stands among the
//                       requests with its whole address.

const byId = (id) => document.getElementById(id)
const form = byId('controls')

let newest = 0
let shownSessions = ''

async function exchange(change) {
  const asked = ++newest
  try {
    const response = await fetch('/control/state', {
      cache: 'no-store',
      ...(change && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(change) }),
    })
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    const state = await response.json()
    if (asked === newest) show(state) // else an older answer would undo what was just pressed
  } catch (error) {
    say(`The provider cannot be asked: ${error.message}`, 'away')
  }
}

function show(state) {
  for (const name of ['delay_ms', 'fail', 'access_token_seconds']) {
    for (const input of form.elements[name]) input.checked = input.value === String(state[name])
  }
  for (const input of form.elements.fail_endpoints) input.checked = state.fail_endpoints.includes(input.value)

  const faults = []
  if (state.delay_ms > 0) faults.push(`${state.delay_ms} ms late`)
  if (state.fail !== 'none') faults.push(`${state.fail === 'drop' ? 'silent' : state.fail} at ${state.fail_endpoints.join(', ') || 'no endpoint'}`)
  if (faults.length > 0) say(`Misbehaving: ${faults.join('; ')}`, 'bad')
  else say('Behaving', 'good')

  showSessions(state.sessions ?? [], state.several_apps)
  const requests = (state.requests ?? []).slice(-50).reverse()
  fill('requests', requests.map((r) => [timeOf(r.at), request(r), status(r.status), number(`${r.elapsed_ms} ms`)]))
}

function showSessions(sessions, severalApps) {
  const now = JSON.stringify(sessions)
  if (now === shownSessions) return // else a button would vanish from under the pointer
  shownSessions = now
  document.querySelector('th.apps').hidden = !severalApps
  fill('sessions', sessions.map((s) => [
    s.user, ...(severalApps ? [labelled('Signed in at', s.apps.join(', '))] : []), code(s.sid), labelled('Since', timeOf(s.created_at)), labelled('Refreshes', s.refresh_count),
    button('Sign out', `Sign out of this session of ${s.user}`, { sign_out_session: s.sid }),
  ]))
  const users = [...new Set(sessions.map((s) => s.user))].sort()
  byId('sign-outs').replaceChildren(...users.map((user) => button(`Sign ${user} out everywhere (back channel)`, '', { sign_out_user: user })))
  byId('sign-outs').hidden = users.length === 0
}

function button(text, label, change) {
  const element = el('button', 'button', text)
  element.type = 'button'
  if (label) element.ariaLabel = label
  element.addEventListener('click', () => exchange(change))
  return element
}

function fill(id, rows) {
  byId(id).replaceChildren(...rows.map((cells) => el('tr', '', ...cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : el('td', '', cell))))))
  byId(`no-${id}`).hidden = rows.length > 0
}

function request({ method, path }) {
  return el('td', 'request', el('b', '', method), ` ${path}`)
}

function status(value) {
  const kind = !value || value >= 500 ? 'away' : value >= 400 ? 'bad' : 'good'
  return el('td', '', el('span', `status ${kind}`, value || 'dropped'))
}

/** A cell that says what it is where the table's head has no room. */
function labelled(label, text) {
  const cell = el('td', '', text)
  cell.dataset.label = label
  return cell
}

function number(text) {
  return el('td', 'number', text)
}

function code(text) {
  return el('td', '', el('code', '', text ?? ''))
}

function timeOf(at) {
  const time = new Date(at)
  return Number.isNaN(time.getTime()) ? String(at ?? '') : time.toLocaleTimeString()
}

function say(text, kind) {
  byId('state').textContent = text
  byId('state').dataset.kind = kind
}

function el(name, className, ...children) {
  const element = document.createElement(name)
  if (className) element.className = className
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))))
  return element
}

form.addEventListener('change', () => {
  const data = new FormData(form)
  exchange({
    delay_ms: Number(data.get('delay_ms') ?? 0),
    fail: data.get('fail') ?? 'none',
    fail_endpoints: data.getAll('fail_endpoints'),
    access_token_seconds: Number(data.get('access_token_seconds') ?? 300),
  })
})
form.addEventListener('submit', (event) => event.preventDefault())
byId('behave').addEventListener('click', () => exchange({ delay_ms: 0, fail: 'none', fail_endpoints: ['token'], access_token_seconds: 300 }))
byId('revoke').addEventListener('click', () => exchange({ revoke_all: true }))

setInterval(() => {
  if (document.visibilityState === 'visible') exchange()
}, 2000)
exchange()
