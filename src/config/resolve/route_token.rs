//! `route.token`: which access token a route's calls carry, and what it is asked for.

use std::sync::Arc;

use http::Method;
use url::Url;

use crate::config::SiteConfig;
use crate::config::error::Faults;
use crate::config::lists::OneOrMany;
use crate::config::reader::{Field, Written};
use crate::config::resolve::Purpose;
use crate::config::route_table::RouteTable;
use crate::config::token_table::{
    ClientTokenTable, ExchangeTable, TokenChoice, TokenTable, TokenWord,
};
use crate::config::words::Chosen;
use crate::oidc::{ClientAuth, ProviderSettings, SCOPES};
use crate::proxy::RouteAuth;
use crate::web::token_spec::{ExchangeForm, ExchangeTerms, RouteToken, TokenGrant, TokenSpec};

/// The token that a route asks for; `None` after a fault.
pub(super) fn token(
    field: &Field<TokenChoice>,
    auth: RouteAuth,
    faults: &mut Faults,
) -> Option<RouteToken> {
    let Some(written) = field.written() else {
        // An unreadable one is noted already.
        return (!field.stands()).then_some(match auth {
            RouteAuth::Required | RouteAuth::Optional => RouteToken::User,
            RouteAuth::None => RouteToken::None,
        });
    };
    let token = match &written.value {
        TokenChoice::Word(TokenWord::None) => RouteToken::None,
        TokenChoice::Word(TokenWord::User) => RouteToken::User,
        TokenChoice::Word(TokenWord::Client) => RouteToken::Client(plain_client()),
        TokenChoice::Word(TokenWord::UserOrClient) => RouteToken::UserOrClient(plain_client()),
        TokenChoice::Table(table) => of_table(written, table, faults)?,
    };
    hold_against(&token, written, auth, faults).then_some(token)
}

fn plain_client() -> Arc<TokenSpec> {
    let spec = TokenSpec::new(TokenGrant::ClientCredentials, Vec::new(), None, Vec::new());
    Arc::new(spec)
}

/// Whether the token can be had by those who may call.
fn hold_against(
    token: &RouteToken,
    written: &Written<TokenChoice>,
    auth: RouteAuth,
    faults: &mut Faults,
) -> bool {
    let (what, remedy) = match (token, auth) {
        (RouteToken::User | RouteToken::UserFor(_), RouteAuth::None) => (
            "is a session's, and auth is \"none\": no session is looked for",
            "leave token out, or write auth = \"required\" or \"optional\"",
        ),
        (RouteToken::UserOrClient(_), RouteAuth::None) => (
            "is a session's where there is one, and auth is \"none\": no session is looked for",
            "write auth = \"optional\", or token = \"client\"",
        ),
        (RouteToken::UserOrClient(_), RouteAuth::Required) => (
            "is ours where there is no session, and auth is \"required\": there is always one",
            "write auth = \"optional\", or token = \"user\"",
        ),
        _ => return true,
    };
    written.refuse(faults, what, remedy);
    false
}

/// The forms of a table; each is written by itself.
fn of_table(
    written: &Written<TokenChoice>,
    table: &TokenTable,
    faults: &mut Faults,
) -> Option<RouteToken> {
    let TokenTable {
        resource,
        audience,
        scopes,
        client,
        user_or_client,
        exchange,
    } = table;
    let refresh = resource.stands() || audience.stands() || scopes.stands();
    let forms = [
        (client.stands(), "client"),
        (user_or_client.stands(), "user_or_client"),
        (exchange.stands(), "exchange"),
    ];
    let mut forms = forms
        .iter()
        .filter_map(|(stands, name)| stands.then_some(*name));
    match (forms.next(), forms.next(), refresh) {
        (None, _, false) => {
            written.refuse(
                faults,
                "says nothing of the token",
                "write { resource = \"https://orders.example.com\" }, or \"user\" for the session's own",
            );
            None
        }
        (Some(one), Some(other), _) => {
            written.refuse(
                faults,
                format!("asks for two tokens, {one} and {other}, and a call carries one"),
                "leave one of the two out",
            );
            None
        }
        (Some(form), None, true) => {
            written.refuse(
                faults,
                format!("asks for two tokens: {form}, and one by the session's refresh token"),
                format!("write resource, audience and scopes inside {form} = {{ … }}"),
            );
            None
        }
        (None, _, true) => {
            let spec = spec(TokenGrant::RefreshToken, resource, audience, scopes, faults)?;
            Some(RouteToken::UserFor(spec))
        }
        (Some("exchange"), None, false) => {
            self::exchange(exchange.written()?, faults).map(RouteToken::UserFor)
        }
        (Some("client"), None, false) => of_client(client, faults).map(RouteToken::Client),
        (Some(_), None, false) => of_client(user_or_client, faults).map(RouteToken::UserOrClient),
    }
}

