//! The command line: what is asked for, where the answer goes, and the exit code.
//!
//! Serving itself is `app`'s work.

mod admin_client;
mod check;
#[cfg(feature = "dev")]
mod dev;
mod explain;
mod keygen;
mod largest_head;
mod online;
mod reload;
mod sessions;
mod terminal;

use std::ffi::OsString;
use std::io;
#[cfg(feature = "dev")]
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::{self, StartError};
use crate::config::{self, Config, ConfigErrors, Reload, Variables, Warnings};

use terminal::Printable;
pub use terminal::Terminal;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: it was understood, and it failed.
    Failed,
    /// 2: the command line or the configuration is at fault.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        })
    }
}

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Start(#[from] StartError),
    #[cfg(feature = "dev")]
    #[error(transparent)]
    Dev(#[from] dev::PortTaken),
    #[error(transparent)]
    Explain(#[from] explain::ExplainError),
    #[error(transparent)]
    Check(#[from] check::CheckError),
    #[error(transparent)]
    Keygen(#[from] keygen::KeygenError),
    #[error(transparent)]
    Sessions(#[from] sessions::SessionsError),
    #[error(transparent)]
    Reload(#[from] reload::ReloadError),
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl CommandError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Start(_)
            | Self::Explain(_)
            | Self::Keygen(keygen::KeygenError::Config(_)) => Exit::Usage,
            #[cfg(feature = "dev")]
            Self::Dev(_) => Exit::Usage,
            Self::Check(error) => error.exit(),
            Self::Sessions(error) => error.exit(),
            Self::Reload(error) => error.exit(),
            Self::Keygen(keygen::KeygenError::Output(_)) | Self::Output(_) => Exit::Failed,
        }
    }
}

/// A backend for frontend: signs people in, keeps their tokens, and forwards the browser's calls
/// to your APIs with them.
#[derive(Debug, Parser)]
#[command(
    name = "bff",
    version,
    max_term_width = 100,
    after_help = "Example: try it, then run it\n  \
        bff dev                            # everything on http://localhost:8080, nothing to set up\n  \
        export BFF_SESSION_KEY=$(bff keygen)\n  \
        bff check --config bff.toml && bff serve --config bff.toml"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as bff.toml says
    #[command(
        after_help = "Example: behind https, with secrets from the environment\n  \
        export BFF_CLIENT_SECRET=… BFF_SESSION_KEY=$(bff keygen)\n  \
        bff serve --config /etc/bff/bff.toml\n\n\
        Any key can be overridden: BFF_SERVER__LISTEN=0.0.0.0:8443 bff serve"
    )]
    Serve(ConfigFile),
    /// Judge bff.toml and all that it names, without serving
    #[command(
        after_help = "Example: in a pipeline, and as a container's health check\n  \
        bff check --config bff.toml --online\n  \
        HEALTHCHECK CMD [\"/bff\", \"check\", \"--live\"]\n\n\
        Exit code 0: fine, perhaps with warnings; 1: not reachable; 2: the configuration is at fault"
    )]
    Check(CheckOptions),
    /// Try everything here: with a development provider, a demo app and a demo API
    #[cfg(feature = "dev")]
    #[command(after_help = "Example: the demo, and signing in from a script\n  \
        bff dev                            # or another port: bff dev --port 3000\n  \
        curl -sL -c jar -b jar 'http://localhost:8080/bff/login?login_hint=alice' -o /dev/null\n\n\
        Without --config it reads ./bff.toml if there is one")]
    Dev(DevOptions),
    /// Print a fresh key for session.keys
    #[command(
        after_help = "Example: make a key, and later a newer one before it\n  \
        bff keygen > /run/secrets/session_key\n  \
        keys = [\"file:/run/secrets/session_key\"]\n  \
        bff keygen --rotate                # a new one, and what to do with it; edits nothing"
    )]
    Keygen(KeygenOptions),
    /// Say who is signed in, and end sessions
    #[command(
        subcommand,
        after_help = "Example: find a user and sign them out\n  \
        bff sessions list --query ada\n  \
        bff sessions revoke 13d28fed\n\n\
        Asks the administration listener: server.admin_listen, with server.admin_key"
    )]
    Sessions(sessions::SessionsCommand),
    /// Have the process that runs read its configuration again
    #[command(after_help = "Example: change a route, and take it into use\n  \
        bff check --config bff.toml && bff reload --config bff.toml\n\n\
        Asks the administration listener: server.admin_listen, with server.admin_key. Exit code 0: it is\n\
        in use, and no request is answered by the old one any more; 2: it has faults, and all stays as it was")]
    Reload(reload::ReloadOptions),
    /// Bring the schema of the session store up to date
    #[command(
        after_help = "Example: as a step of a deployment, where migrate = false stands in bff.toml\n  \
        bff migrate --config bff.toml && systemctl restart bff\n\n\
        Safe beside nodes that serve, and for several at once; done already, it does nothing"
    )]
    Migrate(ConfigFile),
    /// Print the JSON Schema of bff.toml
    #[command(after_help = "Example: let an editor complete and check bff.toml\n  \
        bff schema > bff.schema.json\n  \
        sed -i '1i #:schema ./bff.schema.json' bff.toml\n  \
        bff schema --site > sites/site.schema.json")]
    Schema(SchemaOptions),
    /// Say what becomes of a call: its route, its token, its headers
    #[command(
        after_help = "Example: where does this call go, and what must it carry?\n  \
        bff explain GET /api/orders/7\n  \
        bff explain GET /api/orders -H 'X-User-Timezone: Europe/Berlin' -H X-User\n  \
        bff explain POST https://app.example.com/api/orders --config /etc/bff/bff.toml"
    )]
    Explain(ExplainOptions),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "bff.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct SchemaOptions {
    /// That of the files of sites, in the folder that server.sites names
    #[arg(long)]
    site: bool,
}

