//! The fields of a request that no upstream sees as the browser sent them, and why (I2, I4, I5,
//! I6). docs/headers.md shows the same list to people.

use std::fmt;

pub use super::names::Group;
use super::names::{Names, count};

/// Why a field of the browser's is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It speaks of one connection or frames one message.
    Connection,
    /// It is ours to write, or was said to us.
    Ours,
    /// Proxies tell by it who calls and from where; we say that anew.
    Forwarding,
    /// Proxies and clouds vouch by it for a user, a service or a certificate.
    Identity,
    /// It makes some upstreams take the request for another one.
    Disguise,
    /// Some upstreams read `_` and `.` in a name as `-`.
    TwoReadings,
}

/// Ordered by reason, so that a newcomer sees what is missing; a name in one group alone.
const GROUPS: &[Group<Reason>] = &[
    Group {
        reason: Reason::Connection,
        names: &[
            "connection",
            "content-length",
            "expect",
            "http2-settings",
            "keep-alive",
            "max-forwards",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ],
    },
    Group {
        reason: Reason::Ours,
        names: &[
            "authorization",
            "cookie",
            "cookie2",
            "dpop",
            "host",
            "proxy-authorization",
            "x-bff-*",
            "x-csrf",
            "x-request-id",
            // Google's run time takes it in place of Authorization.
            "x-serverless-authorization",
        ],
    },
    Group {
        reason: Reason::Forwarding,
        names: &[
            "ali-cdn-real-ip",
            "cdn-src-ip",
            "cf-connecting-*",
            "client-ip",
            "do-connecting-ip",
            "fastly-client*",
            "fastly-ssl",
            "fly-client-ip",
            "fly-forwarded-*",
            "forwarded",
            "forwarded-for",
            "front-end-https",
            "proxy-client-ip",
            "true-client-ip",
            "wl-proxy-*",
            "x-appengine-*",
            "x-arr-*",
            "x-azure-clientip",
            "x-azure-socketip",
            "x-client-ip",
            "x-clientip",
            "x-cluster-client-ip",
            "x-envoy-*",
            "x-forward-for",
            "x-forwarded*",
            "x-nf-client-connection-ip",
            "x-originating-ip",
            "x-proxyuser-ip",
            "x-real-*",
            "x-scheme",
            "x-source-ip",
            "x-true-ip",
            "x-url-scheme",
        ],
    },
    Group {
        reason: Reason::Identity,
        names: &[
            "auth-groups",
            "auth-mail",
            "auth-user",
            "cf-access-*",
            "cf-client-cert-*",
            "client-cert",
            "client-cert-chain",
            "dapr-caller-*",
            "eppn",
            "es-security-runas-user",
            "impersonate-*",
            "iv-*",
            "l5d-client-id",
            "ms-aspnetcore-*",
            "oam-*",
            "oidc-*",
            "osso-*",
            "persistent-id",
            "remote-*",
            "sf-context-*",
            "shib-*",
            "sm-*",
            "ssl-client-*",
            "tailscale-*",
            "teleport-jwt-assertion",
            "x-access-token",
            "x-amzn-ava-*",
            "x-amzn-lambda-context",
            "x-amzn-mtls-*",
            "x-amzn-oidc-*",
            "x-amzn-request-context",
            "x-anonymous-consumer",
            "x-apigateway-api-userinfo",
            "x-auth-couchdb-*",
            "x-auth-email",
            "x-auth-groups",
            "x-auth-name",
            "x-auth-request-*",
            "x-auth-roles",
            "x-auth-subject",
            "x-auth-user*",
            "x-authenticated-*",
            "x-authentik-*",
            "x-client-cert*",
            "x-client-dn*",
            "x-client-verify",
            "x-consumer-*",
            "x-credential-*",
            "x-endpoint-api-userinfo",
            "x-goog-authenticated-user-*",
            "x-goog-iap-*",
            "x-groups",
            "x-id-token",
            "x-jwt-assertion",
            "x-jwt-claim-*",
            "x-jwt-payload",
            "x-kratos-authenticated-identity-id",
            "x-ms-client-principal*",
            "x-ms-token-*",
            "x-pomerium-*",
            "x-presto-user",
            "x-proxiedentitieschain",
            "x-proxy-roles",
            "x-proxy-user",
            "x-refresh-token",
            "x-remote-*",
            "x-rh-identity",
            "x-roles",
            "x-rstudio-*",
            "x-scope-orgid",
            "x-spinnaker-user",
            "x-ssl-*",
            "x-sso-user",
            "x-tls-client-*",
            "x-token-*",
            "x-trino-user",
            "x-user",
            "x-user-email",
            "x-user-group",
            "x-user-groups",
            "x-user-id",
            "x-user-info",
            "x-user-name",
            "x-user-role",
            "x-user-roles",
            "x-useremail",
            "x-userid",
            "x-userinfo",
            "x-username",
            "x-vercel-oidc-token",
            "x-vouch-*",
            "x-warpgate-*",
            "x-webauth-*",
        ],
    },
    Group {
        reason: Reason::Disguise,
        names: &[
            "l5d-dst-*",
            "proxy",
            "x-accel-*",
            "x-host",
            "x-http-host-override",
            "x-http-method",
            "x-http-method-override",
            "x-http-verb",
            "x-invoke-path",
            "x-matched-path",
            "x-method-override",
            "x-middleware-rewrite",
            "x-middleware-subrequest*",
            "x-original-*",
            "x-override-method",
            "x-rewrite-url",
            "x-sendfile-type",
        ],
    },
];

const NAMES: &Names<Reason, { count(GROUPS) }> = &Names::of(GROUPS);

/// Why a field of this name, in lower case, is kept back, if it is.
pub fn reason(name: &str) -> Option<Reason> {
    // `x_forwarded_for` is `X-Forwarded-For` to a CGI-like upstream, and so is one with a dot.
    // A name on the wire is in lower case.
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.bytes().all(plain) {
        NAMES.find(name)
    } else {
        Some(Reason::TwoReadings)
    }
}

/// The whole list, in its groups.
pub const fn groups() -> &'static [Group<Reason>] {
    GROUPS
}

impl Reason {
    /// Whether a route may let such a field pass by naming it.
    pub const fn may_be_passed(self) -> bool {
        match self {
            Self::Identity | Self::Disguise => true,
            Self::Connection | Self::Ours | Self::Forwarding | Self::TwoReadings => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "it belongs to one connection",
            Self::Ours => "it is bff's to write, or to read",
            Self::Forwarding => "it tells who calls from where, which bff says anew",
            Self::Identity => "it is how proxies vouch for a user",
            Self::Disguise => "it makes some upstreams take the call for another one",
            Self::TwoReadings => "some upstreams read its name as that of another field",
        })
    }
}
