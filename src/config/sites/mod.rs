//! The folder that `server.sites` names: which files in it are sites, and what each says.

pub(super) mod inherit;
pub(super) mod process;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::document::{self, Node, OF_SITES, Value, Variables};
use crate::config::error::{Faults, Place, Source};
use crate::config::file::File;
use crate::config::folder::Folder;
use crate::config::print::ProviderPrints;
use crate::config::reader::{Field, Read as _, Written};
use crate::config::resolve::Surroundings;
use crate::config::site_file::{SiteFile, SiteName};
use crate::config::tenants::draft::{self, Draft, Of};
use crate::web::regular_file::{self, LARGEST_CONFIGURATION};
use crate::web::site_id::SiteId;

pub(super) use process::is_of_process;

/// A site's file as it was read, what it inherits included.
#[derive(Debug)]
pub(super) struct SiteDocument {
    pub(super) source: Source,
    /// The file's, without `.toml`.
    pub(super) name: String,
    pub(super) file: SiteFile,
    /// Tells whether all that is said of its providers is what it was.
    pub(super) providers: ProviderPrints,
    /// Of a site of tenants: what theirs are made of.
    pub(super) draft: Option<Draft>,
}

impl SiteDocument {
    /// What it is called in stores and logs: by its file, unless it says otherwise.
    pub(super) fn id(&self) -> SiteId {
        match self.file.id.written() {
            Some(id) => SiteId::new(&id.value.0),
            None => SiteId::new(&self.name),
        }
    }
}

/// A file of the folder, and what it says itself; `None` where that is no site.
#[derive(Debug)]
pub(super) struct OwnDocument {
    pub(super) source: Source,
    pub(super) name: String,
    pub(super) root: Option<Node>,
}

