//! What an access token is asked for: by which grant, for which resource, with which scopes.
//!
//! Written at a route, kept beside the token that it brought, and told to the provider; so it is known to
//! all of these and to none of them alone.

use std::sync::Arc;

/// Which token a route's calls carry in `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteToken {
    /// None.
    None,
    /// The session's own, which came with the login.
    User,
    /// Another one of the session's: by its refresh token, or in exchange for its own access token.
    UserFor(Arc<TokenSpec>),
    /// Ours, by client credentials.
    Client(Arc<TokenSpec>),
    /// The session's own where there is a session, else ours.
    UserOrClient(Arc<TokenSpec>),
}

/// What a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpec {
    /// What it is got by.
    pub grant: TokenGrant,
    /// `resource`: absolute URIs without a fragment (RFC 8707 §2).
    pub resources: Vec<String>,
    /// `audience`: a name that the provider knows (RFC 8693 §2.1).
    pub audience: Option<String>,
    /// `scope`, in order and each once; empty leaves the parameter out.
    pub scopes: Vec<String>,
    /// The same as the parameter.
    scope: Box<str>,
    key: Arc<str>,
}

/// What a token is got by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenGrant {
    /// By ourselves (RFC 6749 §4.4).
    ClientCredentials,
    /// By the session's refresh token (RFC 6749 §6, RFC 8707 §2.2).
    RefreshToken,
    /// In exchange for the session's own access token.
    Exchange(ExchangeTerms),
}

/// How an access token is exchanged for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeTerms {
    /// In which words.
    pub form: ExchangeForm,
    /// `requested_token_type`; `None` leaves the choice to the provider (RFC 8693 §2.1).
    pub requested_token_type: Option<String>,
    /// Whether our own token goes along as `actor_token`: who acts for the user (RFC 8693 §1.1).
    pub by_client: bool,
}

/// The grants by which a token is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeForm {
    /// `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693).
    TokenExchange,
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer` with `requested_token_use=on_behalf_of`, as Entra ID
    /// has it (RFC 7523 §2.1).
    OnBehalfOf,
}

impl TokenSpec {
    /// What is asked for; the order in which scopes and resources are written makes no difference.
    pub fn new(
        grant: TokenGrant,
        mut resources: Vec<String>,
        audience: Option<String>,
        mut scopes: Vec<String>,
    ) -> Self {
        for list in [&mut resources, &mut scopes] {
            list.sort_unstable();
            list.dedup();
        }
        let key = key(&grant, &resources, audience.as_deref(), &scopes);
        Self {
            grant,
            resources,
            audience,
            scope: scopes.join(" ").into(),
            scopes,
            key,
        }
    }

    /// `grant_type`, by which it is asked for.
    pub const fn grant_type(&self) -> &'static str {
        match &self.grant {
            TokenGrant::ClientCredentials => "client_credentials",
            TokenGrant::RefreshToken => "refresh_token",
            TokenGrant::Exchange(terms) => match terms.form {
                ExchangeForm::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
                ExchangeForm::OnBehalfOf => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            },
        }
    }

    /// How the session's own access token is exchanged for it, if it is.
    pub const fn exchange(&self) -> Option<&ExchangeTerms> {
        match &self.grant {
            TokenGrant::Exchange(terms) => Some(terms),
            TokenGrant::ClientCredentials | TokenGrant::RefreshToken => None,
        }
    }

    /// `scope`, where it is sent.
    pub fn scope(&self) -> Option<&str> {
        (!self.scope.is_empty()).then_some(&*self.scope)
    }

    /// What tells this token from every other one: equal where all that is asked for is (A15). Holds no
    /// secret; for people too.
    pub const fn key(&self) -> &Arc<str> {
        &self.key
    }
}

/// Every part has its name before it and none may hold a blank, so that no two specs share a key.
fn key(
    grant: &TokenGrant,
    resources: &[String],
    audience: Option<&str>,
    scopes: &[String],
) -> Arc<str> {
    let mut parts = Vec::new();
    match grant {
        TokenGrant::ClientCredentials => parts.push("client".to_owned()),
        TokenGrant::RefreshToken => parts.push("refresh".to_owned()),
        TokenGrant::Exchange(terms) => {
            parts.push(match terms.form {
                ExchangeForm::TokenExchange => "exchange".to_owned(),
                ExchangeForm::OnBehalfOf => "on_behalf_of".to_owned(),
            });
            let kind = terms.requested_token_type.iter();
            parts.extend(kind.map(|kind| format!("type={}", escaped(kind))));
            parts.extend(terms.by_client.then(|| "actor=client".to_owned()));
        }
    }
    parts.extend(audience.map(|audience| format!("audience={}", escaped(audience))));
    parts.extend(
        resources
            .iter()
            .map(|uri| format!("resource={}", escaped(uri))),
    );
    parts.extend(
        scopes
            .iter()
            .map(|scope| format!("scope={}", escaped(scope))),
    );
    parts.join(" ").into()
}

fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace(' ', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(
        grant: TokenGrant,
        resources: &[&str],
        audience: Option<&str>,
        scopes: &[&str],
    ) -> TokenSpec {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        TokenSpec::new(
            grant,
            owned(resources),
            audience.map(str::to_owned),
            owned(scopes),
        )
    }

    /// A15: one token for each (grant, resource, audience, scopes), whatever the order they are written in.
    #[test]
    fn tokens_for_different_things_have_different_keys() {
        use TokenGrant::{ClientCredentials, RefreshToken};
        let exchange = |kind: Option<&str>, by_client| {
            TokenGrant::Exchange(ExchangeTerms {
                form: ExchangeForm::TokenExchange,
                requested_token_type: kind.map(str::to_owned),
                by_client,
            })
        };
        let all = [
            spec(ClientCredentials, &[], None, &[]),
            spec(RefreshToken, &[], None, &[]),
            spec(RefreshToken, &["https://a.example"], None, &[]),
            spec(RefreshToken, &[], Some("https://a.example"), &[]),
            spec(RefreshToken, &[], None, &["https://a.example"]),
            spec(RefreshToken, &[], None, &["a", "b"]),
            spec(RefreshToken, &[], None, &["a scope=b"]),
            spec(RefreshToken, &[], None, &["a%20scope=b"]),
            spec(exchange(None, false), &[], None, &[]),
            spec(exchange(None, true), &[], None, &[]),
            spec(exchange(Some("urn:x"), false), &[], None, &[]),
        ];
        let keys: std::collections::HashSet<_> = all.iter().map(|spec| &**spec.key()).collect();
        assert_eq!(keys.len(), all.len(), "{keys:?}");
        assert_eq!(
            spec(RefreshToken, &["b", "a"], None, &["y", "x", "y"]),
            spec(RefreshToken, &["a", "b"], None, &["x", "y"])
        );
    }
}
