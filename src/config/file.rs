//! `bff.toml` as written: every table and key, once. The docs here are what `bff schema` prints.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, json};

use crate::auth::{AccessDenied, AnonymousAnswer, LogoutHint};
use crate::config::document::{Node, Value};
use crate::config::error::Faults;
use crate::config::json_tables::JsonTables;
use crate::config::lists::{Named, OneOrMany};
use crate::config::reader::{Read, Written, table, wrong_type};
use crate::config::route_table::RouteTable;
use crate::config::secret_source::{AddressSource, SecretSource};
use crate::config::tenants::written::TenantsTable;
use crate::config::tls_table::TlsTable;
use crate::config::values::HeaderText;
use crate::config::words::{AtMost, Chosen, ClientAuthMethod, Day, LogoutPlace, Size, Store};
use crate::oidc::{
    AssertionAudience, Dpop, IdTokenAlg, Profile, PushedAuthorization, RequestObject, ResponseMode,
};
use crate::server::Listen;
use crate::session::SameSite;
use crate::session::store::{LimitScope, OnLimit};
use crate::telemetry::{LogFormat, SubjectInLog};

table! {
    /// The configuration of bff.
    File {
        /// Those that are served by this file, each with a site of its own, where `server.public_url` has
        /// {tenant} in it. Default none.
        tenants: TenantsTable,
        /// The public listener.
        server: ServerTable,
        /// The OpenID provider and who we are to it.
        provider: ProviderTable,
        /// Several providers at which people sign in, in place of one, by their names; each inherits from `provider`. Default none.
        providers: Named<ProviderTable>,
        /// The one that a login link without a name means. Default none: a person chooses.
        default_provider: String,
        /// The path of the app's own page that offers them. Default none: a page of bff.
        choose_provider_url: String,
        /// Sessions.
        session: SessionTable,
        /// Where API calls go, one table a route.
        route: Vec<Written<RouteTable>>,
        /// The browser app: its files, or its development server.
        frontend: FrontendTable,
        /// The log.
        log: LogTable,
        /// The development provider of `bff dev`; ignored by `bff serve`.
        #[cfg_attr(not(feature = "dev"), expect(dead_code, reason = "read, so that one file does for every build"))]
        dev: DevTable,
    }
}

table! {
    /// The public listener.
    ServerTable {
        /// The IP address and port to listen on, or a socket file. Default "127.0.0.1:8080".
        listen: Listen,
        /// The origin that browsers see, https or http on a loopback host, and where the app is mounted there.
        /// Required, unless `sites` names all.
        public_url: String,
        /// Where the endpoints of bff live. Default "/bff".
        base_path: String,
        /// Where people are sent who come to a host of the pattern that is no tenant's. Default nowhere: 404.
        no_tenant: String,
        /// A file with more tenants, a table each, relative to the folder of this file. Default none.
        tenants_file: String,
        /// The folder of more sites, one NAME.toml each, relative to the folder of this file. Default none.
        sites: String,
        /// Certificate and key to serve https with. Default none: cleartext.
        tls: TlsTable,
        /// Threads, each with its own listener and upstream connections. Default one per core.
        workers: u64,
        /// The IP address and port of health, metrics and administration, or a socket file. Default none.
        admin_listen: Listen,
        /// The secret bearer key of administration. Default none: health and metrics only.
        admin_key: SecretSource,
        /// The keys of people, each under the name that the log shows for what they did. Default none.
        admin_keys: Named<SecretSource>,
        /// Keys that sign the tokens of a route's `identity`, secrets: the first signs, all are published. Default none.
        identity_keys: Vec<Written<SecretSource>>,
        /// Names that the second listener answers to, beside IP addresses and "localhost". Default
        /// none.
        admin_hosts: Vec<Written<String>>,
        /// Networks of proxies before us whose X-Forwarded-For counts. Default none.
        trusted_proxies: Vec<Written<IpNet>>,
        /// Whether a path may hold a semicolon. Default false: such a path is answered 400.
        allow_semicolon: bool,
        /// What a stranger may use.
        limits: LimitsTable,
        /// How long a stranger may take.
        timeouts: TimeoutsTable,
    }
}

