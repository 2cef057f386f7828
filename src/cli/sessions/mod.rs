//! `bff sessions`: who is signed in, and how to end it, from a terminal.

mod at;
mod shown;

use std::io;
use std::num::NonZeroUsize;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::cli::admin_client::{AdminClient, AskError, Listener};
use crate::cli::{Exit, Terminal};
use crate::config::Variables;

use at::{At, AtSite};
use shown::{Shown, table, visible};

/// Sessions on a page: as many as there may be.
const PAGE: usize = 200;
/// Digits of an id: all, those that are shown, and those that must be given.
const ID: usize = 64;
const SHOWN: usize = 8;
const LEAST: usize = 4;

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// List sessions, by name
    #[command(after_help = "Example: who is signed in, and where is one user?\n  \
        bff sessions list\n  \
        bff sessions list --query ada --config /etc/bff/bff.toml\n  \
        bff sessions list --site shop --tenant acme\n  \
        bff sessions list --all --json | jq -r '.sessions[].subject'\n\n\
        Ids are shown by their first 8 digits, as the log shows them; all moments are in UTC")]
    List(ListOptions),
    /// Show all that is known of a session
    #[command(after_help = "Example: the session of a line in the log\n  \
        bff sessions show 13d28fed\n  \
        bff sessions show 13d28fed --json")]
    Show(ShowOptions),
    /// End sessions, on every node and with whatever is open there
    #[command(after_help = "Example: sign one browser out, or a user everywhere\n  \
        bff sessions revoke 13d28fed a220fe0c\n  \
        bff sessions revoke --subject f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n  \
        bff sessions revoke --site shop --tenant acme --all\n\n\
        Exit code 0: they are over; 1: one was not there or could not be ended")]
    Revoke(RevokeOptions),
}

#[derive(Debug, Args)]
pub(super) struct ListOptions {
    /// Only of this subject
    #[arg(long, value_name = "SUB", group = "filter")]
    subject: Option<String>,
    /// Only of this session at the provider
    #[arg(long, value_name = "SID", group = "filter")]
    sid: Option<String>,
    /// Only of users who signed in with this e-mail address
    #[arg(long, value_name = "ADDRESS", group = "filter")]
    email: Option<String>,
    /// Only of users of whose name a word begins so
    #[arg(long, value_name = "TEXT", group = "filter")]
    name: Option<String>,
    /// Only those with this subject, sid or e-mail address, or a name of which a word begins so
    #[arg(long, value_name = "TEXT", group = "filter")]
    query: Option<String>,
    #[command(flatten)]
    at: AtSite,
    /// Those used last first
    #[arg(long)]
    by_last_seen: bool,
    /// How many at most
    #[arg(long, value_name = "N", default_value = "50")]
    limit: NonZeroUsize,
    /// All, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// As JSON, with every member of the administration API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listener: Listener,
}

#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    /// Its id, or the beginning of it
    id: String,
    /// As JSON, with every member of the administration API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listener: Listener,
}

#[derive(Debug, Args)]
pub(super) struct RevokeOptions {
    /// Their ids, or the beginnings of them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All sessions of this subject instead
    #[arg(long, value_name = "SUB", conflicts_with = "ids")]
    subject: Option<String>,
    #[command(flatten)]
    at: AtSite,
    /// All sessions of that site or tenant
    #[arg(long, requires = "site", conflicts_with_all = ["ids", "subject"])]
    all: bool,
    #[command(flatten)]
    listener: Listener,
}

