//! B6, B8: any query of a sign-in that another site started; the link that a person confirms is
//! ours and says nothing but what may be said.
#![no_main]

use std::cell::LazyCell;
use std::net::{IpAddr, Ipv4Addr};

use bff::auth::RelyingParty;
use bff::auth::login::LoginAnswer;
use bff::session::cookie::Presented;
use bff::web::strangers::Source;
use bff_fuzz::{PUBLIC_URL, relying_party};
use futures_util::FutureExt as _;
use http::Request;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

thread_local! {
    static PARTY: LazyCell<(RelyingParty, Runtime)> = const { LazyCell::new(relying_party) };
}

const MAY_BE_SAID: [&str; 6] = [
    "return_to",
    "prompt",
    "login_hint",
    "ui_locales",
    "acr_values",
    "max_age",
];

fuzz_target!(|query: &str| {
    let request = Request::builder()
        .uri(format!("/bff/login?{query}"))
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate");
    let Ok(request) = request.body(()) else {
        return;
    };
    let (parts, ()) = request.into_parts();
    let answer = PARTY.with(|made| {
        let (party, _) = &**made;
        let source = Source::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        party
            .logins()
            .login(&parts, Presented::Nothing, source)
            .now_or_never()
    });
    match answer.expect("no provider is asked") {
        Ok(LoginAnswer::Confirm { link }) => {
            let url = PUBLIC_URL.join(&link).expect("a URL");
            assert_eq!(url.origin(), PUBLIC_URL.origin(), "{link}");
            assert_eq!(url.path(), "/bff/login", "{link}");
            let mut seen = Vec::new();
            for (name, value) in url.query_pairs() {
                assert!(MAY_BE_SAID.contains(&&*name), "{link}");
                assert!(!value.chars().any(char::is_control), "{link}");
                assert!(!seen.contains(&name.clone().into_owned()), "{link}");
                seen.push(name.into_owned());
            }
        }
        Ok(LoginAnswer::Begun(_) | LoginAnswer::Step { .. } | LoginAnswer::SignedIn(_)) => {
            panic!("another site began a login")
        }
        Err(_) => {}
    }
});
