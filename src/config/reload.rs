//! The configuration read again while running: what has changed, and what of that a start alone reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::document::{self, Node, Value};
use crate::config::error::{ConfigErrors, Faults, Source, Warnings};
use crate::config::file::File;
use crate::config::folder::Folder;
use crate::config::print::Print;
use crate::config::reader::Read as _;
use crate::config::resolve::{self, Purpose};
use crate::config::tenants::draft::{self, Draft, Of};
use crate::config::{Config, Variables, sites};
use crate::web::changes::Changes;
use crate::web::regular_file::{self, LARGEST_CONFIGURATION};

/// A file and its environment, which can be read again.
#[derive(Debug)]
pub struct Reload {
    path: PathBuf,
    variables: Variables,
    /// As they were at the start, for what only a start reads.
    at_start: Prints,
    /// As they are in use.
    in_use: Mutex<Prints>,
    looked: Mutex<Looked>,
}

/// What another reading found; it counts as in use once it is [`accepted`](Reload::accept).
#[derive(Debug)]
pub struct Reread {
    /// The configuration as it stands now.
    pub config: Config,
    /// What works and is unwise.
    pub warnings: Warnings,
    /// The keys that say something else than what is in use, and can be taken into use.
    pub changed: Vec<String>,
    /// The keys that say something else than at the start, and are read only there.
    pub needs_restart: Vec<String>,
    /// The sites beside bff.toml that came, went and say something else than what is in use.
    pub sites: Changes,
    prints: Prints,
}

/// How the keys of sites begin.
const OF_SITES: &str = "sites.";

/// What each key says, as a digest: some say secrets.
type Prints = BTreeMap<String, Print>;

/// What was found at the last look. Tens of thousands of tenants are not read into a document every time
/// that somebody looks for changes, wherever they are written.
#[derive(Debug, Default)]
struct Looked {
    /// Of the files below, as they were before they were read; nothing's where others were read.
    files: Print,
    /// The folder of sites, whose files are in use whatever they are called.
    sites: Option<PathBuf>,
    /// All other files whose content counts.
    counted: BTreeSet<PathBuf>,
    prints: Prints,
    /// The files of tenants' secrets, each with the key that names it.
    secret_files: Vec<(String, PathBuf)>,
}

impl Looked {
    /// The files as they are now: the same where nothing has changed but perhaps a tenant's secret.
    fn files_now(&self) -> Print {
        let of_sites = self.sites.iter().flat_map(fs::read_dir).flatten().flatten();
        let of_sites = of_sites.map(|entry| entry.path());
        let mut all = self.counted.clone();
        all.extend(of_sites.filter(|path| path.extension().is_some_and(|ending| ending == "toml")));
        Print::of_files(all.iter().map(PathBuf::as_path))
    }
}

impl Reload {
    /// Of the configuration at `path` as it stands now, with these variables.
    pub fn new(path: PathBuf, variables: Variables) -> Self {
        let looked = Mutex::default();
        let prints = prints(&path, &variables, &looked);
        Self {
            looked,
            path,
            variables,
            at_start: prints.clone(),
            in_use: Mutex::new(prints),
        }
    }

    /// Reads it again. Reads files.
    ///
    /// # Errors
    /// As [`Config::load`](crate::config::Config::load).
    pub fn read(&self) -> Result<Reread, ConfigErrors> {
        // Before it is read: what changes between the two is then seen again, not missed.
        let prints = self.prints();
        let (config, warnings) = super::load(&self.path, &self.variables, Purpose::Reload)?;
        let (mut changed, mut needs_restart) = (differing(&self.in_use(), &prints), Vec::new());
        let sites = changes_of_sites(&self.in_use(), &prints, &changed);
        changed.retain(|key| !takes_a_restart(key));
        needs_restart.extend(differing(&self.at_start, &prints));
        needs_restart.retain(|key| takes_a_restart(key));
        Ok(Reread {
            config,
            warnings,
            changed,
            needs_restart,
            sites,
            prints,
        })
    }

    /// From now on this is what is in use.
    pub fn accept(&self, prints: AcceptedPrints) {
        *self.in_use() = prints.0;
    }

