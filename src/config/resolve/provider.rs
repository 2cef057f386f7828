//! `[provider]`: who signs people in, who we are there, and what the endpoints do with it.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::auth::ending::RevocationRules;
use crate::auth::{AccessDenied, AnonymousAnswer, AuthSettings, LogoutHint};
use crate::config::error::Faults;
use crate::config::file::{ProviderTable, SessionTable};
use crate::config::reader::{Field, Written};
use crate::config::resolve::client_auth::client_auth;
use crate::config::resolve::missing_secret::MissingSecret;
use crate::config::resolve::public::Public;
use crate::config::resolve::{
    Purpose, Surroundings, provider_addresses, provider_login, provider_logout, provider_request,
    span, table,
};
use crate::config::words::Chosen;
use crate::oidc::{
    ClientAuth, IdTokenAlg, LogoutTokenRules, OwnCertificate, ProviderSettings, ResponseMode,
    TableName, own_parameters,
};
use crate::web::loopback::is_loopback;

const CLAIMS: [&str; 8] = [
    "sub",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "email",
    "picture",
    "locale",
];
/// L4: a provider that is being mended has so long before people are asked to sign in again.
const UNREFRESHABLE_AFTER: Duration = Duration::from_mins(5);
/// D9: more would accept tokens that are long dead.
const MOST_CLOCK_SKEW: Duration = Duration::from_mins(5);

const LEAST_LOGIN_TIMEOUT: Duration = Duration::from_mins(1);
const MOST_LOGIN_TIMEOUT: Duration = Duration::from_hours(24);

/// What whoever has no provider yet may do.
const fn missing_provider() -> &'static str {
    if cfg!(feature = "dev") {
        "write [provider] with issuer = \"https://id.example.com\", client_id = \"…\" and client_secret = \"env:BFF_CLIENT_SECRET\"; for development start bff dev, which brings one"
    } else {
        "write [provider] with issuer = \"https://id.example.com\", client_id = \"…\" and client_secret = \"env:BFF_CLIENT_SECRET\""
    }
}

