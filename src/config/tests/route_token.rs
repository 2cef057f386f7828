//! `route.token`.

use super::*;
use crate::web::token_spec::{ExchangeForm, RouteToken, TokenGrant};

fn token_of(lines: &str) -> RouteToken {
    let (config, _) =
        serve(&file_with("[route]", lines)).unwrap_or_else(|errors| panic!("{lines}: {errors}"));
    config.sites[0].routes[0].token.clone()
}

/// §8: each form asks for one thing, and for nothing that is not written.
#[test]
fn a_route_says_which_token_it_carries() {
    let keyed = |lines: &str| match token_of(lines) {
        RouteToken::None => "none".to_owned(),
        RouteToken::User => "user".to_owned(),
        RouteToken::UserFor(spec) => format!("user for {}", spec.key()),
        RouteToken::Client(spec) => format!("client {}", spec.key()),
        RouteToken::UserOrClient(spec) => format!("user or client {}", spec.key()),
    };
    for (lines, says) in [
        ("", "user"),
        ("auth = \"optional\"", "user"),
        ("auth = \"none\"", "none"),
        ("token = \"user\"", "user"),
        ("token = \"none\"", "none"),
        ("token = \"client\"", "client client"),
        (
            "auth = \"none\"\nmethods = [\"GET\"]\ntoken = \"client\"",
            "client client",
        ),
        (
            "auth = \"optional\"\ntoken = \"user_or_client\"",
            "user or client client",
        ),
        (
            "auth = \"optional\"\ntoken = { user_or_client = { audience = \"a\" } }",
            "user or client client audience=a",
        ),
        (
            "token = { client = { scopes = [\"b\", \"a\"], resource = \"https://x\" } }",
            "client client resource=https://x scope=a scope=b",
        ),
        (
            "token = { resource = \"https://x\", scopes = [\"a\"] }",
            "user for refresh resource=https://x scope=a",
        ),
        (
            "token = { resource = [\"https://y\", \"urn:x\"] }",
            "user for refresh resource=https://y resource=urn:x",
        ),
        (
            "token = { audience = \"a\" }",
            "user for refresh audience=a",
        ),
        ("token = { scopes = [\"a\"] }", "user for refresh scope=a"),
        (
            "token = { exchange = { audience = \"a\", actor = \"client\" } }",
            "user for exchange actor=client audience=a",
        ),
        (
            "token = { exchange = { grant = \"jwt-bearer\", scopes = [\"api://a/.default\"] } }",
            "user for on_behalf_of scope=api://a/.default",
        ),
    ] {
        assert_eq!(keyed(lines), says, "{lines}");
    }
    let RouteToken::UserFor(spec) = token_of(
        "token = { exchange = { resource = \"https://x\", requested_token_type = \"urn:t\" } }",
    ) else {
        panic!()
    };
    let TokenGrant::Exchange(terms) = &spec.grant else {
        panic!()
    };
    assert_eq!(terms.form, ExchangeForm::TokenExchange);
    assert_eq!(terms.requested_token_type.as_deref(), Some("urn:t"));
}

