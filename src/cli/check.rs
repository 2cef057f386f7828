//! `bff check`: all that `serve` does short of binding; with `--live` a question to what runs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::app::{self, StartError};
use crate::cli::{CheckOptions, CommandError, Exit, Terminal, largest_head, load, online};
use crate::config::{Config, SiteConfig, Variables};
use crate::server::Listen;
use crate::session::store::{Limit, OnLimit};
use crate::web::printable::with_commas;

/// A health check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a check found beyond the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// `serve` would not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What was found around it, a line each, and how that ends.
    #[error("{0}")]
    Found(String, Exit),
    /// The running instance cannot be asked.
    #[error("{address} does not answer, so bff does not run with this configuration")]
    NoAnswer { address: Listen, source: io::Error },
    /// The running instance answered that it is not well.
    #[error("{address} answers {answer:?}, which is no sign of health")]
    Unwell { address: Listen, answer: String },
}

impl CheckError {
    /// Whether the configuration is to be changed, or the world is out of order.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Start(_) => Exit::Usage,
            Self::Found(_, exit) => *exit,
            Self::NoAnswer { .. } | Self::Unwell { .. } => Exit::Failed,
        }
    }
}

/// What `options` ask for.
pub(super) fn check(
    options: &CheckOptions,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Result<(), CommandError> {
    if options.live {
        // A health check runs every few seconds: warnings were given at the start.
        let (config, _) = Config::load(&options.file.config, variables)?;
        let probe = Probe::of(&config);
        probe.ask()?;
        writeln!(terminal.out, "{} is alive", probe.address)?;
        return Ok(());
    }
    let mut config = load(&options.file, variables, terminal)?;
    let summary = format!(
        "{} is fine: {} on {}, {}",
        options.file.config.display(),
        origins(&config),
        config.server.listen,
        routes(config.faces().map(|site| site.routes.len()).sum()),
    );
    // Whoever asks around is told of it there.
    let warning = nobody_speaks_tls(&config).filter(|_| !options.online);
    if let Some(warning) = warning {
        writeln!(terminal.err, "warning: {warning}")?;
    }
    let limit = config.faces().find_map(|site| site.session.limit);
    let mut notes: Vec<String> = limit
        .map(sessions_a_user)
        .into_iter()
        .chain(another_port(&config))
        .chain(shared_hosts(&config))
        .chain([largest_head::note(&config)])
        .collect();
    if options.online {
        let findings = online::look(config, &options.file.config)?;
        for warning in findings.warnings() {
            writeln!(terminal.err, "warning: {warning}")?;
        }
        let faults: Vec<&str> = findings.faults().collect();
        if !faults.is_empty() {
            return Err(CheckError::Found(faults.join("\n"), findings.exit()).into());
        }
        writeln!(terminal.out, "{summary}; {}", findings.praise())?;
        notes.extend(findings.notes().map(|note| format!("note: {note}")));
    } else {
        app::judge(&mut config).map_err(CheckError::from)?;
        writeln!(terminal.out, "{summary}")?;
    }
    for note in notes {
        writeln!(terminal.out, "{note}")?;
    }
    Ok(())
}

fn sessions_a_user(limit: Limit) -> String {
    let more = match limit.on_limit {
        OnLimit::EndOldest => "one more ends the oldest",
        OnLimit::Refuse => "one more is refused",
    };
    format!(
        "note: a user may have {} sessions at once, and {more} (session.max_per_user)",
        limit.most
    )
}

/// Where browsers come to one port and it listens on another, with nobody before it that is known.
fn another_port(config: &Config) -> Option<String> {
    let is_alone = config.server.speaks_tls() && config.trusted_proxies.is_empty();
    let listens = config.server.listen.tcp().filter(|_| is_alone)?.port();
    let main = config.faces().next()?;
    let public = main.auth.public_url.port_or_known_default()?;
    (listens != 0 && listens != public).then(|| {
        format!(
            "note: browsers come to port {public} (server.public_url), and it listens on {listens}: something must lead from one to the other, such as docker run --publish {public}:{listens}"
        )
    })
}

/// Where browsers speak TLS to somebody before us whom nobody has named: what they say of the caller is then
/// not believed, and where there is nobody, no browser gets through.
fn nobody_speaks_tls(config: &Config) -> Option<&'static str> {
    let server = &config.server;
    let is_https = |site: &SiteConfig| site.auth.public_url.scheme() == "https";
    let is_alone = !server.speaks_tls() && config.trusted_proxies.is_empty();
    let is_met = server.listen.tcp().is_some() && config.faces().any(is_https);
    (is_alone && is_met).then_some(
        "browsers come by https (public_url), and it listens without TLS, behind no proxy that it knows; write server.tls, or server.trusted_proxies with the address of whoever ends TLS before it",
    )
}

