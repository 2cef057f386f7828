//! A tenanted site as it is first read: its document with all its placeholders, and the same filled for a
//! tenant that is nobody's, so that it is judged as any site is.

use std::fmt;

use crate::config::document::{Node, Value};
use crate::config::error::{Faults, Place, Source};
use crate::config::file::File;
use crate::config::reader::Read as _;
use crate::config::site_file::SiteFile;
use crate::config::tenants::placeholders::{TENANT, stand_in, written};
use crate::config::tenants::places::{self, Spot, Step, Stray};

/// Where a site's `public_url` stands in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Of {
    /// In `[server]`.
    BffToml,
    /// At the top.
    ASite,
}

impl Of {
    fn public_url(self) -> &'static [&'static str] {
        match self {
            Self::BffToml => &["server", "public_url"],
            Self::ASite => &["public_url"],
        }
    }
}

/// What the sites of tenants are made of, before anybody knows the tenants.
#[derive(Clone)]
pub(in crate::config) struct Draft {
    pub(in crate::config) of: Of,
    /// All that the document says but the tenants, with its placeholders.
    root: Node,
    pub(in crate::config) spots: Vec<Spot>,
    pub(in crate::config) strays: Vec<Stray>,
    /// As it is written.
    pub(in crate::config) public_url: String,
}

/// It may hold secrets.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({})", self.public_url)
    }
}

/// Whether the site of this document is one for each of its tenants.
pub(in crate::config) fn is_tenanted(root: &Node, of: Of) -> bool {
    root.text_at(of.public_url())
        .is_some_and(|url| url.contains(&written(TENANT)))
}

/// The site that a document describes.
pub(in crate::config) fn read(root: &Node, of: Of, faults: &mut Faults) -> Option<SiteFile> {
    match of {
        Of::BffToml => File::read(root, "", faults).map(|file| SiteFile::of_main(&file)),
        Of::ASite => SiteFile::read(root, "", faults),
    }
}

/// What is filled in for the tenants of bff.toml is filled in for nobody else.
pub(in crate::config) fn warn_of_inherited(root: &Node, source: &Source, faults: &mut Faults) {
    for spot in places::find(&mut root.clone()).spots {
        let is_own = matches!(&spot.place, Place::File { source: own, .. } if own == source);
        if !is_own && spot.text.names().any(|name| name == TENANT) {
            let tenant = written(TENANT);
            let what = format!(
                "is inherited with {tenant} in it, which is text in a site without tenants"
            );
            let remedy = "write the key in this file";
            faults.warn(&Place::Whole, &spot.key, what, remedy);
        }
    }
}

impl Draft {
    /// Of the document in `root`, where its `public_url` has `{tenant}` in it; `root` is then filled for
    /// nobody.
    pub(in crate::config) fn of(root: &mut Node, of: Of, faults: &mut Faults) -> Option<Self> {
        if !is_tenanted(root, of) {
            return None;
        }
        let public_url = root.text_at(of.public_url())?.to_owned();
        let found = places::find(root);
        let mut kept = root.clone();
        leave_tenants_out(&mut kept);
        let draft = Self {
            of,
            root: kept,
            spots: found.spots,
            strays: found.strays,
            public_url,
        };
        for name in draft.names().into_iter().chain([TENANT]) {
            faults.take_for_written(stand_in(name), written(name));
        }
        for spot in &draft.spots {
            spot.put(root, spot.text.of_nobody());
        }
        let url = draft
            .public_url
            .replace(&written(TENANT), &stand_in(TENANT));
        put_public_url(root, of, url);
        Some(draft)
    }

    /// The texts that are used: where there are several providers, `[provider]` is what they inherit.
    pub(in crate::config) fn spots_in_use(&self) -> impl Iterator<Item = &Spot> {
        let has_several = self.spots.iter().any(Spot::is_of_several);
        let spots = self.spots.iter();
        spots.filter(move |spot| !(has_several && spot.is_of_the_only_provider()))
    }

    /// The variables that it holds, in order.
    pub(in crate::config) fn names(&self) -> Vec<&str> {
        let names = self.spots.iter().flat_map(|spot| spot.text.names());
        let mut names: Vec<&str> = names.filter(|name| *name != TENANT).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether each tenant may have the file of a secret.
    pub(in crate::config) fn names_secret_files(&self) -> bool {
        self.spots.iter().any(Spot::names_a_secret_file)
    }

    /// The document of a tenant that is found at `public_url`, with what `value` says in each place.
    pub(in crate::config) fn filled<'a>(
        &'a self,
        public_url: String,
        value: impl Fn(&'a str) -> &'a str,
    ) -> Node {
        let mut root = self.root.clone();
        for spot in &self.spots {
            spot.put(&mut root, spot.text.fill(&value));
        }
        put_public_url(&mut root, self.of, public_url);
        root
    }

    /// The same, whose certificates are nobody's concern: they were judged with all others.
    #[must_use]
    pub(in crate::config) fn without_certificates(mut self) -> Self {
        if let (Of::ASite, Value::Table(entries)) = (self.of, &mut self.root.value) {
            entries.remove("tls");
        }
        self
    }
}

/// Who the tenants are, and where else one may look, is no tenant's to say.
fn leave_tenants_out(root: &mut Node) {
    const KEYS: [&str; 3] = ["tenants", "tenants_file", "no_tenant"];
    let Value::Table(entries) = &mut root.value else {
        return;
    };
    entries.retain(|key, _| !KEYS.contains(&key.as_str()));
    if let Some(server) = entries.get_mut("server")
        && let Value::Table(server) = &mut server.node.value
    {
        server.retain(|key, _| !KEYS.contains(&key.as_str()));
    }
}

fn put_public_url(root: &mut Node, of: Of, url: String) {
    let path = of.public_url().iter();
    let path: Vec<Step> = path.map(|key| Step::Key((*key).to_owned())).collect();
    places::put(root, &path, url);
}