table! {
    /// What a stranger may use.
    LimitsTable {
        /// The size of a request's head; 8KiB at least. Default "32KiB".
        head: Size,
        /// Fields in a request's head. Default 100.
        head_fields: u64,
        /// Fields in the head of an upstream's answer. Default 100.
        upstream_fields: u64,
        /// Connections open at once. Default 10000.
        connections: u64,
        /// Of these, those of one address, where addresses tell clients apart. Default a quarter.
        connections_per_address: u64,
        /// HTTP/2 streams open at once on a connection. Default 100.
        h2_streams: u64,
        /// HTTP/2 streams that a browser may reset before its connection is closed. Default 100.
        h2_resets: u64,
        /// Bytes a second that a body must bring over 30 seconds of waiting for it, and that a browser
        /// must take of an answer that waits for it. Default "64B"; "0B" lets any rate pass.
        least_rate: Size,
    }
}

table! {
    /// How long a stranger may take.
    TimeoutsTable {
        /// For the TLS handshake. Default "10s".
        handshake: Duration,
        /// For a request's head, from its first byte. Default "10s".
        head: Duration,
        /// Between two requests on one connection. Default "75s".
        idle: Duration,
        /// Between two pieces of a body, either way. Default "30s".
        body_idle: Duration,
        /// A browser's silence on a WebSocket before it is pinged, and again before it is let go.
        /// Default "30s"; "0s" lets it be silent for ever.
        websocket_ping: Duration,
        /// For connecting to an upstream. Default "5s".
        connect: Duration,
        /// How long a connection to an upstream takes new requests. Default "5m".
        upstream_age: Duration,
        /// Between the order to stop and the drain: `/readyz` says no, all are served. Default "0s".
        drain_delay: Duration,
        /// For requests that are open at shutdown. Default "30s".
        drain: Duration,
    }
}

