//! Asks the administration listener, as `bff sessions` does: where it is, which key it takes, and
//! what it answers.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;
use zeroize::Zeroizing;

use crate::cli::check::reachable;
use crate::config::{Config, ConfigErrors, Variables};
use crate::secret::AdminKey;
use crate::server::Listen;
use crate::web::outbound::{self, OutboundError, is_https_or_loopback};
use crate::web::socket_url;

/// How long connecting may take, and how long the whole exchange.
const CONNECT: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer: 200 sessions are some 200 KiB.
const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// Which listener is asked, with which key.
#[derive(Debug, Args)]
pub(super) struct Listener {
    /// The configuration, for its address and key
    #[arg(long, value_name = "FILE", default_value = "bff.toml")]
    config: PathBuf,
    /// The administration listener, in place of the configuration's
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The environment variable with the key, in place of the configuration's
    #[arg(long, value_name = "NAME", conflicts_with = "key_file")]
    key_env: Option<String>,
    /// The file with the key, in place of the configuration's
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Why the listener did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The configuration has faults of its own.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// There is no listener to ask.
    #[error(
        "{0}: server.admin_listen is missing, so there is no administration; write admin_listen = \"127.0.0.1:9090\" and admin_key, or name a listener with --url"
    )]
    NoListener(String),
    /// There is no key to show.
    #[error(
        "{0}: server.admin_key is missing, so there is no administration; write admin_key = \"env:BFF_ADMIN_KEY\", or name the key with --key-env or --key-file"
    )]
    NoKey(String),
    /// The variable of `--key-env` holds nothing.
    #[error("the variable {0} is not set; set it to the value of server.admin_key")]
    NoVariable(String),
    /// The file of `--key-file` holds nothing.
    #[error("put the value of server.admin_key into {}, which can't be read", .0.display())]
    NoFile(PathBuf, #[source] io::Error),
    /// What is there is no key.
    #[error("the key holds characters that no key has; give the value of server.admin_key")]
    NotAKey,
    /// `--url` is none that the key may be sent to.
    #[error(
        "{0} is neither https nor on this machine, and the key would be sent for all to read; name an https address, or ask where bff runs"
    )]
    Insecure(Url),
    /// No thread, no TLS.
    #[error("nothing can be asked from here")]
    Setup(#[source] io::Error),
    /// As above.
    #[error(transparent)]
    Tls(#[from] OutboundError),
    /// Nobody listens there, or it broke off.
    #[error("{url} does not answer, so bff does not run there")]
    NoAnswer { url: Url, source: io::Error },
    /// The key is another one.
    #[error(
        "{0} does not take this key; give the value of server.admin_key that it was started with"
    )]
    WrongKey(Url),
    /// It knows of no administration.
    #[error(
        "{0} has no administration: no server.admin_key is set there, or this is another program"
    )]
    NoAdministration(Url),
    /// It said why not.
    #[error("{detail}")]
    Refused { code: String, detail: String },
    /// What it says makes no sense.
    #[error("{url} answers with status {status}, which the administration listener does not")]
    Stranger { url: Url, status: StatusCode },
}

impl AskError {
    /// Whether somebody has to change what was written, rather than to look at what runs.
    pub(super) const fn is_usage(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::NoListener(_)
            | Self::NoKey(_)
            | Self::NoVariable(_)
            | Self::NoFile(..)
            | Self::NotAKey
            | Self::Insecure(_)
            | Self::WrongKey(_)
            | Self::NoAdministration(_) => true,
            Self::Setup(_)
            | Self::Tls(_)
            | Self::NoAnswer { .. }
            | Self::Refused { .. }
            | Self::Stranger { .. } => false,
        }
    }
}

/// The listener, ready to be asked.
pub(super) struct AdminClient {
    url: Url,
    bearer: HeaderValue,
    runtime: Runtime,
}

impl AdminClient {
    /// The listener that `options` name, and the configuration for what they leave open.
    pub(super) fn new(options: &Listener, variables: &Variables) -> Result<Self, AskError> {
        let key = given_key(options, variables)?;
        let (url, key) = match (&options.url, key) {
            (Some(url), Some(key)) => (url.clone(), key),
            (url, key) => configured(options, variables, url.clone(), key)?,
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AskError::Setup)?;
        Ok(Self {
            url,
            bearer: key.bearer().ok_or(AskError::NotAKey)?,
            runtime,
        })
    }

