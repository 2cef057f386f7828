//! What we use of the provider's metadata (OIDC Discovery 1.0 §3), and what they must be like to be
//! used (A4–A7).

use serde_json::{Map, Value};
use url::Url;

use crate::oidc::error::{Misbehaviour, OtherIssuer};
use crate::oidc::terms::{self, Lack, Terms};
use crate::oidc::{OwnCertificate, ProviderSettings};
use crate::web::outbound::is_https_or_loopback;
use crate::web::proof::htu;

/// The addresses that we take from metadata.
const ENDPOINTS: [&str; 7] = [
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "userinfo_endpoint",
    "end_session_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
];

/// Those that we ask as this client, so that a certificate is of use there.
const ALIASED: [&str; 4] = [
    "token_endpoint",
    "userinfo_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
];

/// What we use of the metadata. Every endpoint is https; or http on loopback, where the issuer is; or
/// at the provider's internal address, where that is configured and the browser goes elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Where the browser signs in.
    pub authorization_endpoint: Url,
    /// Where codes and refresh tokens are redeemed.
    pub token_endpoint: Url,
    /// The same as the provider itself calls it, for assertions that are meant for it (A10).
    pub(super) token_audience: String,
    /// How a proof calls the token endpoint (A14): as the provider itself does.
    pub(super) token_htu: String,
    /// Where the keys are.
    pub jwks_uri: Url,
    /// Who is signed in, where it is offered.
    pub userinfo_endpoint: Option<Url>,
    /// How a proof calls that.
    pub(super) userinfo_htu: String,
    /// Where the browser signs out, where it is offered.
    pub end_session_endpoint: Option<Url>,
    /// Where tokens are revoked, where it is offered.
    pub revocation_endpoint: Option<Url>,
    /// Where authorization requests are handed over past the browser, where it is offered.
    pub pushed_endpoint: Option<Url>,
    /// Whether every authorization response carries `iss` (RFC 9207 §3), as announced or configured.
    pub names_itself: bool,
    /// The algorithms that a client assertion may be signed with; empty where it does not say.
    pub client_assertion_algs: Vec<String>,
    /// The algorithms that a request object may be signed with; empty where it does not say.
    pub(super) request_object_algs: Vec<String>,
    /// The grants that are offered; `None` where it does not say.
    grants: Option<Vec<String>>,
    /// What we and the provider can do together.
    pub(super) terms: Terms,
}

impl Metadata {
    /// Checks the metadata of the issuer in `settings` (A4, A5, A7).
    pub(super) fn parse(
        settings: &ProviderSettings,
        mut document: Map<String, Value>,
    ) -> Result<Self, Misbehaviour> {
        for (name, url) in &settings.endpoints {
            document.insert((*name).to_owned(), url.as_str().into());
        }
        let token_audience = document.get("token_endpoint").and_then(Value::as_str);
        let token_audience = token_audience.unwrap_or_default().to_owned();
        if settings.certificate == OwnCertificate::Shown {
            take_aliases(settings, &mut document);
        }
        let (token_htu, userinfo_htu) = (
            htu_of(&document, "token_endpoint"),
            htu_of(&document, "userinfo_endpoint"),
        );
        if let Some(internal) = &settings.internal {
            internal.turn_outward(&mut document, ENDPOINTS);
        }
        let document = &document;
        // Byte for byte: a trailing slash makes another issuer.
        match document.get("issuer").and_then(Value::as_str) {
            Some(named) if named == settings.issuer => {}
            Some(named) => return Err(Box::new(OtherIssuer::new(named, settings)).into()),
            None => return Err(Misbehaviour::Missing("issuer")),
        }
        if let Some(methods) = document.get("code_challenge_methods_supported")
            && !methods.is_null()
            && !strings(methods).any(|method| method == "S256")
        {
            return Err(Misbehaviour::NoS256);
        }
        let endpoint = |name| endpoint(document, name, is_https(&settings.issuer));
        let required = |name| endpoint(name)?.ok_or(Misbehaviour::Missing(name));
        // The browser goes where it knows the way; what we ask ourselves, we ask from here.
        let ours = |url| match &settings.internal {
            Some(internal) => internal.inward(url),
            None => url,
        };
        let list = |name| {
            let list = document.get(name).into_iter().flat_map(strings);
            list.map(str::to_owned).collect::<Vec<_>>()
        };
        Ok(Self {
            authorization_endpoint: required("authorization_endpoint")?,
            token_endpoint: required("token_endpoint").map(ours)?,
            token_audience,
            token_htu,
            jwks_uri: required("jwks_uri").map(ours)?,
            userinfo_endpoint: endpoint("userinfo_endpoint")?.map(ours),
            userinfo_htu,
            end_session_endpoint: endpoint("end_session_endpoint")?,
            revocation_endpoint: endpoint("revocation_endpoint")?.map(ours),
            pushed_endpoint: endpoint("pushed_authorization_request_endpoint")?.map(ours),
            names_itself: settings.require_response_iss
                || document.get("authorization_response_iss_parameter_supported")
                    == Some(&Value::Bool(true)),
            client_assertion_algs: list("token_endpoint_auth_signing_alg_values_supported"),
            request_object_algs: list("request_object_signing_alg_values_supported"),
            grants: document
                .get("grant_types_supported")
                .filter(|grants| grants.is_array())
                .map(|grants| strings(grants).map(str::to_owned).collect()),
            terms: terms::agree(settings, document),
        })
    }

