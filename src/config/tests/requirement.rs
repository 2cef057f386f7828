//! `route.require`.

use std::time::Duration;

use super::*;
use crate::web::requirement::Requirement;

/// §8: a dotted key and a quoted one are the same path; numbers and truths are compared as text.
#[test]
fn a_rule_is_read_as_it_is_written() {
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let lines = "require = { roles = [\"a\", \"b\"], realm_access.roles = \"c\", \"x.y\" = true, level = 3, acr = [\"1\", \"2\"], scope = \"s\", max_auth_age = \"15m\" }";
    let (config, _) = serve(&file_with("[route]", lines)).unwrap();
    let expected = Requirement {
        claims: vec![
            ("roles".to_owned(), texts(&["a", "b"])),
            ("realm_access.roles".to_owned(), texts(&["c"])),
            ("x.y".to_owned(), texts(&["true"])),
            ("level".to_owned(), texts(&["3"])),
        ],
        scopes: texts(&["s"]),
        acr: texts(&["1", "2"]),
        max_auth_age: Some(Duration::from_mins(15)),
    };
    let site = &config.sites[0];
    assert_eq!(site.routes[0].require.as_ref(), Some(&expected));
    assert_eq!(
        site.auth.kept_claims,
        ["level", "realm_access.roles", "roles", "x.y"]
    );
}

/// §8: a rule that holds for nobody, or not for all who may call, is told when the file is read.
#[test]
fn a_rule_that_cannot_be_meant_is_refused() {
    check_refused(&[
        case("[route]", "require = {}", "route.require requires nothing"),
        case(
            "[route]",
            "require = \"admin\"",
            "where a table of claims belongs",
        ),
        case(
            "[route]",
            "require = { roles = [] }",
            "route.require.roles says nothing",
        ),
        case("[route]", "require = { roles = \"\" }", "says nothing"),
        case("[route]", "require = { roles = 1.5 }", "where text belongs"),
        case(
            "[route]",
            "require = { max_auth_age = \"soon\" }",
            "such as \"15m\"",
        ),
        case(
            "[route]",
            "require = { max_auth_age = 15 }",
            "such as \"15m\"",
        ),
        case(
            "[route]",
            "require = { max_auth_age = \"1ms\" }",
            "such as \"15m\"",
        ),
        case("[route]", "require = { scope = \"a b\" }", "write a list"),
        case("[route]", "require = { acr = \"a b\" }", "write a list"),
        case(
            "[route]",
            "auth = \"optional\"\nrequire = { roles = \"a\" }",
            "write auth = \"required\"",
        ),
        case(
            "[route]",
            "auth = \"none\"\nrequire = { roles = \"a\" }",
            "write auth = \"required\"",
        ),
    ]);
}
