//! H2, H3, J1–J6, J15, M1, M3: any head; what is judged in order is in order.
#![no_main]

use std::sync::LazyLock;

use bff::pipeline::csrf;
use bff::proxy::CsrfCheck;
use bff::proxy::message::{check_request, external_host};
use bff::proxy::upgrade::{Handshake, is_websocket};
use bff::web::public_origin::PublicOrigin;
use bff_fuzz::{PUBLIC_URL, head};
use http::header::{CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING};
use http::{Method, Version};
use libfuzzer_sys::fuzz_target;

static PUBLIC: LazyLock<PublicOrigin> =
    LazyLock::new(|| PublicOrigin::new(&PUBLIC_URL).expect("an origin"));

fuzz_target!(|data: &[u8]| {
    let Some(parts) = head(data) else { return };
    let headers = &parts.headers;
    if check_request(&parts).is_ok() {
        let host = external_host(&parts).expect("a host");
        assert!(!host.is_empty() && !host.contains(['@', '/', ' ', ',']), "{host}");
        let count = |name| headers.get_all(name).iter().count();
        assert!(count(HOST) <= 1 && count(CONTENT_LENGTH) <= 1 && count(TRANSFER_ENCODING) <= 1);
        assert!(count(CONTENT_LENGTH) + count(TRANSFER_ENCODING) <= 1, "two framings");
        assert!(parts.method != Method::TRACE && parts.method != Method::CONNECT);
    }
    let foreign = headers.get_all(ORIGIN).iter().next().is_some_and(|origin| {
        origin.as_bytes() != PUBLIC_URL.origin().ascii_serialization().as_bytes()
    });
    for check in [CsrfCheck::Header, CsrfCheck::Origin] {
        if csrf::check(check, &parts, &PUBLIC).is_ok() {
            assert!(!foreign, "a foreign Origin passed");
            if check == CsrfCheck::Header {
                assert_eq!(headers.get("x-csrf").expect("the header"), "1");
            }
        }
    }
    if csrf::check_websocket(headers, &PUBLIC).is_ok() {
        assert!(headers.contains_key(ORIGIN) && !foreign);
    }
    let handshake = Handshake::check(&parts);
    if is_websocket(&parts) && handshake.is_ok() {
        assert_eq!(parts.method, Method::GET);
        assert_eq!(parts.version, Version::HTTP_11);
        assert_eq!(headers.get("sec-websocket-version").expect("13"), "13");
    }
    assert!(handshake.is_err() || is_websocket(&parts));
});