    /// What the configuration alone says of a provider that publishes no metadata: what they would have
    /// added is at its default. The same is checked.
    pub(super) fn of_the_configuration(settings: &ProviderSettings) -> Result<Self, Misbehaviour> {
        let issuer = ("issuer".to_owned(), settings.issuer.as_str().into());
        Self::parse(settings, [issuer].into_iter().collect())
    }

    /// Whether the provider offers a grant; it may, where it does not say.
    pub fn may_offer(&self, grant_type: &str) -> bool {
        let grants = self.grants.as_ref();
        grants.is_none_or(|grants| grants.iter().any(|own| own == grant_type))
    }

    /// What is asked of the provider and not offered.
    pub fn lacks(&self) -> &[Lack] {
        &self.terms.lacks
    }
}

/// Puts the addresses for clients that show a certificate in the place of the others (A11, RFC 8705 §5). One
/// of the configuration stays.
fn take_aliases(settings: &ProviderSettings, document: &mut Map<String, Value>) {
    let aliases = document.get("mtls_endpoint_aliases");
    let Some(Value::Object(aliases)) = aliases.cloned() else {
        return;
    };
    for (name, address) in aliases {
        let is_configured = settings.endpoints.iter().any(|(own, _)| *own == name);
        if ALIASED.contains(&name.as_str()) && address.is_string() && !is_configured {
            document.insert(name, address);
        }
    }
}

/// How a proof calls an endpoint; nothing where there is none.
fn htu_of(document: &Map<String, Value>, name: &str) -> String {
    let text = document.get(name).and_then(Value::as_str);
    let url = text.and_then(|text| Url::parse(text).ok());
    url.map(|url| htu(&url)).unwrap_or_default()
}

