import { api, login, logout, subscribe } from './session.js'

const TEAS = [
  { id: 'dawn', name: 'First Dawn', kind: 'Darjeeling, first flush', price: 14, hue: 72 },
  { id: 'moss', name: 'Moss Garden', kind: 'Gyokuro, shaded', price: 22, hue: 142 },
  { id: 'ember', name: 'Ember Road', kind: 'Lapsang Souchong', price: 12, hue: 32 },
  { id: 'tide', name: 'Low Tide', kind: 'White peony', price: 17, hue: 205 },
]

const byId = (id) => document.getElementById(id)
const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR', trailingZeroDisplay: 'stripIfInteger' })

// What a visitor chose outlives the journey to the provider and back.
const basket = new Map(JSON.parse(sessionStorage.getItem('basket') ?? '[]'))
let user = null

subscribe(({ status, user: known, ended, problem }) => {
  user = status === 'signed_in' ? known : null
  byId('who').hidden = user === null
  byId('who').textContent = user === null ? '' : (user.name ?? user.sub)
  byId('sign-in').hidden = status !== 'anonymous'
  byId('sign-out').hidden = user === null
  const notice = problem ?? (ended && `Your session is over (${ended}). Your basket is still here.`)
  byId('notice').hidden = !notice
  byId('notice').textContent = notice ?? ''
  showBasket()
})

function put(id, more) {
  const count = Math.max(0, (basket.get(id) ?? 0) + more)
  if (count === 0) basket.delete(id)
  else basket.set(id, count)
  sessionStorage.setItem('basket', JSON.stringify([...basket]))
  byId('said').textContent = ''
  showBasket()
}

function showBasket() {
  const lines = [...basket].map(([id, count]) => ({ tea: TEAS.find((tea) => tea.id === id), count }))
  byId('lines').replaceChildren(...lines.map(line))
  byId('empty').hidden = lines.length > 0
  byId('sum').hidden = lines.length === 0
  byId('total').textContent = money.format(lines.reduce((sum, { tea, count }) => sum + tea.price * count, 0))
  byId('order').disabled = lines.length === 0
  byId('order').textContent = user ? 'Order' : 'Sign in and order'
}

function line({ tea, count }) {
  const less = button('−', `One ${tea.name} less`, () => put(tea.id, -1))
  const more = button('+', `One ${tea.name} more`, () => put(tea.id, 1))
  return el('li', '', el('span', 'line-name', tea.name), el('span', 'count', less, el('b', '', String(count)), more))
}

function card(tea) {
  const tin = el('span', 'tin', tea.name[0])
  tin.style.setProperty('--hue', tea.hue)
  tin.ariaHidden = 'true'
  const text = el('span', 'card-text', el('h2', '', tea.name), el('span', 'kind', tea.kind))
  const add = button('Add', `Add ${tea.name} to the basket`, () => put(tea.id, 1))
  const buy = el('span', 'buy', el('b', '', money.format(tea.price)), add)
  return el('li', 'card', tin, text, buy)
}

async function order() {
  if (!user) return login()
  byId('order').disabled = true
  try {
    // The demo API says back what reached it: the order, and whose access token came along.
    const { body, sub, bearer } = await api('/api/echo', { method: 'POST', body: { order: Object.fromEntries(basket) } })
    const count = Object.values(body.order).reduce((sum, each) => sum + each, 0)
    basket.clear()
    put('', 0)
    byId('said').textContent = `Thank you! ${count} ${count === 1 ? 'tin is' : 'tins are'} on the way. The API took the order from ${sub}, ${bearer ? 'by a token that this page never saw' : 'without a token'}.`
  } catch (error) {
    byId('said').textContent = error.message
    showBasket()
  }
}

function button(text, label, click) {
  const element = el('button', '', text)
  element.type = 'button'
  element.ariaLabel = label
  element.addEventListener('click', click)
  return element
}

function el(name, className, ...children) {
  const element = document.createElement(name)
  if (className) element.className = className
  element.append(...children)
  return element
}

byId('shelf').replaceChildren(...TEAS.map(card))
byId('sign-in').addEventListener('click', login)
byId('sign-out').addEventListener('click', logout)
byId('order').addEventListener('click', order)
