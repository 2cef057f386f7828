// The certified provider, npm oidc-provider, with pages of our own so that nothing is fetched from elsewhere.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Provider } from 'oidc-provider'
import { close, listen } from './ports'

export interface ProviderOptions {
  /** Where bff will be. */
  publicUrl: string
  /** Sites beside it: where each is, by its `client_id`. */
  sites: Record<string, string>
  accessTokenSeconds: number
  backchannelLogout: BackchannelLogout
  /** Whether a form that was sent is answered with an error when somebody goes back to it, or asks anew as many do. */
  oldForm: 'fails' | 'asks-anew'
  /** What bff calls it, where it has several. */
  name?: string
}

/** Whether the provider tells bff of a logout, and what it then names: its own session, or the user alone. */
export type BackchannelLogout = 'none' | 'session' | 'user'

export type RunningProvider = Awaited<ReturnType<typeof startProvider>>

export const CLIENT_ID = 'app'
export const CLIENT_SECRET = 'canary-client-secret-4f1d0c7be29a'

export async function startProvider({ publicUrl, sites, accessTokenSeconds, backchannelLogout, oldForm, name }: ProviderOptions) {
  const own = name ? `/${name}` : ''
  let handle: (req: IncomingMessage, res: ServerResponse) => void = (_, res) => res.writeHead(503).end()
  const server = createServer((req, res) => handle(req, res))
  const issuer = `http://127.0.0.1:${await listen(server)}`

  const names = new Map<string, string>()
  const client = (client_id: string, url: string) => ({
    client_id,
    client_secret: CLIENT_SECRET,
    redirect_uris: [`${url}/bff/callback${own}`],
    post_logout_redirect_uris: [`${url}/bff/logout/callback`],
    ...(backchannelLogout !== 'none' && {
      backchannel_logout_uri: `${url}/bff/backchannel-logout${own}`,
      backchannel_logout_session_required: backchannelLogout === 'session',
    }),
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
  })
  const provider = new Provider(issuer, {
    clients: [client(CLIENT_ID, publicUrl), ...Object.entries(sites).map(([id, url]) => client(id, url))],
    pkce: { required: () => true },
    // A refresh token is good for one use; a second one revokes all that came from the same login.
    rotateRefreshToken: true,
    issueRefreshToken: async (_ctx: unknown, client: any) => client.grantTypeAllowed('refresh_token'),
    ttl: { AccessToken: accessTokenSeconds, IdToken: 3600, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
    cookies: { keys: ['e2e'] },
    claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    findAccount: (_ctx: unknown, sub: string) => ({
      accountId: sub,
      claims: () => ({ sub, name: names.get(sub) ?? `${sub[0]?.toUpperCase()}${sub.slice(1)} Example`, email: `${sub}@example.com`, email_verified: true }),
    }),
    loadExistingGrant: async (ctx: any) => {
      const known = ctx.oidc.session.grantIdFor(ctx.oidc.client.clientId)
      if (known) return ctx.oidc.provider.Grant.find(known)
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId })
      grant.addOIDCScope('openid profile email offline_access')
      await grant.save()
      return grant
    },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true, allowedPolicy: async (_ctx: unknown, client: any, token: any) => token.clientId === client.clientId },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: async (ctx: any, form: string) => {
          ctx.body = page('Sign out', `${form}<button form="op.logoutForm" name="logout" value="yes">Sign out here too</button>`)
        },
        postLogoutSuccessSource: async (ctx: any) => {
          ctx.body = page('Signed out', '<p>Signed out</p>')
        },
      },
    },
    renderError: async (ctx: any, out: Record<string, unknown>) => {
      ctx.type = 'html'
      ctx.body = page('Provider error', `<pre>${JSON.stringify(out).replaceAll('<', '&lt;')}</pre>`)
    },
    // Its own would refuse to call a loopback address, which is where bff is here.
    fetch: (url: URL, { dispatcher: _, ...options }: any) => fetch(url, options),
    interactions: { url: (_ctx: unknown, interaction: any) => `/interaction/${interaction.uid}` },
  } as any)

  // What the provider did, for the tests to look at.
  const tokens = new Set<string>()
  const grants: { type: string; ok: boolean }[] = []
  const failing = { token: false }
  // What each form was shown for.
  const asked = new Map<string, string>()
  const backchannelErrors: string[] = []
  provider.on('grant.success', (ctx: any) => {
    grants.push({ type: ctx.oidc.params.grant_type, ok: true })
    for (const name of ['access_token', 'refresh_token', 'id_token']) if (ctx.body[name]) tokens.add(ctx.body[name])
  })
  provider.on('grant.error', (ctx: any) => grants.push({ type: ctx.oidc?.params?.grant_type, ok: false }))

  provider.on('backchannel.error', (_ctx: unknown, error: Error) => backchannelErrors.push(String(error)))
  const callback = provider.callback()
  handle = (req, res) => {
    if (req.url?.startsWith('/interaction/')) void interact(provider, req, res, oldForm === 'asks-anew' ? asked : null)
    else if (failing.token && req.url === '/token') res.writeHead(503).end()
    else callback(req, res)
  }

  return {
    issuer,
    /** Every access, refresh and ID token that it has given out. */
    tokens,
    /** Display names by subject, for those who are not to be called after it. */
    names,
    /** Makes the token endpoint answer 503. */
    failing,
    /** Successful calls of the token endpoint with this grant. */
    grantsOf: (type: string) => grants.filter((grant) => grant.ok && grant.type === type).length,
    refreshes: () => grants.filter((g) => g.type === 'refresh_token').length,
    /** Back-channel logouts that bff did not take. */
    backchannelErrors,
    failures: () => grants.filter((g) => !g.ok),
    accessTokenIsGood: async (token: string) => Boolean((await provider.AccessToken.find(token))?.isValid),
    stop: () => close(server),
  }
}

/** Who are you? Any name will do. */
async function interact(provider: Provider, req: IncomingMessage, res: ServerResponse, asked: Map<string, string> | null) {
  try {
    const { params } = await provider.interactionDetails(req, res)
    asked?.set(req.url ?? '', `/auth?${new URLSearchParams(params as Record<string, string>)}`)
    if (req.method === 'GET') {
      const hint = String(params.login_hint ?? '').replace(/[^\w.@-]/g, '')
      const form = `<form method="post"><label>User <input name="user" value="${hint}" required></label> <button>Continue</button> <button name="cancel" value="1" formnovalidate>Cancel</button></form>`
      res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', ...(asked && { 'Cache-Control': 'no-store' }) }).end(page('Sign in', form))
      return
    }
    let body = ''
    for await (const chunk of req) body += chunk
    const sent = new URLSearchParams(body)
    if (sent.has('cancel')) {
      await provider.interactionFinished(req, res, { error: 'access_denied' }, { mergeWithLastSubmission: false })
      return
    }
    const accountId = sent.get('user') ?? ''
    await provider.interactionFinished(req, res, { login: { accountId, amr: ['pwd'] } }, { mergeWithLastSubmission: false })
  } catch (error) {
    // The back button leads to an interaction that is over.
    const anew = asked?.get(req.url ?? '')
    if (anew) {
      res.writeHead(303, { Location: anew }).end()
      return
    }
    res.writeHead(400, { 'Content-Type': 'text/html; charset=utf-8' }).end(page('Provider error', `<pre>${(error as Error).name}</pre>`))
  }
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>${title}</title><h1>${title}</h1>${body}`
}