/// Sites that a browser takes for one: a script of the one may do what the other may.
fn shared_hosts(config: &Config) -> Vec<String> {
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for site in &config.sites {
        let host = site.auth.public_url.host_str().unwrap_or_default();
        let there = hosts.entry(host.to_owned()).or_default();
        there.push(address(site));
    }
    for site in &config.tenanted {
        let there = hosts.entry(site.pattern.to_string()).or_default();
        there.push(site.address());
    }
    hosts.retain(|_, sites| sites.len() > 1);
    let shared = hosts.values();
    shared
        .map(|sites| {
            format!(
                "note: {} share one origin: a script of one can call the other as its user; apps that do not trust each other belong on hosts of their own (docs/sites.md)",
                sites.join(" and ")
            )
        })
        .collect()
}

/// The origin of a site, and its path there.
fn address(site: &SiteConfig) -> String {
    let origin = site.auth.public_url.origin().ascii_serialization();
    format!("{origin}{}", site.auth.mount)
}

fn origins(config: &Config) -> String {
    const MOST: usize = 4;
    let (sites, tenanted) = (&config.sites, &config.tenanted);
    if sites.len() + tenanted.len() > MOST {
        let of_all: usize = tenanted.iter().map(|site| site.tenants.len()).sum();
        let sites = format!("{} sites", sites.len() + tenanted.len());
        return if tenanted.is_empty() {
            sites
        } else {
            format!("{sites} ({})", tenants(of_all))
        };
    }
    let of_tenants = tenanted.iter().map(|site| {
        let count = tenants(site.tenants.len());
        format!("{} ({count})", site.address())
    });
    let origins: Vec<String> = sites.iter().map(address).chain(of_tenants).collect();
    origins.join(", ")
}

/// As in `10,000 tenants`.
fn tenants(count: usize) -> String {
    match count {
        1 => "1 tenant".to_owned(),
        count => format!("{} tenants", with_commas(count)),
    }
}

fn routes(count: usize) -> String {
    match count {
        1 => "1 route".to_owned(),
        count => format!("{count} routes"),
    }
}

/// A question that a live instance answers and that changes nothing.
#[derive(Debug, PartialEq, Eq)]
struct Probe {
    address: Listen,
    /// `None` where only TLS is spoken: then a connection that is taken must do.
    request: Option<String>,
    /// How the status of a healthy answer may begin.
    healthy: &'static [char],
}

impl Probe {
    /// `/livez` where there is an administration listener, else what the public one can be asked.
    fn of(config: &Config) -> Self {
        if let Some(admin) = &config.admin {
            let address = reachable(&admin.listen);
            let host = address
                .tcp()
                .map_or_else(|| "localhost".to_owned(), |at| at.to_string());
            return Self {
                address,
                request: Some(get("/livez", &host)),
                healthy: &['2'],
            };
        }
        let question = config.sites.first().map(|site| {
            let path = format!("{}/session?slide=false", site.auth.base_path);
            get(&path, site.auth.public_url.authority())
        });
        Self {
            address: reachable(&config.server.listen),
            request: question.filter(|_| !config.server.speaks_tls()),
            // It may well say 401 or 429; only a fault of its own is a bad sign.
            healthy: &['2', '3', '4'],
        }
    }

    fn ask(&self) -> Result<(), CheckError> {
        let answer = self.first_line().map_err(|source| CheckError::NoAnswer {
            address: self.address.clone(),
            source,
        })?;
        let healthy = match answer.as_deref() {
            None => true,
            Some(line) => line
                .strip_prefix("HTTP/1.1 ")
                .is_some_and(|status| status.starts_with(self.healthy)),
        };
        if healthy {
            return Ok(());
        }
        Err(CheckError::Unwell {
            address: self.address.clone(),
            answer: answer.unwrap_or_default(),
        })
    }

    /// The answer's first line; `None` where nothing was asked.
    fn first_line(&self) -> io::Result<Option<String>> {
        match &self.address {
            Listen::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                self.first_line_of(stream)
            }
            Listen::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                self.first_line_of(stream)
            }
        }
    }

    fn first_line_of(&self, mut stream: impl Read + Write) -> io::Result<Option<String>> {
        let Some(request) = &self.request else {
            return Ok(None);
        };
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        stream.take(4096).read_to_end(&mut head)?;
        let text = String::from_utf8_lossy(&head);
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-CSRF: 1\r\nConnection: close\r\n\r\n")
}

/// Where a listener on all addresses is met from this machine.
pub(super) fn reachable(listen: &Listen) -> Listen {
    let Listen::Tcp(listen) = listen else {
        return listen.clone();
    };
    let ip = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(ip, listen.port()).into()
}
