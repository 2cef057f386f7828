//! `bff check`: all that `serve` does short of binding, and two questions to the network.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::app::{self, StartError};
use crate::cli::{CheckOptions, CommandError, Exit, Terminal, largest_head, load};
use crate::clock::{Clock as _, SystemClock, SystemRandomness};
use crate::config::{Config, Variables};
use crate::frontend::Frontend;
use crate::oidc::{Lack, Provider, ProviderError, ProviderSettings};
use crate::proxy::route::RouteTable;
use crate::server;
use crate::session::store::{Limit, OnLimit};
use crate::telemetry::Metrics;
use crate::web::outbound::{self, Outbound, OutboundSettings};

/// A health check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a check found beyond the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// `serve` would not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The provider does not answer, or not as it should.
    #[error("{asked}: {source}")]
    Provider {
        /// The key and the address.
        asked: String,
        source: ProviderError,
    },
    /// What is asked of the provider is not offered, so that no login can work: a line each.
    #[error("{0}")]
    Unfit(String),
    /// The running instance cannot be asked.
    #[error("{address} does not answer, so bff does not run with this configuration")]
    NoAnswer {
        address: SocketAddr,
        source: io::Error,
    },
    /// The running instance answered that it is not well.
    #[error("{address} answers {answer:?}, which is no sign of health")]
    Unwell { address: SocketAddr, answer: String },
}

impl CheckError {
    /// Whether the configuration is to be changed, or the world is out of order.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Start(_)
            | Self::Unfit(_)
            | Self::Provider {
                source: ProviderError::Misbehaved(_),
                ..
            } => Exit::Usage,
            Self::Provider {
                source: ProviderError::Unavailable(_),
                ..
            }
            | Self::NoAnswer { .. }
            | Self::Unwell { .. } => Exit::Failed,
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
    let config = load(&options.file, variables, terminal)?;
    judge(&config).map_err(CheckError::from)?;
    let summary = format!(
        "{} is fine: {} on {}, {}",
        options.file.config.display(),
        config.auth.public_url.origin().ascii_serialization(),
        config.server.listen,
        routes(config.routes.len()),
    );
    let notes: Vec<String> = config
        .session
        .limit
        .map(sessions_a_user)
        .into_iter()
        .chain([largest_head::note(&config)])
        .collect();
    if options.online {
        let name = provider_name(&config.provider);
        let way = config.outbound.way_out.describe(asked_at(&config.provider));
        let way = way.map(|way| format!(", {way}")).unwrap_or_default();
        let store = app::ask_store(&config)?;
        let lacks = ask_provider(config.provider, config.outbound)?;
        tell_of(&lacks, &options.file.config, terminal)?;
        let answers = match store {
            Some(store) => format!("{name}{way} and {store} answer as they should"),
            None => format!("{name} answers as it should{way}"),
        };
        writeln!(terminal.out, "{summary}; {answers}")?;
    } else {
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

/// Makes what `serve` makes of the configuration before it listens, and throws it away.
fn judge(config: &Config) -> Result<(), StartError> {
    if let Some(tls) = &config.server.tls {
        tls.check(SystemClock.now())
            .map_err(server::StartError::from)?;
    }
    if let Some(frontend) = &config.frontend {
        Frontend::new(frontend.clone())?;
    }
    RouteTable::new(config.routes.clone())?;
    Ok(())
}

/// Where the provider is asked.
fn asked_at(settings: &ProviderSettings) -> &str {
    settings
        .internal
        .as_ref()
        .map_or(&settings.issuer, |internal| internal.url().as_str())
}

/// The provider by the names that are configured for it.
fn provider_name(settings: &ProviderSettings) -> String {
    let issuer = &settings.issuer;
    match &settings.internal {
        Some(internal) => format!("{issuer}, asked at {},", internal.url()),
        None => issuer.clone(),
    }
}

/// Asks the provider for its metadata, whether they fit the issuer (A5), and for a login of nobody
/// where they promise one.
fn ask_provider(
    settings: ProviderSettings,
    outbound: OutboundSettings,
) -> Result<Vec<Lack>, CheckError> {
    let key = if settings.internal.is_some() {
        "provider.internal_url"
    } else {
        "provider.issuer"
    };
    let asked = format!("{key} {}", asked_at(&settings));
    let tls = outbound::tls().map_err(StartError::from)?;
    let outbound = Outbound::with_tls(tls, settings.timeout, outbound);
    let provider = Provider::new(
        settings,
        outbound,
        Arc::new(SystemClock),
        Arc::new(SystemRandomness),
        Metrics::new(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let lacks = runtime.block_on(async {
        let mut lacks = provider.metadata().await?.lacks().to_vec();
        if !lacks.iter().any(Lack::prevents_login) {
            lacks.extend(provider.rehearse().await?);
        }
        Ok(lacks)
    });
    lacks.map_err(|source| CheckError::Provider { asked, source })
}

/// Says what the provider does not offer; an error where no login can work for it.
fn tell_of(lacks: &[Lack], file: &Path, terminal: &mut Terminal<'_>) -> Result<(), CommandError> {
    let file = file.display();
    for lack in lacks.iter().filter(|lack| !lack.prevents_login()) {
        writeln!(terminal.err, "warning: {file}: {lack}")?;
    }
    let unfit: Vec<String> = lacks
        .iter()
        .filter(|lack| lack.prevents_login())
        .map(|lack| format!("{file}: {lack}"))
        .collect();
    if unfit.is_empty() {
        Ok(())
    } else {
        Err(CheckError::Unfit(unfit.join("\n")).into())
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
    address: SocketAddr,
    /// `None` where only TLS is spoken: then a connection that is taken must do.
    request: Option<String>,
    /// How the status of a healthy answer may begin.
    healthy: &'static [char],
}

impl Probe {
    /// `/livez` where there is an administration listener, else what the public one can be asked.
    fn of(config: &Config) -> Self {
        if let Some(admin) = &config.admin {
            let address = reachable(admin.listen);
            return Self {
                address,
                request: Some(get("/livez", &address.to_string())),
                healthy: &['2'],
            };
        }
        let host = config.auth.public_url.authority();
        let path = format!("{}/session?slide=false", config.auth.base_path);
        Self {
            address: reachable(config.server.listen),
            request: config.server.tls.is_none().then(|| get(&path, host)),
            // It may well say 401 or 429; only a fault of its own is a bad sign.
            healthy: &['2', '3', '4'],
        }
    }

    fn ask(&self) -> Result<(), CheckError> {
        let answer = self.first_line().map_err(|source| CheckError::NoAnswer {
            address: self.address,
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
            address: self.address,
            answer: answer.unwrap_or_default(),
        })
    }

    /// The answer's first line; `None` where nothing was asked.
    fn first_line(&self) -> io::Result<Option<String>> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        let Some(request) = &self.request else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
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
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(ip, listen.port())
}
