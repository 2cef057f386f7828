//! A site as it is described: by which file, and beside what.

use std::borrow::Cow;

use crate::config::error::{Place, Source};
use crate::config::file::{File, ServerTable};
use crate::config::print::ProviderPrints;
use crate::config::site_file::SiteFile;
use crate::config::tenants::draft::Draft;
use crate::web::site_id::SiteId;

/// A site as it is described, and where.
#[derive(Debug)]
pub(in crate::config) struct Described<'a> {
    pub(in crate::config) source: &'a Source,
    /// Whether bff.toml itself does so.
    pub(in crate::config) is_of_bff_toml: bool,
    pub(in crate::config) id: SiteId,
    pub(in crate::config) file: Cow<'a, SiteFile>,
    /// Tells whether what is said of its providers is what it was.
    pub(in crate::config) providers: &'a ProviderPrints,
    /// `[server]` of bff.toml, and where it stands.
    pub(in crate::config) server: &'a ServerTable,
    pub(in crate::config) server_place: &'a Place,
    /// What bff.toml says, of a site that inherits it.
    pub(in crate::config) ground: Option<&'a File>,
    /// Of a site of tenants: what theirs are made of. What is described here is then nobody's.
    pub(in crate::config) draft: Option<&'a Draft>,
}

impl Described<'_> {
    /// Where `public_url` stands, or should.
    pub(in crate::config) fn place(&self) -> Place {
        match self.file.public_url.written() {
            Some(written) => written.place.clone(),
            None if self.is_of_bff_toml => self.server_place.clone(),
            None => Place::Whole,
        }
    }

    /// How the file calls `public_url`.
    pub(in crate::config) const fn public_url(&self) -> &'static str {
        if self.is_of_bff_toml {
            "server.public_url"
        } else {
            "public_url"
        }
    }
}
