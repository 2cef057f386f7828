//! The provider's metadata, fetched (OIDC Discovery 1.0 §4): once however many ask, and kept when a
//! later fetch fails (A8). Of a provider that publishes none, they are what the configuration says. What
//! they must be like is `metadata`'s.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use http::StatusCode;
use tokio::sync::{Mutex, MutexGuard, Notify};
use url::Url;

use crate::oidc::ProviderSettings;
use crate::oidc::calls::{Calls, json_object, json_request};
use crate::oidc::error::{Misbehaviour, ProviderError, Unavailable};
use crate::oidc::error_code::says_later;
use crate::oidc::metadata::Metadata;
use crate::oidc::table_name::TableName;
use crate::oidc::terms::Lack;
use crate::web::outbound::is_https_or_loopback;

/// The word for metrics and logs.
const ENDPOINT: &str = "metadata";

/// The metadata and the one fetch of them that may be under way.
pub(super) struct Discovery {
    settings: Arc<ProviderSettings>,
    calls: Arc<Calls>,
    current: ArcSwapOption<Metadata>,
    attempts: AtomicU64,
    /// Told where somebody asks and there is none.
    needed: Notify,
    /// Held during a fetch; holds why the last one failed.
    flight: Mutex<Option<ProviderError>>,
}

impl Discovery {
    pub(super) fn new(settings: Arc<ProviderSettings>, calls: Arc<Calls>) -> Self {
        Self {
            settings,
            calls,
            current: ArcSwapOption::empty(),
            attempts: AtomicU64::new(0),
            needed: Notify::new(),
            flight: Mutex::new(None),
        }
    }

    /// The last good copy, without asking anybody.
    pub(super) fn cached(&self) -> Option<Arc<Metadata>> {
        self.current.load_full()
    }

    /// Comes once somebody has asked while there was none.
    pub(super) async fn needed(&self) {
        self.needed.notified().await;
    }

    /// The last good copy, or a fetch where there is none yet. Those who wait for the same fetch
    /// share its failure, so that a silent provider costs each of them one deadline, not a queue.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        if let Some(metadata) = self.cached() {
            return Ok(metadata);
        }
        self.needed.notify_one();
        self.find().await
    }

    /// A fetch where there is no good copy yet, shared with whoever waits for one.
    pub(super) async fn find(&self) -> Result<Arc<Metadata>, ProviderError> {
        let seen = self.attempts.load(Ordering::SeqCst);
        let flight = self.flight.lock().await;
        if let Some(metadata) = self.cached() {
            return Ok(metadata);
        }
        if self.attempts.load(Ordering::SeqCst) != seen
            && let Some(failure) = &*flight
        {
            return Err(failure.clone());
        }
        self.fetch(flight).await
    }

    /// Fetches anew. A failure leaves the last good copy in place (A8).
    pub(super) async fn refresh(&self) -> Result<Arc<Metadata>, ProviderError> {
        let flight = self.flight.lock().await;
        self.fetch(flight).await
    }

    async fn fetch(
        &self,
        mut flight: MutexGuard<'_, Option<ProviderError>>,
    ) -> Result<Arc<Metadata>, ProviderError> {
        let outcome = if self.settings.discovery {
            self.fetch_document().await
        } else {
            Metadata::of_the_configuration(&self.settings).map_err(ProviderError::from)
        };
        let outcome = outcome.map(Arc::new);
        match &outcome {
            Ok(metadata) => {
                let before = self.current.swap(Some(Arc::clone(metadata)));
                if before.is_none_or(|before| before.lacks() != metadata.lacks()) {
                    tell_of(metadata.lacks(), &self.settings.table);
                }
                *flight = None;
            }
            Err(failure) => *flight = Some(failure.clone()),
        }
        self.attempts.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    async fn fetch_document(&self) -> Result<Metadata, ProviderError> {
        let url = document_url(&self.settings)?;
        let request = json_request(ENDPOINT, &url)?;
        let answer = match self.calls.send(ENDPOINT, request).await {
            Ok(answer) => answer,
            Err(source) => {
                let address = url;
                return Err(Unavailable::NoMetadata { address, source }.into());
            }
        };
        let status = answer.status();
        if !(status == StatusCode::OK || status.is_server_error() || says_later(status)) {
            let key = self.settings.table.tell(match &self.settings.internal {
                Some(_) => "provider.internal_url",
                None => "provider.issuer",
            });
            return Err(Misbehaviour::NoMetadata {
                address: url,
                key,
                status: status.as_u16(),
            }
            .into());
        }
        let document = json_object(ENDPOINT, &answer)?;
        Ok(Metadata::parse(&self.settings, document)?)
    }
}

/// Says once what does not fit, and again when it is something else.
fn tell_of(lacks: &[Lack], table: &TableName) {
    for lack in lacks {
        let prevents_login = lack.prevents_login();
        let lack = table.tell(&lack.to_string());
        if prevents_login {
            tracing::error!(event = "provider.unfit", "no login can work: {lack}");
        } else {
            tracing::warn!(event = "provider.lacks", "{lack}");
        }
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("issuer", &self.settings.issuer)
            .finish_non_exhaustive()
    }
}

/// Where the metadata are: one terminating slash gives way (OIDC Discovery §4.1).
fn document_url(settings: &ProviderSettings) -> Result<Url, Misbehaviour> {
    let (address, is_safe): (_, fn(&Url) -> bool) = match &settings.internal {
        // What the operator wrote is as safe as the operator says.
        Some(internal) => (internal.url().as_str(), |_| true),
        None => (settings.issuer.as_str(), is_https_or_loopback),
    };
    let bare = address.strip_suffix('/').unwrap_or(address);
    Url::parse(&format!("{bare}/.well-known/openid-configuration"))
        .ok()
        .filter(is_safe)
        .ok_or(Misbehaviour::Insecure("issuer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::tests::settings;

    /// A5: where the metadata are; one terminating slash gives way.
    #[test]
    fn the_document_is_under_the_issuer() {
        let cases = [
            (
                "https://id.example.com",
                Some("https://id.example.com/.well-known/openid-configuration"),
            ),
            (
                "https://id.example.com/realms/a/",
                Some("https://id.example.com/realms/a/.well-known/openid-configuration"),
            ),
            ("http://id.example.com", None),
            ("nonsense", None),
        ];
        for (issuer, expected) in cases {
            let url = document_url(&settings(issuer)).ok();
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{issuer}");
        }
    }
}
