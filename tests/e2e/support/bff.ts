import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { CLIENT_ID, CLIENT_SECRET } from './provider'

export interface BffOptions {
  port: number
  issuer: string
  api: string
  idleTimeout: string
  /** More lines of the `[session]` table. */
  session: string
  store: Store
  /** Where administration listens, if at all. */
  adminPort: number | null
  refreshBefore: string
  /** Whether bff ends TLS itself, with a certificate that nobody trusts. */
  tls: boolean
  /** Sites beside it, each on a host of its own below localhost. */
  sites: string[]
  /** Lines of the `[frontend]` table. */
  frontend: string
  /** Several providers in the place of the one, each with lines of its own. */
  providers: { name: string; issuer: string; lines: string }[]
}

export type Store = { kind: 'memory' } | { kind: 'sqlite' } | { kind: 'redis'; url: string }

export const ADMIN_KEY = 'canary-admin-key-93d5e0ab61c7'
export const SESSION_KEY = randomBytes(32).toString('base64url')

export type RunningBff = Awaited<ReturnType<typeof startBff>>

const BINARY = resolve(import.meta.dirname, '..', process.env.BFF_BIN ?? '../../target/debug/bff')

/** `bff serve` in front of the certified provider. */
export function startBff(options: BffOptions) {
  return run('serve', toml(options), options, siteFiles(options))
}

/** `bff dev`: its own provider, demo app and demo API; `more` are further tables of the configuration. */
export function startBffDev(port: number, { adminPort = null, more = '' }: { adminPort?: number | null; more?: string } = {}) {
  const demo = '[[route]]\npath = "/api"\nupstream = "dev:api"\n'
  return startBffDevWith(`${serverTable(port, false, adminPort)}${demo}${more}`, port)
}

/** `bff dev` with this bff.toml, which says `port`, and these files beside it. */
export async function startBffDevWith(configuration: string, port: number, files: Record<string, string> = {}) {
  return ready(await run('dev', configuration, { port, tls: false }, files))
}

/** `bff dev` with a bff.toml of the repository, moved to `port`. */
export async function startBffDevAt(config: string, port: number) {
  return ready(await runAt('dev', ['--config', config, '--port', String(port)], { port, tls: false }))
}

async function ready<Running extends RunningBff>(bff: Running) {
  await waitFor(() => /misbehave +\S+/.test(bff.output()))
  return { ...bff, controlUrl: /misbehave +(\S+)/.exec(bff.output())![1]! }
}

/** Where it listens, and whether it speaks TLS there. */
interface Place {
  port: number
  tls: boolean
}

/** The origin that the browser sees, or that of a site beside it. */
export function originOf({ port, tls }: Place, site?: string): string {
  return `${tls ? 'https' : 'http'}://${site ? `${site}.` : ''}localhost:${port}`
}

type Files = Record<string, string>

/** Each site inherits all but its place, and who it is at the provider. */
function siteFiles(options: BffOptions): Files {
  const file = (name: string) => `public_url = "${originOf(options, name)}"\n[provider]\nclient_id = "${name}"\n`
  return Object.fromEntries(options.sites.map((name) => [`sites/${name}.toml`, file(name)]))
}

async function run(command: 'serve' | 'dev', configuration: string, place: Place, files: Files = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'bff-e2e-'))
  if (place.tls) makeCertificate(folder)
  const config = join(folder, 'bff.toml')
  for (const [name, text] of Object.entries({ 'bff.toml': configuration, ...files })) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return runAt(command, ['--config', config], place, () => rm(folder, { recursive: true, force: true }))
}