table! {
    /// The OpenID provider and who we are to it.
    ProviderTable {
        /// The issuer, byte for byte as the provider's metadata says it. Required.
        issuer: String,
        /// Where bff reaches the provider, where that is not where browsers do. Default none: at the issuer.
        internal_url: String,
        /// Whether `internal_url` may be http. Default false.
        internal_http: bool,
        /// Who we are at the provider. Required.
        client_id: String,
        /// How we prove it. Default what the provider takes of a secret, or `"private_key_jwt"` with a `client_key` or a
        /// `client_assertion_file` alone.
        client_auth: Chosen<ClientAuthMethod>,
        /// Our password at the provider, a secret.
        client_secret: SecretSource,
        /// The day on which that password ends, such as "2027-01-31". Default none.
        client_secret_expires: Day,
        /// Our private key in PEM for `private_key_jwt`, a secret.
        client_key: SecretSource,
        /// The `kid` that the provider knows this key by. Default none.
        client_key_id: String,
        /// A file with an assertion that others write and renew, in place of a secret or a key. Default none.
        client_assertion_file: String,
        /// Whom the assertions that we sign name as their audience. Default "issuer".
        client_assertion_audience: Chosen<AssertionAudience>,
        /// PEM file with the certificate that we show the provider in TLS, read again when it changes. Default none.
        client_cert: String,
        /// PEM file with its private key. Required with `client_cert`.
        client_cert_key: String,
        /// Whether to run without either, which is unsafe. Default false.
        allow_public_client: bool,
        /// The scopes asked for. Default openid and what the provider offers of profile, email, `offline_access`.
        scopes: Vec<Written<String>>,
        /// The algorithms an ID token may be signed with. Default those that the provider offers.
        id_token_algs: Vec<Written<Chosen<IdTokenAlg>>>,
        /// Audiences that may stand beside ours in an ID token. Default none.
        trusted_audiences: Vec<Written<String>>,
        /// How far the provider's clock may be off; at most 5m. Default "60s".
        clock_skew: Duration,
        /// Whether a logout token must say that it is one, by `typ`. Default false.
        require_logout_token_typ: bool,
        /// Whether a logout token may lack `exp`. Default false.
        allow_logout_token_without_exp: bool,
        /// How the provider hands its answer to the browser. Default "query".
        response_mode: Chosen<ResponseMode>,
        /// Whether access tokens are to be bound to a key of ours (RFC 9449). Default "never".
        dpop: Chosen<Dpop>,
        /// Whether the authorization request goes to the provider past the browser (RFC 9126). Default "auto".
        pushed_authorization: Chosen<PushedAuthorization>,
        /// Whether the authorization request is signed with `client_key` (RFC 9101). Default "never".
        request_object: Chosen<RequestObject>,
        /// Absolute addresses of the APIs that a login is for (RFC 8707). Default none.
        resource: OneOrMany<String>,
        /// What is to be authorized, a table each with its `type` (RFC 9396). Default none.
        authorization_details: JsonTables,
        /// The set of rules that all of a login keeps to. Default "plain".
        profile: Chosen<Profile>,
        /// Whether that answer must name the issuer (RFC 9207), whatever the metadata say. Default false.
        require_response_iss: bool,
        /// Whether `UserInfo` is fetched at login. Default false.
        userinfo: bool,
        /// Whether a login may be started from elsewhere. Default false.
        third_party_login: bool,
        /// Whether the answer to a login that asks for `acr_values` must hold one of them. Default false.
        essential_acr: bool,
        /// How long a login may take, from its start to the provider's answer. Default "1h".
        login_timeout: Duration,
        /// Where a login ends that was cancelled at the provider. Default "page".
        access_denied: Chosen<AccessDenied>,
        /// The deadline of each call to the provider; four times as long for those that buy tokens.
        /// Default "3s".
        timeout: Duration,
        /// How long before its end an access token is refreshed. Default "60s".
        refresh_before: Duration,
        /// Whether logout revokes the refresh token. Default true.
        revoke_on_logout: bool,
        /// Whether a logout goes on at the provider or ends here. Default "provider".
        logout: Chosen<LogoutPlace>,
        /// What tells the provider whose session ends at logout. Default `"id_token"`.
        logout_hint: Chosen<LogoutHint>,
        /// A claim of the user that goes to the provider as `logout_hint`. Default none.
        logout_hint_claim: String,
        /// Parameters of your own for the end-session request; an empty value leaves out one of ours. Default none.
        logout_params: Named<HeaderText>,
        /// Parameters of your own for the authorization request. Default none.
        authorize_params: Named<String>,
        /// Parameters that a login link may carry, each with its values or "*" for any. Default none.
        login_params: Named<OneOrMany<String>>,
        /// Whether the provider is asked for its metadata; `endpoints` stand in their place where it
        /// publishes none. Default true.
        discovery: bool,
        /// Addresses of the provider that stand for those of its metadata. Default none.
        endpoints: EndpointsTable,
        /// The proxy that calls to the provider go through: "env", "none" or its address, which may be a
        /// secret. Default "env": that of `HTTPS_PROXY`.
        proxy: AddressSource,
        /// PEM file with the roots that the provider's certificate is held against. Default the machine's.
        ca: String,
        /// The claims that the session endpoint shows the browser app.
        claims: Vec<Written<String>>,
        /// What people read of it who choose among several. Default its name in `providers`.
        label: String,
        /// The path of a picture of it there, on the site itself. Default the first letter of the label.
        logo: String,
    }
}

table! {
    /// Addresses of the provider that stand for those of its metadata.
    EndpointsTable {
        /// Where the browser signs in.
        authorization: String,
        /// Where codes and refresh tokens are redeemed.
        token: String,
        /// Where the keys are.
        jwks: String,
        /// Who is signed in.
        userinfo: String,
        /// Where the browser signs out.
        end_session: String,
        /// Where tokens are revoked.
        revocation: String,
        /// Where authorization requests are handed over.
        pushed_authorization: String,
    }
}

