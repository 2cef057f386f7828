//! `bff reload`: has the process that runs read its configuration again, and says what came of it.

use std::io;

use clap::Args;
use http::Method;
use serde_json::Value;

use crate::cli::admin_client::{AdminClient, AskError, Listener};
use crate::cli::{Exit, Terminal};
use crate::config::Variables;

#[derive(Debug, Args)]
pub(super) struct ReloadOptions {
    #[command(flatten)]
    listener: Listener,
}

/// Why the configuration is not in use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// It has faults, a line each.
    #[error("{0}\nall stays as it was")]
    Refused(String),
    #[error(transparent)]
    Ask(AskError),
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl From<AskError> for ReloadError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { code, detail } if code == "configuration_refused" => {
                Self::Refused(detail)
            }
            error => Self::Ask(error),
        }
    }
}

impl ReloadError {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Usage,
            Self::Ask(error) if error.is_usage() => Exit::Usage,
            Self::Ask(_) | Self::Output(_) => Exit::Failed,
        }
    }
}

/// Asks for it, and waits until no request is answered by the old configuration.
pub(super) fn reload(
    options: &ReloadOptions,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Result<(), ReloadError> {
    let client = AdminClient::new(&options.listener, variables)?;
    let answer = client.ask(Method::POST, "/reload")?;
    match names(&answer, "changed") {
        Some(changed) => writeln!(terminal.out, "in use as it stands now: {changed}")?,
        None => writeln!(
            terminal.out,
            "nothing has changed that can be taken into use"
        )?,
    }
    for of in ["sites", "tenants"] {
        let told = answer.get(of).and_then(|changes| changes.get("told"));
        if let Some(told) = told.and_then(Value::as_str) {
            writeln!(terminal.out, "{of}: {told}")?;
        }
    }
    if let Some(needs_restart) = names(&answer, "needs_restart") {
        writeln!(
            terminal.err,
            "warning: read at a start alone, restart to use them: {needs_restart}"
        )?;
    }
    Ok(())
}

/// The keys under this name; `None` where there are none.
fn names(answer: &Value, name: &str) -> Option<String> {
    let keys = answer.get(name)?.as_array()?;
    let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
    (!keys.is_empty()).then(|| keys.join(", "))
}
