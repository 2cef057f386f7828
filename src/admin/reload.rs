//! `POST /reload`: the configuration is read again, and whoever asked learns what came of it.

use std::fmt;

use http::{Response, StatusCode};
use serde_json::json;

use super::json_answer;
use super::refusal::Refusal;
use crate::web::body::Body;
use crate::web::changes::Changes;

/// Who reads the configuration again.
pub trait Reloads: Send + Sync + fmt::Debug {
    /// Reads it, and takes it into use or refuses it whole. Reads files. `None` where it is read at a start
    /// alone.
    fn reload(&self) -> Option<ReloadAnswer>;
}

/// What came of a reload.
#[derive(Debug, Default)]
pub struct ReloadAnswer {
    /// The keys that are in use as they stand now.
    pub changed: Vec<String>,
    /// The keys that are read at a start alone, and say something else than then.
    pub needs_restart: Vec<String>,
    /// Why all stays as it was, a fault each; empty where it does not.
    pub faults: Vec<String>,
    /// The sites beside bff.toml, by their files' names.
    pub sites: Changes,
    /// The tenants, as in `shop/acme`.
    pub tenants: Changes,
}

/// The answer to whoever asked for it.
///
/// # Errors
///
/// The configuration has faults, or is read at a start alone.
pub(super) fn answer(came: Option<ReloadAnswer>) -> Result<Response<Body>, Refusal> {
    let ReloadAnswer {
        changed,
        needs_restart,
        faults,
        sites,
        tenants,
    } = came.ok_or(Refusal::ReadAtStart)?;
    if !faults.is_empty() {
        return Err(Refusal::Configuration(faults.join("\n")));
    }
    let mut told = json!({ "changed": changed, "needs_restart": needs_restart });
    for (name, changes) in [("sites", sites), ("tenants", tenants)] {
        if let (Some(sentence), Some(told)) = (changes.sentence(), told.as_object_mut()) {
            told.insert(name.to_owned(), counts(&changes, &sentence));
        }
    }
    Ok(json_answer(StatusCode::OK, &told))
}

/// How many, for machines, and the sentence for people.
fn counts(changes: &Changes, sentence: &str) -> serde_json::Value {
    json!({
        "came": changes.came.len(),
        "went": changes.went.len(),
        "changed": changes.changed.len(),
        "told": sentence,
    })
}
