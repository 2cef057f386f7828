//! I9, I10: any path; its normal form is stable and harmless, and the route it takes is the one
//! that comparing segment by segment finds.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bff::proxy::path::{RequestPath, Semicolons};
use bff::proxy::route::{RouteMatch, RouteTable};
use bff::proxy::{HeaderChanges, PathRewrite, RouteAuth, RouteSettings};
use http::Method;
use libfuzzer_sys::fuzz_target;
use url::Url;

const PREFIXES: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c/d", "/api", "/api/v1", "/%C3%A9"];

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let settings = PREFIXES.map(|path| RouteSettings {
        name: path.to_owned(),
        path: path.to_owned(),
        host: None,
        methods: Vec::new(),
        upstreams: vec![Url::parse("http://127.0.0.1:9").expect("a URL")],
        auth: RouteAuth::None,
        csrf: None,
        path_rewrite: PathRewrite::Keep,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        timeout: Duration::from_secs(1),
        max_body: None,
        websocket: false,
        idle_timeout: None,
        streams: false,
    });
    RouteTable::new(settings.into()).expect("routes")
});

fuzz_target!(|data: (bool, &str)| {
    let (allow, raw) = data;
    let semicolons = if allow { Semicolons::Allow } else { Semicolons::Refuse };
    let Ok(path) = RequestPath::parse(raw, semicolons) else {
        return;
    };
    let text = path.as_str();
    let again = RequestPath::parse(text, semicolons).expect("the normal form is harmless");
    assert_eq!(again.as_str(), text, "the normal form is stable");
    assert!(text.starts_with('/') && !text.contains("//"), "{text}");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
    assert!(!text.contains(['\\', '?', '#']) && (allow || !text.contains(';')), "{text}");
    let mut decoded = text.to_owned();
    for _ in 0..3 {
        assert!(!decoded.split('/').any(|segment| matches!(segment, "." | "..")), "{text}");
        let upper = decoded.to_ascii_uppercase();
        assert!(!upper.contains("%2F") && !upper.contains("%5C") && !upper.contains("%00"), "{text}");
        decoded = decoded.replace("%25", "%");
    }

    let expected = PREFIXES.iter().filter(|prefix| {
        let prefix = prefix.trim_end_matches('/');
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let expected = expected.max_by_key(|prefix| prefix.len()).expect("the root");
    match TABLE.find("app.example.com", &Method::GET, &path) {
        RouteMatch::Found(route) => assert_eq!(route.settings().name, **expected, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
});
