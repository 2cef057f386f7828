//! `bff dev`: everything on this machine, and which port to take when the usual one is taken.

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::path::PathBuf;

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
    let out = &mut *terminal.out;
    let ended = app::develop(settings, &warnings, |development| {
        announce(development, out);
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

/// Tells where to look, once everything listens.
fn announce(development: &app::Development, out: &mut dyn Write) {
    let app::Development {
        public_url,
        endpoints,
        issuer,
        control_url,
        users,
    } = development;
    let first = users.first().map_or("alice", String::as_str);
    let users = users.join(", ");
    // A terminal that is gone reads nothing; the servers run all the same.
    drop(write!(
        out,
        "\n  bff dev is ready\n\n  \
           app        {public_url}\n  \
           provider   {issuer}   (sign in as {users})\n  \
           misbehave  {control_url}\n\n  \
           script     curl -sL -c jar -b jar '{endpoints}/login?login_hint={first}'\n             \
                      curl -b jar -H 'X-CSRF: 1' {endpoints}/session\n\n  \
           Ctrl-C stops it; the provider keeps nothing.\n\n"
    ));
    drop(out.flush());
}

/// The file that was asked for, else the one in this folder, if there is one.
fn file(asked: Option<PathBuf>) -> Option<PathBuf> {
    asked.or_else(|| {
        let here = PathBuf::from("bff.toml");
        here.is_file().then_some(here)
    })
}
