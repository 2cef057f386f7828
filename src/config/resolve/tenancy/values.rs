//! The variables of tenants: which are used, and whether each value may stand where it is to be filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::capped::Capped;
use crate::config::error::{Faults, Place};
use crate::config::folder::Folder;
use crate::config::reader::Written;
use crate::config::resolve::Surroundings;
use crate::config::resolve::tenancy::declared::Declared;
use crate::config::resolve::tenancy::fits::Rule;
use crate::config::secret_source::SecretSource;
use crate::config::tenants::draft::Draft;
use crate::config::tenants::placeholders::{TENANT, written};
use crate::config::tenants::places::Spot;
use crate::config::tenants::written::Variable;
use crate::config::unknown_key::nearest;

/// A variable of a tenant; the value is missing where it cannot be read.
type Said = Written<(String, Option<Variable>)>;

/// Variables by name, where each is first written.
type First<'a> = BTreeMap<&'a str, &'a Said>;

/// What a tenant's values make of the place where its secret is.
#[derive(Debug)]
pub(in crate::config::resolve) struct NamedSecret {
    /// The variable or the file.
    pub(in crate::config::resolve) name: String,
    /// The key of the site that names it.
    pub(in crate::config::resolve) key: String,
    /// Where it is sent: the addresses of that provider for this tenant.
    addresses: Vec<String>,
    pub(in crate::config::resolve) tenant: String,
    pub(in crate::config::resolve) tenant_place: Place,
    /// The tenant's line that most likely says so.
    pub(in crate::config::resolve) said: (Place, String),
}

impl NamedSecret {
    /// Where it is sent, as far as tenants differ.
    pub(in crate::config::resolve) fn goes_to(&self) -> (&str, &[String]) {
        (&self.key, &self.addresses)
    }
}

/// The value of each variable of the site, tenant by tenant, in the order of the variables' names, and where
/// their secrets are.
///
/// What is wrong is noted; a value that is missing is then empty.
pub(super) fn values(
    draft: &Draft,
    declared: &[Declared],
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> (Vec<Vec<Box<str>>>, Vec<NamedSecret>) {
    let first = first_of_each(declared);
    refuse_strays(draft, &first, faults);
    warn_of_unused(draft, &first, faults);
    // Who has no tenants yet may have variables.
    if !declared.is_empty() {
        refuse_unknown(draft, &first, faults);
    }
    let names: Vec<&str> = draft.names();
    let mut capped = Capped::default();
    for tenant in declared {
        let lacking = names.iter().filter(|name| first.contains_key(**name));
        for name in lacking.filter(|name| lacks(tenant, name)) {
            refuse_missing(draft, tenant, name, &mut capped, faults);
        }
    }
    for spot in draft.spots_in_use() {
        judge(spot, declared, surroundings, &mut capped, faults);
    }
    capped.conclude(faults);
    let of_tenant = |tenant: &Declared| {
        let values = names
            .iter()
            .map(|name| value(tenant, name).unwrap_or_default().into());
        values.collect()
    };
    let values = declared.iter().map(of_tenant).collect();
    (values, secrets(draft, declared, surroundings))
}

/// Where the secrets of all tenants are, if anybody is to be sent them.
fn secrets(
    draft: &Draft,
    declared: &[Declared],
    surroundings: Surroundings<'_>,
) -> Vec<NamedSecret> {
    if surroundings.purpose.is_without_provider() {
        return Vec::new();
    }
    let spots: Vec<&Spot> = draft.spots_in_use().collect();
    let mut secrets = Vec::new();
    for spot in spots.iter().filter(|spot| spot.names_a_secret()) {
        let beside: Vec<&Spot> = spots
            .iter()
            .copied()
            .filter(|other| spot.goes_to(other))
            .collect();
        let written = at(&spot.key, &spot.place);
        secrets.extend(declared.iter().filter_map(|tenant| {
            let source = SecretSource::named(&filled(spot, tenant)?)?;
            let mut names = spot.text.names().filter(|name| *name != TENANT);
            let said = names.find_map(|name| written_by(tenant, name));
            let said = said.map_or((&tenant.place, &tenant.key), |said| {
                (&said.place, &said.key)
            });
            Some(NamedSecret {
                name: source.name(|path| surroundings.folder.public(&written, path))?,
                key: spot.key.clone(),
                addresses: beside
                    .iter()
                    .filter_map(|other| filled(other, tenant))
                    .collect(),
                tenant: tenant.name.clone(),
                tenant_place: tenant.place.clone(),
                said: (said.0.clone(), said.1.clone()),
            })
        }));
    }
    secrets
}

/// What a tenant says of a variable, be it readable or not.
fn written_by<'a>(tenant: &'a Declared, name: &str) -> Option<&'a Said> {
    let mut variables = tenant.table.variables.iter();
    variables.find(|variable| variable.value.0 == name)
}

/// The value of a tenant's variable.
fn value<'a>(tenant: &'a Declared, name: &str) -> Option<&'a str> {
    let variable = written_by(tenant, name)?.value.1.as_ref()?;
    Some(&variable.0)
}

/// Whether a tenant says nothing of a variable, as far as it can be read.
fn lacks(tenant: &Declared, name: &str) -> bool {
    !tenant.table.is_unreadable && written_by(tenant, name).is_none()
}

/// Where each variable is first written.
fn first_of_each(declared: &[Declared]) -> First<'_> {
    let mut first = BTreeMap::new();
    let all = declared.iter().flat_map(|tenant| &tenant.table.variables);
    for variable in all {
        let name = variable.value.0.as_str();
        let known = first.entry(name).or_insert(variable);
        if variable.place < known.place {
            *known = variable;
        }
    }
    first
}

