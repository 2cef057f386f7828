//! What finds sessions of this process otherwise than by their cookies, and the lists that come of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

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
    by_subject: ByWord,
    by_provider_sid: ByWord,
    by_name: BTreeSet<(Box<str>, SessionHash)>,
    pub(super) numbers: HashMap<SessionHash, u64, UniformState>,
    next: u64,
}

/// Under each word its sessions by age: the number tells apart those of one millisecond.
#[derive(Debug, Default)]
struct ByWord(BTreeMap<(Arc<str>, u64), SessionHash>);

impl ByWord {
    fn add(&mut self, word: &str, number: u64, hash: SessionHash) {
        self.0.insert((word.into(), number), hash);
    }

    fn remove(&mut self, word: &str, number: u64) {
        self.0.remove(&(word.into(), number));
    }

    fn of(&self, word: &str) -> Vec<SessionHash> {
        let own = self.0.range((word.into(), 0)..);
        let own = own.take_while(|((own, _), _)| **own == *word);
        own.map(|(_, hash)| *hash).collect()
    }
}

impl Indexes {
    pub(super) fn add(&mut self, session: &Session) {
        let (number, hash) = (self.next, session.hash);
        self.next += 1;
        self.numbers.insert(hash, number);
        self.by_subject.add(&session.subject, number, hash);
        if let Some(sid) = &session.provider_sid {
            self.by_provider_sid.add(sid, number, hash);
        }
        self.by_name.insert((folded(&session.name).into(), hash));
    }

    pub(super) fn remove(&mut self, session: &Session) {
        let Some(number) = self.numbers.remove(&session.hash) else {
            return;
        };
        self.by_subject.remove(&session.subject, number);
        if let Some(sid) = &session.provider_sid {
            self.by_provider_sid.remove(sid, number);
        }
        self.by_name
            .remove(&(folded(&session.name).into(), session.hash));
    }

    pub(super) fn of_subject(&self, subject: &str) -> Vec<SessionHash> {
        self.by_subject.of(subject)
    }

    fn of_provider_sid(&self, sid: &str) -> Vec<SessionHash> {
        self.by_provider_sid.of(sid)
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
