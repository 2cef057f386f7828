// A real Keycloak for the browser, with the example's realm. tests/providers.sh installs it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { freePort } from './ports'
import { CLIENT_ID, CLIENT_SECRET } from './provider'

/** Where Keycloak is installed and built; undefined where it is not. */
export const KEYCLOAK_HOME = process.env.BFF_TEST_KEYCLOAK

export type RunningKeycloak = Awaited<ReturnType<typeof startKeycloak>>

const REALM = resolve(import.meta.dirname, '../../../examples/keycloak/realm.json')

/** On 127.0.0.1, so that it is another site than the app on localhost. */
export async function startKeycloak() {
  const folder = await mkdtemp(join(tmpdir(), 'bff-keycloak-'))
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const options = [
    '--optimized',
    '--http-enabled=true',
    '--http-host=127.0.0.1',
    `--http-port=${port}`,
    `--hostname=${origin}`,
    `--db-url=jdbc:h2:file:${join(folder, 'db')};NON_KEYWORDS=VALUE`,
  ]
  const child = spawn(join(KEYCLOAK_HOME ?? '', 'bin/kc.sh'), ['start', ...options], {
    env: { ...process.env, KC_BOOTSTRAP_ADMIN_USERNAME: 'admin', KC_BOOTSTRAP_ADMIN_PASSWORD: 'admin' },
    stdio: 'ignore',
  })
  const exited = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
    await rm(folder, { recursive: true, force: true })
  }
  const deadline = Date.now() + 180_000
  while (!(await fetch(`${origin}/realms/master`).then((answer) => answer.ok, () => false))) {
    if (Date.now() > deadline || child.exitCode !== null) {
      await stop()
      throw new Error('Keycloak did not start')
    }
    await new Promise((again) => setTimeout(again, 200))
  }
  return {
    stop,
    /** The example's realm for the app at `appOrigin`, changed by `changes`: its issuer. */
    realm: async (name: string, appOrigin: string, changes: object = {}): Promise<string> => {
      const text = (await readFile(REALM, 'utf8'))
        .replaceAll(/http:\/\/(localhost|bff):8080/g, appOrigin)
        .replaceAll('default-roles-main', `default-roles-${name}`)
      const realm = { ...JSON.parse(text), realm: name, ...changes }
      realm.clients[0] = { ...realm.clients[0], clientId: CLIENT_ID, secret: CLIENT_SECRET }
      const body = new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: 'admin', password: 'admin' })
      const token = await fetch(`${origin}/realms/master/protocol/openid-connect/token`, { method: 'POST', body })
      const { access_token } = await token.json()
      const headers = { Authorization: `Bearer ${access_token}`, 'Content-Type': 'application/json' }
      const made = await fetch(`${origin}/admin/realms`, { method: 'POST', headers, body: JSON.stringify(realm) })
      if (!made.ok) throw new Error(`no realm: ${made.status} ${await made.text()}`)
      return `${origin}/realms/${name}`
    },
  }
}
