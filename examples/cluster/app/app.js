// Shows which node answers, and what the session's event stream says.

const byId = (id) => document.getElementById(id)
const ask = (path, options) => fetch(path, { ...options, headers: { 'X-CSRF': '1' } })
const node = (response) => response.headers.get('X-Node') ?? 'no node'

function say(text) {
  const line = document.createElement('li')
  line.textContent = `${new Date().toLocaleTimeString()}  ${text}`
  byId('log').prepend(line)
}

async function look() {
  const response = await ask('/bff/session?slide=false')
  if (!response.ok) return say(`${node(response)}: ${response.status}, and nobody is signed out`)
  const { authenticated, user } = await response.json()
  byId('who').textContent = authenticated ? `Signed in as ${user.name}` : 'Nobody is signed in'
  byId('login').hidden = authenticated
  for (const id of ['call', 'others', 'logout']) byId(id).hidden = !authenticated
  return authenticated
}

byId('login').onclick = () => location.assign('/bff/login?return_to=/')

byId('call').onclick = async () => {
  for (let call = 0; call < 10; call++) {
    const response = await ask('/api/hello').catch(() => undefined)
    if (!response) {
      say('no answer from the balancer')
      continue
    }
    const answer = await response.json()
    say(`${node(response)}: ${response.status} ${response.ok ? 'the API got a bearer token' : answer.code}`)
  }
}

byId('others').onclick = async () => {
  const response = await ask('/bff/sessions', { method: 'DELETE' })
  const { ended, code } = await response.json()
  say(`${node(response)}: ${code ?? `${ended} other sessions ended`}`)
}

byId('logout').onclick = async () => {
  const response = await ask('/bff/logout', { method: 'POST' })
  const { redirect_to, code } = await response.json()
  if (redirect_to) location.assign(redirect_to)
  else say(`${node(response)}: ${code}`)
}

if (await look()) {
  const events = new EventSource('/bff/session/events')
  for (const name of ['signed_in', 'extended', 'expiring', 'ended']) {
    events.addEventListener(name, (event) => {
      say(`${name} ${event.data}`)
      if (name === 'ended') look()
    })
  }
  events.onerror = () => say('the event stream broke off; the browser opens it again')
}
