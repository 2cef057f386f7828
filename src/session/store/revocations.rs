//! What has ended while nobody keeps the sessions themselves: what a cookie that still opens is held
//! against (E13).
//!
//! Bounded. When it is full, the oldest entry is forgotten and the line below which no session is
//! taken in rises to it: rather are the oldest sessions asked to sign in again than that one comes
//! back that was ended.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_lc_rs::digest;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::{Facts, Session};
use crate::session::store::{SiteFilter, Who};
use crate::web::ending::EndReason;
use crate::web::site_id::SiteId;

/// Ended sessions, and users whose sessions were ended.
#[derive(Debug)]
pub(super) struct Revocations {
    entries: HashMap<Key, Entry>,
    by_age: BTreeSet<(Timestamp, Key)>,
    /// Sessions that began by then are not taken in any more.
    floor: Timestamp,
    /// The longest that a session of any site may live.
    longest_life: Duration,
    most: usize,
}

/// A session's hash, or that of what else it may be found by.
type Key = [u8; 32];

#[derive(Debug)]
struct Entry {
    reason: EndReason,
    /// Sessions that began by then are over.
    at: Timestamp,
    /// But for this one.
    except: Option<SessionHash>,
}

impl Revocations {
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_age: BTreeSet::new(),
            floor: Timestamp::from_unix_millis(i64::MIN),
            longest_life: Duration::ZERO,
            most: most.max(1),
        }
    }

    /// Sessions may live for so long; none of an older end is remembered for less.
    pub(super) fn outlast(&mut self, max_lifetime: Duration) {
        self.longest_life = self.longest_life.max(max_lifetime);
    }

    /// Notes the end of one session that began at `created`; `false` where it was noted before.
    pub(super) fn end(
        &mut self,
        hash: &SessionHash,
        reason: EndReason,
        created: Timestamp,
    ) -> bool {
        if self.entries.contains_key(hash.as_bytes()) {
            return false;
        }
        let entry = Entry {
            reason,
            at: created,
            except: None,
        };
        self.insert(*hash.as_bytes(), entry);
        true
    }

    /// Notes that all of these sessions that began by then are over, but for one.
    pub(super) fn end_all(
        &mut self,
        who: Who<'_>,
        began_by: Timestamp,
        except: Option<&SessionHash>,
        reason: EndReason,
    ) {
        let key = key_of(who);
        if self
            .entries
            .get(&key)
            .is_some_and(|entry| entry.at > began_by)
        {
            return;
        }
        let entry = Entry {
            reason,
            at: began_by,
            except: except.copied(),
        };
        self.insert(key, entry);
    }

    /// Why a session ended that was ended by its hash.
    pub(super) fn reason(&self, hash: &SessionHash) -> Option<EndReason> {
        self.entries.get(hash.as_bytes()).map(|entry| entry.reason)
    }

    /// Why a session is over, whichever way it was ended.
    pub(super) fn covers(&self, session: &Session) -> Option<EndReason> {
        if let Some(reason) = self.reason(&session.hash) {
            return Some(reason);
        }
        let Facts {
            site,
            registration,
            subject,
            provider_sid,
            ..
        } = &session.facts;
        let by_subject = [None, Some(site)].map(|site| Who::Subject {
            registration,
            subject,
            site,
        });
        let by_sid = provider_sid.as_deref().map(|sid| {
            [None, Some(&**subject)].map(|subject| Who::ProviderSid {
                registration,
                sid,
                subject,
            })
        });
        let by_site = [
            SiteFilter::Only(site.clone()),
            SiteFilter::WithTenants(SiteId::new(site.site())),
            SiteFilter::WithTenants(site.clone()),
        ];
        by_subject
            .into_iter()
            .chain(by_sid.into_iter().flatten())
            .chain(by_site.iter().map(Who::Site))
            .filter_map(|who| self.entries.get(&key_of(who)))
            .find(|entry| session.created <= entry.at && entry.except != Some(session.hash))
            .map(|entry| entry.reason)
    }

    /// Whether an end of this session may have been forgotten.
    pub(super) fn may_have_forgotten(&self, session: &Session) -> bool {
        session.created <= self.floor
    }

    /// Forgets what no session can have outlived.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.by_age.first().copied()
            && at + self.longest_life <= now
        {
            self.by_age.pop_first();
            self.entries.remove(&key);
        }
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        let at = entry.at;
        if let Some(before) = self.entries.insert(key, entry) {
            self.by_age.remove(&(before.at, key));
        }
        self.by_age.insert((at, key));
        while self.entries.len() > self.most
            && let Some((at, key)) = self.by_age.pop_first()
        {
            self.entries.remove(&key);
            if self.floor == Timestamp::from_unix_millis(i64::MIN) {
                tracing::warn!(
                    event = "store.ends_forgotten",
                    ends = self.most,
                    "more sessions were ended within session.max_lifetime than are remembered; \
                     the oldest sessions must sign in again"
                );
            }
            self.floor = self.floor.max(at);
        }
    }
}

fn key_of(who: Who<'_>) -> Key {
    let (kind, registration, words) = match who {
        Who::Subject {
            registration,
            subject,
            site,
        } => {
            let site = site.map(SiteId::as_str);
            (1_u8, Some(registration), [Some(subject), site])
        }
        Who::ProviderSid {
            registration,
            sid,
            subject,
        } => (2, Some(registration), [Some(sid), subject]),
        Who::Site(SiteFilter::Only(site)) => (3, None, [Some(site.as_str()), None]),
        Who::Site(SiteFilter::WithTenants(site)) => (4, None, [Some(site.as_str()), None]),
    };
    let registration = registration.map_or([None, None], |own| {
        [Some(&*own.issuer), Some(&*own.client_id)]
    });
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[kind]);
    // Each with its length before it: no two lists of words look alike.
    for word in registration.into_iter().chain(words).flatten() {
        context.update(&word.len().to_be_bytes());
        context.update(word.as_bytes());
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
