//! `bff dev`: everything on this machine, and which port to take when the usual one is taken.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::app::{self, StartError};
use crate::cli::{CommandError, DevOptions, Terminal};
use crate::config::{Config, SiteInDevelopment, Variables};
use crate::server;

/// How many ports above the one that is taken are tried.
const PORTS_TRIED: u16 = 100;

/// How many tenants of a site the banner names.
const TENANTS_TOLD: usize = 5;

/// Something else listens where the app was to be; another port may do.
#[derive(Debug)]
pub(super) struct PortTaken {
    address: SocketAddr,
    /// The next port that is free, if one was found.
    next: Option<u16>,
    config: Option<PathBuf>,
}

impl fmt::Display for PortTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        write!(
            f,
            "{address} is in use by another program, perhaps another bff dev; "
        )?;
        let Some(next) = self.next else {
            return write!(f, "stop it, or name another port: bff dev --port PORT");
        };
        write!(f, "stop it, or take the next port: bff dev --port {next}")?;
        match &self.config {
            Some(config) => write!(f, " --config {}", config.display()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PortTaken {}

/// Serves until it is told to stop.
pub(super) fn dev(
    options: DevOptions,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Result<(), CommandError> {
    let DevOptions { config, port } = options;
    let path = file(config.clone());
    let (settings, warnings) = Config::load_for_development(path.as_deref(), port, variables)?;
    let wanted = settings.server.listen.clone();
    // Whole, since another folder may have a bff.toml of its own.
    let place = path.map(|path| std::path::absolute(&path).unwrap_or(path));
    let out = &mut *terminal.out;
    let ended = app::develop(settings, &warnings, |development| {
        // A terminal that is gone reads nothing; the servers run all the same.
        drop(out.write_all(banner(development, place.as_deref()).as_bytes()));
        drop(out.flush());
    });
    if let Err(StartError::Server(server::StartError::AddressInUse { listen, .. })) = &ended
        && *listen == wanted
        && let Some(address) = listen.tcp()
    {
        return Err(CommandError::Dev(PortTaken {
            address,
            next: next_free(address),
            config,
        }));
    }
    Ok(ended?)
}

/// The first port above this one that nobody listens on.
fn next_free(taken: SocketAddr) -> Option<u16> {
    (1..=PORTS_TRIED)
        .filter_map(|step| taken.port().checked_add(step))
        .find(|port| TcpListener::bind((taken.ip(), *port)).is_ok())
}

/// What tells where to look, once everything listens: `config` is the file it came from.
fn banner(development: &app::Development, config: Option<&Path>) -> String {
    let app::Development {
        sites,
        endpoints,
        provider,
        issuer,
        control_url,
        users,
    } = development;
    let first = users.first().map_or("alice", String::as_str);
    let users = users.join(", ");
    let provider = provider.as_ref().map(|name| format!("&provider={name}"));
    let provider = provider.unwrap_or_default();
    let config = config.map_or_else(
        || "none: there is no bff.toml in this folder, so this is the demo".to_owned(),
        |path| path.display().to_string(),
    );
    let widest = sites.iter().map(|site| name_of(site).chars().count()).max();
    let indent = 2 + widest.unwrap_or_default().max("misbehave".len()) + 2;
    let line = |name: &str, text: &str| format!("  {name:width$}  {text}\n", width = indent - 4);
    // Each site stands by itself, where there are several.
    let gap = if sites.len() > 1 { "\n" } else { "" };
    let sites: Vec<String> = sites
        .iter()
        .map(|site| described(site, indent, line))
        .collect();
    [
        "\n  bff dev is ready\n\n".to_owned(),
        line("config", &config),
        gap.to_owned(),
        sites.join(gap),
        gap.to_owned(),
        line("provider", &format!("{issuer}   (sign in as {users})")),
        line("misbehave", control_url),
        "\n".to_owned(),
        line(
            "script",
            &format!("curl -sL -c jar -b jar '{endpoints}/login?login_hint={first}{provider}' -o /dev/null"),
        ),
        line(
            "",
            &format!("curl -b jar -H 'X-CSRF: 1' {endpoints}/session"),
        ),
        "\n  Ctrl-C stops it; the provider keeps nothing.\n\n".to_owned(),
    ]
    .concat()
}

/// A site's address, and what stands behind it.
fn described(
    site: &SiteInDevelopment,
    indent: usize,
    line: impl Fn(&str, &str) -> String,
) -> String {
    let address = match &site.elsewhere {
        Some(elsewhere) => format!("{}   (for {elsewhere})", site.url),
        None => site.url.clone(),
    };
    let widest = site.paths.iter().map(|way| way.path.chars().count()).max();
    let width = widest.unwrap_or_default();
    let ways = site.paths.iter();
    let ways = ways.map(|way| format!("{:indent$}{:width$}  {}\n", "", way.path, way.leads_to));
    line(name_of(site), &address) + &ways.collect::<String>() + &tenants(site, indent)
}

/// The first of its tenants, and how many there are beyond them.
fn tenants(site: &SiteInDevelopment, indent: usize) -> String {
    let first = site.tenants.iter().take(TENANTS_TOLD);
    let widest = first.clone().map(|(name, _)| name.chars().count()).max();
    let width = widest.unwrap_or_default();
    let mut lines: Vec<String> = first
        .map(|(name, url)| format!("{:indent$}{name:width$}  {url}\n", ""))
        .collect();
    if let Some(more @ 1..) = site.tenants.len().checked_sub(TENANTS_TOLD) {
        lines.push(format!("{:indent$}and {more} more\n", ""));
    }
    lines.concat()
}

/// What the banner calls a site.
fn name_of(site: &SiteInDevelopment) -> &str {
    if site.id.is_main() {
        "app"
    } else {
        site.id.as_str()
    }
}

/// The file that was asked for, else the one in this folder, if there is one.
fn file(asked: Option<PathBuf>) -> Option<PathBuf> {
    asked.or_else(|| {
        let here = PathBuf::from("bff.toml");
        here.is_file().then_some(here)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says of the configuration, up to the provider.
    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sites")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let path = (!files.is_empty()).then(|| folder.path().join("bff.toml"));
        let loaded = Config::load_for_development(path.as_deref(), None, &Variables::new());
        let development = app::Development {
            sites: loaded.unwrap().0.sites_in_development(),
            endpoints: "http://localhost:8080/bff".to_owned(),
            provider: None,
            issuer: "http://127.0.0.1:9100".to_owned(),
            control_url: "http://127.0.0.1:9100/control".to_owned(),
            users: vec!["alice".to_owned(), "bob".to_owned()],
        };
        let written = path.map(|_| Path::new("/home/ann/shop/bff.toml"));
        banner(&development, written)
            .lines()
            .skip_while(|line| !line.contains("config"))
            .take_while(|line| !line.contains("provider"))
            .map(str::to_owned)
            .collect()
    }

    /// It was the same to the letter in the folder of the app and in any other.
    #[test]
    fn the_banner_says_that_it_is_the_demo() {
        let expected = [
            "  config     none: there is no bff.toml in this folder, so this is the demo",
            "  app        http://localhost:8080/",
            "             /api  the demo API",
            "             /     the demo app",
        ];
        assert_eq!(of(&[]), expected);
    }

    #[test]
    fn the_banner_says_what_stands_behind_the_address() {
        let app = "[[route]]\npath = \"/api\"\nupstream = \"http://localhost:9000\"\n\
                   [[route]]\npath = \"/api/demo\"\nupstream = \"dev:api\"\n\
                   [frontend]\nupstream = \"http://localhost:5173\"\n";
        let expected = [
            "  config     /home/ann/shop/bff.toml",
            "  app        http://localhost:8080/",
            "             /api       http://localhost:9000",
            "             /api/demo  the demo API",
            "             /          http://localhost:5173",
        ];
        assert_eq!(of(&[("bff.toml", app)]), expected);
    }

    /// Of several sites it named the first and no other.
    #[test]
    fn the_banner_lists_every_site() {
        let route = "[[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n";
        let files = [
            ("bff.toml", "[server]\nsites = \"sites\"\n"),
            (
                "sites/customer-desk.toml",
                "public_url = \"https://desk.example.com/team\"\n",
            ),
            (
                "sites/portal.toml",
                "public_url = \"http://{tenant}.localhost:8080\"\n\
                 tenants = { a = {}, bc = {}, d = {}, e = {}, f = {}, g = {}, h = {} }\n",
            ),
            (
                "sites/shop.toml",
                &format!("public_url = \"http://shop.localhost:8080\"\n{route}"),
            ),
        ];
        let expected = [
            "  config         /home/ann/shop/bff.toml",
            "",
            "  customer-desk  http://desk.example.com.localhost:8080/team/   (for https://desk.example.com/team)",
            "                 /  the demo app",
            "",
            "  shop           http://shop.localhost:8080/",
            "                 /api  the demo API",
            "                 /     the demo app",
            "",
            "  portal         http://{tenant}.localhost:8080/",
            "                 /  the demo app",
            "                 a   http://a.localhost:8080/",
            "                 bc  http://bc.localhost:8080/",
            "                 d   http://d.localhost:8080/",
            "                 e   http://e.localhost:8080/",
            "                 f   http://f.localhost:8080/",
            "                 and 2 more",
            "",
        ];
        assert_eq!(of(&files), expected);
    }
}
