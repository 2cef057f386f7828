//! All certificates of a listener at one moment, and which one a browser gets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::News;
use super::error::TlsError;
use super::files::SiteCertificate;
use super::names::CertificateNames;
use super::pair::Pair;
use crate::clock::Timestamp;
use crate::web::key_pair::{PairFault, TlsFiles};

/// Pairs, and the hosts that lead to them, by their place in the list.
pub(super) struct Set {
    provider: Arc<CryptoProvider>,
    pairs: Vec<Arc<Pair>>,
    index: Arc<Index>,
}

/// Which pair is for which host.
#[derive(Debug, Default)]
struct Index {
    exact: HashMap<Box<str>, usize>,
    /// By what follows the `*.`, for which one label stands.
    below: HashMap<Box<str>, usize>,
    /// For every other name, and for none.
    otherwise: Option<usize>,
}

/// What a handshake goes on with.
pub(super) struct Chosen {
    pub(super) config: Arc<ServerConfig>,
    /// What the certificate is for; `None` where there is no other that could be meant.
    pub(super) names: Option<Arc<CertificateNames>>,
}

impl Set {
    /// Reads and judges those that are wanted, apart from what `before` serves already.
    pub(super) fn read(
        otherwise: Option<&TlsFiles>,
        sites: &[SiteCertificate],
        before: &Self,
        now: Timestamp,
    ) -> Result<Self, TlsError> {
        let mut wanted = Wanted::default();
        for site in sites {
            site.judge_host()?;
            wanted.add(site)?;
        }
        wanted.index.otherwise = otherwise.map(|files| wanted.place(files));
        let served: HashMap<&TlsFiles, &Arc<Pair>> = before
            .pairs
            .iter()
            .map(|pair| (&pair.files, pair))
            .collect();
        let provider = &before.provider;
        let mut pairs = Vec::with_capacity(wanted.pairs.len());
        for (files, hosts) in wanted.pairs {
            let hosts: Arc<[_]> = hosts.into();
            let served = served.get(&files);
            let unchanged = served.and_then(|pair| pair.unchanged_for(&hosts));
            let pair = match (unchanged, served) {
                (Some(unchanged), _) => unchanged?,
                (None, Some(before)) => Pair::read(files, hosts, provider, before.ticketer(), now)?,
                (None, None) => {
                    let ticketer = aws_lc_rs::Ticketer::new();
                    let ticketer = ticketer.map_err(|source| PairFault::Unusable {
                        path: files.cert.clone(),
                        source,
                    })?;
                    Pair::read(files, hosts, provider, ticketer, now)?
                }
            };
            pairs.push(Arc::new(pair));
        }
        Ok(Self {
            provider: Arc::clone(provider),
            pairs,
            index: Arc::new(wanted.index),
        })
    }

    /// Looks at all files again: the set that follows, and what is new in it.
    pub(super) fn look(&self, now: Timestamp) -> (Self, Vec<News>) {
        let mut news = Vec::new();
        let look = |pair: &Arc<Pair>| match pair.look(&self.provider, now) {
            None => Arc::clone(pair),
            Some((next, taken)) => {
                news.push(News {
                    cert: next.files.cert.clone(),
                    host: next.host().map(str::to_owned),
                    taken,
                });
                Arc::new(next)
            }
        };
        let next = Self {
            provider: Arc::clone(&self.provider),
            pairs: self.pairs.iter().map(look).collect(),
            index: Arc::clone(&self.index),
        };
        (next, news)
    }

    /// The one for this name, exactly or by its parent, else the one for every other name.
    pub(super) fn choose(&self, server_name: Option<&str>) -> Option<Chosen> {
        let pair = self.pairs.get(self.index.find(server_name)?)?;
        Some(Chosen {
            config: Arc::clone(&pair.config),
            names: (self.pairs.len() > 1).then(|| Arc::clone(&pair.names)),
        })
    }

    /// When the first of them ends.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let ends = self.pairs.iter().filter_map(|pair| pair.validity);
        ends.map(|validity| validity.not_after).min()
    }

    /// Those that end soon, and when.
    pub(super) fn ending(&self, now: Timestamp) -> impl Iterator<Item = (&Pair, Timestamp)> {
        let ends = move |pair: &Arc<Pair>| pair.ends_soon(now);
        self.pairs
            .iter()
            .filter_map(move |pair| Some((&**pair, ends(pair)?)))
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The files, where there is one certificate.
    pub(super) fn only(&self) -> Option<&TlsFiles> {
        match &*self.pairs {
            [only] => Some(&only.files),
            _ => None,
        }
    }
}

/// The one before the first.
impl Default for Set {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            pairs: Vec::new(),
            index: Arc::default(),
        }
    }
}

impl Index {
    fn find(&self, server_name: Option<&str>) -> Option<usize> {
        let of_a_site = server_name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name);
            self.exact.get(name).or_else(|| {
                let (_, parent) = name.split_once('.')?;
                self.below.get(parent)
            })
        });
        of_a_site.copied().or(self.otherwise)
    }
}

/// What is asked for, each pair of files once: sites may share one.
#[derive(Default)]
struct Wanted {
    pairs: Vec<(TlsFiles, Vec<Box<str>>)>,
    places: HashMap<TlsFiles, usize>,
    index: Index,
}

impl Wanted {
    fn place(&mut self, files: &TlsFiles) -> usize {
        if let Some(&place) = self.places.get(files) {
            return place;
        }
        let place = self.pairs.len();
        self.pairs.push((files.clone(), Vec::new()));
        self.places.insert(files.clone(), place);
        place
    }

    fn add(&mut self, site: &SiteCertificate) -> Result<(), TlsError> {
        let place = self.place(&site.files);
        let host: Box<str> = site.host.to_ascii_lowercase().into();
        let entry = match host.strip_prefix("*.") {
            Some(parent) => self.index.below.entry(parent.into()),
            None => self.index.exact.entry(host.clone()),
        };
        match entry {
            // Sites of one host.
            Entry::Occupied(before) if *before.get() == place => return Ok(()),
            Entry::Occupied(before) => {
                let before = self.pairs.get(*before.get());
                return Err(TlsError::TwoForOneHost {
                    host: site.host.clone(),
                    one: before.map_or_else(Default::default, |(files, _)| files.cert.clone()),
                    other: site.files.cert.clone(),
                });
            }
            Entry::Vacant(free) => drop(free.insert(place)),
        }
        if let Some((_, hosts)) = self.pairs.get_mut(place) {
            hosts.push(host);
        }
        Ok(())
    }
}
