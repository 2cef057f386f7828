//! The lists, as the store has them: none is remembered.

use std::cmp::Reverse;

use super::NearCache;
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::record_store::Lookup;
use crate::session::store::{Cursor, Directory, Listed, Recency, StoreFuture, Within};

impl Directory for NearCache {
    fn of_subject<'a>(
        &'a self,
        subject: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        let (subject, among) = (subject.to_owned(), self.0.rows(within.clone()));
        let rows =
            self.ask(move |inner| async move { inner.records.of_subject(&subject, &among).await });
        Box::pin(self.listed(rows))
    }

    /// Of thousands, those that are shown are opened, and no other.
    fn newest_of_subject<'a>(
        &'a self,
        subject: &'a str,
        within: &'a Within,
        at_most: usize,
        now: Timestamp,
    ) -> StoreFuture<'a, (Vec<Listed>, usize)> {
        let (subject, among) = (subject.to_owned(), self.0.rows(within.clone()));
        let rows =
            self.ask(move |inner| async move { inner.records.of_subject(&subject, &among).await });
        Box::pin(async move {
            let mut rows = rows.await?;
            rows.retain(|row| now < row.times.expires);
            let total = rows.len();
            rows.sort_by_key(|row| Reverse(row.times.seen));
            rows.truncate(at_most);
            let listed = self.listed(std::future::ready(Ok(rows))).await?;
            Ok((listed, total))
        })
    }

    fn of_provider_sid<'a>(
        &'a self,
        sid: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        let (sid, among) = (sid.to_owned(), self.0.rows(within.clone()));
        let rows =
            self.ask(move |inner| async move { inner.records.of_provider_sid(&sid, &among).await });
        Box::pin(self.listed(rows))
    }

    fn page<'a>(
        &'a self,
        word: &'a str,
        within: &'a Within,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>> {
        let (word, after) = (word.to_owned(), after.cloned());
        let among = self.0.rows(within.clone());
        let rows = self.ask(move |inner| async move {
            let after = after.as_ref();
            inner.records.page(&word, &among, after, at_most).await
        });
        Box::pin(self.listed(rows))
    }

    fn latest<'a>(
        &'a self,
        within: &'a Within,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Listed>, Option<Recency>)> {
        let among = self.0.rows(within.clone());
        let asked = self
            .ask(move |inner| async move { inner.records.latest(&among, after, at_most).await });
        Box::pin(async move {
            let (rows, next) = asked.await?;
            let listed = self.listed(std::future::ready(Ok(rows))).await?;
            Ok((listed, next))
        })
    }

    fn inspect<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Listed>> {
        Box::pin(async move {
            let hash = *hash;
            let lookup = self.ask(move |inner| async move { inner.records.load(&hash).await });
            Ok(match lookup.await? {
                Lookup::Row(row) => Some(self.0.listed(row)),
                Lookup::Ended(_) | Lookup::Nothing => None,
            })
        })
    }
}