/// §8: a token that cannot be had, or that would be two, is told when the file is read.
#[test]
fn a_token_that_cannot_be_asked_for_is_refused() {
    check_refused(&[
        case(
            "[route]",
            "token = \"usr\"",
            "write \"user\", \"client\", \"user_or_client\" or \"none\"",
        ),
        case(
            "[route]",
            "token = \"exchange\"",
            "write { exchange = { audience",
        ),
        case("[route]", "token = \"id_token\"", "is for us alone"),
        case("[route]", "token = true", "where a word or a table belongs"),
        case("[route]", "token = {}", "says nothing of the token"),
        case(
            "[route]",
            "token = { scopes = [\"a\"], resorce = \"https://x\" }",
            "write resource instead",
        ),
        case(
            "[route]",
            "token = { client = {}, exchange = { audience = \"a\" } }",
            "asks for two tokens, client and exchange",
        ),
        case(
            "[route]",
            "token = { resource = \"https://x\", exchange = { audience = \"a\" } }",
            "inside exchange = {",
        ),
        case(
            "[route]",
            "token = { resource = \"orders\" }",
            "or audience for a plain name",
        ),
        case(
            "[route]",
            "token = { resource = \"https://x/#a\" }",
            "has a fragment",
        ),
        case(
            "[route]",
            "token = { resource = [\"https://x\", \"/y\"] }",
            "no absolute address: \"/y\"",
        ),
        case(
            "[route]",
            "token = { resource = [] }",
            "route.token.resource is empty",
        ),
        case(
            "[route]",
            "token = { scopes = [\"a b\"] }",
            "an item of its own",
        ),
        case(
            "[route]",
            "token = { client = { scopes = ['a\"'] } }",
            "an item of its own",
        ),
        case(
            "[route]",
            "token = { scopes = [] }",
            "route.token.scopes is empty",
        ),
        case(
            "[route]",
            "auth = \"none\"\ntoken = \"user\"",
            "no session is looked for",
        ),
        case(
            "[route]",
            "auth = \"none\"\ntoken = { scopes = [\"a\"] }",
            "no session is looked for",
        ),
        case(
            "[route]",
            "auth = \"none\"\ntoken = \"user_or_client\"",
            "or token = \"client\"",
        ),
        case(
            "[route]",
            "token = \"user_or_client\"",
            "write auth = \"optional\"",
        ),
        case("[route]", "token = { exchange = {} }", "says not what for"),
        case(
            "[route]",
            "token = { exchange = { actor = \"client\" } }",
            "says not what for",
        ),
        case(
            "[route]",
            "token = { exchange = { audience = \"a\", requested_token_type = \"jwt\" } }",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        case(
            "[route]",
            "token = { exchange = { grant = \"jwt-bearer\" } }",
            "lacks scopes",
        ),
        case(
            "[route]",
            "token = { exchange = { grant = \"jwt-bearer\", scopes = [\"a\"], audience = \"b\" } }",
            "leave audience out",
        ),
        case(
            "[route]",
            "token = { exchange = { grant = \"on_behalf_of\", scopes = [\"a\"] } }",
            "write \"jwt-bearer\"",
        ),
    ]);
}

/// §8: whoever cannot prove who it is gets no token of its own.
#[test]
fn a_public_client_has_no_token_of_its_own() {
    for token in [
        "\"client\"",
        "{ client = { scopes = [\"a\"] } }",
        "{ exchange = { audience = \"a\", actor = \"client\" } }",
    ] {
        let text = file_with("provider", "-client_secret\nallow_public_client = true");
        let text = format!("{text}token = {token}\n");
        let said = serve(&text).unwrap_err().to_string();
        assert!(said.contains("cannot prove who it is"), "{token}: {said}");
        assert_eq!(said.lines().count(), 1, "{token}: {said}");
    }
}

/// §8: our own credential on a route that has no session and no check is everybody's.
#[test]
fn an_open_route_that_writes_with_our_credential_is_warned_of() {
    let open = "auth = \"none\"\ntoken = \"client\"";
    let reads = format!("{open}\nmethods = [\"GET\", \"HEAD\"]");
    let writes = format!("{open}\nmethods = [\"GET\", \"POST\"]");
    check_warned(&[
        case("[route]", open, "write methods = [\"GET\"]"),
        case("[route]", &writes, "write methods = [\"GET\"]"),
    ]);
    let (_, warnings) = serve(&file_with("[route]", &reads)).unwrap();
    assert!(!warnings.to_string().contains("token"), "{warnings}");
}

/// §8, L7: a token that the refresh token buys needs one, and no more than the login asked for.
#[test]
fn a_refresh_that_asks_for_more_than_the_login_is_warned_of() {
    let scopes = |scopes: &str, token: &str| {
        let text = file_with("provider", &format!("scopes = {scopes}"));
        let (_, warnings) = serve(&format!("{text}token = {token}\n")).unwrap();
        let warnings = warnings.to_string();
        let of_the_route = warnings.lines().filter(|line| line.contains("route"));
        let of_tokens = of_the_route.filter(|line| line.contains("provider.scopes"));
        of_tokens.collect::<Vec<_>>().join("\n")
    };
    let all = "[\"openid\", \"offline_access\", \"a\", \"b\"]";
    for token in [
        "{ scopes = [\"b\", \"a\"] }",
        "{ resource = \"https://x\" }",
        "{ exchange = { audience = \"x\", scopes = [\"c\"] } }",
        "{ client = { scopes = [\"c\"] } }",
    ] {
        assert_eq!(scopes(all, token), "", "{token}");
    }
    let wider = scopes(all, "{ scopes = [\"a\", \"c\", \"d\"] }");
    assert!(wider.contains("asks for c d, which"), "{wider}");
    let none = scopes("[\"openid\"]", "{ resource = \"https://x\" }");
    assert!(none.contains("add \"offline_access\""), "{none}");
    let text = file_with("[route]", "token = { scopes = [\"a\"] }");
    let (_, warnings) = serve(&text).unwrap();
    let said = warnings.to_string();
    assert!(
        said.contains("asks for a, which") && !said.contains("offline"),
        "{said}"
    );
}
