//! `route.require`: who may call, beside whoever has a session.

use std::time::Duration;

use crate::config::error::Faults;
use crate::config::reader::{Field, Written};
use crate::config::require_table::{RequireEntry, RequireTable};
use crate::proxy::RouteAuth;
use crate::web::requirement::Requirement;

/// What a route requires; the outer `None` after a fault.
#[expect(clippy::option_option, reason = "no rule, or none that can be used")]
pub(super) fn requirement(
    field: &Field<RequireTable>,
    auth: RouteAuth,
    faults: &mut Faults,
) -> Option<Option<Requirement>> {
    let Some(written) = field.written() else {
        return (!field.stands()).then_some(None);
    };
    if auth != RouteAuth::Required {
        written.refuse(
            faults,
            "holds for sessions, and auth lets others call too, for whom it would not hold",
            "write auth = \"required\", or leave require out",
        );
        return None;
    }
    if written.value.0.is_empty() {
        written.refuse(
            faults,
            "requires nothing",
            "write a claim and what it must say, such as { roles = \"admin\" }, or leave it out",
        );
        return None;
    }
    let mut rule = Requirement::default();
    let mut whole = true;
    for entry in &written.value.0 {
        whole &= add(&mut rule, entry, faults);
    }
    whole.then_some(Some(rule))
}

fn add(rule: &mut Requirement, entry: &Written<RequireEntry>, faults: &mut Faults) -> bool {
    let RequireEntry { path, texts } = &entry.value;
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        entry.refuse(
            faults,
            "says nothing that anybody could fulfil",
            "write what it must say, or a list of which one will do",
        );
        return false;
    }
    match path.as_str() {
        "acr" | "scope" => {
            if let Some(odd) = texts.iter().find(|text| text.contains(char::is_whitespace)) {
                entry.refuse(
                    faults,
                    format!("holds a blank: {odd:?}"),
                    "write a list, of which one will do",
                );
                return false;
            }
            let list = if path == "acr" {
                &mut rule.acr
            } else {
                &mut rule.scopes
            };
            list.clone_from(texts);
            true
        }
        "max_auth_age" => {
            rule.max_auth_age = age(entry, faults);
            rule.max_auth_age.is_some()
        }
        _ => {
            rule.claims.push((path.clone(), texts.clone()));
            true
        }
    }
}

fn age(entry: &Written<RequireEntry>, faults: &mut Faults) -> Option<Duration> {
    let age = match entry.value.texts.as_slice() {
        [text] => humantime::parse_duration(text).ok(),
        _ => None,
    };
    let age = age.filter(|age| age.as_secs() > 0);
    if age.is_none() {
        entry.refuse(
            faults,
            "is no age that a sign-in may have",
            "write a number of seconds or more and its unit, such as \"15m\"",
        );
    }
    age
}
