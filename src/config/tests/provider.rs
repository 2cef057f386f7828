//! `[provider]`.

use super::*;
use crate::oidc::own_parameters;

/// A1: a confidential client, or a start that is refused.
#[test]
fn a_client_without_a_credential_is_refused() {
    check_refused(&[
        case(
            "provider",
            "-client_secret",
            "nothing proves to the provider who we are",
        ),
        case(
            "provider",
            "-client_secret\nallow_public_client = false",
            "nothing proves",
        ),
        case(
            "provider",
            "-client_secret\nallow_public_client = true\nclient_auth = \"client_secret_post\"",
            "provider.client_secret is missing",
        ),
        case(
            "provider",
            "client_auth = \"private_key_jwt\"",
            "provider.client_key is missing",
        ),
        case(
            "provider",
            "client_key = \"env:KEY\"",
            "stands beside client_secret",
        ),
        case(
            "provider",
            "-client_secret\nclient_key = \"env:KEY\"",
            "provider.client_key cannot sign (no private key in PEM",
        ),
        case(
            "provider",
            "client_assertion_file = \"assertion\"",
            "provider.client_assertion_file stands beside client_secret",
        ),
        case(
            "provider",
            "-client_secret\nclient_assertion_file = \"/nowhere/assertion\"",
            "provider.client_assertion_file names /nowhere/assertion, which can't be read",
        ),
        case(
            "provider",
            "-client_secret\nclient_key = \"env:KEY\"\nclient_assertion_file = \"assertion\"",
            "provider.client_assertion_file stands beside client_key",
        ),
        case(
            "provider",
            "-client_secret\nclient_auth = \"client_secret_jwt\"",
            "provider.client_secret is missing",
        ),
        case(
            "provider",
            "client_auth = \"none\"",
            "allow_public_client = true",
        ),
        case(
            "provider",
            "client_secret = \"env:MISSING\"",
            "set MISSING for this process",
        ),
        case(
            "provider",
            "client_secret = \"file:/nowhere/secret\"",
            "/nowhere/secret, which can't be read",
        ),
        case(
            "provider",
            "client_secret = \"env:\"",
            "names nothing after env:",
        ),
    ]);
    check_warned(&[
        case(
            "provider",
            "client_auth = \"client_secret_jwt\"",
            "provider.client_secret has less than the 32 bytes",
        ),
        case(
            "provider",
            "client_key_id = \"k\"",
            "provider.client_key_id changes nothing, since no client_key signs",
        ),
        case(
            "provider",
            "client_auth = \"client_secret_basic\"\nclient_assertion_file = \"assertion\"",
            "provider.client_assertion_file changes nothing",
        ),
        case(
            "provider",
            "-client_secret\nallow_public_client = true",
            "register a confidential client",
        ),
        case(
            "provider",
            "client_secret = \"hunter2hunter2\"",
            "is a secret that everyone who reads this file can see",
        ),
    ]);
}

/// A7, B9: https, or http on loopback; the origin alone.
#[test]
fn an_address_that_cannot_be_safe_is_refused() {
    check_refused(&[
        case(
            "provider",
            "issuer = \"http://id.example.com\"",
            "write \"https://id.example.com\"",
        ),
        case(
            "provider",
            "issuer = \"http://127.0.0.1.example.com\"",
            "is http",
        ),
        case(
            "provider",
            "issuer = \"id.example.com\"",
            "is not an http or https address",
        ),
        case(
            "provider",
            "issuer = \"https://id.example.com?x=1\"",
            "has a query or a fragment",
        ),
        case(
            "provider",
            "issuer = \"https://id.example.com/.well-known/openid-configuration\"",
            "write the part before it: \"https://id.example.com\"",
        ),
        case(
            "server",
            "public_url = \"http://app.example.com\"",
            "write \"https://app.example.com\"",
        ),
        case(
            "server",
            "public_url = \"https://app.example.com//app\"",
            "write one such as \"https://app.example.com/shop\"",
        ),
        case(
            "server",
            "public_url = \"ftp://app.example.com\"",
            "is not an http or https address",
        ),
        case(
            "server",
            "public_url = \"https://user:hunter2@app.example.com\"",
            "holds a user name or password",
        ),
        case("server", "-public_url", "server.public_url is missing"),
    ]);
    check_warned(&[
        case(
            "provider",
            "issuer = \"http://localhost:9000\"",
            "only a provider on this machine may be",
        ),
        case(
            "provider",
            "issuer = \"http://[::1]:9000\"",
            "only a provider on this machine may be",
        ),
    ]);
}

