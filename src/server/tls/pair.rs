//! One certificate and its key as they are served.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::error::TlsError;
use super::files::{judge_names, names};
use super::names::CertificateNames;
use crate::clock::Timestamp;
use crate::web::der::Validity;
use crate::web::key_pair::{PairFault, Stamp, TlsFiles, read, stamps, validity};

/// How HTTP/2 is called in a handshake (RFC 9113 §3.2).
pub(in crate::server) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Two files, the hosts of the sites that they are for, and what was read from them.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) files: TlsFiles,
    /// None where it serves whoever asks for no site's host alone.
    pub(super) hosts: Arc<[Box<str>]>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) names: Arc<CertificateNames>,
    pub(super) validity: Option<Validity>,
    /// The files as they were looked at last.
    seen: Option<[Stamp; 2]>,
    standing: Standing,
}

/// How what is served stands to the files as they were looked at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was read from them.
    Read,
    /// It is older: they cannot be used.
    Kept,
}

impl Pair {
    /// Reads and judges the files. Its tickets are its own: no connection that began with another
    /// certificate is resumed here, nor with another name (RFC 6066 §3, which the TLS library sees to).
    pub(super) fn read(
        files: TlsFiles,
        hosts: Arc<[Box<str>]>,
        provider: &Arc<CryptoProvider>,
        ticketer: Arc<dyn ProducesTickets>,
        now: Timestamp,
    ) -> Result<Self, TlsError> {
        // Before the read: a change between the two is then seen again, not missed.
        let seen = stamps(&files);
        let certified = read(&files, provider, now)?;
        let names = names(&certified.cert);
        judge_names(&files, &names, hosts.iter().map(|host| &**host))?;
        let validity = validity(&certified.cert);
        let config =
            config(certified, provider, ticketer).map_err(|source| PairFault::Unusable {
                path: files.cert.clone(),
                source,
            })?;
        Ok(Self {
            config: Arc::new(config),
            names: Arc::new(names),
            validity,
            seen,
            standing: Standing::Read,
            files,
            hosts,
        })
    }

    /// The same for these hosts, where the files are still what was read.
    pub(super) fn unchanged_for(&self, hosts: &Arc<[Box<str>]>) -> Option<Result<Self, TlsError>> {
        if self.standing == Standing::Kept || stamps(&self.files) != self.seen {
            return None;
        }
        let judged = judge_names(&self.files, &self.names, hosts.iter().map(|host| &**host));
        Some(judged.map(|()| Self {
            hosts: Arc::clone(hosts),
            ..self.clone()
        }))
    }

    /// The same from files that have changed, or with a fault of theirs; `None` where they have not.
    pub(super) fn look(
        &self,
        provider: &Arc<CryptoProvider>,
        now: Timestamp,
    ) -> Option<(Self, Result<(), TlsError>)> {
        let found = stamps(&self.files);
        if found == self.seen {
            return None;
        }
        let hosts = Arc::clone(&self.hosts);
        match Self::read(self.files.clone(), hosts, provider, self.ticketer(), now) {
            Ok(fresh) => Some((fresh, Ok(()))),
            Err(error) => {
                let kept = Self {
                    seen: found,
                    standing: Standing::Kept,
                    ..self.clone()
                };
                Some((kept, Err(error)))
            }
        }
    }

    /// When it ends, if that is soon: in two weeks, or within the last quarter of a short life. Whoever
    /// renews by themselves have done so by then.
    pub(super) fn ends_soon(&self, now: Timestamp) -> Option<Timestamp> {
        const EARLY: Duration = Duration::from_hours(14 * 24);
        let Validity {
            not_before,
            not_after,
        } = self.validity?;
        let early = (not_after.since(not_before) / 4).min(EARLY);
        (now + early >= not_after).then_some(not_after)
    }

    /// Of the sites that it is for, the first.
    pub(super) fn host(&self) -> Option<&str> {
        self.hosts.first().map(|host| &**host)
    }

    /// What it seals tickets with, which a renewal does not end.
    pub(super) fn ticketer(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.config.ticketer)
    }
}

fn config(
    certified: CertifiedKey,
    provider: &Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    // Resumption without a store, of which each certificate would have one: the key of the tickets
    // changes by itself.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ticketer;
    Ok(config)
}