fn refuse_strays(draft: &Draft, first: &First<'_>, faults: &mut Faults) {
    for stray in &draft.strays {
        if stray.name == TENANT || first.contains_key(stray.name.as_str()) {
            let what = format!(
                "holds {}, and no variable may stand here",
                written(&stray.name)
            );
            let remedy = "write what is the same for all tenants; docs/sites.md says where variables may stand";
            faults.refuse(&stray.place, &stray.key, what, remedy);
        }
    }
}

fn warn_of_unused(draft: &Draft, first: &First<'_>, faults: &mut Faults) {
    let strays = draft.strays.iter().map(|stray| stray.name.as_str());
    let used: BTreeSet<&str> = draft.names().into_iter().chain(strays).collect();
    let mut unused: Vec<_> = first
        .iter()
        .filter(|(name, _)| !used.contains(**name))
        .collect();
    unused.sort_by_key(|(_, variable)| &variable.place);
    let mut capped = Capped::default();
    for (name, variable) in unused {
        let written = written(name);
        let what =
            format!("is a variable that is used nowhere: no key of the site holds {written}");
        let at = (&variable.place, variable.key.as_str());
        let remedy = "use it, or leave it out for all tenants";
        capped.warn("unused", at, what, remedy, faults);
    }
    capped.conclude(faults);
}

fn refuse_unknown(draft: &Draft, first: &First<'_>, faults: &mut Faults) {
    for spot in draft.spots_in_use() {
        for name in spot.text.names() {
            if name == TENANT || first.contains_key(name) {
                continue;
            }
            let known: Vec<&str> = first.keys().copied().chain([TENANT]).collect();
            let remedy = match nearest(name, &known) {
                Some(nearest) => format!("write {}", written(nearest)),
                None => format!("write {name} = \"…\" for each tenant, or leave it out"),
            };
            let what = format!("holds {}, and no tenant has such a variable", written(name));
            faults.refuse(&spot.place, &spot.key, what, remedy);
        }
    }
}

fn refuse_missing(
    draft: &Draft,
    tenant: &Declared,
    name: &str,
    capped: &mut Capped,
    faults: &mut Faults,
) {
    let mut spots = draft.spots_in_use();
    let used = spots.find(|spot| spot.text.names().any(|used| used == name));
    let key = used.map_or("", |spot| &spot.key);
    // A table that cannot be read is said to be so.
    let what = format!("lacks {name}, which {key} holds");
    let remedy = format!("write {name} = \"…\" there");
    let at = (&tenant.place, tenant.key.as_str());
    capped.refuse(&format!("lacks {name}"), at, what, remedy, faults);
}

/// Holds what each tenant fills in against the rule of the place.
fn judge(
    spot: &Spot,
    declared: &[Declared],
    surroundings: Surroundings<'_>,
    capped: &mut Capped,
    faults: &mut Faults,
) {
    let rule = match Rule::of(spot) {
        Ok(Some(rule)) => rule,
        // The site itself is at fault.
        Ok(None) => return,
        Err((what, remedy)) => return faults.refuse(&spot.place, &spot.key, what, remedy),
    };
    let mut folders = BTreeSet::new();
    for tenant in declared {
        let Some(filled) = filled(spot, tenant) else {
            continue;
        };
        let names = spot.text.names().filter(|name| *name != TENANT);
        let own: Vec<&Said> = names.filter_map(|name| written_by(tenant, name)).collect();
        let of_a_value = own.iter().find_map(|said| {
            let value = said.value.1.as_ref()?;
            Some((*said, rule.judge_value(&value.0).err()?))
        });
        let (said, misfit) = if let Some((said, misfit)) = of_a_value {
            (Some(said), misfit)
        } else {
            let fits = rule.judge(&filled);
            let fits = fits.and_then(|()| rule.look_up(&filled, surroundings, &mut folders));
            let Err(misfit) = fits else { continue };
            // Most likely it is what only this tenant says.
            (own.first().copied(), misfit)
        };
        let at = match said {
            Some(said) => (&said.place, said.key.as_str()),
            None => (&tenant.place, tenant.key.as_str()),
        };
        capped.refuse(&spot.key, at, misfit.what, misfit.remedy, faults);
    }
    keep_private(folders, spot, surroundings);
}

/// What stands there for this tenant; `None` where it lacks a variable, of which it is told.
fn filled(spot: &Spot, tenant: &Declared) -> Option<String> {
    let has = |name: &str| name == TENANT || value(tenant, name).is_some();
    spot.text.names().all(has).then(|| {
        spot.text.fill(|name| match value(tenant, name) {
            Some(value) if name != TENANT => value,
            _ => &tenant.name,
        })
    })
}

/// The file of each tenant, where a secret is in one.
pub(super) fn files<'a>(
    spot: &'a Spot,
    declared: &'a [Declared],
    folder: &'a Folder,
) -> impl Iterator<Item = (String, PathBuf)> + 'a {
    declared.iter().filter_map(move |tenant| {
        let filled = filled(spot, tenant)?;
        let path = filled.strip_prefix("file:")?;
        let path = folder.public(&at(&spot.key, &spot.place), path);
        Some((spot.key.clone(), path))
    })
}

/// The folders that tenants' secrets lie in, of which there are fewer than of those.
fn keep_private(folders: BTreeSet<PathBuf>, spot: &Spot, surroundings: Surroundings<'_>) {
    let written = at(&spot.key, &spot.place);
    for folder in folders {
        surroundings.folder.private(&written, folder);
    }
}

fn at(key: &str, place: &Place) -> Written<()> {
    Written {
        value: (),
        key: key.to_owned(),
        place: place.clone(),
    }
}
