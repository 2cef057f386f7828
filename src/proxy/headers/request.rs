//! The head that an upstream sees: written anew from what the browser sent, so that it can be written
//! again for a second try.

use http::header::{AUTHORIZATION, COOKIE, HOST, MAX_FORWARDS, TE, TRAILER, VIA};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::{Nominated, PassedFields, X_REQUEST_ID, cookies, is_framing, kept_back, words};
use crate::proxy::HeaderChanges;
use crate::proxy::wire::{Framing, put_field};
use crate::web::client_address::ClientAddress;
use crate::web::cookie_names::CookieNames;
use crate::web::plain_text::push_number;
use crate::web::proof::DPOP;
use crate::web::public_origin::PublicOrigin;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Our name in `Via`.
const PSEUDONYM: &str = "bff";

/// How often our name may stand in `Via` before it is a loop: gateways behind gateways are rare,
/// and none is eight deep (I7).
const MOST_HOPS: usize = 8;

/// What the head is made of beside the browser's own.
#[derive(Debug)]
pub(in crate::proxy) struct HeadFor<'a> {
    pub(in crate::proxy) target: &'a PathAndQuery,
    pub(in crate::proxy) host: HeaderValue,
    pub(in crate::proxy) prefix: Option<&'a HeaderValue>,
    pub(in crate::proxy) framing: &'a Framing,
    /// Whether it asks for a WebSocket.
    pub(in crate::proxy) becomes_websocket: bool,
    pub(in crate::proxy) authorization: Option<&'a HeaderValue>,
    pub(in crate::proxy) proof: Option<&'a HeaderValue>,
    pub(in crate::proxy) told: &'a [(HeaderName, HeaderValue)],
    pub(in crate::proxy) client: &'a ClientAddress,
    pub(in crate::proxy) public: &'a PublicOrigin,
    pub(in crate::proxy) request_id: &'a HeaderValue,
    pub(in crate::proxy) strip: &'a CookieNames,
    pub(in crate::proxy) passed: Option<&'a PassedFields>,
    pub(in crate::proxy) changes: &'a HeaderChanges,
}

/// Writes the head: first what may pass, then ours, then the operator's changes.
pub(in crate::proxy) fn write(into: &mut Vec<u8>, parts: &Parts, head: &HeadFor<'_>) {
    let came = &parts.headers;
    let nominated = Nominated::of(came);
    for word in [
        parts.method.as_str(),
        " ",
        head.target.as_str(),
        " HTTP/1.1\r\n",
    ] {
        into.extend_from_slice(word.as_bytes());
    }
    let mut fields = Fields {
        into,
        changes: head.changes,
    };
    fields.put(&HOST, head.host.as_bytes());
    for (name, value) in came {
        let passes = match head.passed {
            // Which of its cookies pass is told below.
            Some(passed) => passed.contains(name) && *name != COOKIE,
            None => kept_back::reason(name.as_str()).is_none(),
        };
        if passes && !nominated.contains(name.as_str()) {
            fields.put(name, value.as_bytes());
        }
    }
    if head.passed.is_none_or(|passed| passed.contains(&COOKIE))
        && let Some(cookies) = cookies::remaining(came, head.strip)
    {
        fields.put(&COOKIE, cookies.as_bytes());
    }
    write_framing(fields.into, parts, head);
    if let MaxForwards::Left(left) = max_forwards(parts) {
        fields.put(&MAX_FORWARDS, left.to_string().as_bytes());
    }
    let via: &[u8] = match parts.version {
        Version::HTTP_2 => b"2.0 bff",
        Version::HTTP_10 => b"1.0 bff",
        _ => b"1.1 bff",
    };
    fields.put(&VIA, via);
    fields.put_forwarded_for(head.client);
    fields.put(&X_FORWARDED_PROTO, head.public.scheme().as_bytes());
    fields.put(&X_FORWARDED_HOST, head.public.authority().as_bytes());
    if let Some(prefix) = head.prefix {
        fields.put(&X_FORWARDED_PREFIX, prefix.as_bytes());
    }
    fields.put(&X_REQUEST_ID, head.request_id.as_bytes());
    if let Some(authorization) = head.authorization {
        fields.put(&AUTHORIZATION, authorization.as_bytes());
    }
    if let Some(proof) = head.proof {
        fields.put(&DPOP, proof.as_bytes());
    }
    fields.put_changes();
    for (name, value) in head.told {
        put_field(into, name.as_str(), value.as_bytes());
    }
    into.extend_from_slice(b"\r\n");
}

