//! Who is a tenant: the tables of `[tenants]` and of `tenants_file`.

use std::collections::HashMap;

use crate::config::capped::Capped;
use crate::config::document::{self, Entry, Node, Value};
use crate::config::error::{Faults, Place, Source};
use crate::config::folder::Folder;
use crate::config::here::Here;
use crate::config::reader::{Read as _, Written};
use crate::config::site_file::SiteFile;
use crate::config::tenants::written::{TenantTable, TenantsTable};
use crate::web::regular_file::{self, LARGEST_CONFIGURATION};

/// A label's, as DNS has it.
const LONGEST_NAME: usize = 63;

/// A tenant as it is written.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) table: TenantTable,
}

/// Where their file lies, and where their domains are.
pub(super) type Places<'a> = (&'a Folder, Option<&'a Here>);

/// All tenants of a site, in the order in which they are written.
pub(super) fn declared(
    file: &SiteFile,
    source: &Source,
    places: Places<'_>,
    faults: &mut Faults,
) -> Vec<Declared> {
    let here = file.tenants.written();
    let here = here.map(|tenants| tenants.value.clone());
    let there = file.tenants_file.written();
    let there = there.and_then(|written| in_file(source, written, places, faults));
    let all = [here, there].into_iter().flatten();
    let declared: Vec<Declared> = all
        .flat_map(|tenants| tenants.0)
        .map(|tenant| Declared {
            name: tenant.value.0,
            key: tenant.key,
            place: tenant.place,
            table: tenant.value.1,
        })
        .collect();
    judge_names(&declared, faults);
    declared
}

/// What `tenants_file` says; `None` after noting why it cannot be read.
fn in_file(
    site: &Source,
    written: &Written<String>,
    (folder, here): Places<'_>,
    faults: &mut Faults,
) -> Option<TenantsTable> {
    let path = folder.private(written, &written.value);
    let text = match regular_file::read_text(&path, LARGEST_CONFIGURATION) {
        Ok(text) => text,
        Err(error) => {
            written.refuse(
                faults,
                format!("names {}, which can't be read ({error})", path.display()),
                "write the path of a TOML file with a table for each tenant",
            );
            return None;
        }
    };
    let source = site.beside(&path);
    faults.turn_to(&source);
    let mut root = document::parse(&text, &source, faults);
    if let (Some(root), Some(here)) = (&mut root, here) {
        here.bring_tenants(root);
    }
    if let Some(root) = &mut root {
        unwrap_tenants(root, faults);
    }
    let tenants = root.and_then(|root| TenantsTable::read(&root, "", faults));
    faults.turn_to(site);
    tenants
}

/// Whoever writes `[tenants.acme]` there, as in the site's file, means `[acme]`.
fn unwrap_tenants(root: &mut Node, faults: &mut Faults) {
    const OF_THE_SITE: &str = "tenants";
    let Value::Table(entries) = &mut root.value else {
        return;
    };
    let is_table = |entry: &Entry| matches!(entry.node.value, Value::Table(_));
    let (place, meant) = match entries.get(OF_THE_SITE) {
        Some(Entry { key_place, node }) => match &node.value {
            Value::Table(inner) if inner.values().all(is_table) => (key_place, inner.clone()),
            _ => return,
        },
        None => return,
    };
    let Some(one) = meant.keys().next() else {
        return;
    };
    let what = "is no part of a tenant's name";
    let remedy =
        format!("leave tenants. out: the tables of this file are the tenants, as in [{one}]");
    faults.refuse(place, OF_THE_SITE, what, remedy);
    entries.remove(OF_THE_SITE);
    for (name, entry) in meant {
        entries.entry(name).or_insert(entry);
    }
}

fn judge_names(declared: &[Declared], faults: &mut Faults) {
    let mut capped = Capped::default();
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for tenant in declared {
        let at = (&tenant.place, tenant.key.as_str());
        if !is_label(&tenant.name) {
            let what = format!("is no name for a tenant: {:?}", tenant.name);
            let remedy = "write up to 63 lower-case letters, digits and - between them, as in acme";
            capped.refuse("name", at, what, remedy, faults);
        }
        if let Some(place) = seen.insert(&tenant.name, &tenant.place) {
            let what = format!("is a tenant of {place} too");
            capped.refuse("twice", at, what, "leave one of the two out", faults);
        }
    }
    capped.conclude(faults);
}

/// Whether a host may have it as one of its parts.
pub(super) fn is_label(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
