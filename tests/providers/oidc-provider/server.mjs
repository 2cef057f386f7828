// A certified OpenID provider for tests/it/real_providers: `node server.mjs CONFIG.json`.
//
// CONFIG.json names the port, the clients, and what this one demands. Whoever comes is signed in as the
// `login_hint` says, with the strongest context that is asked for, and agrees to everything: where the pages of
// a provider would be there is nothing to click.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { Provider } from 'oidc-provider';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${config.port}`;

const key = (kid, alg, kind, options) => {
  const { privateKey } = generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
};

const provider = new Provider(issuer, {
  clients: config.clients,
  jwks: {
    keys: [
      key('rsa', 'RS256', 'rsa', { modulusLength: 2048 }),
      key('pss', 'PS256', 'rsa', { modulusLength: 2048 }),
      key('ec', 'ES256', 'ec', { namedCurve: 'P-256' }),
    ],
  },
  cookies: { keys: [randomBytes(24).toString('hex')] },
  acrValues: ['pwd', 'mfa'],
  scopes: ['openid', 'offline_access', 'orders:read', 'mail:read', 'jobs:run'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], acr: null },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({ sub, email: `${sub}@example.com`, email_verified: true, name: sub }),
  }),
  conformIdTokenClaims: false,
  rotateRefreshToken: true,
  issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
  ttl: { AccessToken: config.life, ClientCredentials: config.life, IdToken: 300, Grant: 3600, Session: 3600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    jwtResponseModes: { enabled: true },
    encryption: { enabled: true },
    dPoP: {
      enabled: true,
      nonceSecret: randomBytes(32),
      requireNonce: () => config.nonces === true,
    },
    pushedAuthorizationRequests: {
      enabled: true,
      requirePushedAuthorizationRequests: config.pushed === true,
    },
    requestObjects: { enabled: true, requireSignedRequestObject: config.signed === true },
    ...(config.fapi ? { fapi: { enabled: true, profile: '2.0' } } : {}),
    resourceIndicators: {
      enabled: true,
      // Without one the token is for this provider's own UserInfo.
      defaultResource: () => [],
      useGrantedResource: () => false,
      getResourceServerInfo: (_, resource) => ({
        scope: 'orders:read mail:read jobs:run',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: config.life,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) {
    return next();
  }
  const { prompt, params, session } = await provider.interactionDetails(ctx.req, ctx.res);
  if (prompt.name === 'login') {
    const acr = (params.acr_values ?? '').split(' ').includes('mfa') ? 'mfa' : 'pwd';
    const login = { accountId: params.login_hint ?? 'alice', acr, amr: acr === 'mfa' ? ['pwd', 'otp'] : ['pwd'] };
    return provider.interactionFinished(ctx.req, ctx.res, { login });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const resources = [params.resource ?? [], ...(config.resources ?? [])].flat();
  for (const resource of resources) {
    grant.addResourceScope(resource, 'orders:read mail:read jobs:run');
  }
  const grantId = await grant.save();
  return provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId } }, { mergeWithLastSubmission: true });
});

const told = (name) => provider.on(name, (_, error) => console.error(name, error?.error, error?.error_detail ?? error));
['authorization.error', 'grant.error', 'pushed_authorization_request.error', 'server_error', 'userinfo.error'].forEach(told);

provider.listen(config.port, '127.0.0.1');
