//! `request_headers.set` with placeholders.

use super::*;

/// §8: what is set by a template is what bff does not write itself, said once, and filled for whoever may
/// call.
#[test]
fn a_template_that_cannot_be_filled_is_refused() {
    let set = |entries: &str| format!("request_headers = {{ set = {{ {entries} }} }}");
    for (entries, auth, says) in [
        (
            "X-A = \"{claims.}\"",
            "",
            "holds {claims.}, which stands for nothing",
        ),
        ("X-A = \"{session.id}\"", "", "{session.tag}"),
        ("X-A = \"{claims.sub}}\"", "", "{{ and }} for braces"),
        ("X-A = \"a\\n{claims.sub}\"", "", "no header may"),
        (
            "Authorization = \"{claims.sub}\"",
            "",
            "which bff alone writes",
        ),
        ("Cookie = \"{session.tag}\"", "", "which bff alone writes"),
        ("Host = \"{site}\"", "", "which bff alone writes"),
        (
            "Content-Length = \"{claims.n}\"",
            "",
            "which bff alone writes",
        ),
        (
            "X-Forwarded-For = \"{claims.ip}\"",
            "",
            "which bff alone writes",
        ),
        ("X-A = \"{claims.sub}\", x-a = \"b\"", "", "twice"),
        ("X-A = \"{claims.sub}\", x-a = \"{site}\"", "", "twice"),
        (
            "X-A = \"{claims.sub}\"",
            "auth = \"none\"",
            "no session is looked for",
        ),
        (
            "X-A = \"{session.tag}\"",
            "auth = \"none\"",
            "no session is looked for",
        ),
        ("X-A = \"{site}\"", "auth = \"none\"", ""),
        ("X-A = \"{\\\"a\\\":{\\\"b\\\":1}}\"", "", ""),
    ] {
        let lines = format!("{auth}\n{}", set(entries));
        let said = match serve(&file_with("[route]", &lines)) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        };
        assert!(said.contains(says), "{entries}: {said}");
        assert_eq!(said.is_empty(), says.is_empty(), "{entries}: {said}");
    }
}

/// §7, §8: in a header `{site}` is filled for each call, not by a tenant's line.
#[test]
fn a_sites_name_is_no_variable_of_its_tenants() {
    let found = |text: &str| {
        let filled = crate::config::tenants::placeholders::Fillable::of_header(text);
        filled.names().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        found("{site} {tenant} {claims.sub} {raw:claims.x}"),
        "tenant"
    );
}
