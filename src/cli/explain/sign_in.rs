//! Where a site signs people in, and what is to be registered there.

use super::Page;
use crate::auth::RelyingParty;
use crate::pipeline::endpoint::Endpoint;
use crate::pipeline::site::Site;

/// Who we are at each provider of a site, and the cookie of its sessions.
pub(super) fn providers(page: &mut Page, site: &Site) {
    let mut word = "signs in";
    for at in site.relying_parties() {
        let settings = at.provider().settings();
        let name = at.settings().name.as_deref();
        let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
        let who = if settings.issuer.is_empty() {
            "at the provider that bff dev brings".to_owned()
        } else {
            format!("at {} as {}", settings.issuer, settings.client_id)
        };
        page.line(word, &format!("{name}{who}"));
        word = "";
    }
    page.line("cookie", site.relying_party().session_cookie().name());
}

/// What a provider must know of us: of a login all of them, of what is a provider's own that one.
pub(super) fn addresses(page: &mut Page, site: &Site, endpoint: Endpoint, of: &RelyingParty) {
    if endpoint.is_a_providers() {
        of_one(page, of);
    } else if endpoint == Endpoint::Login {
        for at in site.relying_parties() {
            of_one(page, at);
        }
    }
}

fn of_one(page: &mut Page, at: &RelyingParty) {
    let redirect_uri = &at.provider().settings().redirect_uri;
    page.line("register", &format!("{redirect_uri} as redirect URI"));
    let base_path = &at.settings().base_path;
    let callback = format!("{base_path}/callback");
    if let Some(own) = redirect_uri.path().strip_prefix(&callback) {
        let mut logout = redirect_uri.clone();
        logout.set_path(&format!("{base_path}/backchannel-logout{own}"));
        page.line("", &format!("{logout} for back-channel logout"));
    }
}
