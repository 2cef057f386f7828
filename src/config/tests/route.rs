//! `[[route]]` and `[frontend]`.

use std::fs;

use super::*;

/// H1, I1, I6: a route leads where it says, with a check, and touches no header of ours.
#[test]
fn a_route_that_cannot_be_safe_is_refused() {
    check_refused(&[
        case(
            "[route]",
            "-path",
            "bff.toml:10:1: route.path is missing; write path = \"/api\"",
        ),
        case("[route]", "-upstream", "route.upstream is missing"),
        case("[route]", "upstream = []", "route.upstream is empty"),
        case(
            "[route]",
            "upstream = [\"http://a\", \"b\"]",
            "is not an http or https address: \"b\"",
        ),
        case("[route]", "upstream = \"dev:api\"", "under bff dev only"),
        case("[route]", "path = \"/api/*\"", "holds a wildcard"),
        case("[route]", "path = \"/api?x\"", "holds a query"),
        case("[route]", "path = \"/bff\"", "lies under /bff"),
        case("[route]", "path = \"/bff/extra\"", "lies under /bff"),
        case(
            "[route]",
            "host = \"app.example.com:8443\"",
            "is not a host name",
        ),
        case("[route]", "host = \"*.example.com\"", "is not a host name"),
        case("[route]", "methods = []", "takes nothing"),
        case("[route]", "methods = [\"get\"]", "write \"GET\""),
        case("[route]", "methods = [\"TRACE\"]", "never forwarded"),
        case(
            "[route]",
            "auth = \"none\"\ncsrf = \"origin\"",
            "leave csrf out",
        ),
        case(
            "[route]",
            "auth = \"none\"\nactivity = false",
            "leave activity out",
        ),
        case("[route]", "set_cookie = \"pass\"", "\"keep\""),
        case(
            "[route]",
            "csrf = \"none\"",
            "would let any site call this route",
        ),
        case(
            "[route]",
            "strip_prefix = true\nrewrite = \"/v2\"",
            "stands beside strip_prefix",
        ),
        case(
            "[route]",
            "dpop_htu = \"orders.example.com\"",
            "is not an http or https address",
        ),
        case(
            "[route]",
            "dpop_htu = \"https://orders.example.com/?v=1\"",
            "has a query",
        ),
        case(
            "[route]",
            "token = \"none\"\ndpop_htu = \"https://orders.example.com\"",
            "leave dpop_htu out",
        ),
        case("[route]", "max_body = \"0B\"", "is zero"),
        case("[route]", "timeout = \"0s\"", "is zero"),
        case(
            "[route]",
            "request_headers = { set = { Authorization = \"x\" } }",
            "sets authorization, which bff alone writes",
        ),
        case(
            "[route]",
            "request_headers = { set = { X-Forwarded-For = \"x\" } }",
            "which bff alone writes",
        ),
        case(
            "[route]",
            "request_headers = { set = { Connection = \"x\" } }",
            "which bff alone writes",
        ),
        case(
            "[route]",
            "request_headers = { set = { \"a b\" = \"x\" } }",
            "is not a header's name",
        ),
        case(
            "[route]",
            "request_headers = { set = { X = \"a\\nb\" } }",
            "holds a character that no header may",
        ),
        case(
            "[route]",
            "request_headers = { remove = [\"Host\"] }",
            "which the connection needs",
        ),
        case(
            "[route]",
            "response_headers = { set = { Set-Cookie = \"x\" } }",
            "which bff alone writes",
        ),
        case(
            "[route]",
            "response_headers = { set = { Access-Control-Allow-Origin = \"*\" } }",
            "opens the answers to every site",
        ),
        case(
            "[route]",
            "response_headers = { set = { Cache-Control = \"max-age=60, Public\" } }",
            "give one user's answers to another",
        ),
        case(
            "[route]",
            "response_headers = { set = { CDN-Cache-Control = \"max-age=60\" } }",
            "give one user's answers to another",
        ),
        case("[route]", "methods = [\"*\"]", "leave the key out for all"),
        case(
            "[route]",
            "upstream = \"http://*.internal:9000\"",
            "names no single host",
        ),
    ]);
}

/// G12: whatever a cache obeys before `Cache-Control` is refused alike; what keeps nothing passes.
#[test]
fn no_word_to_a_cache_shares_the_answers_of_a_session() {
    for (field, value, shares) in [
        ("X-Accel-Expires", "600", true),
        ("x-accel-expires", "@1924992000", true),
        ("X-Accel-Expires", "0", false),
        ("Expires", "Tue, 01 Jan 2036 00:00:00 GMT", true),
        ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT", false),
        ("Expires", "0", false),
        ("Edge-Control", "max-age=60", true),
        ("Surrogate-Control", "max-age=60", true),
        ("X-LiteSpeed-Cache-Control", "public", true),
        ("Cache-Control", "no-store", false),
    ] {
        let line = format!("response_headers = {{ set = {{ {field} = {value:?} }} }}");
        match serve(&file_with("[route]", &line)) {
            Ok(_) => assert!(!shares, "{line}"),
            Err(errors) => {
                let said = errors.to_string();
                assert!(shares && said.contains("to another"), "{line}: {said}");
            }
        }
        let open = format!("auth = \"none\"\n{line}");
        assert!(serve(&file_with("[route]", &open)).is_ok(), "{open}");
    }
}