table! {
    /// Sessions.
    SessionTable {
        /// Keys that seal cookies, secrets: the first seals, all open. Default a fresh one at each start.
        keys: Vec<Written<SecretSource>>,
        /// Where sessions are kept. Default "memory".
        store: Chosen<Store>,
        /// The store's address, which may be a secret; required for sqlite, redis and postgres.
        store_url: AddressSource,
        /// PEM file with the roots that the store's certificate is held against. Default the machine's.
        store_ca: String,
        /// How long a call to the store may take. Default "2s".
        store_timeout: Duration,
        /// Whether the schema of the store is brought up to date at start. Default true.
        migrate: bool,
        /// How old what a node remembers of the store may be; "0s" asks it each time. Default "1s".
        max_staleness: Duration,
        /// The memory that sessions of this process may take, such as "512MiB". Default half of what is
        /// available at start.
        memory: Size,
        /// Sessions that a node remembers of another store than "memory", at 4 KiB each: the former way to say
        /// session.memory.
        near_cache: u64,
        /// How many sessions a user may have; "none" for any number. Default 64; with the store
        /// "cookie" any number, since nobody counts them.
        max_per_user: AtMost,
        /// Which of a user's sessions count: those at the same site, or those at all sites of the same
        /// issuer. Default `"site"`.
        max_per_user_scope: Chosen<LimitScope>,
        /// What happens to one more. Default `"end_oldest"`.
        on_limit: Chosen<OnLimit>,
        /// Whether the refresh tokens of sessions that expired are revoked. Default false.
        revoke_abandoned: bool,
        /// Whether the tokens of a session that another login replaced are revoked. Default false.
        revoke_superseded: bool,
        /// How long after its end a token that the provider refuses to renew asks for a login. Default "5m".
        unrefreshable_after: Duration,
        /// Without a call for this long, a session ends. Default "30m".
        idle_timeout: Duration,
        /// However active, a session ends after this long. Default "8h".
        max_lifetime: Duration,
        /// The status of the session endpoint for the anonymous. Default 200.
        anonymous: Chosen<AnonymousAnswer>,
        /// The session cookie.
        cookie: CookieTable,
    }
}

table! {
    /// The session cookie.
    CookieTable {
        /// Its name. Default "__Host-Http-bff"; "bff" where `public_url` is http; on loopback with the
        /// port, as in "bff-8080".
        name: String,
        /// Its `SameSite` attribute. Default "Strict".
        same_site: Chosen<SameSite>,
        /// Whether it outlives the browser's closing. Default false.
        persistent: bool,
    }
}

table! {
    /// The browser app: its files, or its development server.
    FrontendTable {
        /// The folder that holds index.html, relative to the folder of this file. Default none.
        dir: String,
        /// The app's development server, in place of `dir`. Default none.
        upstream: String,
        /// Headers of every file, laid over the safe defaults; an empty value removes one. Default none.
        headers: Named<HeaderText>,
        /// Whether text that lies in `dir` unpacked is compressed on its way. Default true.
        compress: bool,
        /// The app's own page for what goes wrong, relative to the folder of this file. Default none: a page of bff.
        error_page: String,
    }
}

table! {
    /// The log.
    LogTable {
        /// What is logged, such as "info" or "bff=debug,warn". Default "info".
        level: String,
        /// How a line looks. Default "text".
        format: Chosen<LogFormat>,
        /// How users are called in it. Default "hash".
        subject: Chosen<SubjectInLog>,
    }
}

table! {
    /// The development provider of `bff dev`; ignored by `bff serve`.
    #[cfg_attr(not(feature = "dev"), expect(dead_code, reason = "read, so that one file does for every build"))]
    DevTable {
        /// Who can sign in, by name, with their claims. Default alice and bob.
        users: Named<Claims>,
        /// The provider's port of 127.0.0.1. Default any that is free.
        provider_port: u64,
        /// How long an access token lives. Default "5m".
        access_token_lifetime: Duration,
    }
}

/// Claims of a development user, as they will stand in the ID token.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "dev"),
    expect(dead_code, reason = "read, so that one file does for every build")
)]
pub(super) struct Claims(pub(super) Map<String, serde_json::Value>);

impl Read for Claims {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        if let serde_json::Value::Object(claims) = claim(node, key, faults)? {
            return Some(Self(claims));
        }
        let remedy = "{ name = \"Alice\" }";
        wrong_type(node, key, "a table of claims", remedy, faults);
        None
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "object" })
    }
}

fn claim(node: &Node, key: &str, faults: &mut Faults) -> Option<serde_json::Value> {
    Some(match &node.value {
        Value::Text(text) | Value::Untyped(text) => text.as_str().into(),
        Value::Integer(integer) => (*integer).into(),
        Value::Boolean(boolean) => (*boolean).into(),
        Value::Array(items) => items
            .iter()
            .map(|item| claim(item, key, faults))
            .collect::<Option<_>>()?,
        Value::Table(entries) => entries
            .iter()
            .map(|(name, entry)| Some((name.clone(), claim(&entry.node, key, faults)?)))
            .collect::<Option<Map<_, _>>>()?
            .into(),
        Value::Other(name) => {
            faults.refuse(
                &node.place,
                key,
                format!("holds {name}, which no claim here can be"),
                "write text, a whole number, true, false, a list or a table",
            );
            return None;
        }
    })
}