#[test]
fn what_the_provider_would_misread_is_refused() {
    check_refused(&[
        // D9: the skew is capped.
        case("provider", "clock_skew = \"301s\"", "write \"5m\" or less"),
        // D1: asymmetric algorithms of our own choice.
        case(
            "provider",
            "id_token_algs = [\"none\"]",
            "accepts forged ID tokens",
        ),
        case("provider", "id_token_algs = [\"HS256\"]", "a signing key"),
        case(
            "provider",
            "id_token_algs = []",
            "no login could ever succeed",
        ),
        // B8: our parameters stay ours.
        case(
            "provider",
            "authorize_params = { scope = \"admin\" }",
            "write provider.scopes",
        ),
        case(
            "provider",
            "authorize_params = { redirect_uri = \"x\" }",
            "provider.authorize_params.redirect_uri is a parameter that bff sets itself",
        ),
        case("provider", "scopes = [\"email\"]", "add \"openid\""),
        case(
            "provider",
            "scopes = [\"openid\", \"a b\"]",
            "write each scope as an item of its own",
        ),
        case(
            "provider",
            "response_mode = \"fragment\"",
            "never reaches a server",
        ),
        case("provider", "timeout = \"0s\"", "is zero"),
    ]);
}

/// B8: whatever a login sets, the file may not: `client_assertion` was taken, and then never sent.
#[test]
fn no_parameter_of_ours_is_taken() {
    for (name, remedy) in own_parameters::OURS {
        let lines = format!("authorize_params = {{ {name} = \"x\" }}");
        let says = format!(
            "provider.authorize_params.{name} is a parameter that bff sets itself; {remedy}"
        );
        check_refused(&[case("provider", &lines, &says)]);
        let lines = format!("login_params = {{ {name} = \"*\" }}");
        let says =
            format!("provider.login_params.{name} is a parameter that bff sets itself; {remedy}");
        check_refused(&[case("provider", &lines, &says)]);
    }
}

/// B8: what a login link may carry is named with its values, and is neither ours nor fixed.
#[test]
fn what_a_login_link_carries_is_listed() {
    check_refused(&[
        case(
            "provider",
            "login_params = { prompt = [\"login\"] }",
            "provider.login_params.prompt is a parameter that every login link may carry",
        ),
        case(
            "provider",
            "login_params = { return_to = \"*\" }",
            "provider.login_params.return_to is a parameter of /bff/login itself",
        ),
        case(
            "provider",
            "login_params = { audience = \"*\" }\nauthorize_params = { audience = \"api\" }",
            "provider.login_params.audience stands in authorize_params too",
        ),
        case(
            "provider",
            "login_params = { kc_idp_hint = [] }",
            "provider.login_params.kc_idp_hint has no value that a link could say",
        ),
        case(
            "provider",
            "login_params = { kc_idp_hint = [\"google\", \"*\"] }",
            "write \"*\" alone, or leave it out of the list",
        ),
        case(
            "provider",
            "login_params = { kc_idp_hint = \"\" }",
            "provider.login_params.kc_idp_hint is empty",
        ),
    ]);
    check_fine(
        "provider",
        "login_params = { kc_idp_hint = [\"google\", \"saml\"], organization = \"*\" }",
    );
}

