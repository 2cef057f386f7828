//! `request_headers.set` with placeholders: what upstreams are told of a call's session.

use http::HeaderName;

use crate::config::error::Faults;
use crate::config::lists::Named;
use crate::config::reader::{Field, Written};
use crate::config::resolve::headers::{self, settable_name};
use crate::config::resolve::table;
use crate::config::route_table::RequestHeaderTable;
use crate::config::values::HeaderText;
use crate::proxy::{HeaderChanges, RouteAuth};
use crate::web::header_template::HeaderTemplate;

/// The changes that a route asks for in its requests: those that are the same for every call, and those
/// that are not.
pub(super) fn request_changes(
    field: &Field<RequestHeaderTable>,
    auth: RouteAuth,
    faults: &mut Faults,
) -> Option<HeaderChanges> {
    let (mut headers, _) = table(field);
    let set = headers.set.clone();
    headers.set = without(&set);
    let changes = headers::request_changes(&headers, faults);
    add(&set, auth, changes?, faults)
}

/// What stands in `set` without placeholders.
fn without(field: &Field<Named<HeaderText>>) -> Field<Named<HeaderText>> {
    let mut field = field.clone();
    if let Field::Written(written) = &mut field {
        written.value.0.retain(|entry| !is_template(entry));
    }
    field
}

/// Adds what stands in `set` with placeholders; `None` after a fault.
fn add(
    field: &Field<Named<HeaderText>>,
    auth: RouteAuth,
    mut changes: HeaderChanges,
    faults: &mut Faults,
) -> Option<HeaderChanges> {
    let written = field.or(Named::default()).0;
    let read: Vec<Option<(HeaderName, HeaderTemplate)>> = written
        .iter()
        .filter(|entry| is_template(entry))
        .map(|entry| template(entry, auth, faults))
        .collect();
    for (entry, (name, template)) in written
        .iter()
        .filter(|entry| is_template(entry))
        .zip(read.into_iter().collect::<Option<Vec<_>>>()?)
    {
        let is_twice = changes.set.iter().any(|(other, _)| *other == name)
            || changes.templates.iter().any(|(other, _)| *other == name);
        if is_twice {
            entry.refuse(
                faults,
                format!("sets {name} twice, and case tells no headers apart"),
                "leave one of the two out",
            );
            return None;
        }
        // No browser may write what it is told there, with a session or without one.
        changes.remove.push(name.clone());
        changes.templates.push((name, template));
    }
    Some(changes)
}

fn is_template(entry: &Written<(String, HeaderText)>) -> bool {
    HeaderTemplate::is_one(&entry.value.1.0)
}

fn template(
    entry: &Written<(String, HeaderText)>,
    auth: RouteAuth,
    faults: &mut Faults,
) -> Option<(HeaderName, HeaderTemplate)> {
    let (name, text) = &entry.value;
    let name = settable_name(entry, name, faults)?;
    let template = match HeaderTemplate::parse(&text.0) {
        Ok(template) => template,
        Err(fault) => {
            entry.refuse(
                faults,
                fault.to_string(),
                "write {claims.NAME}, {session.tag}, {site} or {raw:claims.NAME}, and {{ and }} for braces",
            );
            return None;
        }
    };
    if template.written().chars().any(char::is_control) {
        entry.refuse(
            faults,
            "holds a character that no header may",
            "write visible characters and blanks on one line",
        );
        return None;
    }
    if auth == RouteAuth::None && template.needs_session() {
        entry.refuse(
            faults,
            "tells of a session, and auth is \"none\": no session is looked for",
            "write auth = \"required\" or \"optional\", or leave it out",
        );
        return None;
    }
    Some((name, template))
}