/// Why a command about sessions did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Nobody's session was named.
    #[error(
        "name the sessions to end: their ids, as `bff sessions list` shows them, or all of a user with --subject SUB"
    )]
    Nobody,
    /// A site was named, and nobody at it.
    #[error(
        "to end every session there add --all; to end those of one user there add --subject SUB"
    )]
    Everybody,
    /// The tenant is named twice.
    #[error("--site {0} names a tenant already; leave --tenant out")]
    TwoTenants(String),
    /// The site or the tenant is none that is served, and nothing of it is in the store.
    #[error("{0}")]
    NoSite(String),
    /// The id is none.
    #[error("{0:?} is no id of a session; write at least {LEAST} of its hexadecimal digits")]
    NotAnId(String),
    /// The beginning of an id is that of several.
    #[error("{id} is the beginning of {count} ids; write more of it")]
    Ambiguous { id: String, count: usize },
    /// There is none.
    #[error("no session has the id {0}, or it has ended")]
    Unknown(String),
    /// Some were ended and some were not; what, was told already.
    #[error("not all could be ended")]
    Incomplete,
    /// What came is no session.
    #[error("the administration listener answers in a way that this bff does not understand")]
    Unreadable(#[from] serde_json::Error),
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl SessionsError {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Ask(error) if error.is_usage() => Exit::Usage,
            Self::Nobody
            | Self::Everybody
            | Self::TwoTenants(_)
            | Self::NotAnId(_)
            | Self::Ambiguous { .. } => Exit::Usage,
            Self::Ask(_)
            | Self::NoSite(_)
            | Self::Unknown(_)
            | Self::Incomplete
            | Self::Unreadable(_)
            | Self::Output(_) => Exit::Failed,
        }
    }
}

/// Does what `command` asks.
pub(super) fn sessions(
    command: &SessionsCommand,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Result<(), SessionsError> {
    match command {
        SessionsCommand::List(options) => list(
            &AdminClient::new(&options.listener, variables)?,
            options,
            terminal,
        ),
        SessionsCommand::Show(options) => show(
            &AdminClient::new(&options.listener, variables)?,
            options,
            terminal,
        ),
        SessionsCommand::Revoke(options) => {
            options.judge()?;
            let client = AdminClient::new(&options.listener, variables)?;
            revoke(&client, options, terminal)
        }
    }
}

fn list(
    client: &AdminClient,
    options: &ListOptions,
    terminal: &mut Terminal<'_>,
) -> Result<(), SessionsError> {
    let filter = [
        ("subject", &options.subject),
        ("sid", &options.sid),
        ("email", &options.email),
        ("name", &options.name),
        ("q", &options.query),
    ];
    let filter = filter
        .into_iter()
        .find_map(|(name, value)| Some((name, value.as_deref()?)));
    let most = if options.all {
        usize::MAX
    } else {
        options.limit.get()
    };
    let sort = options.by_last_seen.then_some(("sort", "last_seen"));
    let at = options.at.meant()?;
    let site = at.into_iter().flat_map(At::parameters);
    let asked: Vec<_> = filter.into_iter().chain(site).chain(sort).collect();
    let (sessions, next) = gather(client, &asked, most)?;
    if sessions.is_empty()
        && let Some(at) = at
        && let Some(absence) = at.absence(client)?
    {
        writeln!(terminal.err, "{absence}")?;
    }
    if options.json {
        let all = json!({ "sessions": sessions, "next": next });
        writeln!(terminal.out, "{all:#}")?;
        return Ok(());
    }
    let sessions: Vec<Shown> = serde_json::from_value(Value::Array(sessions))?;
    if sessions.is_empty() {
        let is_narrowed = filter.is_some() || at.is_some();
        let nobody = if is_narrowed {
            "no session is like that"
        } else {
            "nobody is signed in"
        };
        writeln!(terminal.out, "{nobody}")?;
        return Ok(());
    }
    table(&sessions, terminal.out)?;
    if next.is_some() {
        writeln!(terminal.err, "there are more; --all lists them")?;
    }
    Ok(())
}

/// As many sessions as asked for, page by page, and whether there are more.
fn gather(
    client: &AdminClient,
    asked: &[(&str, &str)],
    most: usize,
) -> Result<(Vec<Value>, Option<String>), SessionsError> {
    let mut sessions = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(asked);
        let limit = (most - sessions.len()).clamp(1, PAGE);
        query.append_pair("limit", &limit.to_string());
        query.extend_pairs(next.as_ref().map(|cursor| ("cursor", cursor)));
        let path = format!("/api/sessions?{}", query.finish());
        let mut page = client.ask(Method::GET, &path)?;
        if let Some(Value::Array(more)) = page.get_mut("sessions").map(Value::take) {
            sessions.extend(more);
        }
        next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if next.is_none() || sessions.len() >= most {
            return Ok((sessions, next));
        }
    }
}

