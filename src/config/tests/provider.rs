//! `[provider]`.

use super::{case, check_refused, check_warned};

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
            "public_url = \"https://app.example.com/app\"",
            "write \"https://app.example.com\"",
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
