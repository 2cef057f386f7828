//! `[[route]]` as written. The docs here are what `bff schema` prints.

use std::time::Duration;

use http::Method;

use crate::config::identity_table::IdentityChoice;
use crate::config::lists::{Named, OneOrMany};
use crate::config::reader::{Written, table};
use crate::config::require_table::RequireTable;
use crate::config::tls_table::TlsTable;
use crate::config::token_table::TokenChoice;
use crate::config::values::HeaderText;
use crate::config::words::{Chosen, Size};
use crate::proxy::path::EncodedSlashes;
use crate::proxy::{CsrfCheck, RouteAuth, SetCookie};

table! {
    /// One route: where the calls under a path go and what they carry.
    RouteTable {
        /// The path prefix, by whole segments. Required.
        path: String,
        /// Only for this host, without a port. Default any.
        host: String,
        /// Only for these methods. Default all.
        methods: Vec<Written<Method>>,
        /// The upstream's address, or a list of them that is taken in turn. Required.
        upstream: OneOrMany<String>,
        /// PEM file with the roots that an https upstream's certificate is held against. Default the machine's.
        ca: String,
        /// What we show the upstream in TLS that asks who calls. Default nothing.
        client_cert: TlsTable,
        /// Who may call: with a session, with or without one, or without any credential. Default "required".
        auth: Chosen<RouteAuth>,
        /// Which access token its calls carry. Default "user"; "none" where auth is "none".
        token: TokenChoice,
        /// How the upstream knows its own address, for proofs of possession. Default how it is called.
        dpop_htu: String,
        /// Who may call: claims by name or dotted path, each with what it must say or a list of that, and `acr`,
        /// `max_auth_age`, `scope`. Default whoever has a session.
        require: RequireTable,
        /// Whether the upstream is told who calls, in a token that bff signs. Default false.
        identity: IdentityChoice,
        /// How a call proves that our own page made it. Default "header"; nothing where auth is "none".
        csrf: Chosen<CsrfCheck>,
        /// Whether the route's path is taken off on the way. Default false.
        strip_prefix: bool,
        /// What the route's path becomes on the way. Default itself.
        rewrite: String,
        /// Whether a path may hold a semicolon. Default `server.allow_semicolon`.
        allow_semicolon: bool,
        /// Whether a path may hold %2F. Default "refuse".
        encoded_slashes: Chosen<EncodedSlashes>,
        /// Whether the upstream is called by our host in place of its own. Default false.
        preserve_host: bool,
        /// What passes of the request's headers, and changes to them. Default none.
        request_headers: RequestHeaderTable,
        /// Changes to the answer's headers. Default none.
        response_headers: HeaderTable,
        /// To the head of the upstream's answer. Default "60s".
        timeout: Duration,
        /// The most bytes a request's body may have. Default none: bodies stream.
        max_body: Size,
        /// Whether WebSocket upgrades pass. Default true.
        websocket: bool,
        /// Between two pieces of a body, either way. Default `server.timeouts.body_idle`.
        idle_timeout: Duration,
        /// Whether bodies of requests are streams that may come as slowly as they like. Default false.
        streams: bool,
        /// Whether its scripts may become service workers. Default false.
        service_worker: bool,
        /// Whether its calls put the idle timeout off. Default true.
        activity: bool,
        /// What becomes of the cookies that the upstream sets. Default "drop".
        set_cookie: Chosen<SetCookie>,
    }
}

table! {
    /// Headers of a request: to let pass, to set and to remove.
    RequestHeaderTable {
        /// The only ones of the browser's that pass. Default all but those that bff drops.
        pass: Vec<Written<String>>,
        /// Set, in place of any that came. Default none.
        set: Named<HeaderText>,
        /// Removed. Default none.
        remove: Vec<Written<String>>,
    }
}

table! {
    /// Headers to set and to remove.
    HeaderTable {
        /// Set, in place of any that came. Default none.
        set: Named<HeaderText>,
        /// Removed. Default none.
        remove: Vec<Written<String>>,
    }
}