/// What the operator cannot change: how the message ends, and what is of the connection.
fn write_framing(into: &mut Vec<u8>, parts: &Parts, head: &HeadFor<'_>) {
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => {
            into.extend_from_slice(b"content-length: ");
            push_number(into, *length);
            into.extend_from_slice(b"\r\n");
        }
        Framing::Chunked(announced) => {
            put_field(into, "transfer-encoding", b"chunked");
            for name in announced {
                put_field(into, "trailer", name.as_str().as_bytes());
            }
        }
    }
    if head.becomes_websocket {
        put_field(into, "connection", b"upgrade");
        put_field(into, "upgrade", b"websocket");
    } else if wants_trailers(&parts.headers) {
        put_field(into, "te", b"trailers");
        put_field(into, "connection", b"te");
    }
}

/// A head's fields, as far as the operator lets them stand.
struct Fields<'a> {
    into: &'a mut Vec<u8>,
    changes: &'a HeaderChanges,
}

impl Fields<'_> {
    fn put(&mut self, name: &HeaderName, value: &[u8]) {
        if !self.changes.touch(name) {
            put_field(self.into, name.as_str(), value);
        }
    }

    fn put_forwarded_for(&mut self, client: &ClientAddress) {
        if !self.changes.touch(&X_FORWARDED_FOR) {
            self.into.extend_from_slice(b"x-forwarded-for: ");
            client.write_forwarded_for(self.into);
            self.into.extend_from_slice(b"\r\n");
        }
    }

    /// Of two that are set under one name the last stands, as in a map.
    fn put_changes(&mut self) {
        let mut set = self.changes.set.iter();
        while let Some((name, value)) = set.next() {
            let is_last = set.clone().all(|(later, _)| later != name);
            if is_last && !is_framing(name) {
                put_field(self.into, name.as_str(), value.as_bytes());
            }
        }
    }
}

/// The trailers that a browser's head announces (J12), but for those that the operator has set or removed:
/// what is not the browser's to say in a head is not in what comes after the body either.
pub(in crate::proxy) fn announced_trailers(
    headers: &HeaderMap,
    changes: &HeaderChanges,
) -> Vec<HeaderName> {
    words(headers, &TRAILER)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(|name| !changes.touch(name))
        .collect()
}

/// Whether the browser said that it takes trailers (J12).
pub(in crate::proxy) fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE)
        && words(headers, &TE).any(|word| {
            let coding = word.split(';').next().unwrap_or_default();
            coding.trim().eq_ignore_ascii_case("trailers")
        })
}

/// What `Max-Forwards` asks for; it counts with OPTIONS alone, since TRACE goes no further (J19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum MaxForwards {
    /// It does not apply.
    Endless,
    /// This many hops are left after us.
    Left(u64),
    /// We are the last.
    Ends,
}

pub(in crate::proxy) fn max_forwards(parts: &Parts) -> MaxForwards {
    if parts.method != Method::OPTIONS {
        return MaxForwards::Endless;
    }
    let value = parts.headers.get(MAX_FORWARDS);
    let hops = value
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    match hops {
        None => MaxForwards::Endless,
        Some(0) => MaxForwards::Ends,
        Some(hops) => MaxForwards::Left(hops - 1),
    }
}

/// Whether the request has come through us so often that it must be going in circles (I7).
pub(in crate::proxy) fn is_loop(headers: &HeaderMap) -> bool {
    if !headers.contains_key(VIA) {
        return false;
    }
    let ours = words(headers, &VIA).filter(|hop| hop.split_whitespace().nth(1) == Some(PSEUDONYM));
    ours.count() >= MOST_HOPS
}

#[cfg(test)]
mod tests {
    use http::Request;
    use url::Url;

    use super::*;
    use crate::proxy::headers::tests::map;
    use crate::web::client_address::TrustedProxies;