/// A6, A7: an endpoint of the operator's own is held to what the metadata are held to.
#[test]
fn an_endpoint_that_cannot_be_safe_is_refused() {
    check_refused(&[
        case(
            "provider",
            "endpoints = { token = \"http://id.example.com/token\" }",
            "provider.endpoints.token is not an https address, as all must be that an https issuer leads to",
        ),
        case(
            "provider",
            "endpoints = { jwks = \"http://127.0.0.1:9000/jwks\" }",
            "provider.endpoints.jwks is not an https address",
        ),
        case(
            "provider",
            "issuer = \"http://localhost:9000\"\nendpoints = { end_session = \"http://id.example.com/end\" }",
            "provider.endpoints.end_session is neither an https address nor http on this machine",
        ),
        case(
            "provider",
            "endpoints = { end_session = \"/logout\" }",
            "write one such as \"https://id.example.com/logout\"",
        ),
        case(
            "provider",
            "endpoints = { device = \"https://id.example.com/device\" }",
            "provider.endpoints.device",
        ),
    ]);
    check_fine(
        "provider",
        "endpoints = { end_session = \"https://login.example.com/logout?p=1\" }",
    );
    check_warned(&[case(
        "provider",
        "issuer = \"http://localhost:9000\"\nendpoints = { token = \"http://127.0.0.1:9001/token\" }",
        "only a provider on this machine may be",
    )]);
}

/// A6, A7: without metadata somebody has to say where the provider is, by the same rules.
#[test]
fn without_metadata_the_addresses_are_written() {
    const ALL: &str = "discovery = false\nendpoints = { \
        authorization = \"https://login.example.com/authorize\", \
        token = \"https://id.example.com/token\", jwks = \"https://id.example.com/keys\" }";
    check_refused(&[
        case(
            "provider",
            "discovery = false",
            "provider.discovery is false, and provider.endpoints lacks authorization, token, jwks",
        ),
        case(
            "provider",
            "discovery = false\nendpoints = { token = \"https://id.example.com/token\" }",
            "provider.endpoints lacks authorization, jwks, so that nobody says where that is; write its address there",
        ),
        case(
            "provider",
            &ALL.replace("https://id.example.com/keys", "http://id.example.com/keys"),
            "provider.endpoints.jwks is not an https address",
        ),
        case(
            "provider",
            &format!("userinfo = true\n{ALL}"),
            "write its address as provider.endpoints.userinfo",
        ),
    ]);
    check_fine("provider", ALL);
    check_fine("provider", "discovery = true");
}

/// A7: http within a network takes a word of its own; whoever lacks the second name is told of it.
#[test]
fn the_internal_address_is_written_with_care() {
    check_refused(&[
        case(
            "provider",
            "internal_url = \"http://keycloak:8080/realms/main\"",
            "provider.internal_url is http, so that whoever stands between reads",
        ),
        case(
            "provider",
            "internal_url = \"http://keycloak:8080/realms/main\"\ninternal_http = false",
            "internal_http = true where nobody else is on that network",
        ),
        case(
            "provider",
            "internal_url = \"http://127.0.0.1:8080\"",
            "provider.internal_url is http",
        ),
        case(
            "provider",
            "internal_url = \"keycloak:8080\"",
            "provider.internal_url is not an http or https address",
        ),
        case(
            "provider",
            "internal_url = \"https://keycloak:8443/realms/main/.well-known/openid-configuration\"",
            "write the part before it: \"https://keycloak:8443/realms/main\"",
        ),
        case(
            "provider",
            "issuer = \"http://keycloak:8080/realms/main\"",
            "write the browsers' as issuer and this one as provider.internal_url",
        ),
        case(
            "provider",
            "internal_url = \"http://keycloak:8080/realms/main\"\ninternal_http = true\nendpoints = { token = \"http://other:8080/token\" }",
            "provider.endpoints.token is not an https address",
        ),
    ]);
    check_warned(&[
        case(
            "provider",
            "internal_url = \"http://keycloak:8080/realms/main\"\ninternal_http = true",
            "provider.internal_http sends the client secret and every token in the clear",
        ),
        case(
            "provider",
            "internal_http = true",
            "changes nothing, since there is no internal_url",
        ),
        case(
            "provider",
            "internal_url = \"https://keycloak:8443\"\ninternal_http = true",
            "changes nothing, since internal_url is not http",
        ),
        case(
            "provider",
            "internal_url = \"https://id.example.com\"",
            "is the issuer itself, and changes nothing",
        ),
        case(
            "provider",
            "issuer = \"http://id.localhost:8180\"",
            "is http, which only a provider on this machine may be",
        ),
        case(
            "provider",
            "issuer = \"http://id.localhost:8180/realms/main\"\ninternal_url = \"http://keycloak:8080/realms/main\"\ninternal_http = true\n\
                 endpoints = { token = \"http://keycloak:8080/realms/main/token\" }",
            "in the clear",
        ),
    ]);
    check_fine(
        "provider",
        "internal_url = \"https://keycloak.internal:8443/realms/main\"",
    );
}

