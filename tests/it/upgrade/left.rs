//! What a release left behind, as a file: the rows of a store, and what browsers held that day.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bff::clock::{ManualClock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::Rows;
use super::store::Kind;
use crate::support::cookie_jar::{Cookie, SameSite};

/// One store's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Left {
    /// `bff --version` of whoever made it.
    pub(super) release: String,
    /// When, for people.
    pub(super) day: String,
    /// When it was put down, in milliseconds since the epoch; the tests go on from there.
    pub(super) made: i64,
    /// `session.keys`.
    pub(super) key: String,
    /// Browsers with a session that lives, by what is special about it.
    pub(super) alive: BTreeMap<String, Alive>,
    /// Browsers whose session ended while they were away.
    pub(super) over: BTreeMap<String, Over>,
    /// Logins that lack their last step, or have it behind them.
    pub(super) logins: BTreeMap<String, Login>,
    /// A logout token that was used, and what its second use was answered.
    pub(super) used_logout_token: Option<(String, String)>,
    /// What the store held.
    pub(super) rows: Rows,
}

/// A browser that is signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Alive {
    pub(super) cookies: Vec<KeptCookie>,
    /// What `/bff/session` said, without the spans that run.
    pub(super) session: Value,
    /// The token that the API was shown.
    pub(super) bearer: String,
}

/// A browser that does not know yet that its session is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Over {
    pub(super) cookies: Vec<KeptCookie>,
    /// Why, as `/bff/session` said.
    pub(super) ended: String,
    /// What a call to the API was answered.
    pub(super) refusal: String,
}

/// A browser, where the provider sends it, and what comes of that.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) cookies: Vec<KeptCookie>,
    pub(super) callback: String,
    pub(super) answer: String,
}

/// A cookie, as a browser holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptCookie {
    name: String,
    value: String,
    same_site: String,
    expires_at: Option<i64>,
}

impl Left {
    /// What each release left in a store of this kind.
    pub(super) fn by_each_release(kind: Kind) -> Vec<Self> {
        let folders = fs::read_dir(fixtures()).unwrap();
        let mut folders: Vec<PathBuf> = folders.map(|folder| folder.unwrap().path()).collect();
        folders.sort();
        let file = |folder: PathBuf| {
            let text = fs::read_to_string(folder.join(kind.file())).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let left: Vec<Self> = folders.into_iter().map(file).collect();
        assert!(!left.is_empty(), "no release has left anything");
        left
    }

    /// Writes it down, in the folder of its release.
    pub(super) fn put_down(&self, kind: Kind) {
        let number = self.release.rsplit(' ').next().unwrap();
        let folder = fixtures().join(number);
        fs::create_dir_all(&folder).unwrap();
        let text = serde_json::to_string_pretty(self).unwrap();
        fs::write(folder.join(kind.file()), text + "\n").unwrap();
    }

    /// The time of that day, standing still.
    pub(super) fn clock(&self) -> Arc<ManualClock> {
        let made = Timestamp::from_unix_millis(self.made);
        Arc::new(ManualClock::starting_at(made))
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

impl KeptCookie {
    pub(super) fn of(cookie: &Cookie) -> Self {
        Self {
            name: cookie.name.clone(),
            value: cookie.value.clone(),
            same_site: format!("{:?}", cookie.same_site),
            expires_at: cookie.expires_at.map(Timestamp::unix_millis),
        }
    }

    /// As it lies in the jar of a browser that was at `host`.
    pub(super) fn at(&self, host: &str) -> Cookie {
        Cookie {
            name: self.name.clone(),
            value: self.value.clone(),
            domain: host.to_owned(),
            host_only: true,
            path: "/".to_owned(),
            secure: true,
            http_only: true,
            same_site: match self.same_site.as_str() {
                "Strict" => SameSite::Strict,
                "Lax" => SameSite::Lax,
                _ => SameSite::None,
            },
            expires_at: self.expires_at.map(Timestamp::from_unix_millis),
        }
    }
}
