//! I9, I10: any path; its normal form is stable and harmless, and the route it takes is the one
//! that comparing segment by segment finds.
#![no_main]

use std::sync::LazyLock;

use bff::proxy::RouteSettings;
use bff::proxy::path::{EncodedSlashes, PathRules, RequestPath, Semicolons};
use bff::proxy::route::{RouteMatch, RouteTable};
use http::Method;
use libfuzzer_sys::fuzz_target;
use url::Url;

const PREFIXES: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c/d", "/api", "/api/v1", "/%C3%A9"];

const LOOSE: PathRules = PathRules {
    semicolons: Semicolons::Allow,
    encoded_slashes: EncodedSlashes::Pass,
};

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let settings = PREFIXES.map(|path| {
        let upstream = Url::parse("http://127.0.0.1:9").expect("a URL");
        RouteSettings { path_rules: LOOSE, ..RouteSettings::open(path, upstream) }
    });
    RouteTable::new(settings.into()).expect("routes")
});

fuzz_target!(|data: (bool, &str)| {
    let (allow, raw) = data;
    let rules = if allow { LOOSE } else { PathRules::STRICT };
    let Ok(path) = RequestPath::parse(raw, rules) else {
        return;
    };
    let text = path.as_str();
    let again = RequestPath::parse(text, rules).expect("the normal form is harmless");
    assert_eq!(again.as_str(), text, "the normal form is stable");
    assert!(text.starts_with('/') && !text.contains("//"), "{text}");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
    assert!(!text.contains(['\\', '?', '#']) && (allow || !text.contains(';')), "{text}");
    let mut decoded = text.to_owned();
    for _ in 0..3 {
        let upper = decoded.to_ascii_uppercase().replace("%3B", ";");
        let mut segments = upper.split('/').flat_map(|part| part.split("%2F"));
        let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        assert!(!segments.any(dots), "{text}");
        assert!((allow || !upper.contains("%2F")) && !upper.contains("%5C") && !upper.contains("%00"), "{text}");
        decoded = decoded.replace("%25", "%");
    }

    let expected = PREFIXES.iter().filter(|prefix| {
        let prefix = prefix.trim_end_matches('/');
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let expected = expected.max_by_key(|prefix| prefix.len()).expect("the root");
    match TABLE.find("app.example.com", &Method::GET, &path) {
        RouteMatch::Found(route) => {
            assert_eq!(route.settings().name, **expected, "{text}");
            if !path.has_two_readings() {
                assert_eq!(TABLE.check(route, &path, "/bff"), Ok(()), "{text}");
            }
        }
        other => panic!("{text}: {other:?}"),
    }
});
