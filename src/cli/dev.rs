//! `bff dev`: everything on this machine, and which port to take when the usual one is taken.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use crate::app::{self, StartError};
use crate::cli::{CommandError, DevOptions, Terminal};
use crate::config::{Config, Variables};
use crate::server;

/// How many ports above the one that is taken are tried.
const PORTS_TRIED: u16 = 100;

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
    let mut variables = variables.clone();
    if let Some(port) = port {
        variables.extend(on_port(port));
    }
    let path = file(config.clone());
    let (settings, warnings) = Config::load_for_development(path.as_deref(), &variables)?;
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

/// The two keys that name the port, as variables: these win over the file.
fn on_port(port: NonZeroU16) -> [(String, String); 2] {
    [
        ("BFF_SERVER__LISTEN".to_owned(), format!("127.0.0.1:{port}")),
        (
            "BFF_SERVER__PUBLIC_URL".to_owned(),
            format!("http://localhost:{port}"),
        ),
    ]
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
        public_url,
        endpoints,
        issuer,
        control_url,
        users,
        paths,
    } = development;
    let first = users.first().map_or("alice", String::as_str);
    let users = users.join(", ");
    let config = config.map_or_else(
        || "none: there is no bff.toml in this folder, so this is the demo".to_owned(),
        |path| path.display().to_string(),
    );
    let widest = paths.iter().map(|way| way.path.chars().count()).max();
    let width = widest.unwrap_or_default();
    let mut ways = String::new();
    for way in paths {
        let line = format!("             {:width$}  {}\n", way.path, way.leads_to);
        ways.push_str(&line);
    }
    format!(
        "\n  bff dev is ready\n\n  \
           config     {config}\n  \
           app        {public_url}\n{ways}  \
           provider   {issuer}   (sign in as {users})\n  \
           misbehave  {control_url}\n\n  \
           script     curl -sL -c jar -b jar '{endpoints}/login?login_hint={first}' -o /dev/null\n             \
                      curl -b jar -H 'X-CSRF: 1' {endpoints}/session\n\n  \
           Ctrl-C stops it; the provider keeps nothing.\n\n"
    )
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
    fn of(toml: Option<&str>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = toml.map(|text| {
            let path = folder.path().join("bff.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let (config, _) = Config::load_for_development(path.as_deref(), &Variables::new()).unwrap();
        let development = app::Development {
            public_url: "http://localhost:8080/".to_owned(),
            endpoints: "http://localhost:8080/bff".to_owned(),
            issuer: "http://127.0.0.1:9100".to_owned(),
            control_url: "http://127.0.0.1:9100/control".to_owned(),
            users: vec!["alice".to_owned(), "bob".to_owned()],
            paths: config.paths_in_development(),
        };
        let written = toml.map(|_| Path::new("/home/ann/shop/bff.toml"));
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
        assert_eq!(of(None), expected);
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
        assert_eq!(of(Some(app)), expected);
    }
}
