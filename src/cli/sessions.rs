//! `bff sessions`: who is signed in, and how to end it, from a terminal.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::cli::admin_client::{AdminClient, AskError, Listener};
use crate::cli::{Exit, Terminal};
use crate::config::Variables;

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
        bff sessions revoke --subject f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n\n\
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
            Self::Nobody | Self::NotAnId(_) | Self::Ambiguous { .. } => Exit::Usage,
            Self::Ask(_)
            | Self::Unknown(_)
            | Self::Incomplete
            | Self::Unreadable(_)
            | Self::Output(_) => Exit::Failed,
        }
    }
}

/// What the API tells of a session.
#[derive(Debug, Deserialize)]
struct Shown {
    id: String,
    tag: Option<String>,
    subject: String,
    name: String,
    provider_sid: Option<String>,
    created_at: String,
    last_seen: String,
    expires_at: String,
    ends_at: String,
    #[serde(default)]
    client: Option<String>,
    browser: Option<String>,
    user_agent: Option<String>,
    token_expires_at: Option<String>,
    acr: Option<String>,
    amr: Vec<String>,
    readable: bool,
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
        SessionsCommand::Revoke(options) if options.ids.is_empty() && options.subject.is_none() => {
            Err(SessionsError::Nobody)
        }
        SessionsCommand::Revoke(options) => revoke(
            &AdminClient::new(&options.listener, variables)?,
            options,
            terminal,
        ),
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
    let asked: Vec<_> = filter.into_iter().chain(sort).collect();
    let (sessions, next) = gather(client, &asked, most)?;
    if options.json {
        let all = json!({ "sessions": sessions, "next": next });
        writeln!(terminal.out, "{all:#}")?;
        return Ok(());
    }
    let sessions: Vec<Shown> = serde_json::from_value(Value::Array(sessions))?;
    if sessions.is_empty() {
        let nobody = filter.map_or("nobody is signed in", |_| "no session is like that");
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
    writeln!(terminal.out, "{}", visible(&shown.name))?;
    let amr = (!shown.amr.is_empty()).then(|| shown.amr.join(" "));
    let at = |moment: &str| Some(format!("{} UTC", plain(moment)));
    for (word, fact) in [
        ("id", Some(shown.id)),
        ("tag", shown.tag),
        ("subject", Some(shown.subject)),
        ("provider sid", shown.provider_sid),
        ("signed in", at(&shown.created_at)),
        ("last seen", at(&shown.last_seen)),
        ("expires", at(&shown.expires_at)),
        ("ends", at(&shown.ends_at)),
        (
            "token until",
            shown.token_expires_at.as_deref().and_then(at),
        ),
        ("client", shown.client),
        ("browser", shown.browser),
        ("user agent", shown.user_agent),
        ("acr", shown.acr),
        ("amr", amr),
    ] {
        if let Some(fact) = fact {
            writeln!(terminal.out, "  {word:<14}{}", visible(&fact))?;
        }
    }
    if !shown.readable {
        let why = "no key in session.keys opens the record; its user has to sign in again";
        writeln!(terminal.out, "  {:<14}{why}", "unreadable")?;
    }
    Ok(())
}

fn revoke(
    client: &AdminClient,
    options: &RevokeOptions,
    terminal: &mut Terminal<'_>,
) -> Result<(), SessionsError> {
    if let Some(subject) = &options.subject {
        let mut query = Serializer::new(String::new());
        query.append_pair("subject", subject);
        let path = format!("/api/sessions?{}", query.finish());
        let answer = client.ask(Method::DELETE, &path)?;
        let ended = answer.get("ended").and_then(Value::as_u64);
        let ended = ended.unwrap_or_default();
        let sessions = if ended == 1 { "session" } else { "sessions" };
        writeln!(
            terminal.out,
            "ended {ended} {sessions} of {}",
            visible(subject)
        )?;
        return Ok(());
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

fn table(sessions: &[Shown], out: &mut dyn Write) -> io::Result<()> {
    let titles = [
        "ID",
        "NAME",
        "SUBJECT",
        "BROWSER",
        "CLIENT",
        "SIGNED IN",
        "LAST SEEN",
        "EXPIRES",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(sessions.iter().map(|shown| {
        let browser = match (&shown.browser, shown.readable) {
            (_, false) => "unreadable",
            (Some(browser), true) => browser,
            (None, true) => "unknown",
        };
        [
            shown.id.get(..SHOWN).unwrap_or(&shown.id).to_owned(),
            shortened(&visible(&shown.name)),
            visible(&shown.subject),
            shortened(&visible(browser)),
            visible(shown.client.as_deref().unwrap_or("unknown")),
            plain(&shown.created_at),
            plain(&shown.last_seen),
            plain(&shown.expires_at),
        ]
    }));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// `2026-11-21T09:00:00Z` as people write it.
fn plain(moment: &str) -> String {
    visible(&moment.replace('T', " ").replace('Z', ""))
}

fn shortened(text: &str) -> String {
    const WIDEST: usize = 30;
    if text.chars().count() <= WIDEST {
        return text.to_owned();
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

/// Text of strangers for a terminal: what would move the cursor, change colours or turn the rest
/// around is made visible.
fn visible(text: &str) -> String {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.replace(unseen, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user who calls themselves an escape sequence commands nobody's terminal.
    #[test]
    fn names_of_strangers_are_only_text() {
        let hostile = "\u{1b}[2J\u{202e}moc.live\nadmin\u{7f}";
        let shown = visible(hostile);
        assert_eq!(shown, "\u{fffd}[2J\u{fffd}moc.live\u{fffd}admin\u{fffd}");
    }
}
