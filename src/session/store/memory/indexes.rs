//! What finds sessions of this process otherwise than by their cookies, and the lists that come of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::{MemoryStore, lock};
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::store::{
    Cursor, Directory, Listed, Recency, StoreFuture, Within, begins_a_word, folded,
};
use crate::web::uniform::UniformState;

/// By a word of the provider's alone: whose word it is, the sessions say.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// Under each subject its sessions by age: the number tells apart those of one millisecond.
    by_subject: HashMap<Box<str>, BTreeMap<u64, SessionHash>>,
    by_provider_sid: HashMap<Box<str>, BTreeMap<u64, SessionHash>>,
    by_name: BTreeSet<(Box<str>, SessionHash)>,
    pub(super) numbers: HashMap<SessionHash, u64, UniformState>,
    next: u64,
}

impl Indexes {
    pub(super) fn add(&mut self, session: &Session) {
        let number = self.next;
        self.next += 1;
        self.numbers.insert(session.hash, number);
        self.by_subject
            .entry(session.subject.clone())
            .or_default()
            .insert(number, session.hash);
        if let Some(sid) = &session.provider_sid {
            self.by_provider_sid
                .entry(sid.clone())
                .or_default()
                .insert(number, session.hash);
        }
        self.by_name
            .insert((folded(&session.name).into(), session.hash));
    }

    pub(super) fn remove(&mut self, session: &Session) {
        let Some(number) = self.numbers.remove(&session.hash) else {
            return;
        };
        let forget = |index: &mut HashMap<Box<str>, BTreeMap<u64, SessionHash>>, key: &str| {
            if let Some(own) = index.get_mut(key) {
                own.remove(&number);
                if own.is_empty() {
                    index.remove(key);
                }
            }
        };
        forget(&mut self.by_subject, &session.subject);
        if let Some(sid) = &session.provider_sid {
            forget(&mut self.by_provider_sid, sid);
        }
        self.by_name
            .remove(&(folded(&session.name).into(), session.hash));
    }

    pub(super) fn of_subject(&self, subject: &str) -> Vec<SessionHash> {
        let own = self.by_subject.get(subject).into_iter();
        own.flat_map(BTreeMap::values).copied().collect()
    }

    fn of_provider_sid(&self, sid: &str) -> Vec<SessionHash> {
        let own = self.by_provider_sid.get(sid).into_iter();
        own.flat_map(BTreeMap::values).copied().collect()
    }

    /// In the order of the list; `at_most` of those that are `taken`.
    fn page(
        &self,
        word: &str,
        after: Option<&Cursor>,
        at_most: usize,
        taken: impl Fn(&SessionHash) -> bool,
    ) -> Vec<SessionHash> {
        let from = match after {
            Some(cursor) => Bound::Excluded((cursor.name.clone(), cursor.hash)),
            None => Bound::Unbounded,
        };
        self.by_name
            .range((from, Bound::Unbounded))
            .filter(|(name, hash)| begins_a_word(name, word) && taken(hash))
            .take(at_most)
            .map(|(_, hash)| *hash)
            .collect()
    }
}

impl Directory for MemoryStore {
    fn of_subject<'a>(
        &'a self,
        subject: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        Box::pin(async move {
            let hashes = lock(&self.indexes).of_subject(subject);
            Ok(self.listed(hashes, within))
        })
    }

    fn of_provider_sid<'a>(
        &'a self,
        sid: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        Box::pin(async move {
            let hashes = lock(&self.indexes).of_provider_sid(sid);
            Ok(self.listed(hashes, within))
        })
    }

    fn page<'a>(
        &'a self,
        word: &'a str,
        within: &'a Within,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>> {
        Box::pin(async move {
            // Held until the sessions are at hand, since a short page is taken for the last.
            let indexes = lock(&self.indexes);
            let taken = |hash: &SessionHash| self.get(hash).is_some_and(|own| within.takes(&own));
            Ok(self.listed(indexes.page(word, after, at_most, taken), within))
        })
    }

    fn latest<'a>(
        &'a self,
        within: &'a Within,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Listed>, Option<Recency>)> {
        Box::pin(async move {
            let all: Vec<SessionHash> = lock(&self.indexes).numbers.keys().copied().collect();
            let place = |hash| {
                let session = self.get(&hash)?;
                within.takes(&session).then(|| (session.last_seen(), hash))
            };
            let mut places: Vec<_> = all
                .into_iter()
                .filter_map(place)
                .filter(|place| after.is_none_or(|after| *place < (after.at, after.hash)))
                .collect();
            places.sort_unstable_by(|one, other| other.cmp(one));
            let more = places.len() > at_most;
            places.truncate(at_most);
            let last = places.last().filter(|_| more);
            let next = last.map(|&(at, hash)| Recency { at, hash });
            let hashes = places.into_iter().map(|(_, hash)| hash);
            Ok((self.listed(hashes, within), next))
        })
    }

    fn inspect<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Listed>> {
        Box::pin(async { Ok(self.get(hash).map(Listed::of)) })
    }
}
