//! `route.identity` and `server.identity_keys`.

use super::*;

/// §8: what is signed needs a key and somebody whom it is for; each lack is told when the file is read.
#[test]
fn an_identity_that_nobody_could_verify_is_refused() {
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut variables = variables();
    variables.insert("P256".to_owned(), p256.serialize_pem());
    variables.insert("P384".to_owned(), p384.serialize_pem());
    let with = |keys: &str, route: &str| {
        let text = file_with("server", keys);
        let upstream = "upstream = \"http://orders.internal:9000\"\n";
        let text = if route.contains("upstream") {
            text.replace(upstream, "")
        } else {
            text
        };
        match Config::parse(
            &format!("{text}{route}\n"),
            Path::new("bff.toml"),
            &variables,
        ) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        }
    };
    let keys = "identity_keys = [\"env:P256\"]";
    for (keys, route, says) in [
        (keys, "identity = true", ""),
        (keys, "identity = false", ""),
        (
            keys,
            "identity = { audience = \"a\", claims = [\"x.y\"], header = \"X-Who\" }",
            "",
        ),
        ("", "identity = true", "write server.identity_keys"),
        (
            "identity_keys = [\"env:P384\"]",
            "identity = true",
            "holds no private key of P-256 in PEM",
        ),
        (
            "identity_keys = [\"env:SECRET\"]",
            "identity = true",
            "openssl genpkey",
        ),
        (keys, "identity = \"yes\"", "where true or a table belongs"),
        (
            keys,
            "identity = true\nauth = \"none\"",
            "no session is looked for",
        ),
        (
            keys,
            "identity = { header = \"Authorization\" }",
            "which bff alone writes",
        ),
        (
            keys,
            "identity = { header = \"X-A\" }\nrequest_headers = { set = { X-A = \"b\" } }",
            "sets or removes",
        ),
        (
            keys,
            "identity = true\nrequest_headers = { remove = [\"X-BFF-Identity\"] }",
            "sets or removes",
        ),
        (
            keys,
            "identity = true\nupstream = \"unix:/run/a.sock\"",
            "audience = \"orders\"",
        ),
    ] {
        let said = with(keys, route);
        assert!(said.contains(says), "{keys} {route}: {said}");
        assert_eq!(said.is_empty(), says.is_empty(), "{keys} {route}: {said}");
    }
}
