//! The provider by two names: browsers know it by the issuer's, and we ask it at another, where
//! `provider.internal_url` says so. Who it is does not change: metadata and tokens name the issuer.
//!
//! Metadata come with either name, as the provider is set up. So each address in them is first made
//! the browsers' own, as which it is judged (A7), and those that we ask are then made ours.

use serde_json::{Map, Value};
use url::Url;

/// Where we ask the provider, and which of its addresses are meant by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalAddress {
    url: Url,
    /// The addresses differ in their front alone; a path behind it is the same on both sides.
    outside: Front,
    inside: Front,
}

/// The start of addresses: an origin and whole segments of a path, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Front {
    origin: String,
    path: String,
}

impl InternalAddress {
    /// The issuer, of which browsers know the name, at `url`. `None` where the issuer is no address.
    pub fn new(issuer: &str, url: Url) -> Option<Self> {
        let issuer = Url::parse(issuer).ok()?;
        let (mut outside, mut inside) = (segments(&issuer), segments(&url));
        while outside.last().is_some() && outside.last() == inside.last() {
            outside.pop();
            inside.pop();
        }
        Some(Self {
            outside: Front::new(&issuer, &outside),
            inside: Front::new(&url, &inside),
            url,
        })
    }

    /// What stands for the issuer where we ask.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where we ask for what browsers find at `url`; unchanged where that is not the provider's.
    pub fn inward(&self, url: Url) -> Url {
        self.outside.exchanged(&url, &self.inside).unwrap_or(url)
    }

    /// Where browsers find what we ask for at `url`; unchanged where that is not the provider's.
    pub fn outward(&self, url: Url) -> Url {
        self.inside.exchanged(&url, &self.outside).unwrap_or(url)
    }

    /// Makes the addresses of that name in `document` those that browsers know.
    pub(super) fn turn_outward<'a>(
        &self,
        document: &mut Map<String, Value>,
        names: impl IntoIterator<Item = &'a str>,
    ) {
        for name in names {
            let Some(Value::String(text)) = document.get_mut(name) else {
                continue;
            };
            // What is no address is judged as it stands.
            if let Ok(url) = Url::parse(text) {
                *text = self.outward(url).into();
            }
        }
    }
}

impl Front {
    fn new(url: &Url, segments: &[&str]) -> Self {
        let path = segments.iter().map(|segment| format!("/{segment}"));
        Self {
            origin: url.origin().ascii_serialization(),
            path: path.collect(),
        }
    }

    /// `url` with this front in the place of its own; `None` where it has another.
    fn exchanged(&self, url: &Url, front: &Self) -> Option<Url> {
        if url.origin().ascii_serialization() != self.origin {
            return None;
        }
        let rest = url.path().strip_prefix(&self.path)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let query = url.query().map(|query| format!("?{query}"));
        let Self { origin, path } = front;
        let query = query.unwrap_or_default();
        Url::parse(&format!("{origin}{path}{rest}{query}")).ok()
    }
}

/// The segments of a path, without the empty one behind a slash at the end.
fn segments(url: &Url) -> Vec<&str> {
    let path = url.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').skip(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// An address is the same on both sides but for its front, whichever of the two a provider names.
    #[test]
    fn an_address_has_two_fronts() {
        struct Case {
            issuer: &'static str,
            internal: &'static str,
            /// Outside and inside.
            pairs: &'static [(&'static str, &'static str)],
        }
        let cases = [
            Case {
                issuer: "http://localhost:8180/realms/main",
                internal: "http://keycloak:8080/realms/main",
                pairs: &[
                    (
                        "http://localhost:8180/realms/main/token",
                        "http://keycloak:8080/realms/main/token",
                    ),
                    (
                        "http://localhost:8180/realms/main?a=1&b",
                        "http://keycloak:8080/realms/main?a=1&b",
                    ),
                ],
            },
            // Endpoints beside the issuer's own path, as Authentik has them.
            Case {
                issuer: "https://id.example.com/application/o/app/",
                internal: "http://authentik:9000/application/o/app",
                pairs: &[(
                    "https://id.example.com/application/o/token/",
                    "http://authentik:9000/application/o/token/",
                )],
            },
            // A proxy before the provider takes a segment off, or puts one before.
            Case {
                issuer: "https://example.com/auth/realms/main",
                internal: "https://keycloak.internal/realms/main/",
                pairs: &[(
                    "https://example.com/auth/realms/main/token",
                    "https://keycloak.internal/realms/main/token",
                )],
            },
            Case {
                issuer: "https://id.example.com",
                internal: "http://hydra:4444/oidc/",
                pairs: &[(
                    "https://id.example.com/token",
                    "http://hydra:4444/oidc/token",
                )],
            },
        ];
        for case in cases {
            let address = InternalAddress::new(case.issuer, url(case.internal)).unwrap();
            for (outside, inside) in case.pairs {
                let (outside, inside) = (url(outside), url(inside));
                assert_eq!(address.inward(outside.clone()), inside, "{}", case.issuer);
                assert_eq!(address.outward(inside.clone()), outside, "{}", case.issuer);
                assert_eq!(address.inward(inside.clone()), inside, "{}", case.issuer);
                assert_eq!(address.outward(outside.clone()), outside);
            }
        }
    }

    /// A7: nothing but the provider's own addresses leads inside.
    #[test]
    fn another_address_stays() {
        let internal = url("http://keycloak:8080/realms/main");
        let address = InternalAddress::new("https://id.example.com/auth/realms/main", internal);
        let address = address.unwrap();
        for other in [
            "https://id.example.com/authentic/token",
            "https://id.example.com/token",
            "https://id.example.com:8443/auth/token",
            "http://id.example.com/auth/token",
            "https://evil.example/auth/realms/main/token",
            "http://keycloak:9000/token",
            "http://127.0.0.1:8080/realms/main/token",
        ] {
            let other = url(other);
            assert_eq!(address.inward(other.clone()), other);
            assert_eq!(address.outward(other.clone()), other);
        }
        assert_eq!(InternalAddress::new("no address", url("http://a/")), None);
    }
}
