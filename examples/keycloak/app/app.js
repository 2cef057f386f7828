// Who is signed in, a call with a token that the page never sees, and what the session's event stream says.

const byId = (id) => document.getElementById(id)
const ask = (path, options) => fetch(path, { ...options, headers: { 'X-CSRF': '1' } })

function say(text) {
  const line = document.createElement('li')
  line.textContent = `${new Date().toLocaleTimeString()}  ${text}`
  byId('log').prepend(line)
}

async function look() {
  const response = await ask('/bff/session?slide=false')
  if (!response.ok) return say(`${response.status}, and nobody is signed out`)
  const { authenticated, user } = await response.json()
  byId('who').textContent = authenticated ? `Signed in as ${user.name}` : 'Nobody is signed in'
  byId('login').hidden = authenticated
  for (const id of ['call', 'logout']) byId(id).hidden = !authenticated
  return authenticated
}

byId('login').onclick = () => location.assign('/bff/login?return_to=/')

byId('call').onclick = async () => {
  const response = await ask('/api/hello')
  const answer = await response.json()
  say(response.ok ? `the API got ${answer.headers.authorization}` : `${response.status} ${answer.code}`)
}

byId('logout').onclick = async () => {
  const response = await ask('/bff/logout', { method: 'POST' })
  const { redirect_to, code } = await response.json()
  if (redirect_to) location.assign(redirect_to)
  else say(code)
}

if (await look()) {
  const events = new EventSource('/bff/session/events')
  for (const name of ['signed_in', 'extended', 'expiring', 'ended']) {
    events.addEventListener(name, (event) => {
      say(`${name} ${event.data}`)
      if (name === 'ended') look()
    })
  }
}