    fn parts(fields: &[&str]) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers = map(fields);
        parts
    }

    fn built(parts: &Parts, framing: &Framing, changes: &HeaderChanges) -> Vec<String> {
        built_of(parts, framing, changes, None)
    }

    fn built_of(
        parts: &Parts,
        framing: &Framing,
        changes: &HeaderChanges,
        passed: Option<&PassedFields>,
    ) -> Vec<String> {
        let client = ClientAddress::resolve(
            "192.0.2.1".parse::<std::net::IpAddr>().unwrap(),
            &parts.headers,
            &TrustedProxies::default(),
        );
        let head = HeadFor {
            target: &PathAndQuery::from_static("/x?y"),
            host: HeaderValue::from_static("orders.internal:9000"),
            prefix: None,
            framing,
            becomes_websocket: false,
            authorization: Some(&HeaderValue::from_static("Bearer ours")),
            proof: None,
            told: &[],
            client: &client,
            public: &PublicOrigin::new(&Url::parse("https://app.example").unwrap()).unwrap(),
            request_id: &HeaderValue::from_static("r-1"),
            strip: &CookieNames::of("bff", None),
            passed,
            changes,
        };
        let mut written = Vec::new();
        write(&mut written, parts, &head);
        let text = String::from_utf8(written).unwrap();
        let fields = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
        let mut fields: Vec<String> = fields.map(ToOwned::to_owned).collect();
        let line = fields.remove(0);
        assert_eq!(line, format!("{} /x?y HTTP/1.1", parts.method));
        fields.sort();
        fields
    }

    const OURS: [&str; 7] = [
        "authorization: Bearer ours",
        "host: orders.internal:9000",
        "via: 1.1 bff",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-host: app.example",
        "x-forwarded-proto: https",
        "x-request-id: r-1",
    ];

    /// Checks that of `fields` only `kept` arrive, beside ours.
    fn check(fields: &[&str], kept: &[&str]) {
        let mut expected: Vec<&str> = OURS.iter().chain(kept).copied().collect();
        expected.sort_unstable();
        let built = built(&parts(fields), &Framing::None, &HeaderChanges::default());
        assert_eq!(built, expected, "{fields:?}");
    }

    /// I2: the browser's credentials and identity claims go before ours come.
    #[test]
    fn exactly_one_authorization_arrives() {
        check(
            &[
                "authorization: Basic eDp5",
                "proxy-authorization: Basic eDp5",
                "dpop: x",
                "x-csrf: 1",
                "x-user: root",
                "x-user-id: 0",
                "remote-user: root",
                "x-auth-request-email: root@x",
                "accept: */*",
            ],
            &["accept: */*"],
        );
    }

    /// I2: of what begins with `X-User` and its like only the names that identity proxies use go;
    /// `X-User-Timezone` vanished with them. What clouds and other proxies trust goes too.
    #[test]
    fn who_the_user_is_is_not_the_browsers_to_say() {
        check(
            &[
                "x-user: root",
                "x-user-id: 0",
                "x-username: root",
                "x-user-email: root@x",
                "x-user-roles: admin",
                "x-user-group: wheel",
                "x-userinfo: x",
                "x-auth-user: root",
                "x-ms-client-principal: x",
                "x-ms-client-principal-name: root",
                "x-goog-iap-jwt-assertion: x",
                "x-goog-authenticated-user-email: root@x",
                "cf-access-jwt-assertion: x",
                "cf-access-authenticated-user-email: root@x",
                "impersonate-user: root",
                "impersonate-extra-scopes: x",
                "oidc-claim-sub: root",
                "sm-user: root",
                "remote-groups: wheel",
                "x-webauth-user: root",
                "x-authentik-username: root",
                "x-token-user-email: root@x",
                "x-consumer-username: root",
                "tailscale-user-login: root",
                "client-cert: x",
                "ssl-client-verify: SUCCESS",
                "x-sendfile-type: X-Accel-Redirect",
                "x-user-timezone: Europe/Berlin",
                "x-user-agent: app/1",
                "x-auth-token: the app's own",
                "x-role-filter: a",
                "x-requested-with: fetch",
                "sec-fetch-site: same-origin",
            ],
            &[
                "sec-fetch-site: same-origin",
                "x-auth-token: the app's own",
                "x-requested-with: fetch",
                "x-role-filter: a",
                "x-user-agent: app/1",
                "x-user-timezone: Europe/Berlin",
            ],
        );
    }

    /// I2: where a route names the only fields that pass, no other does; and what it names may be
    /// what is kept back elsewhere.
    #[test]
    fn only_what_is_named_passes() {
        let names = ["accept", "x-user-id", "cookie"].map(HeaderName::from_static);
        let passed = PassedFields::new(names.to_vec()).unwrap();
        let parts = parts(&[
            "accept: */*",
            "accept-language: en",
            "x-user-id: 7",
            "x-anything: 1",
            "cookie: bff=secret; a=1",
            "x-forwarded-for: 1.1.1.1",
            "authorization: Basic eDp5",
            "sec-websocket-key: k",
            "trailer: x-anything",
        ]);
        let none = HeaderChanges::default();
        let framing = Framing::Chunked(Vec::new());
        let built = built_of(&parts, &framing, &none, Some(&passed));
        let mut expected: Vec<&str> = OURS.to_vec();
        expected.extend([
            "accept: */*",
            "cookie: a=1",
            "sec-websocket-key: k",
            "transfer-encoding: chunked",
            "x-user-id: 7",
        ]);
        expected.sort_unstable();
        assert_eq!(built, expected);
    }

    /// I3: our cookies stay here.
    #[test]
    fn our_cookie_stays_here() {
        check(&["cookie: bff=secret; theme=dark"], &["cookie: theme=dark"]);
        check(&["cookie: bff=secret"], &[]);
    }

    /// I4: what only a proxy may say is dropped and rebuilt from the connection.
    #[test]
    fn forwarding_fields_are_rebuilt() {
        check(
            &[
                "x-forwarded-for: 1.1.1.1",
                "x-forwarded-host: evil.example",
                "x-forwarded-proto: http",
                "x-forwarded-prefix: /x",
                "x-forwarded-client-cert: x",
                "x-forwarded-access-token: x",
                "forwarded: for=1.1.1.1",
                "x-real-ip: 1.1.1.1",
                "x-original-url: /admin",
                "x-rewrite-url: /admin",
                "x-scheme: http",
                "x-url-scheme: http",
                "x-proxyuser-ip: 1.1.1.1",
                "x-amzn-oidc-identity: root",
                "forwarded-for: 1.1.1.1",
                "front-end-https: on",
                "x-http-method-override: DELETE",
                "x-request-id: forged",
                "true-client-ip: 1.1.1.1",
                "accept-language: en",
            ],
            &["accept-language: en"],
        );
    }

    /// I5: a name with an underscore is dropped.
    #[test]
    fn a_name_that_could_be_read_as_another_is_dropped() {
        check(
            &[
                "x_forwarded_for: 1.1.1.1",
                "x_user: root",
                "authorization_: x",
                "x.forwarded.for: 1",
                "x-client-version: 1",
            ],
            &["x-client-version: 1"],
        );
    }

    /// I6: fields of the connection go, and so do those that `Connection` names, save for ours.
    #[test]
    fn hop_by_hop_fields_end_here() {
        check(
            &[
                "connection: keep-alive, X-Secret",
                "connection: authorization, host, cookie, x-forwarded-for",
                "keep-alive: timeout=5",
                "proxy-connection: keep-alive",
                "upgrade: h2c",
                "http2-settings: x",
                "te: gzip",
                "transfer-encoding: chunked",
                "trailer: x",
                "expect: 100-continue",
                "x-secret: 1",
                "cookie: a=1",
            ],
            &["cookie: a=1"],
        );
    }

    /// J12: `TE: trailers` alone of TE is passed on.
    #[test]
    fn a_wish_for_trailers_is_passed_on() {
        check(
            &["te: gzip;q=0.5, Trailers"],
            &["te: trailers", "connection: te"],
        );
    }

    /// I7: we add ourselves to Via, and notice when we stand in it too often.
    #[test]
    fn via_grows_and_shows_a_loop() {
        let parts = parts(&["via: 1.1 edge"]);
        let built = built(&parts, &Framing::None, &HeaderChanges::default());
        let vias: Vec<_> = built
            .iter()
            .filter(|line| line.starts_with("via"))
            .collect();
        assert_eq!(vias, ["via: 1.1 bff", "via: 1.1 edge"]);
        assert!(!is_loop(&map(&["via: 1.1 bff, 1.1 edge, 1.1 bff"])));
        let circles = vec!["via: 1.1 bff, 2.0 bff"; 4];
        assert!(is_loop(&map(&circles)));
    }

    /// J7, J19: one framing of our choosing; Max-Forwards counts down.
    #[test]
    fn framing_and_hops_are_said_anew() {
        let mut parts = parts(&["content-length: 77", "max-forwards: 3", "trailer: x-sum"]);
        let none = HeaderChanges::default();
        let framing = Framing::Chunked(announced_trailers(&parts.headers, &none));
        let chunked = built(&parts, &framing, &none);
        assert!(chunked.contains(&"transfer-encoding: chunked".to_owned()));
        assert!(chunked.contains(&"trailer: x-sum".to_owned()));
        assert!(
            !chunked
                .iter()
                .any(|line| line.starts_with("content-length"))
        );
        let known = built(&parts, &Framing::Length(5), &none);
        assert!(known.contains(&"content-length: 5".to_owned()));
        assert!(!known.iter().any(|line| line.starts_with("max-forwards")));
        parts.method = Method::OPTIONS;
        let options = built(&parts, &Framing::None, &none);
        assert!(options.contains(&"max-forwards: 2".to_owned()));
        parts.headers.insert(MAX_FORWARDS, HeaderValue::from(0));
        assert_eq!(max_forwards(&parts), MaxForwards::Ends);
    }

    /// The operator's changes come last.
    #[test]
    fn the_operator_has_the_last_word() {
        let changes = HeaderChanges {
            set: ["6", "7"]
                .map(|value| {
                    (
                        HeaderName::from_static("x-tenant"),
                        HeaderValue::from_static(value),
                    )
                })
                .to_vec(),
            remove: vec![HeaderName::from_static("accept-language")],
            ..HeaderChanges::default()
        };
        let parts = parts(&["accept-language: en", "x-tenant: forged"]);
        let built = built(&parts, &Framing::None, &changes);
        let tenants = built.iter().filter(|line| line.starts_with("x-tenant"));
        assert_eq!(tenants.collect::<Vec<_>>(), ["x-tenant: 7"]);
        assert!(!built.iter().any(|line| line.contains("forged")));
        assert!(!built.iter().any(|line| line.starts_with("accept-language")));
    }
}
