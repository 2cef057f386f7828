// The menu of the apps that this process serves: sites, and tenants of theirs. Only `bff dev` tells a page
// of the others; in production nobody asks and nobody is told.

const byId = (id) => document.getElementById(id)
const menu = byId('sites')

/** So many are at a glance; of more one looks for a name. */
const AT_A_GLANCE = 8

let asked = 0

async function list(text) {
  const mine = ++asked
  const response = await fetch(`dev/sites.json?find=${encodeURIComponent(text)}`, { cache: 'no-store' })
  if (!response.ok) return
  const found = await response.json()
  if (mine === asked) show(found) // else what was typed since is looked for already
}

function show({ here, all, apps, more }) {
  if (all < 2) return
  const name = here ? nameOf(here).join(' / ') : 'bff dev'
  document.title = `${name} · bff dev`
  byId('site').replaceChildren(tile(name), shown(here), el('span', 'unseen', `, one of ${all} apps`), chevron())
  byId('find').hidden = all <= AT_A_GLANCE
  byId('places').replaceChildren(...groups(apps).map(([site, own]) => group(site, own, here)))
  const left = more > 0 ? `and ${more.toLocaleString()} more: type a part of the name` : 'No app is called that.'
  byId('places-more').textContent = left
  byId('places-more').hidden = more === 0 && apps.length > 0
  menu.hidden = false
}

/** The apps of one site together, in the order of the configuration. */
function groups(apps) {
  const sites = new Map()
  for (const app of apps) sites.set(app.site, [...(sites.get(app.site) ?? []), app])
  return [...sites]
}

function group(site, apps, here) {
  const list = el('ul', '', ...apps.map((app) => el('li', '', link(app, app.url === here?.url))))
  const head = apps[0].tenant === null ? [] : [el('h2', '', `${site || 'app'} tenants`)]
  return el('section', '', ...head, list)
}

function link(app, isHere) {
  const name = app.tenant ?? (app.site || 'app')
  const { hostname, pathname } = new URL(app.url)
  const text = el('span', '', el('b', '', name), el('small', '', hostname + pathname.replace(/\/$/, '')))
  const a = el('a', '', tile(name), text)
  a.href = app.url
  if (isHere) a.ariaCurrent = 'page'
  return a
}

function nameOf({ site, tenant }) {
  return [site || 'app', tenant].filter(Boolean)
}

/** Where there is no room for all, the site gives way and the tenant stays. */
function shown(here) {
  const [site, tenant] = here ? nameOf(here) : ['bff dev']
  const own = tenant ? [el('span', 'own', tenant)] : []
  return el('span', 'name', el('span', '', site), ...own)
}

/** To the app of this name, where no other has it. */
async function goToTheOne(text) {
  await list(text)
  const links = byId('places').querySelectorAll('a')
  if (links.length === 1) links[0].click()
}

/** A letter on a colour of its own, so that one is found again before it is read. */
function tile(name) {
  const own = name.split(' / ').at(-1)
  const element = el('span', 'tile', own[0].toUpperCase())
  const hue = [...own].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7)
  element.style.setProperty('--hue', hue)
  element.ariaHidden = 'true'
  return element
}

function chevron() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('viewBox', '0 0 12 12')
  svg.setAttribute('class', 'chevron')
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  path.setAttribute('d', 'M2.5 4.5 6 8l3.5-3.5')
  svg.append(path)
  return svg
}

function el(name, className, ...children) {
  const element = document.createElement(name)
  if (className) element.className = className
  element.append(...children)
  return element
}

byId('find').addEventListener('input', ({ target }) => list(target.value).catch(() => {}))
byId('find').addEventListener('keydown', ({ key, target }) => {
  if (key === 'Enter') goToTheOne(target.value).catch(() => {})
})
menu.addEventListener('toggle', () => {
  if (menu.open && !byId('find').hidden) byId('find').focus()
})
addEventListener('keydown', ({ key }) => {
  if (key !== 'Escape' || !menu.open) return
  menu.open = false
  byId('site').focus()
})
addEventListener('pointerdown', ({ target }) => {
  if (!menu.contains(target)) menu.open = false
})

list('').catch(() => {}) // an app of one's own took the demo's place there
