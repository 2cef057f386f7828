//! Which token a route's calls carry, how it is got, and for whom.

use super::Page;
use crate::oidc::Dpop;
use crate::pipeline::site::Site;
use crate::proxy::{RouteAuth, RouteSettings};
use crate::web::token_spec::{ExchangeForm, RouteToken, TokenGrant, TokenSpec};

/// The lines of a route's token.
pub(super) fn lines(page: &mut Page, site: &Site, route: &RouteSettings) {
    let only = match route.auth {
        RouteAuth::Required => "",
        RouteAuth::Optional | RouteAuth::None => " where there is a session, else none",
    };
    match &route.token {
        RouteToken::None if route.auth == RouteAuth::None => {
            page.line("token", "none: no credential of any kind is carried");
        }
        RouteToken::None => page.line("token", "none: token is \"none\""),
        RouteToken::User if only.is_empty() => {
            page.line("token", "Authorization: Bearer … of the session, fresh");
        }
        RouteToken::User => page.line("token", &format!("Authorization: Bearer …{only}")),
        RouteToken::UserFor(spec) => {
            page.line(
                "token",
                &format!("Authorization: Bearer … of the user{only}"),
            );
            asked(page, spec);
        }
        RouteToken::Client(spec) => {
            page.line("token", &format!("Authorization: Bearer … {}", ours(site)));
            asked(page, spec);
        }
        RouteToken::UserOrClient(spec) => {
            let text = "Authorization: Bearer … of the session where there is one, else";
            page.line("token", text);
            page.line("", &ours(site));
            asked(page, spec);
        }
    }
    proofs(page, site, route);
}

/// What a token that is bound to a key is proven by.
fn proofs(page: &mut Page, site: &Site, route: &RouteSettings) {
    let when = match site.relying_party().provider().settings().dpop {
        Dpop::Never => return,
        Dpop::Auto => "where the provider binds it, Authorization: DPoP … and a proof",
        Dpop::Always => "as Authorization: DPoP …, with a proof",
    };
    match (&route.token, &route.dpop_htu) {
        (RouteToken::None, _) => {}
        (_, None) => page.line("", &format!("{when} of each call")),
        (_, Some(htu)) => page.line("", &format!("{when} of each call at {htu}")),
    }
}

/// Nobody is signed in, so the default provider knows us.
fn ours(site: &Site) -> String {
    let client = &site.relying_party().provider().settings().client_id;
    if client.is_empty() {
        "of bff itself".to_owned()
    } else {
        format!("of bff itself, as {client}")
    }
}

/// By which grant it is got, and what it is for.
fn asked(page: &mut Page, spec: &TokenSpec) {
    let how = match &spec.grant {
        TokenGrant::ClientCredentials => "got by client credentials, kept by each process",
        TokenGrant::RefreshToken => "got by the session's refresh token, kept in the session",
        TokenGrant::Exchange(terms) => match (terms.form, terms.by_client) {
            (ExchangeForm::TokenExchange, false) => {
                "got in exchange for the session's own token (RFC 8693)"
            }
            (ExchangeForm::TokenExchange, true) => {
                "got in exchange for the session's own token (RFC 8693), with bff as actor"
            }
            (ExchangeForm::OnBehalfOf, _) => {
                "got in exchange for the session's own token (jwt-bearer, on behalf of the user)"
            }
        },
    };
    page.line("", how);
    for resource in &spec.resources {
        page.line("", &format!("for the resource {resource}"));
    }
    if let Some(audience) = &spec.audience {
        page.line("", &format!("for the audience {audience}"));
    }
    if !spec.scopes.is_empty() {
        page.line("", &format!("with the scopes {}", spec.scopes.join(" ")));
    }
    if let TokenGrant::Exchange(terms) = &spec.grant
        && let Some(kind) = &terms.requested_token_type
    {
        page.line("", &format!("of the type {kind}"));
    }
}