/// How we meet the provider.
pub(super) fn provider(
    field: &Field<ProviderTable>,
    callback: Option<&str>,
    missing: &MissingSecret,
    public: Option<&Public>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<ProviderSettings> {
    let (provider, place) = table(field);
    let (issuer, client_id, client_auth) = if surroundings.purpose.is_without_provider() {
        // Under `bff dev` these are the development provider's, whatever the file says; to explain them
        // needs no secret.
        let is_explained = surroundings.purpose == Purpose::Explain;
        let shown = |field: &Field<String>| match field.written() {
            Some(written) if is_explained => Some(written.value.clone()),
            _ => Some(String::new()),
        };
        (
            shown(&provider.issuer),
            shown(&provider.client_id),
            Some(ClientAuth::Public),
        )
    } else if !field.stands() {
        faults.refuse(&place, "provider", "is missing", missing_provider());
        (None, None, None)
    } else {
        let issuer = provider
            .issuer
            .required(
                &place,
                "provider.issuer",
                "issuer = \"https://id.example.com\", as the provider's metadata says it",
                faults,
            )
            .and_then(|written| issuer(written, &provider, faults));
        let client_id = provider
            .client_id
            .required(
                &place,
                "provider.client_id",
                "client_id = \"…\", as registered at the provider",
                faults,
            )
            .map(|written| written.value.clone());
        (
            issuer,
            client_id,
            client_auth(&provider, (&place, missing), surroundings, faults),
        )
    };
    let clock_skew = clock_skew(&provider.clock_skew, faults);
    let scopes = scopes(&provider.scopes, faults);
    let id_token_algs = id_token_algs(&provider.id_token_algs, faults);
    let authorize_params = authorize_params(&provider, faults);
    let timeout = span(&provider.timeout, Duration::from_secs(3), faults);
    // Under `bff dev` there is no other provider to have addresses.
    let (addresses, proven_by) = if surroundings.purpose.is_without_provider() {
        (ProviderTable::default(), None)
    } else {
        (provider.clone(), client_auth.as_ref())
    };
    let internal = provider_addresses::internal(&addresses, issuer.as_deref(), faults);
    let endpoints =
        provider_addresses::endpoints(&addresses, issuer.as_deref(), internal.as_ref(), faults);
    let discovery = provider_addresses::discovery(&addresses, faults);
    let logout = provider_logout::provider_logout(&provider, faults);
    let asked = provider_request::asked(&provider, proven_by, id_token_algs, faults);
    Some(ProviderSettings {
        table: TableName::default(),
        issuer: issuer?,
        internal,
        client_id: client_id?,
        client_auth: client_auth?,
        certificate: if provider.client_cert.stands() && !surroundings.purpose.is_without_provider()
        {
            OwnCertificate::Shown
        } else {
            OwnCertificate::None
        },
        client_secret_expires: provider
            .client_secret_expires
            .written()
            .map(|day| day.value.0),
        redirect_uri: redirect_uri(public?, callback)?,
        discovery,
        endpoints,
        scopes,
        id_token_algs: asked.id_token_algs,
        trusted_audiences: values(&provider.trusted_audiences),
        clock_skew,
        logout_tokens: LogoutTokenRules {
            typ_required: provider.require_logout_token_typ.or(false),
            exp_optional: provider.allow_logout_token_without_exp.or(false),
        },
        response_mode: provider.response_mode.or(Chosen(ResponseMode::Query)).0,
        dpop: asked.dpop,
        pushed_authorization: asked.pushed_authorization,
        request_object: asked.request_object,
        resources: asked.resources,
        authorization_details: asked.authorization_details,
        profile: asked.profile,
        require_response_iss: asked.require_response_iss,
        userinfo: provider.userinfo.or(false),
        timeout,
        authorize_params,
        logout,
    })
}

/// What the endpoints under the base path need to know.
pub(super) fn auth(
    field: &Field<ProviderTable>,
    session: &Field<SessionTable>,
    public: Option<&Public>,
    faults: &mut Faults,
) -> Option<AuthSettings> {
    let (provider, _) = table(field);
    let (session, _) = table(session);
    let claims = if provider.claims.stands() {
        values(&provider.claims)
    } else {
        CLAIMS.map(str::to_owned).to_vec()
    };
    let login_timeout = login_timeout(&provider.login_timeout, faults);
    let login_params = provider_login::login_params(&provider, faults);
    let public = public?;
    Some(AuthSettings {
        mount: public.mount.clone(),
        public_url: public.url.clone(),
        base_path: public.whole_base_path(),
        anonymous: session.anonymous.or(Chosen(AnonymousAnswer::Ok)).0,
        claims,
        // The routes have their say once they are read.
        kept_claims: Vec::new(),
        refresh_before: provider.refresh_before.or(Duration::from_mins(1)),
        revocation: RevocationRules {
            on_logout: provider.revoke_on_logout.or(true),
            superseded: session.revoke_superseded.or(false),
            abandoned: session.revoke_abandoned.or(false),
        },
        unrefreshable_after: session.unrefreshable_after.or(UNREFRESHABLE_AFTER),
        logout_hint: provider.logout_hint.or(Chosen(LogoutHint::IdToken)).0,
        logout_hint_claim: provider
            .logout_hint_claim
            .written()
            .map(|written| written.value.clone()),
        third_party_login: provider.third_party_login.or(false),
        essential_acr: provider.essential_acr.or(false),
        login_timeout,
        access_denied: provider.access_denied.or(Chosen(AccessDenied::Page)).0,
        login_params,
        name: None,
        choices: Arc::default(),
    })
}

/// A7: https, or http on loopback. Kept as written, since metadata must say the same bytes (A5).
fn issuer(
    written: &Written<String>,
    provider: &ProviderTable,
    faults: &mut Faults,
) -> Option<String> {
    let url = provider_addresses::provider_url(written, "https://id.example.com", faults)?;
    if url.scheme() == "http" {
        let is_asked = !provider.internal_url.stands();
        if !is_loopback(&url) {
            let by_two_names = if is_asked {
                "; where this is bff's own name for the provider, write the browsers' as issuer and this one as provider.internal_url"
            } else {
                ""
            };
            written.refuse(
                faults,
                format!(
                    "is http, so that anyone on the way can sign in as anyone: {:?}",
                    written.value
                ),
                format!(
                    "write \"https://{}\"{by_two_names}",
                    written.value.trim_start_matches("http://")
                ),
            );
            return None;
        }
        written.warn(
            faults,
            "is http, which only a provider on this machine may be",
            "write an https issuer in production",
        );
    }
    Some(written.value.clone())
}

/// B9: from the configuration alone; each of several providers has one of its own, but for the default.
fn redirect_uri(public: &Public, callback: Option<&str>) -> Option<Url> {
    let own = callback.map(|name| format!("/{name}")).unwrap_or_default();
    public
        .url
        .join(&format!("{}/callback{own}", public.whole_base_path()))
        .ok()
}

/// D9: capped.
fn clock_skew(field: &Field<Duration>, faults: &mut Faults) -> Duration {
    if let Some(written) = field.written()
        && written.value > MOST_CLOCK_SKEW
    {
        written.refuse(
            faults,
            "would accept tokens that ended long ago",
            "write \"5m\" or less, and set the clocks",
        );
    }
    field.or(Duration::from_mins(1))
}

/// B4: long enough for a person, and no longer than a login is worth remembering.
fn login_timeout(field: &Field<Duration>, faults: &mut Faults) -> Duration {
    if let Some(written) = field.written() {
        if written.value < LEAST_LOGIN_TIMEOUT {
            written.refuse(
                faults,
                "gives nobody the time to type a password",
                "write \"1m\" or more; \"1h\" is the default",
            );
        } else if written.value > MOST_LOGIN_TIMEOUT {
            written.refuse(
                faults,
                "keeps what a login needs in the browser for more than a day",
                "write \"24h\" or less; \"1h\" is the default",
            );
        }
    }
    field.or(Duration::from_hours(1))
}

/// What is written, if anything is: else what the provider offers decides.
fn scopes(field: &Field<Vec<Written<String>>>, faults: &mut Faults) -> Option<Vec<String>> {
    let written = field.written()?;
    for scope in &written.value {
        if scope.value.contains(char::is_whitespace) {
            scope.refuse(
                faults,
                format!("holds a scope with a blank in it: {:?}", scope.value),
                "write each scope as an item of its own, as in [\"openid\", \"email\"]",
            );
        }
    }
    if !written.value.iter().any(|scope| scope.value == "openid") {
        written.refuse(
            faults,
            "lacks \"openid\", without which nobody says who signed in",
            "add \"openid\"",
        );
    }
    Some(values(field))
}

/// D1: a list of our own, never what the token says. Where none is written, what the provider offers
/// decides.
fn id_token_algs(
    field: &Field<Vec<Written<Chosen<IdTokenAlg>>>>,
    faults: &mut Faults,
) -> Option<Vec<IdTokenAlg>> {
    let written = field.written()?;
    if written.value.is_empty() {
        written.refuse(
            faults,
            "is empty, so that no login could ever succeed",
            "write [\"RS256\"] or what the provider signs with",
        );
    }
    Some(written.value.iter().map(|alg| alg.value.0).collect())
}

/// B8: nothing here may change what is ours.
fn authorize_params(provider: &ProviderTable, faults: &mut Faults) -> Vec<(String, String)> {
    let Some(written) = provider.authorize_params.written() else {
        return Vec::new();
    };
    for parameter in &written.value.0 {
        let (name, _) = &parameter.value;
        if let Some(remedy) = own_parameters::remedy(name) {
            parameter.refuse(faults, "is a parameter that bff sets itself", remedy);
        }
    }
    written
        .value
        .0
        .iter()
        .map(|parameter| parameter.value.clone())
        .collect()
}

fn values(field: &Field<Vec<Written<String>>>) -> Vec<String> {
    field
        .written()
        .map(|list| list.value.iter().map(|item| item.value.clone()).collect())
        .unwrap_or_default()
}