async function runAt(command: 'serve' | 'dev', options: string[], place: Place, tidy = async () => {}) {
  const publicUrl = originOf(place)
  let output = ''
  let child: ChildProcess
  let exited: Promise<unknown>

  const start = async () => {
    child = spawn(BINARY, [command, ...options], {
      env: { PATH: process.env.PATH, BFF_CLIENT_SECRET: CLIENT_SECRET, BFF_SESSION_KEY: SESSION_KEY, BFF_ADMIN_KEY: ADMIN_KEY, RUST_BACKTRACE: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout?.on('data', (chunk) => (output += chunk))
    child.stderr?.on('data', (chunk) => (output += chunk))
    exited = once(child, 'exit')
    // A binary that is not there is an error here, and none on `exit`.
    child.on('error', (error) => (output += `${error}\n`))
    await answers(`${publicUrl}/bff/session`, () => child.exitCode === null && child.pid !== undefined)
  }
  const crash = async () => {
    child.kill('SIGKILL')
    await exited
  }
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null && child.pid) {
      child.kill('SIGTERM')
      const overdue = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await exited
      clearTimeout(overdue)
    }
    await tidy()
  }

  try {
    await start()
  } catch (error) {
    await stop()
    throw new Error(`bff did not start: ${error}\n${output}`)
  }
  return {
    publicUrl,
    output: () => output,
    /** As power cuts and `kill -9` end it. */
    crash,
    /** After a crash: the same configuration, the same port, the same folder. */
    start,
    stop,
  }
}

async function waitFor(holds: () => boolean) {
  const deadline = Date.now() + 15_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('it does not say that it is ready')
    await new Promise((again) => setTimeout(again, 25))
  }
}

async function answers(url: string, alive: () => boolean) {
  const deadline = Date.now() + 15_000
  while (Date.now() < deadline) {
    if (!alive()) throw new Error('it has ended')
    if (await answersNow(url)) return
    await new Promise((again) => setTimeout(again, 25))
  }
  throw new Error('it does not answer')
}

async function answersNow(url: string): Promise<boolean> {
  if (url.startsWith('http:')) return fetch(url).then(() => true, () => false)
  return new Promise((resolve) => {
    const asked = request(url, { rejectUnauthorized: false }, (response) => resolve(Boolean(response.resume())))
    asked.on('error', () => resolve(false))
    asked.end()
  })
}

function makeCertificate(folder: string) {
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const files = ['-keyout', join(folder, 'tls.key'), '-out', join(folder, 'tls.crt')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, ...files], { stdio: 'ignore' })
}

function serverTable(port: number, tls: boolean, adminPort: number | null): string {
  return `
[server]
listen     = "127.0.0.1:${port}"
public_url = "${originOf({ port, tls })}"
${tls ? 'tls        = { cert = "tls.crt", key = "tls.key" }' : ''}
${adminPort ? `admin_listen = "127.0.0.1:${adminPort}"\nadmin_key = "env:BFF_ADMIN_KEY"` : ''}
`
}

function storeLines(store: Store): string {
  if (store.kind === 'memory') return ''
  const url = store.kind === 'redis' ? store.url : 'sessions.db'
  return `keys = ["env:BFF_SESSION_KEY"]\nstore = "${store.kind}"\nstore_url = "${url}"`
}

function toml({ port, tls, adminPort, sites, issuer, api, idleTimeout, session, store, refreshBefore, frontend, providers }: BffOptions): string {
  const several = providers.map(({ name, issuer, lines }) => `[providers.${name}]\nissuer = "${issuer}"\nclient_secret = "env:BFF_CLIENT_SECRET"\n${lines}`)
  return `${serverTable(port, tls, adminPort)}${sites.length ? 'sites = "sites"' : ''}
[provider]
issuer         = "${issuer}"
client_id      = "${CLIENT_ID}"
client_secret  = "env:BFF_CLIENT_SECRET"
refresh_before = "${refreshBefore}"

${several.join('\n\n')}

[session]
idle_timeout = "${idleTimeout}"
${storeLines(store)}
${session}

[[route]]
path     = "/api"
upstream = "${api}"

[[route]]
path     = "/members"
upstream = "${api}"
csrf     = "origin"

[[route]]
path     = "/widgets"
upstream = "${api}"
auth     = "none"

[[route]]
path           = "/next"
upstream       = "${api}"
auth           = "none"
service_worker = true

[frontend]
${frontend}

[log]
level = "debug"
`
}