fn of_client(field: &Field<ClientTokenTable>, faults: &mut Faults) -> Option<Arc<TokenSpec>> {
    let table = &field.written()?.value;
    spec(
        TokenGrant::ClientCredentials,
        &table.resource,
        &table.audience,
        &table.scopes,
        faults,
    )
}

fn exchange(written: &Written<ExchangeTable>, faults: &mut Faults) -> Option<Arc<TokenSpec>> {
    let table = &written.value;
    let form = table.grant.or(Chosen(ExchangeForm::TokenExchange)).0;
    let asks = match form {
        ExchangeForm::TokenExchange => {
            let asks = table.audience.stands()
                || table.resource.stands()
                || table.scopes.stands()
                || table.requested_token_type.stands();
            if !asks {
                written.refuse(
                    faults,
                    "says not what for, so that the token would be the one that is there",
                    "write audience, resource or scopes, as in { audience = \"orders\" }",
                );
            }
            asks
        }
        ExchangeForm::OnBehalfOf => asks_on_behalf(written, faults),
    };
    if let Some(kind) = table.requested_token_type.written()
        && Url::parse(&kind.value).is_err()
    {
        kind.refuse(
            faults,
            format!("is no kind of token: {:?}", kind.value),
            "write one such as \"urn:ietf:params:oauth:token-type:access_token\", or leave it out",
        );
        return None;
    }
    let terms = ExchangeTerms {
        form,
        requested_token_type: table
            .requested_token_type
            .written()
            .map(|kind| kind.value.clone()),
        by_client: table.actor.written().is_some(),
    };
    let spec = spec(
        TokenGrant::Exchange(terms),
        &table.resource,
        &table.audience,
        &table.scopes,
        faults,
    );
    spec.filter(|_| asks)
}

/// Whether an exchange by the grant jwt-bearer says what it needs and nothing beyond: there the scopes
/// name the API.
fn asks_on_behalf(written: &Written<ExchangeTable>, faults: &mut Faults) -> bool {
    let table = &written.value;
    let strangers = [
        (table.audience.stands(), "audience"),
        (table.resource.stands(), "resource"),
        (table.requested_token_type.stands(), "requested_token_type"),
        (table.actor.stands(), "actor"),
    ];
    for (_, name) in strangers.iter().filter(|(stands, _)| *stands) {
        written.refuse(
            faults,
            format!("holds {name}, which the grant jwt-bearer does not know: its scopes name the API"),
            format!("leave {name} out and write scopes = [\"api://orders/.default\"], or leave grant out"),
        );
    }
    if !table.scopes.stands() {
        written.refuse(
            faults,
            "lacks scopes, by which the grant jwt-bearer names the API",
            "write scopes = [\"api://orders/.default\"]",
        );
    }
    table.scopes.stands() && strangers.iter().all(|(stands, _)| !stands)
}

fn spec(
    grant: TokenGrant,
    resource: &Field<OneOrMany<String>>,
    audience: &Field<String>,
    scopes: &Field<Vec<Written<String>>>,
    faults: &mut Faults,
) -> Option<Arc<TokenSpec>> {
    let resources = resources(resource, faults);
    let scopes = self::scopes(scopes, faults);
    if audience.stands() && audience.written().is_none() {
        return None;
    }
    let audience = audience.written().map(|audience| audience.value.clone());
    Some(Arc::new(TokenSpec::new(
        grant, resources?, audience, scopes?,
    )))
}

/// RFC 8707 §2: each an absolute address without a fragment. One with a query is unwise but allowed.
pub(super) fn resources(
    field: &Field<OneOrMany<String>>,
    faults: &mut Faults,
) -> Option<Vec<String>> {
    let Some(written) = field.written() else {
        return (!field.stands()).then(Vec::new);
    };
    if written.value.0.is_empty() {
        written.refuse(
            faults,
            "is empty",
            "write an address such as \"https://orders.example.com\", or leave it out",
        );
        return None;
    }
    let read: Vec<Option<String>> = written
        .value
        .0
        .iter()
        .map(|resource| {
            let fault = match Url::parse(&resource.value) {
                Err(_) => "is no absolute address",
                Ok(_) if resource.value.contains('#') => "has a fragment, which RFC 8707 forbids",
                Ok(_) if !resource.value.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    "holds a character that must be escaped in an address"
                }
                // Byte for byte as written: the provider compares it with what it knows.
                Ok(_) => return Some(resource.value.clone()),
            };
            resource.refuse(
                faults,
                format!("{fault}: {:?}", resource.value),
                "write one such as \"https://orders.example.com\", or audience for a plain name",
            );
            None
        })
        .collect();
    read.into_iter().collect()
}

