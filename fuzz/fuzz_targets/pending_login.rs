//! B4, C3: any cookies and any state; no login is found but the one that was begun, and what a
//! sixth login drops is a cookie of ours.
#![no_main]

use std::time::Duration;

use bff::auth::pending_login::{LoginOwner, PendingLogin, PendingLoginCookie, Prompt, Window};
use bff::auth::return_to::ReturnTo;
use bff::clock::{Clock as _, SystemClock, SystemRandomness};
use bff::secret::{CodeVerifier, Nonce, State};
use bff::web::cookie_names::login_prefix;
use bff::web::registration::Registration;
use bff_fuzz::{COOKIE_NAME, KEYS, cookie_settings, headers};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

const LOGIN_TIMEOUT: Duration = Duration::from_secs(3600);

fuzz_target!(|data: &[u8]| {
    let owner = LoginOwner::new(Registration::unnamed(), false);
    let cookie =
        PendingLoginCookie::new(&cookie_settings(), false, KEYS.clone(), LOGIN_TIMEOUT, owner);
    let now = SystemClock.now();
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (state, rest) = data.split_at(end);
    let state = String::from_utf8_lossy(state);
    let headers = headers(rest);
    assert!(cookie.find(&headers, &state, now).is_none(), "nobody began it");

    let pending = PendingLogin {
        state: State::new(&*state),
        nonce: Nonce::random(&SystemRandomness),
        code_verifier: CodeVerifier::random(&SystemRandomness),
        return_to: ReturnTo::front_page(""),
        max_age: None,
        essential_acr: state.split_whitespace().map(str::to_owned).collect(),
        prompt: Prompt::Allowed,
        window: Window::Tab,
        previous_session: None,
        started: now,
        prover: None,
        registration: None,
    };
    let lines = cookie.begin(&pending, &headers, &SystemRandomness);
    let (given, dropped) = lines.split_last().expect("the cookie of the login");
    for line in dropped {
        let text = line.to_str().expect("a visible header");
        assert!(text.starts_with(&login_prefix(COOKIE_NAME)), "{text}");
        assert!(text.contains("Max-Age=0"), "{text}");
    }
    let pair = given.to_str().expect("a visible header").split(';').next();
    let mut own = HeaderMap::new();
    own.insert("cookie", pair.expect("a pair").parse().expect("a header"));
    assert!(cookie.find(&own, &state, now).is_some(), "the one begun is found");
    assert!(cookie.find(&own, &format!("{state}x"), now).is_none());
});