#[test]
fn routes_are_compared_with_each_other() {
    let two = |one: &str, other: &str| {
        let route = |lines: &str| {
            format!(
                "[[route]]\nupstream = \"http://a:1\"\n{}\n",
                lines.replace("; ", "\n")
            )
        };
        let rest = file_with("frontend", "upstream = \"http://localhost:5173\"");
        let rest = rest.replace(
            "[[route]]\npath = \"/api\"\nupstream = \"http://orders.internal:9000\"\n",
            "",
        );
        match serve(&format!("{rest}{}{}", route(one), route(other))) {
            Ok((_, warnings)) => format!("warned: {warnings}"),
            Err(errors) => format!("refused: {errors}"),
        }
    };
    for (one, other, says) in [
        (
            "path = \"/a\"",
            "path = \"/a/\"",
            "refused: bff.toml:17:8: route.path stands twice",
        ),
        (
            "path = \"/a\"; methods = [\"GET\"]",
            "path = \"/a\"; methods = [\"GET\"]",
            "refused",
        ),
        (
            "path = \"/a\"; host = \"x.example\"; auth = \"none\"",
            "path = \"/a\"; host = \"X.example\"; auth = \"none\"",
            "refused",
        ),
        (
            "path = \"/a\"",
            "path = \"/a\"; methods = [\"GET\"]",
            "warned: bff.toml:17:8: route.path is never reached",
        ),
        (
            "path = \"/a\"; methods = [\"GET\"]",
            "path = \"/a\"",
            "warned: ",
        ),
        (
            "path = \"/a\"",
            "path = \"/a\"; host = \"x.example\"; auth = \"none\"",
            "warned: ",
        ),
        ("path = \"/a\"", "path = \"/a/b\"", "warned: "),
    ] {
        let said = two(one, other);
        assert!(said.starts_with(says), "{one} | {other}: {said}");
        assert_eq!(
            said.len() > "warned: ".len(),
            says != "warned: ",
            "{one} | {other}: {said}"
        );
    }
}

/// N2: an app's folder in which a secret lies gives it to everybody who asks for its name.
#[test]
fn nothing_of_ours_lies_in_the_apps_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("dist")).unwrap();
    for name in ["index.html", "dist/index.html"] {
        fs::write(at(name), "<!doctype html>").unwrap();
    }
    for name in ["dist/key", "key"] {
        fs::write(at(name), KEY).unwrap();
    }
    std::os::unix::fs::symlink(at("dist"), at("current")).unwrap();
    let said = |dir: &str, keys: &str, store: &str| {
        let text = file_with("session", &format!("keys = [\"{keys}\"]\n{store}"));
        let text = format!("{text}[frontend]\ndir = \"{dir}\"\n");
        match Config::parse(&text, &at("bff.toml"), &variables()) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        }
    };
    let store = "store = \"sqlite\"\nstore_url = \"sqlite:dist/sessions.db\"";
    for (dir, keys, store, named) in [
        (".", "env:KEY", "", "the configuration ("),
        ("dist", "file:dist/key", "", "session.keys"),
        ("current", "file:key", store, "session.store_url"),
        ("dist/../dist", "file:current/key", "", "session.keys"),
    ] {
        let said = said(dir, keys, store);
        assert_eq!(said.lines().count(), 1, "{dir} {keys}: {said}");
        assert!(
            said.contains("frontend.dir serves everybody"),
            "{dir} {keys}: {said}"
        );
        assert!(said.contains(named), "{dir} {keys}: {said}");
    }
    assert_eq!(said("dist", "file:key", ""), "");
    assert_eq!(
        said(
            "current",
            "env:KEY",
            "store = \"sqlite\"\nstore_url = \"sqlite:s.db\""
        ),
        ""
    );
}

#[test]
fn the_app_comes_from_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bff.toml");
    let load = |lines: &str| Config::parse(&file_with("frontend", lines), &file, &variables());
    let said = |lines: &str| load(lines).unwrap_err().to_string();
    assert!(said("dir = \"dist\"").contains("which is no folder"));
    fs::create_dir(folder.path().join("dist")).unwrap();
    assert!(said("dir = \"dist\"").contains("which holds no index.html"));
    fs::write(folder.path().join("dist/index.html"), "<!doctype html>").unwrap();
    let (config, warnings) = load("dir = \"dist\"").unwrap();
    assert_eq!(
        config.sites[0].frontend.as_ref().unwrap().dir,
        folder.path().join("dist")
    );
    assert!(warnings.is_empty(), "{warnings}");
    assert!(
        said("dir = \"dist\"\nupstream = \"http://localhost:5173\"").contains("one place only")
    );
    assert!(said("headers = { X-A = \"b\" }").contains("there is no dir"));
    assert!(said("compress = false").contains("there is no dir"));
    let (config, _) = load("upstream = \"http://localhost:5173\"").unwrap();
    let last = config.sites[0].routes.last().unwrap();
    assert_eq!(
        (last.path.as_str(), last.csrf, last.websocket),
        ("/", None, true)
    );
}

#[test]
fn a_missing_app_is_warned_of() {
    let (_, warnings) = serve(&file_with("log", "")).unwrap();
    assert_snapshot!(warnings, @r#"bff.toml: frontend is missing, so that only the routes and endpoints answer; write [frontend] with dir = "dist" to serve the app"#);
}