/// RFC 6749 §3.3: what a scope may hold.
fn scopes(field: &Field<Vec<Written<String>>>, faults: &mut Faults) -> Option<Vec<String>> {
    let Some(written) = field.written() else {
        return (!field.stands()).then(Vec::new);
    };
    if written.value.is_empty() {
        written.refuse(
            faults,
            "is empty",
            "write scopes such as [\"orders:read\"], or leave it out",
        );
        return None;
    }
    let read: Vec<Option<String>> = written
        .value
        .iter()
        .map(|scope| {
            let may_stand = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
            if scope.value.bytes().all(may_stand) {
                return Some(scope.value.clone());
            }
            scope.refuse(
                faults,
                format!(
                    "holds what no scope may hold, a blank, a quote or the like: {:?}",
                    scope.value
                ),
                "write each scope as an item of its own, as in [\"orders:read\", \"orders:write\"]",
            );
            None
        })
        .collect();
    read.into_iter().collect()
}

/// Tokens of our own need a proof of who we are, which no public client has; and one that whoever comes
/// may use is not to change anything.
pub(super) fn judge(
    field: &Field<Vec<Written<RouteTable>>>,
    site: &SiteConfig,
    purpose: Purpose,
    faults: &mut Faults,
) {
    for (written, route) in field.or(Vec::new()).iter().zip(&site.routes) {
        let Some(token) = written.value.token.written() else {
            continue;
        };
        let mut buyers = buyers(&route.token, site);
        // Otherwise nobody knows yet, or the development provider does.
        let is_known = !purpose.is_without_provider();
        if is_known && buyers.any(|client| matches!(client.client_auth, ClientAuth::Public)) {
            token.refuse(
                faults,
                "needs a token of our own, and this is a public client, which cannot prove who it is",
                "write provider.client_secret or provider.client_key, or token = \"user\"",
            );
        }
        judge_refreshes(token, &route.token, site, faults);
        let reads = !route.methods.is_empty() && route.methods.iter().all(Method::is_safe);
        let is_anybodys = route.auth == RouteAuth::None;
        if is_anybodys && matches!(route.token, RouteToken::Client(_)) && !reads {
            token.warn(
                faults,
                "lets whoever comes, from any site, change things with our own credential",
                "write methods = [\"GET\"], or auth = \"required\"",
            );
        }
    }
}

/// Of a token that the refresh token buys: whether there is one, and whether the login asked for as much. A
/// provider may grant more than that (Entra ID does), so this is no fault.
fn judge_refreshes(
    written: &Written<TokenChoice>,
    token: &RouteToken,
    site: &SiteConfig,
    faults: &mut Faults,
) {
    let RouteToken::UserFor(spec) = token else {
        return;
    };
    if spec.grant != TokenGrant::RefreshToken {
        return;
    }
    // At its default less is asked for where the provider does not offer it.
    let asks = |scope: &str| match &site.provider.scopes {
        Some(own) => own.iter().any(|own| own == scope),
        None => SCOPES.contains(&scope),
    };
    let wider: Vec<&str> = spec
        .scopes
        .iter()
        .map(String::as_str)
        .filter(|scope| !asks(scope))
        .collect();
    if !wider.is_empty() {
        written.warn(
            faults,
            format!(
                "asks for {}, which provider.scopes does not hold, and a refresh may ask for no more than the login did (RFC 6749 section 6)",
                wider.join(" ")
            ),
            "add it to provider.scopes, unless this provider grants it all the same",
        );
    }
    // Keycloak gives refresh tokens without it, and is known by this.
    let is_keycloak = site.provider.issuer.contains("/realms/");
    if !asks("offline_access") && !is_keycloak {
        written.warn(
            faults,
            "is bought with the session's refresh token, and provider.scopes lacks \"offline_access\", without which many providers give none: such calls are 403 then",
            "add \"offline_access\" to provider.scopes, unless this provider gives refresh tokens without it",
        );
    }
}

/// Those of our registrations that a route's tokens of our own are bought with.
fn buyers<'a>(
    token: &RouteToken,
    site: &'a SiteConfig,
) -> impl Iterator<Item = &'a ProviderSettings> + use<'a> {
    let (own, others) = match token {
        // Nobody is signed in, so the default provider is asked.
        RouteToken::Client(_) | RouteToken::UserOrClient(_) => (1, 0),
        // The one that signed the user in.
        RouteToken::UserFor(spec) if acts_as_client(spec) => (1, site.others.len()),
        RouteToken::UserFor(_) | RouteToken::User | RouteToken::None => (0, 0),
    };
    let others = site.others.iter().take(others);
    let own = std::iter::once(&site.provider).take(own);
    own.chain(others.map(|client| &client.provider))
}

fn acts_as_client(spec: &TokenSpec) -> bool {
    matches!(&spec.grant, TokenGrant::Exchange(terms) if terms.by_client)
}