    /// Changes whenever a file of the configuration may have.
    pub fn stamp(&self) -> Print {
        Print::of_all(&self.prints())
    }

    fn prints(&self) -> Prints {
        prints(&self.path, &self.variables, &self.looked)
    }

    fn in_use(&self) -> MutexGuard<'_, Prints> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reading said that is in use now.
#[derive(Debug)]
pub struct AcceptedPrints(Prints);

impl Reread {
    /// The configuration, and what to [accept](Reload::accept) once it is in use.
    pub fn into_parts(self) -> (Config, Warnings, AcceptedPrints) {
        (self.config, self.warnings, AcceptedPrints(self.prints))
    }
}

/// Which sites two readings tell differently.
fn changes_of_sites(before: &Prints, now: &Prints, differing: &[String]) -> Changes {
    /// What stands for a site as a whole has no print of its own.
    fn names(prints: &Prints) -> BTreeSet<&str> {
        let wholes = prints
            .iter()
            .filter(|(_, print)| **print == Print::default());
        wholes
            .filter_map(|(key, _)| key.strip_prefix(OF_SITES))
            .collect()
    }
    let (before, now) = (names(before), names(now));
    let not_in = |those: &BTreeSet<&str>, others: &BTreeSet<&str>| {
        let only = those.difference(others);
        only.map(|name| (*name).to_owned()).collect()
    };
    // One name may begin another, as a and a.b do: a key is of the longer.
    let of = |key: &str| {
        let all = now.union(&before);
        let owners = all.filter(|name| {
            let rest = key.strip_prefix(**name);
            rest.is_some_and(|rest| rest.starts_with('.'))
        });
        owners.copied().max_by_key(|name| name.len())
    };
    let keys = differing.iter();
    let keys = keys.filter_map(|key| of(key.strip_prefix(OF_SITES)?));
    let others: BTreeSet<&str> = keys.collect();
    let is_another = |name: &&&str| others.contains(**name);
    let changed = now.intersection(&before).filter(is_another);
    Changes {
        came: not_in(&now, &before),
        went: not_in(&before, &now),
        changed: changed.map(|name| (*name).to_owned()).collect(),
    }
}

/// The keys that two readings tell differently, in order.
fn differing(one: &Prints, other: &Prints) -> Vec<String> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name))
        .cloned()
        .collect()
}

/// What only a start reads: the listeners and the threads behind them, the store, the log.
fn takes_a_restart(key: &str) -> bool {
    match key.split_once('.') {
        Some(("server", name)) => {
            !matches!(
                name,
                "public_url"
                    | "base_path"
                    | "allow_semicolon"
                    | "sites"
                    | "tenants_file"
                    | "no_tenant"
                    | "identity_keys"
            ) && !name.starts_with("tls.")
        }
        Some(("session", name)) => matches!(
            name,
            "store"
                | "store_url"
                | "store_ca"
                | "store_timeout"
                | "migrate"
                | "max_staleness"
                | "memory"
                | "near_cache"
        ),
        Some(("log" | "dev", _)) => true,
        _ => false,
    }
}

/// The prints of all keys, the files that they name and those of sites included. Empty where bff.toml is
/// no TOML.
fn prints(path: &Path, variables: &Variables, looked: &Mutex<Looked>) -> Prints {
    let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
    // Before they are read: what changes between the two is then seen again, not missed.
    let now = looked.files_now();
    if looked.files != now {
        let mut found = look(path, variables);
        if (&found.sites, &found.counted) == (&looked.sites, &looked.counted) {
            found.files = now;
        }
        *looked = found;
    }
    let mut prints = looked.prints.clone();
    for (key, path) in &looked.secret_files {
        take_down_file(key, path, &mut prints);
    }
    prints
}