    /// The answer to one request; `Null` where it is empty. `path` begins after the listener's own.
    pub(super) fn ask(&self, method: Method, path: &str) -> Result<Value, AskError> {
        let (status, body) = self
            .runtime
            .block_on(async {
                timeout(PATIENCE, self.exchange(method, path))
                    .await
                    .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
            })
            .map_err(|error| match error {
                ExchangeError::Io(source) => AskError::NoAnswer {
                    url: self.url.clone(),
                    source,
                },
                ExchangeError::Tls(error) => AskError::Tls(error),
            })?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let word = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        Err(match (status.as_u16(), word("code"), word("detail")) {
            (401, ..) => AskError::WrongKey(self.url.clone()),
            (_, Some(code), Some(detail)) => AskError::Refused { code, detail },
            (404, ..) => AskError::NoAdministration(self.url.clone()),
            _ => AskError::Stranger {
                url: self.url.clone(),
                status,
            },
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Bytes), ExchangeError> {
        let socket = socket_url::path_of(&self.url);
        let host = match &socket {
            Some(_) => "localhost",
            None => self.url.authority(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", socket_url::base_path(&self.url)))
            .header(HOST, host)
            .header(AUTHORIZATION, self.bearer.clone())
            .body(Empty::new())
            .map_err(io::Error::other)?;
        if let Some(path) = socket {
            return Ok(send(UnixStream::connect(path).await?, request).await?);
        }
        let no_host = || io::Error::from(io::ErrorKind::InvalidInput);
        let host = self.url.host_str().ok_or_else(no_host)?;
        let port = self.url.port_or_known_default().ok_or_else(no_host)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = timeout(CONNECT, TcpStream::connect((bare, port)))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if self.url.scheme() == "https" {
            let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
            let tls = TlsConnector::from(Arc::new(outbound::tls()?));
            let stream = tls.connect(name, stream).await?;
            Ok(send(stream, request).await?)
        } else {
            Ok(send(stream, request).await?)
        }
    }
}

enum ExchangeError {
    Io(io::Error),
    Tls(OutboundError),
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<OutboundError> for ExchangeError {
    fn from(error: OutboundError) -> Self {
        Self::Tls(error)
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // It ends with the sender; what breaks it is told by the exchange itself.
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(io::Error::other)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect();
    let body = body.await.map_err(io::Error::other)?.to_bytes();
    driver.abort();
    Ok((status, body))
}

/// What the configuration says of the listener, where the command line does not.
fn configured(
    options: &Listener,
    variables: &Variables,
    url: Option<Url>,
    key: Option<AdminKey>,
) -> Result<(Url, AdminKey), AskError> {
    // Warnings are for those who start it; a key that is not needed need not be there.
    let loaded = if key.is_some() {
        Config::load_for_explanation(&options.config, variables)
    } else {
        Config::load_for_administration(&options.config, variables)
    };
    let file = options.config.display().to_string();
    let admin = match loaded {
        Ok((config, _)) => config.admin.ok_or(AskError::NoListener(file.clone()))?,
        // What is wrong with it is for the process that runs to say, in its log and metrics too.
        Err(errors) => Config::listener_as_it_stands(&options.config, variables)
            .filter(|admin| key.is_some() || !admin.keys.is_empty())
            .ok_or(errors)?,
    };
    let key = key
        .or_else(|| admin.keys.into_first())
        .ok_or(AskError::NoKey(file.clone()))?;
    let url = match url {
        Some(url) => url,
        // This machine's own address, so what is sent there stays here.
        None => url_of(&reachable(&admin.listen)).ok_or(AskError::NoListener(file))?,
    };
    Ok((url, key))
}

fn url_of(listen: &Listen) -> Option<Url> {
    match listen {
        Listen::Tcp(address) => Url::parse(&format!("http://{address}")).ok(),
        Listen::Unix(path) => socket_url::of(path),
    }
}

/// The key of `--key-env` or `--key-file`; and `--url` must be one that a key may be sent to.
fn given_key(options: &Listener, variables: &Variables) -> Result<Option<AdminKey>, AskError> {
    if let Some(url) = &options.url
        && !is_https_or_loopback(url)
        && socket_url::path_of(url).is_none()
    {
        return Err(AskError::Insecure(url.clone()));
    }
    let text = match (&options.key_env, &options.key_file) {
        (Some(name), _) => match variables.get(name) {
            Some(text) => Zeroizing::new(text.clone()),
            None => return Err(AskError::NoVariable(name.clone())),
        },
        (None, Some(path)) => Zeroizing::new(
            fs::read_to_string(path).map_err(|error| AskError::NoFile(path.clone(), error))?,
        ),
        (None, None) => return Ok(None),
    };
    Ok(Some(AdminKey::new(text.trim_end_matches(['\r', '\n']))))
}
