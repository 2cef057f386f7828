//! What the rules need to know beside the file: for which command it is read, the environment, the folders.

#[cfg(feature = "dev")]
use std::num::NonZeroU16;

use crate::config::document::{Node, Variables};
use crate::config::folder::Folder;
use crate::config::here::Here;
use crate::config::resolve::process_secrets::ProcessSecrets;
use crate::config::secret_source::SecretPlaces;

/// Which command the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Purpose {
    /// `bff serve`, and `bff check`, which judges for it.
    Serve,
    /// `bff serve` once it runs and reads the file again: the certificates in use are watched by whoever
    /// uses them, and one that has expired since keeps no key from being changed.
    Reload,
    /// `bff explain`, for a file of either kind: nothing is served, so no secret is needed.
    Explain,
    /// `bff sessions`, which asks the listener that runs: of all secrets its key alone is needed.
    Administer,
    /// `bff dev`: the provider is ours, and nothing leaves the machine. All sites are at `port`, where one
    /// was asked for.
    #[cfg(feature = "dev")]
    Develop { port: Option<NonZeroU16> },
}

impl Purpose {
    /// Whether the provider and its secrets may be missing and the demo API be named: `bff dev`
    /// brings its own, and `bff explain` and `bff sessions` use none.
    pub(in crate::config) fn is_without_provider(self) -> bool {
        !matches!(self, Self::Serve | Self::Reload)
    }

    /// Whether anything is served, so that the addresses and keys of stores are needed.
    pub(in crate::config) fn needs_secrets(self) -> bool {
        !matches!(self, Self::Explain | Self::Administer)
    }

    /// Whether certificates are looked into, as whoever serves does at a start.
    pub(in crate::config) fn judges_certificates(self) -> bool {
        self.needs_secrets() && self != Self::Reload
    }

    /// Whether the development provider takes the place of the one in the file.
    pub(in crate::config) fn is_development(self) -> bool {
        match self {
            Self::Serve | Self::Reload | Self::Explain | Self::Administer => false,
            #[cfg(feature = "dev")]
            Self::Develop { .. } => true,
        }
    }

    /// Where sites are, if that is not where their files say.
    #[cfg_attr(
        not(feature = "dev"),
        expect(unused_variables, reason = "`bff dev` alone brings sites here")
    )]
    pub(in crate::config) fn here(self, root: &Node) -> Option<Here> {
        match self {
            Self::Serve | Self::Reload | Self::Explain | Self::Administer => None,
            #[cfg(feature = "dev")]
            Self::Develop { port } => Some(Here::of(root, port)),
        }
    }
}

/// What the rules need to know beside the file.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Surroundings<'a> {
    pub(in crate::config) purpose: Purpose,
    pub(in crate::config) variables: &'a Variables,
    /// The folders that relative paths start from.
    pub(in crate::config) folder: &'a Folder,
    /// Where sites are, if that is not where their files say.
    pub(in crate::config) here: Option<&'a Here>,
    /// Whether it is read for nobody in particular, so that what each tenant has of its own is missing.
    pub(in crate::config) of_nobody: bool,
    /// What no provider is to be shown.
    pub(in crate::config) own: &'a ProcessSecrets,
}

impl<'a> Surroundings<'a> {
    pub(super) fn secrets(&self) -> SecretPlaces<'a> {
        SecretPlaces {
            variables: self.variables,
            folder: self.folder,
            of_nobody: self.of_nobody,
        }
    }
}