/// All that a look finds in the documents.
fn look(path: &Path, variables: &Variables) -> Looked {
    let source = Source::first(path);
    let mut faults = Faults::of(source.clone());
    let text = regular_file::read_text(path, LARGEST_CONFIGURATION).unwrap_or_default();
    let folder = Folder::of(&source);
    folder.count(path);
    let mut looked = Looked::default();
    let prints = &mut looked.prints;
    let Some(root) = document::read(&text, &source, variables, &mut faults) else {
        looked.counted = folder.into_counted();
        return looked;
    };
    take_down(&root, "", &folder, prints);
    let mut tenanted = Vec::new();
    if let Some(file) = File::read(&root, "", &mut faults) {
        looked.sites = sites::folder(&file, &folder);
        for site in sites::own_documents(&file, variables, &folder, &mut faults) {
            let name = format!("{OF_SITES}{}", site.name);
            prints.insert(name.clone(), Print::default());
            let Some(own) = site.root else { continue };
            take_down(&own, &name, &folder, prints);
            if draft::is_tenanted(&own, Of::ASite) {
                let whole = sites::whole(&root, own, &mut faults);
                tenanted.push((whole, Of::ASite, site.source, name));
            }
        }
    }
    if draft::is_tenanted(&root, Of::BffToml) {
        tenanted.push((root, Of::BffToml, source, String::new()));
    }
    let files = tenanted.into_iter();
    let files = files.flat_map(|tenanted| secret_files_of(tenanted, &folder));
    looked.secret_files = files.collect();
    looked.counted = folder.into_counted();
    looked
}

/// All keys of a document, of which its tenants are one, be there tens of thousands.
fn take_down(root: &Node, name: &str, folder: &Folder, prints: &mut Prints) {
    take_down_below(
        root,
        name,
        &document::joined(name, "tenants"),
        folder,
        prints,
    );
}

fn take_down_below(node: &Node, key: &str, tenants: &str, folder: &Folder, prints: &mut Prints) {
    if let Value::Table(entries) = &node.value
        && key != tenants
    {
        for (name, entry) in entries {
            let key = document::joined(key, name);
            take_down_below(&entry.node, &key, tenants, folder, prints);
        }
    } else {
        prints.insert(key.to_owned(), Print::of(node, key, folder));
    }
}

/// The files of the secrets of a site's tenants, each with the key that names it.
fn secret_files_of(
    (mut root, of, source, name): (Node, Of, Source, String),
    folder: &Folder,
) -> Vec<(String, PathBuf)> {
    let mut faults = Faults::of(source.clone());
    let draft = Draft::of(&mut root, of, &mut faults);
    let Some(draft) = draft.filter(Draft::names_secret_files) else {
        return Vec::new();
    };
    let file = draft::read(&root, of, &mut faults);
    let files = file.map(|file| resolve::secret_files(&draft, &file, &source, folder, &mut faults));
    let files = files.unwrap_or_default().into_iter();
    files
        .map(|(key, path)| (document::joined(&name, &key), path))
        .collect()
}

