//! C2, C3: any answer to the callback, as a query or a form, with any cookies; nobody is logged in
//! who began no login, and no provider is asked.
#![no_main]

use std::cell::LazyCell;
use std::net::{IpAddr, Ipv4Addr};

use bff::auth::RelyingParty;
use bff::session::cookie::Presented;
use bff_fuzz::{headers, relying_party};
use futures_util::FutureExt as _;
use http::Request;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

thread_local! {
    static PARTY: LazyCell<(RelyingParty, Runtime)> = const { LazyCell::new(relying_party) };
}

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (parameters, rest) = data.split_at(end);
    let Ok(parameters) = str::from_utf8(parameters) else {
        return;
    };
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = headers(rest);
    PARTY.with(|made| {
        let (party, _) = &**made;
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let logins = party.logins();
        let answer = logins.callback(parameters, &parts, Presented::Nothing, client);
        let answer = answer.now_or_never().expect("no provider is asked");
        let error = answer.expect_err("nobody began a login");
        assert!(error.cookie.is_none(), "no cookie is known");
    });
});