fn is_https(issuer: &str) -> bool {
    issuer
        .get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// The endpoint of that name. One in the clear is for a provider that is on this machine itself: that
/// of an https issuer would hand secret, code and verifier to whatever listens here (A7).
fn endpoint(
    document: &Map<String, Value>,
    name: &'static str,
    only_https: bool,
) -> Result<Option<Url>, Misbehaviour> {
    let text = match document.get(name) {
        None | Some(Value::Null) => return Ok(None),
        // So JSON libraries write what is not offered.
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Misbehaviour::Missing(name)),
    };
    let url = Url::parse(text).map_err(|_| Misbehaviour::Missing(name))?;
    if url.scheme() == "https" && url.has_host() {
        Ok(Some(url))
    } else if only_https {
        Err(Misbehaviour::NotHttps(name))
    } else if is_https_or_loopback(&url) {
        Ok(Some(url))
    } else {
        Err(Misbehaviour::Insecure(name))
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::InternalAddress;
    use crate::oidc::tests::settings;

    const ISSUER: &str = "https://id.example.com";

    fn parse(issuer: &str, change: &Value) -> Result<Metadata, Misbehaviour> {
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": "https://id.example.com/authorize",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/jwks",
        });
        let document = document.as_object_mut().unwrap();
        document.extend(change.as_object().unwrap().clone());
        Metadata::parse(&settings(issuer), document.clone())
    }

    /// A7: secret, code and verifier arrived in clear at a local service, since metadata of an https
    /// issuer could name http on loopback. Only a provider that is on loopback itself may.
    #[test]
    fn an_https_issuer_leads_to_no_http() {
        const LOCAL: &str = "http://localhost:8180/realms/main";
        for host in [
            "127.0.0.1:9000",
            "[::1]:9000",
            "localhost:9000",
            "LOCALHOST",
        ] {
            for name in [
                "authorization_endpoint",
                "token_endpoint",
                "jwks_uri",
                "userinfo_endpoint",
                "end_session_endpoint",
                "revocation_endpoint",
                "pushed_authorization_request_endpoint",
            ] {
                let change = json!({name: format!("http://{host}/x")});
                let verdict = parse(ISSUER, &change);
                assert!(
                    matches!(verdict, Err(Misbehaviour::NotHttps(named)) if named == name),
                    "{change}: {verdict:?}"
                );
                assert!(
                    parse("HTTPS://id.example.com", &change).is_err(),
                    "{change}"
                );
                assert!(parse(LOCAL, &change).is_ok(), "{change}");
            }
        }
        let change = json!({"token_endpoint": "https://id.example.com/token"});
        assert!(
            parse(LOCAL, &change).is_ok(),
            "https is good enough for all"
        );
    }

    /// A7: what browsers are sent to keeps its public name and what we ask has the internal one,
    /// whichever of the two the metadata came with; and nothing but that one address may be http.
    #[test]
    fn the_internal_address_is_ours_alone() {
        const INSIDE: &str = "http://keycloak:8080";
        let mut settings = settings(ISSUER);
        settings.internal = InternalAddress::new(ISSUER, Url::parse(INSIDE).unwrap());
        let parse = |change: &Value| {
            let mut document = json!({"issuer": ISSUER});
            let members = document.as_object_mut().unwrap();
            for name in ENDPOINTS {
                members.insert(name.to_owned(), format!("{ISSUER}/{name}?a=1").into());
            }
            members.extend(change.as_object().unwrap().clone());
            Metadata::parse(&settings, members.clone())
        };
        for named in [ISSUER, INSIDE] {
            let change: Map<String, Value> = ENDPOINTS
                .into_iter()
                .map(|name| (name.to_owned(), format!("{named}/{name}?a=1").into()))
                .collect();
            let metadata = parse(&change.into()).unwrap();
            let at = |front: &str, name: &str| Url::parse(&format!("{front}/{name}?a=1")).ok();
            for (found, name) in [
                (Some(metadata.authorization_endpoint), ENDPOINTS[0]),
                (metadata.end_session_endpoint, ENDPOINTS[4]),
            ] {
                assert_eq!(found, at(ISSUER, name), "{named}");
            }
            for (found, name) in [
                (Some(metadata.token_endpoint), ENDPOINTS[1]),
                (Some(metadata.jwks_uri), ENDPOINTS[2]),
                (metadata.userinfo_endpoint, ENDPOINTS[3]),
                (metadata.revocation_endpoint, ENDPOINTS[5]),
                (metadata.pushed_endpoint, ENDPOINTS[6]),
            ] {
                assert_eq!(found, at(INSIDE, name), "{named}");
            }
            assert_eq!(
                metadata.token_audience,
                format!("{named}/{}?a=1", ENDPOINTS[1])
            );
        }
        for elsewhere in ["http://keycloak:9000/x", "http://127.0.0.1:8080/x"] {
            for name in ENDPOINTS {
                let verdict = parse(&json!({name: elsewhere}));
                assert!(
                    matches!(verdict, Err(Misbehaviour::NotHttps(named)) if named == name),
                    "{name} {elsewhere}: {verdict:?}"
                );
            }
        }
        let verdict = parse(&json!({"issuer": INSIDE}));
        let Err(Misbehaviour::OtherIssuer(other)) = verdict else {
            panic!("{verdict:?}");
        };
        assert!(other.to_string().contains("--hostname"), "{other}");
    }

    /// A6, A7: an endpoint of the configuration stands for that of the metadata, by the same rules.
    #[test]
    fn an_endpoint_of_the_configuration_takes_precedence() {
        let document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/authorize",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/jwks",
        });
        let parse = |text: &str| {
            let mut settings = settings(ISSUER);
            let url = Url::parse(text).unwrap();
            settings.endpoints = vec![("end_session_endpoint", url)];
            Metadata::parse(&settings, document.as_object().unwrap().clone())
        };
        let metadata = parse("https://login.example.com/logout").unwrap();
        let url = metadata.end_session_endpoint.unwrap();
        assert_eq!(url.as_str(), "https://login.example.com/logout");
        assert!(parse("http://127.0.0.1:9000/logout").is_err());
    }

    /// A4, A5, A7: the issuer byte for byte, PKCE with S256, and no endpoint in the clear. One that
    /// is empty is not offered: it made every login 503.
    #[test]
    fn metadata_are_checked() {
        let good: &[Value] = &[
            json!({}),
            json!({"code_challenge_methods_supported": ["plain", "S256"]}),
            json!({"code_challenge_methods_supported": null}),
            json!({"end_session_endpoint": null}),
            json!({"end_session_endpoint": ""}),
            json!({"userinfo_endpoint": " ", "revocation_endpoint": ""}),
        ];
        for change in good {
            assert!(parse(ISSUER, change).is_ok(), "{change}");
        }
        let bad: &[Value] = &[
            json!({"issuer": "https://id.example.com/"}),
            json!({"issuer": "https://ID.example.com"}),
            json!({"issuer": null}),
            json!({"code_challenge_methods_supported": ["plain"]}),
            json!({"code_challenge_methods_supported": []}),
            json!({"code_challenge_methods_supported": "S256"}),
            json!({"authorization_endpoint": null}),
            json!({"token_endpoint": "/token"}),
            json!({"token_endpoint": ""}),
            json!({"jwks_uri": ""}),
            json!({"token_endpoint": 1}),
            json!({"token_endpoint": "http://id.example.com/token"}),
            json!({"token_endpoint": "http://localhost.example.com/token"}),
            json!({"token_endpoint": "http://127.0.0.1.example.com/token"}),
            json!({"token_endpoint": "ftp://id.example.com/token"}),
            json!({"authorization_endpoint": "javascript:alert(1)"}),
            json!({"jwks_uri": "file:///etc/passwd"}),
            json!({"userinfo_endpoint": "http://id.example.com/userinfo"}),
            json!({"end_session_endpoint": "http://id.example.com/end"}),
            json!({"revocation_endpoint": "http://id.example.com/revoke"}),
        ];
        for change in bad {
            assert!(parse(ISSUER, change).is_err(), "{change}");
        }
        let other = json!({"issuer": ISSUER});
        assert!(parse("https://id.example.com/", &other).is_err());
    }

    /// A11, RFC 8705 §5: whoever shows a certificate asks at the addresses for it; the browser, and whoever
    /// shows none, at the others. One of the configuration stays, and none may be in the clear.
    #[test]
    fn addresses_for_a_certificate_are_taken() {
        let aliases = |value: &Value| {
            let document = json!({
                "issuer": ISSUER,
                "authorization_endpoint": "https://id.example.com/authorize",
                "token_endpoint": "https://id.example.com/token",
                "jwks_uri": "https://id.example.com/jwks",
                "revocation_endpoint": "https://id.example.com/revoke",
                "mtls_endpoint_aliases": value,
            });
            document.as_object().unwrap().clone()
        };
        let good = json!({
            "token_endpoint": "https://mtls.example.com/token",
            "userinfo_endpoint": "https://mtls.example.com/userinfo",
            "authorization_endpoint": "https://mtls.example.com/authorize",
            "revocation_endpoint": 1,
        });
        let mut own = settings(ISSUER);
        let plain = Metadata::parse(&own, aliases(&good)).unwrap();
        own.certificate = OwnCertificate::Shown;
        let ours = Metadata::parse(&own, aliases(&good)).unwrap();
        assert_eq!(ours.token_endpoint.host_str(), Some("mtls.example.com"));
        let userinfo = ours.userinfo_endpoint.unwrap();
        assert_eq!(userinfo.host_str(), Some("mtls.example.com"));
        assert_eq!(ours.authorization_endpoint, plain.authorization_endpoint);
        assert_eq!(ours.revocation_endpoint, plain.revocation_endpoint);
        assert_eq!(ours.token_audience, plain.token_audience);
        assert_ne!(ours.token_endpoint, plain.token_endpoint);
        for odd in [json!(null), json!([]), json!("https://mtls.example.com")] {
            let metadata = Metadata::parse(&own, aliases(&odd)).unwrap();
            assert_eq!(metadata.token_endpoint, plain.token_endpoint, "{odd}");
        }
        let clear = json!({"token_endpoint": "http://mtls.example.com/token"});
        assert!(Metadata::parse(&own, aliases(&clear)).is_err());
        let written = Url::parse("https://own.example.com/token").unwrap();
        own.endpoints = vec![("token_endpoint", written.clone())];
        let metadata = Metadata::parse(&own, aliases(&good)).unwrap();
        assert_eq!(metadata.token_endpoint, written);
    }
}