fn show(
    client: &AdminClient,
    options: &ShowOptions,
    terminal: &mut Terminal<'_>,
) -> Result<(), SessionsError> {
    let id = resolve(client, &options.id)?;
    let asked = client.ask(Method::GET, &format!("/api/sessions/{id}"));
    let value = asked.map_err(|error| unknown(error, &options.id))?;
    if options.json {
        writeln!(terminal.out, "{value:#}")?;
        return Ok(());
    }
    let shown: Shown = serde_json::from_value(value)?;
    shown.write(terminal.out)?;
    Ok(())
}

fn revoke(
    client: &AdminClient,
    options: &RevokeOptions,
    terminal: &mut Terminal<'_>,
) -> Result<(), SessionsError> {
    if options.ids.is_empty() {
        return revoke_all(client, options, terminal);
    }
    // All are looked at first: a slip in the last one ends none.
    let ids = options.ids.iter().map(|id| resolve(client, id));
    let ids = ids.collect::<Result<Vec<String>, _>>()?;
    let mut all = true;
    for id in &ids {
        let short = id.get(..SHOWN).unwrap_or(id);
        match client.ask(Method::DELETE, &format!("/api/sessions/{id}")) {
            Ok(_) => writeln!(terminal.out, "ended {short}")?,
            Err(error) if ids.len() == 1 => return Err(unknown(error, id)),
            Err(AskError::Refused { detail, .. }) => {
                all = false;
                writeln!(terminal.err, "{short}: {}", visible(&detail))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if all {
        Ok(())
    } else {
        Err(SessionsError::Incomplete)
    }
}

impl RevokeOptions {
    /// Whether it says whose sessions are meant: a site by itself might be an id forgotten.
    const fn judge(&self) -> Result<(), SessionsError> {
        match (&self.subject, &self.at.site) {
            (None, Some(_)) if !self.all => Err(SessionsError::Everybody),
            (None, None) if self.ids.is_empty() => Err(SessionsError::Nobody),
            _ => Ok(()),
        }
    }
}

/// All of a subject, of a site or of a tenant.
fn revoke_all(
    client: &AdminClient,
    options: &RevokeOptions,
    terminal: &mut Terminal<'_>,
) -> Result<(), SessionsError> {
    let subject = options.subject.as_deref();
    let at = options.at.meant()?;
    let mut query = Serializer::new(String::new());
    query.extend_pairs(subject.map(|subject| ("subject", subject)));
    query.extend_pairs(at.into_iter().flat_map(At::parameters));
    let path = format!("/api/sessions?{}", query.finish());
    let answer = client.ask(Method::DELETE, &path)?;
    let ended = answer.get("ended").and_then(Value::as_u64);
    let ended = ended.unwrap_or_default();
    if ended == 0
        && let Some(at) = at
        && let Some(absence) = at.absence(client)?
    {
        return Err(SessionsError::NoSite(absence));
    }
    let sessions = if ended == 1 { "session" } else { "sessions" };
    write!(terminal.out, "ended {ended} {sessions}")?;
    if let Some(subject) = subject {
        write!(terminal.out, " of {}", visible(subject))?;
    }
    if let Some(at) = at {
        write!(terminal.out, " at {}", at.shown())?;
    }
    writeln!(terminal.out)?;
    Ok(())
}

/// The whole id that `given` is the beginning of.
fn resolve(client: &AdminClient, given: &str) -> Result<String, SessionsError> {
    let id = given.trim_end_matches('…').to_ascii_lowercase();
    let is_hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(LEAST..=ID).contains(&id.len()) {
        return Err(SessionsError::NotAnId(given.to_owned()));
    }
    if id.len() == ID {
        return Ok(id);
    }
    let (sessions, _) = gather(client, &[], usize::MAX)?;
    let ids = sessions
        .iter()
        .filter_map(|session| session.get("id")?.as_str());
    let mut found: Vec<&str> = ids.filter(|whole| whole.starts_with(&id)).collect();
    match (found.pop(), found.len()) {
        (Some(whole), 0) => Ok(whole.to_owned()),
        (Some(_), others) => Err(SessionsError::Ambiguous {
            id,
            count: others + 1,
        }),
        (None, _) => Err(SessionsError::Unknown(id)),
    }
}

fn unknown(error: AskError, id: &str) -> SessionsError {
    match error {
        AskError::Refused { code, .. } if code == "no_such_session" => {
            SessionsError::Unknown(id.to_owned())
        }
        other => other.into(),
    }
}
