//! G2, G6: any bytes as cookies; none opens but the one that was sealed.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bff::clock::{Clock as _, SystemClock, SystemRandomness};
use bff::session::cookie::{OpenedCookies, Presented};
use bff::session::id::{SessionHash, SessionId};
use bff_fuzz::{COOKIE_NAME, session_cookie};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

static GENUINE: LazyLock<(SessionHash, Vec<u8>)> = LazyLock::new(|| {
    let id = SessionId::random(&SystemRandomness);
    let hour = Duration::from_hours(1);
    let line = session_cookie().issue(&id, SystemClock.now(), hour, &SystemRandomness);
    let pair = line.as_bytes().split(|byte| *byte == b';').next();
    let value = pair.and_then(|pair| pair.strip_prefix(format!("{COOKIE_NAME}=").as_bytes()));
    (id.hash(), value.expect("a cookie").to_vec())
});

fuzz_target!(|data: &[u8]| {
    let (hash, genuine) = &*GENUINE;
    let (&choice, data) = data.split_first().unwrap_or((&0, &[]));
    let mut line = format!("{COOKIE_NAME}=").into_bytes();
    match choice % 4 {
        // A whole line of a browser's own.
        0 => line = data.to_vec(),
        1 => line.extend_from_slice(data),
        // The genuine one, changed in places: pairs of an index and what to put there.
        2 => {
            let mut forged = genuine.clone();
            for change in data.chunks_exact(2) {
                let at = usize::from(change[0]) % forged.len();
                forged[at] = change[1];
            }
            line.extend_from_slice(&forged);
        }
        // The genuine one after another of our name.
        _ => {
            line.extend_from_slice(data);
            line.extend_from_slice(format!("; {COOKIE_NAME}=").as_bytes());
            line.extend_from_slice(genuine);
        }
    }
    let Ok(value) = HeaderValue::from_bytes(&line) else {
        return;
    };
    let headers = HeaderMap::from_iter([(COOKIE, value)]);
    let opened = OpenedCookies::default();
    let presented = session_cookie().read(&headers, &opened);
    assert_eq!(presented, session_cookie().read(&headers, &opened), "memory changes nothing");
    let carries_it = line.windows(genuine.len()).any(|window| window == genuine);
    match presented {
        Presented::Session(cookie) => {
            assert!(carries_it, "a forged cookie opened");
            assert_eq!(cookie.hash, *hash);
        }
        // What is before it may be more than is looked at.
        Presented::Nothing => assert!(choice % 4 != 3 || line.len() > 400, "not found"),
    }
});
