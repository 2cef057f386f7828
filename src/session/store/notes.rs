//! Small values that every node finds for a while: what they are kept under, and who keeps them.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::clock::Timestamp;
use crate::session::store::StoreFuture;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// What a small value is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note<'a> {
    /// A login's `state` was used (C6).
    UsedState {
        /// Where the login was.
        site: &'a SiteId,
        /// What its cookie's name ends in.
        suffix: &'a str,
    },
    /// A logout token was taken (E9).
    LogoutToken {
        /// Whom it was for.
        registration: &'a Registration,
        /// Its `jti`.
        jti: &'a str,
    },
    /// Sessions ended at the provider, and a login may be on its way in (E10).
    EndedThere {
        /// Whose names these are.
        registration: &'a Registration,
        /// The session there.
        sid: Option<&'a str>,
        /// The user.
        sub: Option<&'a str>,
    },
    /// Where a browser goes on to that has signed out.
    WayOut {
        /// Where it signed out.
        site: &'a SiteId,
        /// What its cookie holds.
        handle: &'a str,
    },
    /// Whose an e-mail address is at the main site; the name is its pseudonym.
    Email(&'a str),
    /// Whose it is at other sites.
    EmailAtSites(&'a str),
}

impl Note<'_> {
    /// The key, of bounded length whatever a provider says. Of the main site and of `inherited`, the
    /// registration that it has now, it is that of releases before sites: nodes of theirs may share it.
    pub(in crate::session) fn key(&self, inherited: &Registration) -> String {
        match *self {
            Self::UsedState { site, suffix } => at_site(site, format!("used state {suffix}")),
            Self::LogoutToken { registration, jti } => {
                let client = elsewhere(registration, inherited).map(|own| &*own.client_id);
                let words = [Some(&*registration.issuer), Some(jti)];
                digested("logout jti", &words, client)
            }
            Self::EndedThere {
                registration,
                sid,
                sub,
            } => {
                let own = elsewhere(registration, inherited);
                let own = own.map(|own| json!([&*own.issuer, &*own.client_id]).to_string());
                digested("ended at the provider", &[sid, sub], own.as_deref())
            }
            Self::WayOut { site, handle } => at_site(site, format!("pending logout {handle}")),
            Self::Email(name) => format!("e-mail {name}"),
            Self::EmailAtSites(name) => format!("e-mail at sites {name}"),
        }
    }
}

fn at_site(site: &SiteId, key: String) -> String {
    if site.is_main() {
        key
    } else {
        format!("{key} at {site}")
    }
}

fn elsewhere<'a>(own: &'a Registration, inherited: &Registration) -> Option<&'a Registration> {
    (own != inherited).then_some(own)
}

/// A key for words of a provider's choosing; the store need not know them.
fn digested(kind: &str, words: &[Option<&str>], at: Option<&str>) -> String {
    let words = match at {
        None => json!(words),
        Some(at) => json!([at, words]),
    };
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, words.to_string().as_bytes()));
    format!("{kind} {hash}")
}

/// Keeps small values, as this process sees them.
pub trait Notes: Send + Sync + fmt::Debug {
    /// Keeps a small value for `span`, if there is none under `note`: whether this was the first.
    fn keep<'a>(
        &'a self,
        note: Note<'a>,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool>;

    /// Takes a kept value out: it comes to one caller alone.
    fn take<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// Looks at a kept value, and leaves it.
    fn peek<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>>;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// E9, E10: no two are kept under one key, whatever words a provider chooses.
    #[test]
    fn no_two_notes_have_one_key() {
        let (main, shop) = (SiteId::main(), SiteId::new("shop"));
        let own = Registration::new("https://id", "app");
        let others = [
            Registration::new("https://id", "shop"),
            Registration::new("https://other", "app"),
        ];
        let ended = |registration, sid, sub| Note::EndedThere {
            registration,
            sid,
            sub,
        };
        let mut notes = Vec::new();
        for site in [&main, &shop] {
            let suffix = "abc";
            notes.push(Note::UsedState { site, suffix });
            notes.push(Note::WayOut {
                site,
                handle: "abc",
            });
        }
        for registration in [&own, &others[0], &others[1]] {
            let jti = "a";
            notes.push(Note::LogoutToken { registration, jti });
            notes.push(ended(registration, Some("a"), None));
            notes.push(ended(registration, None, Some("a")));
            notes.push(ended(registration, Some("a"), Some("b")));
            notes.push(ended(registration, Some("a\",\"b"), None));
        }
        notes.extend([Note::Email("abc"), Note::EmailAtSites("abc")]);
        let keys: BTreeSet<_> = notes.iter().map(|note| note.key(&own)).collect();
        assert_eq!(keys.len(), notes.len(), "{keys:#?}");
        let long = "x".repeat(10_000);
        assert!(ended(&others[0], Some(&long), None).key(&own).len() < 100);
    }

    /// What the main site keeps, a node of 0.2.0 finds, and the other way round.
    #[test]
    fn the_main_site_keeps_under_the_keys_of_0_2_0() {
        let site = &SiteId::main();
        let registration = &Registration::new("https://id", "app");
        for (note, key) in [
            (
                Note::UsedState {
                    site,
                    suffix: "abc",
                },
                "used state abc",
            ),
            (
                Note::LogoutToken {
                    registration,
                    jti: "j",
                },
                "logout jti dMNIlQVXjLWb2z4kOH0I40brPamFE_ihazbGv_1Y_Ok",
            ),
            (
                Note::EndedThere {
                    registration,
                    sid: Some("s"),
                    sub: None,
                },
                "ended at the provider eCS64JGNQ5kZO22ri0TK-TilSFNpdWbDWUWfy-YHQ_k",
            ),
            (
                Note::WayOut {
                    site,
                    handle: "abc",
                },
                "pending logout abc",
            ),
            (Note::Email("abc"), "e-mail abc"),
        ] {
            assert_eq!(note.key(registration), key);
        }
    }
}
