//! `public_url` and `base_path`: where browsers find a site.

use url::{Host, Url};

use crate::config::error::Faults;
use crate::config::file::ServerTable;
use crate::config::listening::PORT;
use crate::config::reader::Written;
use crate::config::resolve::described::Described;
use crate::config::resolve::server::listen;
use crate::config::resolve::{Purpose, Surroundings, http_url, path_prefix};
use crate::web::loopback::is_loopback;

/// What browsers see of a site.
#[derive(Debug)]
pub(super) struct Public {
    /// The origin.
    pub(super) url: Url,
    /// The path of it that is the site's: empty, or as in `/shop`.
    pub(super) mount: String,
    /// Where its endpoints are, below the mount.
    pub(super) base_path: String,
}

impl Public {
    /// Whether browsers reach us over https.
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The port, where browsers find us on this machine: others may be on its other ports, and cookies
    /// know no ports.
    pub(super) fn loopback_port(&self) -> Option<u16> {
        let port = self.url.port_or_known_default();
        port.filter(|_| is_loopback(&self.url))
    }

    /// Its host in lower case and in A-labels, as sites are told apart by.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Where browsers find the endpoints.
    pub(super) fn whole_base_path(&self) -> String {
        format!("{}{}", self.mount, self.base_path)
    }
}

/// Where browsers find `site`.
pub(super) fn public(
    site: &Described<'_>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Public> {
    let purpose = surroundings.purpose;
    let base_path = base_path(site, faults);
    let field = &site.file.public_url;
    let (url, mount) = if site.is_of_bff_toml && purpose.is_without_provider() && !field.stands() {
        let port = listen(site.server)
            .tcp()
            .map_or(PORT, |address| address.port());
        (
            Url::parse(&format!("http://localhost:{port}")).ok()?,
            String::new(),
        )
    } else {
        let example = "public_url = \"https://app.example.com\", the origin that browsers see";
        let written = field.required(&site.place(), site.public_url(), example, faults)?;
        let public = public_url(written, purpose, faults)?;
        warn_of_another_port(site.server, written, &public.0, faults);
        refuse_http_beside_tls(site, written, &public.0, faults);
        public
    };
    Some(Public {
        url,
        mount,
        base_path: base_path?,
    })
}

/// A host in the one form that hosts are compared in: lower case, in A-labels, without a dot at its end.
pub(super) fn host_of(text: &str) -> Option<Host> {
    match Host::parse(text.strip_suffix('.').unwrap_or(text)).ok()? {
        Host::Domain(name) if name.ends_with('.') => None,
        host => Some(host),
    }
}

/// B9: the origin is the operator's word, never a request's.
fn public_url(
    written: &Written<String>,
    purpose: Purpose,
    faults: &mut Faults,
) -> Option<(Url, String)> {
    let mut url = http_url(written, "https://app.example.com", faults)?;
    if url.host_str().is_some_and(|host| host.contains(['{', '}'])) {
        written.refuse(
            faults,
            format!("has braces in its host: {:?}", written.value),
            "write {tenant} alone in it, or none",
        );
        return None;
    }
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')) {
        written.refuse(
            faults,
            format!(
                "has a dot at the end of its host, which makes another origin of it: {:?}",
                written.value
            ),
            format!("write the host as people do: {host}"),
        );
        return None;
    }
    let mount = mount(written, &url, faults)?;
    url.set_path("/");
    if purpose.is_development() && !is_loopback(&url) {
        written.refuse(
            faults,
            "is not on this machine, and anyone can sign in as anyone under bff dev",
            "write one of a name, such as \"http://localhost:8080\"",
        );
        return None;
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        written.refuse(
            faults,
            "is http, so that anyone on the way can take over sessions",
            format!("write \"https://{}{mount}\"", url.authority()),
        );
        return None;
    }
    Some((url, mount))
}

/// The path that a site is mounted at, in the form that requests' paths are brought to.
fn mount(written: &Written<String>, url: &Url, faults: &mut Faults) -> Option<String> {
    // A URL would already have tidied what nobody should write.
    let rest = written.value.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    let as_path = Written {
        value: path.to_owned(),
        key: written.key.clone(),
        place: written.place.clone(),
    };
    let example = format!("{}/shop", url.origin().ascii_serialization());
    let path = path_prefix(&as_path, &example, faults)?;
    Some(path.trim_end_matches('/').to_owned())
}

fn base_path(site: &Described<'_>, faults: &mut Faults) -> Option<String> {
    let own = &site.file.base_path;
    let field = if own.stands() {
        own
    } else {
        &site.server.base_path
    };
    let Some(written) = field.written() else {
        return (!field.stands()).then(|| "/bff".to_owned());
    };
    let path = path_prefix(written, "/bff", faults)?;
    if path == "/" {
        written.refuse(
            faults,
            "is the root, which leaves no path to the app",
            "write one such as \"/bff\"",
        );
        return None;
    }
    if path != written.value {
        written.refuse(
            faults,
            format!("ends in a slash: {:?}", written.value),
            format!("write {path:?}"),
        );
        return None;
    }
    Some(path)
}

/// Behind https another server may stand before us; on this machine it is most often a slip.
fn warn_of_another_port(
    server: &ServerTable,
    written: &Written<String>,
    url: &Url,
    faults: &mut Faults,
) {
    let listens = listen(server).tcp().map(|address| address.port());
    if url.scheme() != "https"
        && let Some(listens @ 1..) = listens
        && let Some(port) = url.port_or_known_default()
        && port != listens
    {
        written.warn(
            faults,
            format!("names port {port}, and server.listen port {listens}"),
            format!("write listen = \"127.0.0.1:{port}\", unless something else forwards to us"),
        );
    }
}

/// A listener with a certificate speaks nothing but https.
fn refuse_http_beside_tls(
    site: &Described<'_>,
    written: &Written<String>,
    url: &Url,
    faults: &mut Faults,
) {
    let own = &site.file.tls;
    let tls = if own.stands() { own } else { &site.server.tls };
    if url.scheme() == "https" {
        return;
    }
    if let Some(tls) = tls.written() {
        let remedy = format!(
            "write public_url = \"https://{}\", or leave tls out",
            url.authority()
        );
        let what = format!("serves https, and {} says http", written.key);
        if site.is_of_bff_toml || own.stands() {
            tls.refuse(faults, what, remedy);
        } else {
            written.refuse(
                faults,
                format!("is http, and {} serves https", tls.key),
                remedy,
            );
        }
    }
}
