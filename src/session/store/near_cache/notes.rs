//! Notes and leases, which are the store's own: every node asks there.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::NearCache;
use crate::clock::Timestamp;
use crate::session::store::{
    LEASE_SPAN, Lease, Leased, Note, Notes, STORE_AGAIN_AFTER, StoreFuture,
};

impl NearCache {
    fn key(&self, note: Note<'_>) -> Arc<str> {
        note.key(&self.0.inherited.now()).into()
    }

    fn opened(&self, key: &str, sealed: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let opened = self.0.keys.open_bytes(key, &sealed?).ok()?;
        Some(opened.to_vec())
    }
}

impl Notes for NearCache {
    fn keep<'a>(
        &'a self,
        note: Note<'a>,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        let key = self.key(note);
        // What is kept may be an address with an ID token in it.
        let sealed = self.0.keys.seal_bytes(&key, value, &*self.0.randomness);
        Box::pin(
            self.ask(
                move |inner| async move { inner.records.keep(&key, &sealed, span, now).await },
            ),
        )
    }

    fn peek<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let key = self.key(note);
            let asked = Arc::clone(&key);
            let sealed =
                self.ask(move |inner| async move { inner.records.peek(&asked, now).await });
            Ok(self.opened(&key, sealed.await?))
        })
    }

    fn take<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let key = self.key(note);
            let asked = Arc::clone(&key);
            let sealed =
                self.ask(move |inner| async move { inner.records.take(&asked, now).await });
            Ok(self.opened(&key, sealed.await?))
        })
    }
}

impl Lease for NearCache {
    fn lease<'a>(&'a self, what: Leased<'a>, owner: &'a str) -> StoreFuture<'a, bool> {
        let (name, owner) = (lease_name(what), format!("{}-{owner}", self.0.node));
        Box::pin(
            self.ask(
                move |inner| async move { inner.records.lease(&name, &owner, LEASE_SPAN).await },
            ),
        )
    }

    fn release<'a>(&'a self, what: Leased<'a>, owner: &'a str) -> StoreFuture<'a, ()> {
        let (name, owner) = (lease_name(what), format!("{}-{owner}", self.0.node));
        Box::pin(self.ask(move |inner| async move { inner.records.release(&name, &owner).await }))
    }

    fn unsettled(&self) -> Duration {
        // Theirs may be a call that waits in vain for one deadline more; then they try again.
        let span = self.0.settings.timeout + 2 * STORE_AGAIN_AFTER;
        self.0.health.settles_within(span)
    }
}

/// The refresh token's is named as in releases before sets of tokens.
fn lease_name(what: Leased<'_>) -> String {
    let hash = what.hash.to_hex();
    match what.key {
        None => format!("refresh {hash}"),
        Some(key) => {
            let digest = URL_SAFE_NO_PAD.encode(digest(&SHA256, key.as_bytes()));
            format!("token {hash} {digest}")
        }
    }
}