/// All sites of the folder that bff.toml names, in the order of their files' names.
///
/// What is wrong with one hides nothing of the others.
pub(super) fn read(
    file: &File,
    ground: &Node,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Vec<SiteDocument> {
    let Surroundings {
        variables, folder, ..
    } = surroundings;
    let mut sites = Vec::new();
    faults.expect_keys(every_key);
    for document in own_documents(file, variables, folder, faults) {
        let OwnDocument { source, name, root } = document;
        let Some(mut own) = root else { continue };
        folder.keep_private(&source);
        faults.turn_to(&source);
        if let Some(here) = surroundings.here {
            here.bring_site(&mut own, source.path());
        }
        let mut root = whole(ground, own, faults);
        let draft = Draft::of(&mut root, Of::ASite, faults);
        if draft.is_none() && draft::is_tenanted(ground, Of::BffToml) {
            draft::warn_of_inherited(&root, &source, faults);
        }
        let providers = ProviderPrints::of(&root, folder);
        sites.extend(SiteFile::read(&root, "", faults).map(|file| SiteDocument {
            source,
            name,
            file,
            providers,
            draft,
        }));
    }
    sites
}

/// Those of a site's file first: what bff.toml has as well is meant for the site.
fn every_key() -> Vec<String> {
    [SiteFile::keys(""), File::keys("")].concat()
}

/// What a site says, and what it inherits of `ground`, the whole of bff.toml.
pub(super) fn whole(ground: &Node, mut own: Node, faults: &mut Faults) -> Node {
    process::refuse(&mut own, faults);
    let mut whole = inherit::over(ground, own);
    inherit::providers(&mut whole);
    whole
}

/// The folder that bff.toml names, where it names one.
pub(super) fn folder(file: &File, folder: &Folder) -> Option<PathBuf> {
    let server = file.server.written()?;
    let written = server.value.sites.written()?;
    Some(folder.public(written, &written.value))
}

/// What the files of sites say themselves, with their variables laid over it.
pub(super) fn own_documents(
    file: &File,
    variables: &Variables,
    folder: &Folder,
    faults: &mut Faults,
) -> Vec<OwnDocument> {
    let named = file.server.written();
    let Some(written) = named.and_then(|server| server.value.sites.written()) else {
        refuse_strays(variables, &[], faults);
        return Vec::new();
    };
    let path = folder.public(written, &written.value);
    let Some(files) = files(&path, written, faults) else {
        return Vec::new();
    };
    let documents = parsed(files, file, variables, folder, faults);
    if documents.is_empty() {
        let what = format!("names {}, which holds no site", path.display());
        let has_another = named.is_some_and(|server| server.value.public_url.stands());
        if has_another {
            let remedy = "put a NAME.toml for each site there, or leave the key out";
            written.warn(faults, what, remedy);
        } else {
            let remedy = "put a NAME.toml for each site there, or write public_url here";
            written.refuse(faults, what, remedy);
        }
    }
    let names: Vec<&str> = documents.iter().map(|site| site.name.as_str()).collect();
    refuse_strays(variables, &names, faults);
    documents
}

/// The files, each with the environment laid over it, but for those that hold the tenants of a site.
fn parsed(
    files: Vec<(String, PathBuf)>,
    main: &File,
    variables: &Variables,
    folder: &Folder,
    faults: &mut Faults,
) -> Vec<OwnDocument> {
    let parsed: Vec<(OwnDocument, Faults)> = (1..)
        .zip(files)
        .map(|(rank, (name, path))| {
            let source = Source::nth(rank, &path);
            let mut own = Faults::of(source.clone());
            let root = own_document(&name, &source, variables, &mut own);
            (OwnDocument { source, name, root }, own)
        })
        .collect();
    let of_main = main
        .server
        .written()
        .map(|server| &server.value.tenants_file);
    let of_main = of_main.and_then(Field::written);
    let of_main = of_main.map(|written| folder.public(written, &written.value));
    let of_sites = parsed
        .iter()
        .filter_map(|(site, _)| site.tenants_file(folder));
    let of_tenants: HashSet<PathBuf> = of_sites.chain(of_main).collect();
    let mut sites = Vec::new();
    for (mut site, mut own) in parsed {
        if !of_tenants.contains(site.source.path()) {
            site.refuse_tenants(&mut own);
            faults.take_in(own);
            sites.push(site);
        }
    }
    sites
}

impl OwnDocument {
    /// Where nothing but tables stands there, and none of them is a site's, it may be the tenants of one
    /// that does not name it: there may be thousands, and each would be told of.
    fn refuse_tenants(&mut self, faults: &mut Faults) {
        let Some(Value::Table(entries)) = self.root.as_ref().map(|root| &root.value) else {
            return;
        };
        let known = every_key();
        let mut entries_are_others = entries.iter().map(|(name, entry)| {
            matches!(entry.node.value, Value::Table(_)) && !known.contains(name)
        });
        if entries.is_empty() || !entries_are_others.all(|is_other| is_other) {
            return;
        }
        self.root = None;
        let remedy = format!(
            "where it is meant for tenants, write tenants_file = \"{}.toml\" at the top of their site's file",
            self.name
        );
        faults.refuse(&Place::Whole, "", "holds no site", remedy);
    }

    /// The file that it says its tenants are in.
    fn tenants_file(&self, folder: &Folder) -> Option<PathBuf> {
        let Value::Table(entries) = &self.root.as_ref()?.value else {
            return None;
        };
        let node = &entries.get("tenants_file")?.node;
        let (Value::Text(path) | Value::Untyped(path)) = &node.value else {
            return None;
        };
        let written = Written {
            value: (),
            key: String::new(),
            place: node.place.clone(),
        };
        Some(folder.public(&written, path))
    }
}

fn own_document(
    name: &str,
    source: &Source,
    variables: &Variables,
    faults: &mut Faults,
) -> Option<Node> {
    if !SiteName::is_plain(name) {
        faults.refuse(
            &Place::Whole,
            "",
            "has a name that is none for a site",
            "name it with up to 64 letters, digits and - _ . as in shop.toml",
        );
    }
    let text = match regular_file::read_text(source.path(), LARGEST_CONFIGURATION) {
        Ok(text) => text,
        Err(error) => {
            let (what, remedy) = super::unreadable(&error);
            faults.refuse(&Place::Whole, "", what, remedy);
            return None;
        }
    };
    let mut root = document::parse(&text, source, faults)?;
    document::overlay(&mut root, variables, &prefix(name), faults);
    Some(root)
}

/// How the variables of a site begin: no variable has a dash or a dot in its name.
fn prefix(name: &str) -> String {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    format!("{OF_SITES}{name}__")
}

/// A variable for a site that is not there was meant for one that is, and one for two was meant for one.
fn refuse_strays(variables: &Variables, names: &[&str], faults: &mut Faults) {
    let prefixes: Vec<(&str, String)> = names.iter().map(|name| (*name, prefix(name))).collect();
    let of_sites = variables.keys().filter(|name| name.starts_with(OF_SITES));
    for variable in of_sites {
        let is_for = |(_, prefix): &&(&str, String)| variable.starts_with(prefix);
        let meant: Vec<String> = prefixes
            .iter()
            .filter(is_for)
            .map(|(name, _)| format!("{name}.toml"))
            .collect();
        let place = Place::Variable(variable.clone());
        match &meant[..] {
            [] => faults.refuse(
                &place,
                "",
                "is for a site whose file is not there",
                "name it after the file, as in BFF_SITES__SHOP__PROVIDER__CLIENT_ID for shop.toml in the folder of server.sites",
            ),
            [_] => {}
            [..] => faults.refuse(
                &place,
                "",
                format!("is for {} alike", meant.join(" and ")),
                "give one of the files another name, or write the key in the file that is meant",
            ),
        }
    }
}

/// The files of sites by name, sorted. Those that look meant, and are not taken, are told of.
fn files(
    folder: &Path,
    written: &Written<String>,
    faults: &mut Faults,
) -> Option<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            written.refuse(
                faults,
                format!(
                    "names {}, which is no folder that can be read ({error})",
                    folder.display()
                ),
                "write the path of the folder that holds a NAME.toml for each site",
            );
            return None;
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default();
        // Editors and orchestrators keep their own affairs there.
        if name.starts_with('.') {
            continue;
        }
        match name.strip_suffix(".toml") {
            Some(site) if path.is_file() => files.push((site.to_owned(), path.clone())),
            _ if name.to_ascii_lowercase().contains(".toml") => written.warn(
                faults,
                format!("has {} in it, which is no site", path.display()),
                "name the file NAME.toml if it is meant for one, or move it elsewhere",
            ),
            _ => {}
        }
    }
    Some(files)
}