#[test]
fn what_a_logout_cannot_do_is_refused() {
    check_refused(&[
        case(
            "provider",
            "logout = \"nowhere\"",
            "write \"provider\" or \"local\"",
        ),
        case(
            "provider",
            "logout = \"local\"\nlogout_params = { logout_uri = \"x\" }",
            "logout = \"local\" never makes",
        ),
        case(
            "provider",
            "logout_params = { client_id = \"\" }",
            "write provider.client_id",
        ),
        case(
            "provider",
            "logout_params = { state = \"fixed\" }",
            "provider.logout_params.state is a parameter that bff sets itself",
        ),
        case(
            "provider",
            "logout_params = { id_token_hint = \"x\" }",
            "write provider.logout_hint",
        ),
    ]);
    check_fine(
        "provider",
        "logout_params = { logout_uri = \"https://app.example.com/\", post_logout_redirect_uri = \"\", state = \"\", id_token_hint = \"\" }",
    );
}

/// The proxy's password is nobody's to read, and what is no proxy is said to be none.
#[test]
fn a_proxy_is_named_or_not_used() {
    check_refused(&[
        case(
            "provider",
            "proxy = \"socks5://proxy.internal:1080\"",
            "provider.proxy is no address of an http or https proxy",
        ),
        case("provider", "proxy = \"env:MISSING\"", "set MISSING"),
    ]);
    check_fine("provider", "proxy = \"none\"");
    check_fine("provider", "proxy = \"http://proxy.internal:3128\"");
    check_warned(&[case(
        "provider",
        "proxy = \"http://user:hunter2@proxy.internal:3128\"",
        "is a secret that everyone who reads this file can see",
    )]);
    let said = |name: &str, value: &str| {
        let mut variables = variables();
        variables.insert(name.to_owned(), value.to_owned());
        let text = file_with("provider", "");
        let file = Path::new("bff.toml");
        let (config, warnings) = parse(&text, file, &variables, Purpose::Serve).unwrap();
        let issuer = &config.sites[0].provider.issuer;
        (
            config.sites[0].outbound.way_out.describe(issuer),
            warnings.to_string(),
        )
    };
    let (way, warnings) = said("https_proxy", "http://u:canary@proxy.internal:3128");
    let through = "through the proxy http://proxy.internal:3128 of https_proxy";
    assert_eq!(way.as_deref(), Some(through));
    assert!(!warnings.contains("proxy"), "{warnings}");
    let (way, warnings) = said("HTTPS_PROXY", "socks5://u:canary@proxy.internal:1080");
    assert_eq!(way, None);
    assert!(
        warnings.contains("HTTPS_PROXY: is no address"),
        "{warnings}"
    );
    assert!(!warnings.contains("canary"), "{warnings}");
    for name in ["HTTP_PROXY", "NO_PROXY"] {
        let (way, warnings) = said(name, "http://proxy.internal:3128");
        assert_eq!(way, None, "{name}");
        assert!(!warnings.contains("PROXY"), "{warnings}");
    }
}

