//! F1–F4: whatever is asked for, the place is on our origin, and reads the same when asked again.
#![no_main]

use bff::auth::return_to::{Ground, ReturnTo};
use bff_fuzz::PUBLIC_URL;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let ground = Ground {
        origin: &PUBLIC_URL,
        mount: "",
        base_path: "/bff",
    };
    let Ok(Some(place)) = ReturnTo::parse(text, ground) else {
        return;
    };
    let written = place.as_str();
    assert!(written.starts_with('/') && !written.starts_with("//"), "{written}");
    assert!(written.bytes().all(|byte| byte > b' ' && byte < 0x7f && byte != b'\\'), "{written}");
    let url = PUBLIC_URL.join(written).expect("a URL");
    assert_eq!(url.origin(), PUBLIC_URL.origin(), "{written}");
    assert!(place.path() != "/bff" && !place.path().starts_with("/bff/"), "{written}");
    assert_eq!(ReturnTo::parse(written, ground), Ok(Some(place.clone())));
});