/// A file as a part of the key that names it. It is looked at from outside: there may be tens of
/// thousands.
fn take_down_file(key: &str, path: &Path, prints: &mut Prints) {
    let stamp = fs::metadata(path).map(|found| (found.len(), found.modified().ok()));
    let stamp = format!("{} {stamp:?}", path.display());
    let print = prints.entry(key.to_owned()).or_default();
    *print = print.with(&stamp);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
        [server]
        public_url = "https://app.example.com"
        [provider]
        issuer = "https://id.example.com"
        client_id = "app"
        client_secret = "file:secret"
        [session]
        keys = ["env:KEY"]
        idle_timeout = "30m"
        [[route]]
        path = "/api"
        upstream = "http://localhost:9000"
    "#;

    /// Each key whose value, or whose file, is another one is named, and told from those that a start
    /// alone reads; what only looks different is no change, and neither is what was taken into use.
    #[test]
    fn what_has_changed_is_named() {
        type Case<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], &'a [&'a str]);
        let cases: [Case<'_>; 7] = [
            ("nothing", "", "", &[], &[]),
            ("a comment", "[server]", "# said\n[server]", &[], &[]),
            (
                "a value",
                "\"30m\"",
                "\"20m\"",
                &["session.idle_timeout"],
                &[],
            ),
            (
                "a key less",
                "idle_timeout = \"30m\"",
                "",
                &["session.idle_timeout"],
                &[],
            ),
            (
                "the keys",
                "[\"env:KEY\"]",
                "[\"env:KEY\", \"env:KEY2\"]",
                &["session.keys"],
                &[],
            ),
            (
                "a route and the log",
                "localhost:9000\"",
                "localhost:9001\"\n[log]\nlevel = \"warn\"",
                &["route"],
                &["log.level"],
            ),
            (
                "a listener and the store",
                "[session]",
                "[server.timeouts]\ndrain = \"1s\"\n[session]\nstore = \"memory\"",
                &[],
                &["server.timeouts.drain", "session.store"],
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let (file, secret) = (folder.path().join("bff.toml"), folder.path().join("secret"));
        fs::write(&secret, "a client secret of some length").unwrap();
        let variables = [("KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")];
        let second = ("KEY2", "HRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEAAAE");
        let variables = variables.into_iter().chain([second]);
        let variables: Variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let start = || {
            fs::write(&file, BEFORE).unwrap();
            Reload::new(file.clone(), variables.clone())
        };
        for (name, from, to, changed, needs_restart) in cases {
            let reload = start();
            let before = reload.stamp();
            fs::write(&file, BEFORE.replacen(from, to, 1)).unwrap();
            let is_as_before = changed.is_empty() && needs_restart.is_empty();
            assert_eq!(reload.stamp() == before, is_as_before, "{name}");
            let reread = reload.read().unwrap();
            assert_eq!(reread.changed, changed, "{name}");
            assert_eq!(reread.needs_restart, needs_restart, "{name}");
            let (_, _, prints) = reread.into_parts();
            reload.accept(prints);
            let again = reload.read().unwrap();
            assert!(again.changed.is_empty(), "{name}");
            assert_eq!(again.needs_restart, needs_restart, "{name}: until a start");
        }
        let reload = start();
        let before = reload.read().unwrap().config;
        fs::write(&secret, "another client secret").unwrap();
        let reread = reload.read().unwrap();
        assert_eq!(
            reread.changed,
            ["provider.client_secret"],
            "the file of a secret"
        );
        assert_ne!(
            before.sites[0].provider_print,
            reread.config.sites[0].provider_print
        );
        fs::write(&file, "[server").unwrap();
        assert!(reload.read().is_err());
    }

    /// §7: of many sites it was keys alone that a reload named.
    #[test]
    fn the_sites_that_have_changed_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sites")).unwrap();
        let main = BEFORE.replace(
            "public_url = \"https://app.example.com\"",
            "sites = \"sites\"",
        );
        fs::write(at("bff.toml"), main).unwrap();
        fs::write(at("secret"), "a client secret of some length").unwrap();
        let write = |name: &str, more: &str| {
            let text = format!("public_url = \"https://{name}.example.com\"\n{more}");
            fs::write(at(&format!("sites/{name}.toml")), text).unwrap();
        };
        for name in ["a", "a.b", "c", "d"] {
            write(name, "");
        }
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let variables = Variables::from([("KEY".to_owned(), key.to_owned())]);
        let reload = Reload::new(at("bff.toml"), variables);
        assert_eq!(reload.read().unwrap().sites, Changes::default());
        write("a.b", "allow_semicolon = true");
        write("e", "");
        fs::remove_file(at("sites/d.toml")).unwrap();
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            reload.read().unwrap().sites,
            Changes {
                came: named(&["e"]),
                went: named(&["d"]),
                changed: named(&["a.b"]),
            }
        );
    }
    /// What nobody has changed is not read into a document every two seconds: tens of thousands of tenants may
    /// stand in bff.toml itself.
    #[test]
    fn what_has_not_changed_is_not_parsed_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("bff.toml"), BEFORE).unwrap();
        fs::write(at("secret"), "a client secret of some length").unwrap();
        let reload = Reload::new(at("bff.toml"), Variables::new());
        reload.stamp();
        let mark = || {
            let mut looked = reload.looked.lock().unwrap();
            looked.prints.insert("mark".to_owned(), Print::default());
        };
        let is_marked = || reload.prints().contains_key("mark");
        mark();
        assert!(is_marked());
        for (name, text) in [
            ("secret", "a client secret of same length"),
            ("bff.toml", &BEFORE.replace("30m", "31m")),
        ] {
            fs::write(at(name), text).unwrap();
            assert!(!is_marked(), "{name}");
            mark();
            assert!(is_marked(), "{name}");
        }
    }
}
