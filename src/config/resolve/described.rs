//! A site as it is described: by which file, and beside what.

use std::borrow::Cow;

use crate::config::error::{Place, Source};
use crate::config::file::ServerTable;
use crate::config::print::ProviderPrints;
use crate::config::site_file::SiteFile;
use crate::web::site_id::SiteId;

/// A site as it is described, and where.
#[derive(Debug)]
pub(super) struct Described<'a> {
    pub(super) source: &'a Source,
    /// Whether bff.toml itself does so.
    pub(super) is_of_bff_toml: bool,
    pub(super) id: SiteId,
    pub(super) file: Cow<'a, SiteFile>,
    /// Tells whether what is said of its providers is what it was.
    pub(super) providers: &'a ProviderPrints,
    /// `[server]` of bff.toml, and where it stands.
    pub(super) server: &'a ServerTable,
    pub(super) server_place: &'a Place,
}

impl Described<'_> {
    /// Where `public_url` stands, or should.
    pub(super) fn place(&self) -> Place {
        match self.file.public_url.written() {
            Some(written) => written.place.clone(),
            None if self.is_of_bff_toml => self.server_place.clone(),
            None => Place::Whole,
        }
    }

    /// How the file calls `public_url`.
    pub(super) const fn public_url(&self) -> &'static str {
        if self.is_of_bff_toml {
            "server.public_url"
        } else {
            "public_url"
        }
    }
}