/// B4: a login has as long as a person needs, and not for ever.
#[test]
fn a_login_has_a_time_that_makes_sense() {
    check_refused(&[
        case(
            "provider",
            "login_timeout = \"30s\"",
            "provider.login_timeout gives nobody the time",
        ),
        case(
            "provider",
            "login_timeout = \"25h\"",
            "write \"24h\" or less",
        ),
        case("provider", "login_timeout = 600", "write \"600s\""),
        case("provider", "access_denied = \"back\"", "return_to"),
    ]);
}

/// A13, A15, RFC 9396: what a login asks for beyond the plain is judged when the file is read.
#[test]
fn what_cannot_be_asked_for_is_refused() {
    check_refused(&[
        case(
            "provider",
            "pushed_authorization = true",
            "provider.pushed_authorization",
        ),
        case(
            "provider",
            "request_object = \"signed\"",
            "no client_key proves who we are",
        ),
        case("provider", "resource = \"orders\"", "provider.resource"),
        case(
            "provider",
            "resource = [\"https://a.example.com/#x\"]",
            "has a fragment",
        ),
        case(
            "provider",
            "authorization_details = \"payment\"",
            "list of tables",
        ),
        case(
            "provider",
            "authorization_details = [{ actions = [\"read\"] }]",
            "does not say of which type it is",
        ),
        case(
            "provider",
            "authorization_details = [{ type = \"payment\", amount = 1.5 }]",
            "provider.authorization_details",
        ),
        case(
            "provider",
            "authorize_params = { request_uri = \"urn:x\" }",
            "write provider.pushed_authorization",
        ),
    ]);
}

/// FAPI 2.0: what the profile forbids is refused when the file is read, each fault with its remedy.
#[test]
fn the_profile_forbids_what_is_weaker() {
    let by_key = "-client_secret\nclient_key = \"env:CLIENT_KEY\"\nprofile = \"fapi2\"\n";
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let said_of = |more: &str| {
        let mut variables = variables();
        variables.insert("CLIENT_KEY".to_owned(), key.clone());
        let text = file_with("provider", &format!("{by_key}{more}"));
        let config = Config::parse(&text, Path::new("bff.toml"), &variables);
        config.map(drop).map_err(|errors| errors.to_string())
    };
    assert_eq!(said_of(""), Ok(()));
    for (more, says) in [
        ("dpop = \"auto\"", "provider.dpop lets a token be anybody's"),
        (
            "dpop = \"never\"",
            "provider.dpop lets a token be anybody's",
        ),
        (
            "pushed_authorization = \"auto\"",
            "provider.pushed_authorization lets a request travel",
        ),
        (
            "require_response_iss = false",
            "provider.require_response_iss is false",
        ),
        (
            "client_assertion_audience = \"token_endpoint\"",
            "provider.client_assertion_audience is",
        ),
        ("id_token_algs = [\"PS256\", \"RS256\"]", "holds \"RS256\""),
    ] {
        let said = said_of(more).unwrap_err();
        assert_eq!(said.lines().count(), 1, "{more}: {said}");
        assert!(said.contains(says), "{more}: {said}");
    }
    check_refused(&[
        case(
            "provider",
            "profile = \"fapi2\"",
            "provider.client_secret is known to both sides, and profile = \"fapi2\" forbids it",
        ),
        case(
            "provider",
            "-client_secret\nallow_public_client = true\nprofile = \"fapi2\"",
            "lets anybody be this client",
        ),
        case("provider", "profile = \"fapi1\"", "\"fapi2\""),
    ]);
}
