//! Where sites are under `bff dev`: on this machine, whatever their files say of production.
//!
//! `https://shop.example.com` is `http://shop.example.com.localhost:8080` then, which browsers look for
//! here (RFC 6761 §6.3). Names that differ still do, sites on one host still share one, and nobody writes a
//! second file. It is done to what is written, so that all that follows from an address follows from the
//! one that it has here.

use std::cell::RefCell;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use crate::config::document::{Entry, Node, Value};
use crate::config::file::File;
use crate::config::listening::PORT;
use crate::config::reader::Field;
use crate::config::site_file::SiteFile;
use crate::web::loopback::is_loopback_host;

/// How addresses of production become addresses of this machine.
#[derive(Debug)]
pub(super) struct Here {
    port: u16,
    /// Whether those that are here already move to the port too.
    all_move: bool,
    /// The host of bff.toml's own site, which is `localhost` itself here.
    main_host: Option<String>,
    elsewhere: RefCell<Elsewhere>,
}

/// The files of sites that are here instead, and where each says that it is.
pub(super) type Elsewhere = Vec<(PathBuf, String)>;

/// A key of the top of a file, or one in a table there.
type Key<'a> = &'a [&'a str];

impl Here {
    /// As bff.toml says, in `root`; at `port`, where one was asked for.
    pub(super) fn of(root: &Node, port: Option<NonZeroU16>) -> Self {
        let text = |key| root.text_at(&["server", key]);
        let listened = text("listen").and_then(|listen| listen.rsplit_once(':')?.1.parse().ok());
        let main = text("public_url").and_then(Parts::of);
        Self {
            port: port.map(NonZeroU16::get).or(listened).unwrap_or(PORT),
            all_move: port.is_some(),
            main_host: main.map(|url| url.host.to_ascii_lowercase()),
            elsewhere: RefCell::default(),
        }
    }

    /// Brings the site of bff.toml itself here.
    pub(super) fn bring_main(&self, root: &mut Node, file: &Path) {
        self.bring(root, &["server", "public_url"], file);
    }

    /// Brings the site of another file here, without the certificate that it has for production.
    pub(super) fn bring_site(&self, root: &mut Node, file: &Path) {
        if self.bring(root, &["public_url"], file)
            && let Value::Table(entries) = &mut root.value
        {
            entries.remove("tls");
        }
    }

    /// Brings the domains here that tenants have of their own.
    pub(super) fn bring_tenants(&self, tenants: &mut Node) {
        let Value::Table(tenants) = &mut tenants.value else {
            return;
        };
        for tenant in tenants.values_mut() {
            if let Some(host) = text_mut(&mut tenant.node, &["host"])
                && let Some(here) = self.host(host)
            {
                *host = here;
                if let Value::Table(entries) = &mut tenant.node.value {
                    entries.remove("tls");
                }
            }
        }
    }

    /// Leaves the listener's certificate alone where nothing is served over https here: neither these sites
    /// nor that of bff.toml.
    pub(super) fn leave_certificate<'a>(
        file: &mut File,
        sites: impl Iterator<Item = &'a SiteFile>,
    ) {
        let Field::Written(server) = &mut file.server else {
            return;
        };
        let of_sites = sites.filter_map(|site| site.public_url.written());
        let mut urls = of_sites.chain(server.value.public_url.written());
        if !urls.any(|url| url.value.starts_with("https:")) {
            server.value.tls = Field::Absent;
        }
    }

    /// What is here instead of elsewhere.
    pub(super) fn into_elsewhere(self) -> Elsewhere {
        self.elsewhere.into_inner()
    }

    /// Whether the site was elsewhere. It comes along whole then.
    fn bring(&self, root: &mut Node, public_url: Key<'_>, file: &Path) -> bool {
        if let Some((_, above)) = public_url.split_last() {
            let no_tenant = [above, &["no_tenant"]].concat();
            if let Some(url) = text_mut(root, &no_tenant) {
                self.bring_url(url);
            }
        }
        if let Some(tenants) = entry_mut(root, &["tenants"]) {
            self.bring_tenants(&mut tenants.node);
        }
        let Some(url) = text_mut(root, public_url) else {
            return false;
        };
        let written = url.clone();
        if !self.bring_url(url) {
            return false;
        }
        self.elsewhere.borrow_mut().push((file.to_owned(), written));
        let routes = entry_mut(root, &["route"]).map(|entry| &mut entry.node.value);
        if let Some(Value::Array(routes)) = routes {
            for route in routes {
                if let Some(host) = text_mut(route, &["host"])
                    && let Some(here) = self.host(host)
                {
                    *host = here;
                }
            }
        }
        true
    }

    /// Whether an address was elsewhere; it is here from now on.
    fn bring_url(&self, url: &mut String) -> bool {
        let Some(Parts { scheme, host, path }) = Parts::of(url) else {
            return false;
        };
        let moved = self.host(host);
        let is_elsewhere = moved.is_some();
        if let Some(host) = moved {
            *url = format!("http://{host}:{}{path}", self.port);
        } else if self.all_move && is_loopback_host(host) {
            *url = format!("{scheme}://{host}:{}{path}", self.port);
        }
        is_elsewhere
    }

    /// What a host that is elsewhere is called here; an IPv6 address has no name.
    fn host(&self, host: &str) -> Option<String> {
        if is_loopback_host(host) || host.starts_with('[') {
            return None;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_main = |main: &String| main.eq_ignore_ascii_case(host);
        Some(if self.main_host.as_ref().is_some_and(is_main) {
            "localhost".to_owned()
        } else {
            format!("{host}.localhost")
        })
    }
}

/// An address as it is written, which may have a tenant's place in it; what is none is judged elsewhere.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if is_port(port) => host,
            _ => authority,
        };
        let is_plain = !host.is_empty() && !host.contains(['@', '*', '%', '\\', ' ']);
        let is_http = scheme == "http" || scheme == "https";
        (is_plain && is_http).then_some(Self { scheme, host, path })
    }
}

fn text_mut<'a>(root: &'a mut Node, key: Key<'_>) -> Option<&'a mut String> {
    match &mut entry_mut(root, key)?.node.value {
        Value::Text(text) | Value::Untyped(text) => Some(text),
        _ => None,
    }
}

fn entry_mut<'a>(root: &'a mut Node, key: Key<'_>) -> Option<&'a mut Entry> {
    let (last, above) = key.split_last()?;
    let mut node = root;
    for name in above {
        let Value::Table(entries) = &mut node.value else {
            return None;
        };
        node = &mut entries.get_mut(*name)?.node;
    }
    match &mut node.value {
        Value::Table(entries) => entries.get_mut(*last),
        _ => None,
    }
}