#[derive(Debug, Args)]
struct CheckOptions {
    #[command(flatten)]
    file: ConfigFile,
    /// Ask provider, store and upstreams too, and judge the certificate
    #[arg(long)]
    online: bool,
    /// Ask the instance that runs with this configuration whether it answers
    #[arg(long, conflicts_with = "online")]
    live: bool,
}

#[derive(Debug, Args)]
struct KeygenOptions {
    /// Say too how to put it in the place of the one in use; changes nothing
    #[arg(long)]
    rotate: bool,
    /// The configuration, for --rotate
    #[arg(long, value_name = "FILE", default_value = "bff.toml")]
    config: PathBuf,
}

#[cfg(feature = "dev")]
#[derive(Debug, Args)]
struct DevOptions {
    /// The configuration; its provider is replaced by the development provider
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve on this port of localhost, whatever the configuration says
    #[arg(long)]
    port: Option<NonZeroU16>,
}

#[derive(Debug, Args)]
struct ExplainOptions {
    /// The method of the call
    method: String,
    /// Its path, or its whole address
    path: String,
    /// A header of it, with a value or without; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// Does what `arguments` ask, the program's name first.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Exit {
    let terminal = &mut Terminal {
        out: &mut Printable(terminal.out),
        err: &mut Printable(terminal.err),
    };
    let command = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line.command,
        Err(asked) => {
            // `--help` and `--version` come here too, and are no fault.
            let (to, exit) = if asked.use_stderr() {
                (&mut *terminal.err, Exit::Usage)
            } else {
                (&mut *terminal.out, Exit::Done)
            };
            return match write!(to, "{}", asked.render()) {
                Ok(()) => exit,
                Err(_) => Exit::Failed,
            };
        }
    };
    match perform(command, variables, terminal) {
        Ok(()) => Exit::Done,
        // Whoever read has read enough, as `head` has.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            // A terminal that is gone cannot be told so.
            drop(writeln!(terminal.err, "{}", sentence(&error)));
            error.exit()
        }
    }
}

fn perform(
    command: Command,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Result<(), CommandError> {
    match command {
        Command::Serve(file) => {
            // First: what changes before it is read is then a change, not missed.
            let reload = Reload::new(file.config.clone(), variables.clone());
            let (config, warnings) = Config::load(&file.config, variables)?;
            app::serve(config, &warnings, reload, variables)?;
        }
        Command::Check(options) => check::check(&options, variables, terminal)?,
        #[cfg(feature = "dev")]
        Command::Dev(options) => {
            dev::dev(options, variables, terminal)?;
        }
        Command::Keygen(options) => keygen::keygen(&options, variables, terminal)?,
        Command::Migrate(file) => {
            let store = app::migrate(&load(&file, variables, terminal)?)?;
            let said = match store {
                "memory" | "cookie" => "has no schema",
                _ => "has a schema that is up to date",
            };
            writeln!(terminal.out, "session.store = \"{store}\" {said}")?;
        }
        Command::Sessions(command) => sessions::sessions(&command, variables, terminal)?,
        Command::Reload(options) => reload::reload(&options, variables, terminal)?,
        Command::Schema(options) => {
            let schema = if options.site {
                config::schema_of_site()
            } else {
                config::schema()
            };
            writeln!(terminal.out, "{schema:#}")?;
        }
        Command::Explain(options) => {
            // Warnings are for those who start it.
            let (config, _) = Config::load_for_explanation(&options.file.config, variables)?;
            let call = explain::Call::parse(&options.method, &options.path, &options.headers)?;
            let explanation = explain::explain(config, &call)?;
            write!(terminal.out, "{explanation}")?;
        }
    }
    Ok(())
}

fn load(
    file: &ConfigFile,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Result<Config, CommandError> {
    let (config, warnings) = Config::load(&file.config, variables)?;
    warn(&warnings, terminal)?;
    Ok(config)
}

fn warn(warnings: &Warnings, terminal: &mut Terminal<'_>) -> io::Result<()> {
    for warning in warnings.to_string().lines() {
        writeln!(terminal.err, "warning: {warning}")?;
    }
    Ok(())
}

/// An error with its causes, as one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause in their own words.
        if !sentence.ends_with(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests;
