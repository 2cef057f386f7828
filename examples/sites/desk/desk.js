import { api, login, logout, subscribe } from './session.js'

const byId = (id) => document.getElementById(id)
const tickets = []
let opened = null

for (const element of document.querySelectorAll('.host')) element.textContent = location.hostname

subscribe(({ status, user, tag, ended, problem }) => {
  // The desk stays where it is when a session ends, with all that was written, until somebody signs in.
  const isOpen = status === 'signed_in' || ended !== null
  byId('desk').hidden = !isOpen
  byId('door').hidden = isOpen || status !== 'anonymous'
  byId('sign-out').textContent = ended ? 'Sign in again' : 'Sign out'
  byId('name').textContent = user?.name ?? user?.sub ?? ''
  byId('email').textContent = user?.email ?? ''
  const notice = problem ?? (ended && `Your session is over (${ended}).`)
  byId('notice').hidden = !notice
  byId('notice').textContent = notice ?? ''
  byId('sign-out').onclick = ended ? login : logout
  if (tag && tag !== opened) open(tag)
})

/** What the API knows of this tenant: bff told it with the call, as sites/desk.toml says. */
async function open(tag) {
  opened = tag
  try {
    const { headers } = await api('/api/hello')
    const name = headers['x-workspace']
    byId('workspace').textContent = name
    byId('plan').textContent = headers['x-plan']
    document.title = `${name} · Desk`
  } catch (error) {
    byId('workspace').textContent = error.message
  }
}

async function write(event) {
  event.preventDefault()
  const title = byId('title').value.trim()
  try {
    const { body, sub, headers } = await api('/api/echo', { method: 'POST', body: { title } })
    tickets.unshift({ title: body.title, by: sub, at: headers['x-workspace'] })
    byId('title').value = ''
    byId('empty').hidden = true
    byId('tickets').replaceChildren(...tickets.map(ticket))
  } catch (error) {
    byId('notice').hidden = false
    byId('notice').textContent = error.message
  }
}

function ticket({ title, by, at }, index) {
  const number = el('span', 'number', `#${tickets.length - index}`)
  return el('li', '', number, el('b', '', title), el('span', 'by', `${by}, ${at}`), el('span', 'state', 'open'))
}

function el(name, className, ...children) {
  const element = document.createElement(name)
  if (className) element.className = className
  element.append(...children)
  return element
}

byId('sign-in').addEventListener('click', login)
byId('new').addEventListener('submit', write)
