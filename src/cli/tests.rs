//! What each command prints and which exit code it ends with.

use std::fs;
use std::io::{Read as _, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use clap::CommandFactory as _;
use insta::assert_snapshot;
use tempfile::TempDir;

use super::*;
use crate::app::RunningApp;
use crate::secret::SessionKey;

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
public_url = "https://app.example.com"

[provider]
issuer = "http://localhost:1"
client_id = "app"
client_secret = "env:SECRET"

[session]
keys = ["env:KEY"]

[[route]]
path = "/api"
upstream = ["http://a:1/base", "http://b:2"]
strip_prefix = true
request_headers = { set = { X-Team = "orders", X-Api-Key = "hush" }, remove = ["Accept-Language"] }

[[route]]
path = "/files"
upstream = "http://a:1"
csrf = "origin"
methods = ["GET"]

[[route]]
path = "/pages"
upstream = "http://a:1"
csrf = "origin"
set_cookie = "keep"
activity = false

[frontend]
upstream = "http://localhost:5173"
"#;

/// A folder with a configuration in it.
struct Folder(TempDir);

impl Folder {
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bff.toml"), config).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `bff` with `arguments` and this configuration: its exit, what it printed, what it
    /// complained of, with the folder's name taken out.
    fn run(&self, arguments: &str) -> (Exit, String, String) {
        let file = self.path().join("bff.toml").display().to_string();
        let arguments = format!("bff {arguments} --config {file}");
        let (exit, out, err) = run_alone(&arguments);
        let folder = format!("{}/", self.path().display());
        (exit, out.replace(&folder, ""), err.replace(&folder, ""))
    }

    /// What `bff serve` says when it cannot start, and how it ends. Not through `run`, since the
    /// log of a process can be set up once only.
    fn start_fault(&self) -> (Exit, String) {
        let (config, _) = Config::load(&self.path().join("bff.toml"), &variables()).unwrap();
        let environment = app::Environment::system(None);
        let error = CommandError::from(RunningApp::start(config, environment).unwrap_err());
        let folder = format!("{}/", self.path().display());
        (error.exit(), sentence(&error).replace(&folder, ""))
    }
}

fn variables() -> Variables {
    [
        ("SECRET", "s3cret"),
        ("KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn run_alone(arguments: &str) -> (Exit, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
    };
    let arguments = arguments.split(' ').map(OsString::from);
    let exit = run(arguments, &variables(), &mut terminal);
    (
        exit,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

fn help(arguments: &[&str]) -> String {
    let asked = CommandLine::command()
        .term_width(100)
        .try_get_matches_from(["bff"].iter().chain(arguments).chain(&["--help"]))
        .unwrap_err();
    asked.render().to_string()
}

#[test]
fn every_help_ends_with_a_worked_example() {
    let shows_one = |words: &[&str]| {
        let help = help(words);
        let (_, example) = help.split_once("Example: ").unwrap_or_default();
        assert!(example.contains("\n  "), "{words:?}: {help}");
    };
    for command in CommandLine::command().get_subcommands() {
        shows_one(&[command.get_name()]);
        for part in command.get_subcommands() {
            shows_one(&[command.get_name(), part.get_name()]);
        }
    }
}

#[cfg(feature = "dev")]
#[test]
fn the_help_names_every_command() {
    assert_snapshot!(help(&[]), @r"
    A backend for frontend: signs people in, keeps their tokens, and forwards the browser's calls to
    your APIs with them

    Usage: bff <COMMAND>

    Commands:
      serve     Serve as bff.toml says
      check     Judge bff.toml and all that it names, without serving
      dev       Try everything here: with a development provider, a demo app and a demo API
      keygen    Print a fresh key for session.keys
      sessions  Say who is signed in, and end sessions
      reload    Have the process that runs read its configuration again
      migrate   Bring the schema of the session store up to date
      schema    Print the JSON Schema of bff.toml
      explain   Say what becomes of a call: its route, its token, its headers
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Example: try it, then run it
      bff dev                            # everything on http://localhost:8080, nothing to set up
      export BFF_SESSION_KEY=$(bff keygen)
      bff check --config bff.toml && bff serve --config bff.toml
    ");
}

#[test]
fn the_help_of_serve() {
    assert_snapshot!(help(&["serve"]), @r#"
    Serve as bff.toml says

    Usage: bff serve [OPTIONS]

    Options:
          --config <FILE>  The configuration [default: bff.toml]
      -h, --help           Print help

    Example: behind https, with secrets from the environment
      export BFF_CLIENT_SECRET=… BFF_SESSION_KEY=$(bff keygen)
      bff serve --config /etc/bff/bff.toml

    Any key can be overridden: BFF_SERVER__LISTEN=0.0.0.0:8443 bff serve
    "#);
}

#[test]
fn the_help_of_check() {
    assert_snapshot!(help(&["check"]), @r#"
    Judge bff.toml and all that it names, without serving

    Usage: bff check [OPTIONS]

    Options:
          --config <FILE>  The configuration [default: bff.toml]
          --online         Ask provider, store and upstreams too, and judge the certificate
          --live           Ask the instance that runs with this configuration whether it answers
      -h, --help           Print help

    Example: in a pipeline, and as a container's health check
      bff check --config bff.toml --online
      HEALTHCHECK CMD ["/bff", "check", "--live"]

    Exit code 0: fine, perhaps with warnings; 1: not reachable; 2: the configuration is at fault
    "#);
}

#[test]
fn the_help_of_migrate() {
    assert_snapshot!(help(&["migrate"]), @r"
    Bring the schema of the session store up to date

    Usage: bff migrate [OPTIONS]

    Options:
          --config <FILE>  The configuration [default: bff.toml]
      -h, --help           Print help

    Example: as a step of a deployment, where migrate = false stands in bff.toml
      bff migrate --config bff.toml && systemctl restart bff

    Safe beside nodes that serve, and for several at once; done already, it does nothing
    ");
}

#[cfg(feature = "dev")]
#[test]
fn the_help_of_dev() {
    assert_snapshot!(help(&["dev"]), @r#"
    Try everything here: with a development provider, a demo app and a demo API

    Usage: bff dev [OPTIONS]

    Options:
          --config <FILE>  The configuration; its provider is replaced by the development provider
          --port <PORT>    Serve on this port of localhost, whatever the configuration says
      -h, --help           Print help

    Example: the demo, and signing in from a script
      bff dev                            # or another port: bff dev --port 3000
      curl -sL -c jar -b jar 'http://localhost:8080/bff/login?login_hint=alice' -o /dev/null

    Without --config it reads ./bff.toml if there is one
    "#);
}

#[test]
fn the_help_of_keygen() {
    assert_snapshot!(help(&["keygen"]), @r#"
    Print a fresh key for session.keys

    Usage: bff keygen [OPTIONS]

    Options:
          --rotate         Say too how to put it in the place of the one in use; changes nothing
          --config <FILE>  The configuration, for --rotate [default: bff.toml]
      -h, --help           Print help

    Example: make a key, and later a newer one before it
      bff keygen > /run/secrets/session_key
      keys = ["file:/run/secrets/session_key"]
      bff keygen --rotate                # a new one, and what to do with it; edits nothing
    "#);
}

#[test]
fn the_help_of_sessions() {
    assert_snapshot!(help(&["sessions"]), @r"
    Say who is signed in, and end sessions

    Usage: bff sessions <COMMAND>

    Commands:
      list    List sessions, by name
      show    Show all that is known of a session
      revoke  End sessions, on every node and with whatever is open there
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    Example: find a user and sign them out
      bff sessions list --query ada
      bff sessions revoke 13d28fed

    Asks the administration listener: server.admin_listen, with server.admin_key
    ");
}

#[test]
fn the_help_of_sessions_list() {
    assert_snapshot!(help(&["sessions", "list"]), @r#"
    List sessions, by name

    Usage: bff sessions list [OPTIONS]

    Options:
          --subject <SUB>    Only of this subject
          --sid <SID>        Only of this session at the provider
          --email <ADDRESS>  Only of users who signed in with this e-mail address
          --name <TEXT>      Only of users of whose name a word begins so
          --query <TEXT>     Only those with this subject, sid or e-mail address, or a name of which a
                             word begins so
          --site <SITE>      Only at this site, with all its tenants; "" is that of bff.toml itself
          --tenant <TENANT>  Only of this tenant of it
          --by-last-seen     Those used last first
          --limit <N>        How many at most [default: 50]
          --all              All, however many
          --json             As JSON, with every member of the administration API
          --config <FILE>    The configuration, for its address and key [default: bff.toml]
          --url <URL>        The administration listener, in place of the configuration's
          --key-env <NAME>   The environment variable with the key, in place of the configuration's
          --key-file <FILE>  The file with the key, in place of the configuration's
      -h, --help             Print help

    Example: who is signed in, and where is one user?
      bff sessions list
      bff sessions list --query ada --config /etc/bff/bff.toml
      bff sessions list --site shop --tenant acme
      bff sessions list --all --json | jq -r '.sessions[].subject'

    Ids are shown by their first 8 digits, as the log shows them; all moments are in UTC
    "#);
}

#[test]
fn the_help_of_sessions_show() {
    assert_snapshot!(help(&["sessions", "show"]), @r"
    Show all that is known of a session

    Usage: bff sessions show [OPTIONS] <ID>

    Arguments:
      <ID>  Its id, or the beginning of it

    Options:
          --json             As JSON, with every member of the administration API
          --config <FILE>    The configuration, for its address and key [default: bff.toml]
          --url <URL>        The administration listener, in place of the configuration's
          --key-env <NAME>   The environment variable with the key, in place of the configuration's
          --key-file <FILE>  The file with the key, in place of the configuration's
      -h, --help             Print help

    Example: the session of a line in the log
      bff sessions show 13d28fed
      bff sessions show 13d28fed --json
    ");
}

#[test]
fn the_help_of_sessions_revoke() {
    assert_snapshot!(help(&["sessions", "revoke"]), @r#"
    End sessions, on every node and with whatever is open there

    Usage: bff sessions revoke [OPTIONS] [ID]...

    Arguments:
      [ID]...  Their ids, or the beginnings of them

    Options:
          --subject <SUB>    All sessions of this subject instead
          --site <SITE>      Only at this site, with all its tenants; "" is that of bff.toml itself
          --tenant <TENANT>  Only of this tenant of it
          --all              All sessions of that site or tenant
          --config <FILE>    The configuration, for its address and key [default: bff.toml]
          --url <URL>        The administration listener, in place of the configuration's
          --key-env <NAME>   The environment variable with the key, in place of the configuration's
          --key-file <FILE>  The file with the key, in place of the configuration's
      -h, --help             Print help

    Example: sign one browser out, or a user everywhere
      bff sessions revoke 13d28fed a220fe0c
      bff sessions revoke --subject f81d4fae-7dec-11d0-a765-00a0c91e6bf6
      bff sessions revoke --site shop --tenant acme --all

    Exit code 0: they are over; 1: one was not there or could not be ended
    "#);
}

#[test]
fn the_help_of_schema() {
    assert_snapshot!(help(&["schema"]), @r#"
    Print the JSON Schema of bff.toml

    Usage: bff schema [OPTIONS]

    Options:
          --site  That of the files of sites, in the folder that server.sites names
      -h, --help  Print help

    Example: let an editor complete and check bff.toml
      bff schema > bff.schema.json
      sed -i '1i #:schema ./bff.schema.json' bff.toml
      bff schema --site > sites/site.schema.json
    "#);
}

#[test]
fn the_help_of_explain() {
    assert_snapshot!(help(&["explain"]), @r#"
    Say what becomes of a call: its route, its token, its headers

    Usage: bff explain [OPTIONS] <METHOD> <PATH>

    Arguments:
      <METHOD>  The method of the call
      <PATH>    Its path, or its whole address

    Options:
      -H, --header <NAME: VALUE>  A header of it, with a value or without; may be repeated
          --config <FILE>         The configuration [default: bff.toml]
      -h, --help                  Print help

    Example: where does this call go, and what must it carry?
      bff explain GET /api/orders/7
      bff explain GET /api/orders -H 'X-User-Timezone: Europe/Berlin' -H X-User
      bff explain POST https://app.example.com/api/orders --config /etc/bff/bff.toml
    "#);
}

#[test]
fn help_is_printed_and_a_wrong_command_line_is_not() {
    let (exit, out, err) = run_alone("bff --help");
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert!(out.contains("Usage: bff <COMMAND>"));
    let (exit, out, err) = run_alone("bff serv");
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert!(err.contains("unrecognized subcommand"), "{err}");
}

#[test]
fn keygen_prints_a_key_and_nothing_else() {
    let (exit, out, err) = run_alone("bff keygen");
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_eq!(out.lines().count(), 1);
    assert!(SessionKey::parse(&out).is_some());
    assert_ne!(run_alone("bff keygen").1, out);
}

/// What `keygen --rotate` says to do, with the key taken out.
fn rotation(session: &str) -> String {
    let config = CONFIG.replace("keys = [\"env:KEY\"]", session);
    let folder = Folder::with(&config);
    let before = fs::read(folder.path().join("bff.toml")).unwrap();
    let (exit, out, err) = folder.run("keygen --rotate");
    assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{session}");
    assert_eq!(fs::read(folder.path().join("bff.toml")).unwrap(), before);
    let key = out.lines().next().unwrap();
    assert!(SessionKey::parse(key).is_some(), "{out}");
    out.replace(key, "(key)")
}

/// G7: keys rotate without logging anyone out, and what to do depends on where they come from.
#[test]
fn keygen_says_how_to_rotate_a_key_in_a_file() {
    assert_snapshot!(rotation("keys = [\"file:/run/secrets/session.key\"]\nmax_lifetime = \"12h\""), @r#"
    (key)

    1. Put the key above into a new file, /run/secrets/session-2.key, that bff alone may read. Leave the old one as it is.
    2. In [session] of bff.toml put it first: keys = ["file:/run/secrets/session-2.key", "file:/run/secrets/session.key"]. It is taken up within seconds, without a restart, by the process that runs. The first key seals, all open; nobody is signed out.
    3. Wait 12h (session.max_lifetime): whatever the old key sealed has ended by then.
    4. Write keys = ["file:/run/secrets/session-2.key"]. Then delete /run/secrets/session.key.
    "#);
}

#[test]
fn keygen_says_how_to_rotate_a_key_of_many_nodes() {
    assert_snapshot!(rotation("keys = [\"env:KEY_3\", \"env:KEY_2\"]\nstore = \"redis\"\nstore_url = \"env:ABSENT\""), @r#"
    (key)

    1. Set the variable KEY_4 to the key above, where bff gets its environment, on every node. Leave the old one as it is.
    2. On every node write keys = ["env:KEY_3", "env:KEY_2", "env:KEY_4"] in [session] of bff.toml. Restart node by node; all can then open what the new key seals, and none seals with it yet.
    3. When all nodes have it, put it first: keys = ["env:KEY_4", "env:KEY_3", "env:KEY_2"]. Restart node by node. The first key seals, all open; nobody is signed out.
    4. Wait 8h (session.max_lifetime): whatever the old key sealed has ended by then.
    5. Write keys = ["env:KEY_4"]. Then unset KEY_3, unset KEY_2.
    "#);
}

#[test]
fn keygen_says_how_to_rotate_a_key_where_nothing_lasts() {
    assert_snapshot!(rotation("keys = [\"env:KEY\"]"), @r#"
    (key)

    1. Set the variable KEY_2 to the key above, where bff gets its environment. Leave the old one as it is.
    2. In [session] of bff.toml write keys = ["env:KEY_2"] and restart: with store = "memory" a restart ends every session, so the old key has nothing left to open. A key from a "file:…" is taken up without a restart.
    "#);
    assert_snapshot!(rotation("idle_timeout = \"20m\""), @r#"
    (key)

    1. bff.toml has no session.keys: a fresh key is made at each start, and there is nothing to rotate.
    2. For a key that lasts, as every store but "memory" needs it, set the variable BFF_SESSION_KEY to the key above, where bff gets its environment.
    3. In [session] of bff.toml write keys = ["env:BFF_SESSION_KEY"] and restart.
    "#);
}

#[test]
fn keygen_says_how_to_rotate_a_key_that_is_written_out() {
    assert_snapshot!(rotation(&format!("keys = [\"{}\"]\nstore = \"sqlite\"\nstore_url = \"s.db\"", "A".repeat(43))), @r#"
    (key)

    1. Set the variable BFF_SESSION_KEY_2 to the key above, where bff gets its environment. Leave the old one as it is.
    2. In [session] of bff.toml put it first: keys = ["env:BFF_SESSION_KEY_2", (the key that stands there)]. Restart. The first key seals, all open; nobody is signed out.
    3. Wait 8h (session.max_lifetime): whatever the old key sealed has ended by then.
    4. Write keys = ["env:BFF_SESSION_KEY_2"].
    "#);
}

/// DESIGN §1: what keeps `bff sessions` from asking is one clear sentence, before anything is asked.
#[test]
fn sessions_say_what_is_missing() {
    let listening = |more: &str| {
        let admin = format!("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:9\"\n{more}");
        CONFIG.replace("listen = \"127.0.0.1:0\"", &admin)
    };
    for (config, arguments, says) in [
        (
            CONFIG.to_owned(),
            "list",
            "bff.toml: server.admin_listen is missing",
        ),
        (
            listening(""),
            "list",
            "bff.toml: server.admin_key is missing",
        ),
        (
            listening("admin_key = \"env:ABSENT\""),
            "list",
            "server.admin_key is to come from the variable ABSENT, which is not set",
        ),
        (
            CONFIG.to_owned(),
            "list --key-env ABSENT",
            "the variable ABSENT is not set",
        ),
        (
            CONFIG.to_owned(),
            "list --key-file /not/there",
            "into /not/there, which can't be read",
        ),
        (
            CONFIG.to_owned(),
            "list --key-env KEY",
            "bff.toml: server.admin_listen is missing",
        ),
        (
            CONFIG.to_owned(),
            "list --url http://10.0.0.1:9090 --key-env KEY",
            "http://10.0.0.1:9090/ is neither https nor on this machine",
        ),
        (
            listening("admin_key = \"env:KEY\""),
            "show 12",
            "\"12\" is no id of a session",
        ),
        (
            listening("admin_key = \"env:KEY\""),
            "revoke wxyz",
            "\"wxyz\" is no id of a session",
        ),
        (
            CONFIG.to_owned(),
            "revoke",
            "all of a user with --subject SUB",
        ),
        (CONFIG.to_owned(), "list --limit 0", "invalid value '0'"),
        (
            CONFIG.to_owned(),
            "list --name a --sid b",
            "cannot be used with",
        ),
    ] {
        let (exit, out, err) = Folder::with(&config).run(&format!("sessions {arguments}"));
        assert_eq!(
            (exit, out.as_str()),
            (Exit::Usage, ""),
            "{arguments}: {err}"
        );
        assert!(err.contains(says), "{arguments}: {err}");
        if !err.starts_with("error:") {
            assert_eq!(err.lines().count(), 1, "{arguments}: {err}");
        }
    }
}

#[test]
fn schema_needs_no_configuration() {
    let (exit, out, _) = run_alone("bff schema");
    assert_eq!(exit, Exit::Done);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        schema["properties"]["server"]["additionalProperties"],
        false
    );
}

#[test]
fn a_configuration_with_faults_is_a_usage_error() {
    let folder = Folder::with("[server]\nlisten = 1\n[frontned]\n");
    for command in ["serve", "check", "check --live", "explain GET /"] {
        let (exit, out, err) = folder.run(command);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{command}");
        assert!(
            err.contains("bff.toml:3:2: frontned is not a known table"),
            "{err}"
        );
        assert!(err.lines().count() > 1, "{command}: {err}");
    }
}

#[test]
fn check_says_that_all_is_fine_and_what_is_unwise() {
    let (exit, out, err) = Folder::with(CONFIG).run("check");
    assert_eq!(exit, Exit::Done);
    assert_snapshot!(out, @"
    bff.toml is fine: https://app.example.com on 127.0.0.1:0, 4 routes
    note: a user may have 64 sessions at once, and one more ends the oldest (session.max_per_user)
    note: the largest head that it sends has about 9 KiB; a proxy before it must take that (nginx: proxy_buffer_size 16k)
    ");
    assert_snapshot!(err, @r"
    warning: bff.toml:7:10: provider.issuer is http, which only a provider on this machine may be; write an https issuer in production
    warning: browsers come by https (public_url), and it listens without TLS, behind no proxy that it knows; write server.tls, or server.trusted_proxies with the address of whoever ends TLS before it
    ");
}

/// How many tenants there are, and not each.
#[test]
fn check_counts_tenants() {
    let config = CONFIG.replace("https://app.example.com", "https://{tenant}.example.com");
    for (count, counted) in [(0, "0 tenants"), (1, "1 tenant"), (1_234, "1,234 tenants")] {
        let tenants: Vec<String> = (0..count)
            .map(|number| format!("t{number} = {{}}\n"))
            .collect();
        let config = format!("{config}\n[tenants]\n{}", tenants.concat());
        let (exit, out, err) = Folder::with(&config).run("check");
        assert_eq!(exit, Exit::Done, "{err}");
        let summary = format!("bff.toml is fine: https://{{tenant}}.example.com ({counted}) on ");
        assert!(out.starts_with(&summary), "{out}");
    }
}

/// A `bff.toml` that serves https with the certificate and key given.
fn with_tls(cert: &str, key: &str) -> Folder {
    let tls = "public_url = \"https://app.example.com\"\n\
               tls = { cert = \"tls.crt\", key = \"tls.key\" }";
    let config = CONFIG.replace("public_url = \"https://app.example.com\"", tls);
    let folder = Folder::with(&config);
    fs::write(folder.path().join("tls.crt"), cert).unwrap();
    fs::write(folder.path().join("tls.key"), key).unwrap();
    folder
}

/// README's file listens on 8443 for browsers that come to 443, and `check` said nothing.
#[test]
fn check_says_that_browsers_come_to_another_port() {
    let pair = rcgen::generate_simple_self_signed(["app.example.com".to_owned()]).unwrap();
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let note = "note: browsers come to port 443 (server.public_url), and it listens on 8443";
    let behind = "listen = \"127.0.0.1:8443\"\ntrusted_proxies = [\"127.0.0.1\"]";
    for (listen, noted) in [
        ("listen = \"127.0.0.1:8443\"", true),
        ("listen = \"127.0.0.1:443\"", false),
        (behind, false),
    ] {
        let folder = with_tls(&cert, &key);
        let file = folder.path().join("bff.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, config.replace("listen = \"127.0.0.1:0\"", listen)).unwrap();
        let (exit, out, err) = folder.run("check");
        assert_eq!(exit, Exit::Done, "{listen}: {err}");
        assert_eq!(out.contains(note), noted, "{listen}: {out}");
    }
}

/// Away from the server it named is neither certificate nor app, and each question ended with 2.
#[test]
fn an_explanation_needs_none_of_the_files() {
    let config = CONFIG
        .replace(
            "public_url = \"https://app.example.com\"",
            "public_url = \"https://app.example.com\"\ntls = { cert = \"tls.crt\", key = \"tls.key\" }",
        )
        .replace("upstream = \"http://localhost:5173\"", "dir = \"dist\"");
    let folder = Folder::with(&config);
    for command in ["explain GET /api/orders", "keygen --rotate"] {
        let (exit, _, err) = folder.run(command);
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{command}");
    }
    let (exit, _, err) = folder.run("check");
    assert_eq!(exit, Exit::Usage);
    for file in ["tls.crt", "tls.key", "dist"] {
        assert!(err.contains(&format!("names {file}, which")), "{err}");
    }
}

/// `bff schema | head` ended with "the output cannot be written: Broken pipe".
#[test]
fn whoever_stops_reading_has_read_enough() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut err = Vec::new();
    let mut terminal = Terminal {
        out: &mut Closed,
        err: &mut err,
    };
    let arguments = ["bff", "schema"].map(OsString::from);
    let exit = run(arguments, &variables(), &mut terminal);
    assert_eq!((exit, err.as_slice()), (Exit::Done, &b""[..]));
}

#[test]
fn check_judges_the_certificate_as_serve_does() {
    let host = || vec!["app.example.com".to_owned()];
    let good = rcgen::generate_simple_self_signed(host()).unwrap();
    let (cert, key) = (good.cert.pem(), good.signing_key.serialize_pem());
    assert_eq!(with_tls(&cert, &key).run("check").0, Exit::Done);

    let other = rcgen::generate_simple_self_signed(host()).unwrap();
    let mut expired = rcgen::CertificateParams::new(host()).unwrap();
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = expired.self_signed(&good.signing_key).unwrap().pem();
    let foreign_key = other.signing_key.serialize_pem();
    for (name, cert, key, says) in [
        (
            "expired",
            &expired,
            &key,
            "server.tls.cert names tls.crt, which expired at 2021-01-01T00:00:00Z; renew the certificate, or look at this machine's clock",
        ),
        (
            "another's key",
            &cert,
            &foreign_key,
            "server.tls.key names tls.key, which is the key of another certificate than tls.crt; write the two files that belong together, the certificate of the server first in its file",
        ),
    ] {
        let folder = with_tls(cert, key);
        let (exit, _, err) = folder.run("check");
        assert_eq!(exit, Exit::Usage, "{name}: {err}");
        // With its line: that of the key at fault.
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("bff.toml:5:"), "{name}: {err}");
        assert!(last.ends_with(says), "{name}: {err}");
        assert_eq!(folder.run("serve"), (exit, String::new(), err), "{name}");
    }
}

#[test]
fn serve_says_that_its_port_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::with(&CONFIG.replace("127.0.0.1:0", &address));
    let says = format!(
        "server.listen: {address} is in use by another program; stop it, or write another address"
    );
    assert_eq!(folder.start_fault(), (Exit::Usage, says));
}

/// Answers one request with `answer`, then gives back what was asked.
fn answering(answer: String) -> (TcpListener, String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepting = listener.try_clone().unwrap();
    let asked = thread::spawn(move || {
        let (mut stream, _) = accepting.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(head).unwrap()
    });
    (listener, address, asked)
}

fn json(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// A5: a provider that names another issuer is the configuration's fault.
#[test]
fn check_online_refuses_a_wrong_issuer() {
    let (_listener, address, asked) = answering(json("{\"issuer\": \"https://other.example\"}"));
    let issuer = format!("http://{address}");
    let folder = Folder::with(&CONFIG.replace("http://localhost:1", &issuer));
    let (exit, _, err) = folder.run("check --online");
    assert_eq!(exit, Exit::Usage);
    let says = format!(
        "provider.issuer {issuer}: the provider misbehaves: the metadata name another issuer, \
         \"https://other.example\"; write issuer = \"https://other.example\""
    );
    assert!(
        err.lines()
            .last()
            .is_some_and(|last| last.starts_with(&says)),
        "{err}"
    );
    let asked = asked.join().unwrap();
    assert!(
        asked.starts_with("GET /.well-known/openid-configuration "),
        "{asked}"
    );
}

#[test]
fn check_online_fails_where_the_provider_is_away() {
    // Bound and closed again, so that nothing listens there.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let folder = Folder::with(&CONFIG.replace("localhost:1", &address.to_string()));
    let (exit, _, err) = folder.run("check --online");
    assert_eq!(exit, Exit::Failed, "{err}");
    assert!(err.contains("the provider cannot be asked"), "{err}");
}

#[test]
fn check_live_asks_the_listener() {
    for (answer, exit) in [
        ("HTTP/1.1 200 OK", Exit::Done),
        ("HTTP/1.1 401 Unauthorized", Exit::Done),
        ("HTTP/1.1 500 Internal Server Error", Exit::Failed),
        ("SSH-2.0", Exit::Failed),
        ("", Exit::Failed),
    ] {
        let (_listener, address, asked) = answering(format!("{answer}\r\n\r\n"));
        let folder = Folder::with(&CONFIG.replace("127.0.0.1:0", &address));
        assert_eq!(folder.run("check --live").0, exit, "{answer}");
        let asked = asked.join().unwrap();
        assert!(
            asked.starts_with("GET /bff/session?slide=false HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(asked.contains("Host: app.example.com\r\n"), "{asked}");
    }
}

#[test]
fn check_live_prefers_the_administration_listener() {
    for (answer, exit) in [
        ("HTTP/1.1 200 OK", Exit::Done),
        ("HTTP/1.1 404 Not Found", Exit::Failed),
    ] {
        let (_listener, address, asked) = answering(format!("{answer}\r\n\r\n"));
        let admin = format!("listen = \"127.0.0.1:0\"\nadmin_listen = \"{address}\"");
        let folder = Folder::with(&CONFIG.replace("listen = \"127.0.0.1:0\"", &admin));
        assert_eq!(folder.run("check --live").0, exit, "{answer}");
        assert!(asked.join().unwrap().starts_with("GET /livez HTTP/1.1\r\n"));
    }
}

#[test]
fn explain_tells_what_becomes_of_a_call() {
    let (exit, out, err) = Folder::with(CONFIG)
        .run("explain GET /api/orders/7 -H X-User-Timezone:x -H X-User -H x_user -H Cookie");
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_snapshot!(out, @r#"
    GET /api/orders/7
      route      /api
      goes to    http://a:1/base/orders/7, in turn with http://b:2/orders/7
      token      Authorization: Bearer … of the session, fresh
      must show  X-CSRF: 1, and no foreign Origin or Sec-Fetch-Site
      anonymous  401 login_required
      activity   puts session.idle_timeout off
      request    loses Authorization, our cookies, X-CSRF, X-Forwarded-*, names with an
                 underscore, hop-by-hop fields, and those by which proxies vouch for a user
                 (X-User, Remote-User, …; all in docs/headers.md)
                 passes x-user-timezone
                 loses x-user: it is how proxies vouch for a user
                 loses x_user: some upstreams read its name as that of another field
                 loses our cookies of cookie
                 gets Host, Via, X-Request-Id and our own
                 X-Forwarded-For, -Host, -Prefix and -Proto
                 sets x-team: orders
                 sets x-api-key, as configured
                 removes accept-language, as configured
      answer     loses Access-Control-*, Strict-Transport-Security, NEL and all else that speaks
                 for the origin (docs/headers.md), and hop-by-hop fields
                 loses Set-Cookie: set_cookie is "drop"
                 is kept out of shared caches
      limits     1m to the head of the answer; bodies stream, of any length
      WebSocket  passes, where Origin is ours and no Sec-Fetch-Site foreign
      worker     is refused: service_worker is false
      client     is whoever connects; no proxy before us is trusted
      signs in   at http://localhost:1 as app
      cookie     __Host-Http-bff
    "#);
}

/// §8: which token a route carries, how it is got, and for whom.
#[test]
fn explain_says_which_token_a_route_carries() {
    for (lines, says) in [
        (
            "token = { resource = \"https://orders.example.com\", scopes = [\"b\", \"a\"] }",
            "token      Authorization: Bearer … of the user
             got by the session's refresh token, kept in the session
             for the resource https://orders.example.com
             with the scopes a b
",
        ),
        (
            "auth = \"optional\"\ntoken = { exchange = { audience = \"orders\", actor = \"client\" } }",
            "token      Authorization: Bearer … of the user where there is a session, else none
             got in exchange for the session's own token (RFC 8693), with bff as actor
             for the audience orders
",
        ),
        (
            "token = \"client\"",
            "token      Authorization: Bearer … of bff itself, as app
             got by client credentials, kept by each process
",
        ),
        (
            "auth = \"optional\"\ntoken = \"user_or_client\"",
            "token      Authorization: Bearer … of the session where there is one, else
             of bff itself, as app
             got by client credentials, kept by each process
",
        ),
        ("token = \"none\"", "token      none: token is \"none\"\n"),
    ] {
        let route = format!("[[route]]\npath = \"/own\"\nupstream = \"http://c:3\"\n{lines}\n");
        let (exit, out, err) = Folder::with(&format!("{CONFIG}\n{route}")).run("explain GET /own");
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{lines}");
        assert!(out.contains(says), "{lines}: {out}");
    }
}

#[test]
fn explain_needs_no_secret_and_takes_a_file_of_bff_dev() {
    let production = CONFIG
        .replace("env:SECRET", "env:ABSENT")
        .replace("env:KEY", "env:ABSENT")
        .replace(
            "[provider]",
            "admin_listen = \"127.0.0.1:0\"\nadmin_key = \"env:ABSENT\"\n\n[provider]",
        );
    let development = "[[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n";
    for config in [production.as_str(), development] {
        let folder = Folder::with(config);
        let (exit, out, err) = folder.run("explain GET /api/orders");
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{config}");
        assert!(out.contains("route      /api"), "{out}");
        assert_eq!(folder.run("check").0, Exit::Usage, "{config}");
    }
}

/// §7: whose address it is, of several providers, and that one of a name that is not there is nobody's.
#[test]
fn explain_names_the_provider_of_an_address() {
    let several = CONFIG.replace(
        "[provider]",
        "[providers.corp]\nissuer = \"http://localhost:2\"\nclient_id = \"us\"\n[providers.social]\nissuer = \"http://localhost:3\"\n[provider]",
    );
    let folder = Folder::with(&several);
    let said = [
        "explain POST /bff/backchannel-logout/social",
        "explain GET /bff/callback/corp",
        "explain GET /bff/callback",
        "explain GET /bff/login",
        "explain POST /bff/backchannel-logout/none",
    ]
    .map(|call| folder.run(call).1);
    assert_snapshot!(said.concat(), @r"
    POST /bff/backchannel-logout/social
      goes to    an endpoint of bff
      provider   social
      upstream   none; no route is looked at below the base path
      register   https://app.example.com/bff/callback/social as redirect URI
                 https://app.example.com/bff/backchannel-logout/social for back-channel logout
      signs in   corp: at http://localhost:2 as us
                 social: at http://localhost:3 as app
      cookie     __Host-Http-bff
    GET /bff/callback/corp
      goes to    an endpoint of bff
      provider   corp
      upstream   none; no route is looked at below the base path
      register   https://app.example.com/bff/callback/corp as redirect URI
                 https://app.example.com/bff/backchannel-logout/corp for back-channel logout
      signs in   corp: at http://localhost:2 as us
                 social: at http://localhost:3 as app
      cookie     __Host-Http-bff
    GET /bff/callback
      answer     400 login_failed: no provider of this name is configured
      signs in   corp: at http://localhost:2 as us
                 social: at http://localhost:3 as app
      cookie     __Host-Http-bff
    GET /bff/login
      goes to    an endpoint of bff
      upstream   none; no route is looked at below the base path
      register   https://app.example.com/bff/callback/corp as redirect URI
                 https://app.example.com/bff/backchannel-logout/corp for back-channel logout
      register   https://app.example.com/bff/callback/social as redirect URI
                 https://app.example.com/bff/backchannel-logout/social for back-channel logout
      signs in   corp: at http://localhost:2 as us
                 social: at http://localhost:3 as app
      cookie     __Host-Http-bff
    POST /bff/backchannel-logout/none
      answer     404 no_route
      signs in   corp: at http://localhost:2 as us
                 social: at http://localhost:3 as app
      cookie     __Host-Http-bff
    ");
}

#[test]
fn explain_knows_who_answers() {
    let folder = Folder::with(CONFIG);
    for (call, says) in [
        (
            "GET /api",
            "goes to    http://a:1/base/, in turn with http://b:2/",
        ),
        ("GET /files/a.pdf", "must show  Sec-Fetch-Site: same-origin"),
        (
            "get /files/a.pdf",
            "answer     405: this path takes GET only",
        ),
        ("post /api", "method     post is not POST"),
        ("post /api", "route      /api"),
        (
            "GET /files/a.pdf",
            "anonymous  401 login_required; a navigation is sent to the provider",
        ),
        (
            "POST /files/a.pdf",
            "answer     405: this path takes GET only",
        ),
        (
            "GET /files/a.pdf",
            "gets Strict-Transport-Security: max-age=31536000",
        ),
        (
            "GET /pages/a",
            "keeps Set-Cookie, for our host and not by our names",
        ),
        (
            "GET /pages/a",
            "activity   does not put session.idle_timeout off: activity is false",
        ),
        (
            "GET /api -H X-BFF-Activity:none",
            "activity   does not put session.idle_timeout off: X-BFF-Activity is none",
        ),
        (
            "GET /api -H X-BFF-Activity:some",
            "activity   puts session.idle_timeout off",
        ),
        ("GET /apis", "goes to    http://localhost:5173/apis"),
        ("GET https://app.example.com/api?x=1", "route      /api"),
        ("GET https://other.example/api", "answer     404 no_route"),
        ("GET /bff/session", "goes to    an endpoint of bff"),
        ("DELETE /bff/session", "answer     405: it takes GET only"),
        ("GET /bff/nothing", "answer     404 no_route"),
        ("GET /api/../bff", "answer     400: a dot segment"),
        ("GET /api/%2e%2e/bff", "answer     400: a dot segment"),
    ] {
        let (exit, out, _) = folder.run(&format!("explain {call}"));
        assert_eq!(exit, Exit::Done, "{call}");
        assert!(out.contains(says), "{call}: {out}");
    }
    for call in ["G@T /api", "GET api"] {
        assert_eq!(
            folder.run(&format!("explain {call}")).0,
            Exit::Usage,
            "{call}"
        );
    }
}

/// §7: a tenant with a domain of its own is not at the host of its name, and whoever asks is told where.
#[test]
fn explain_says_where_a_tenant_is() {
    let main = CONFIG.replace(
        "https://app.example.com",
        "https://{tenant}.app.example.com",
    ) + "[tenants.acme]\nhost = \"portal.acme.example\"\n";
    let folder = Folder::with(&main);
    let (exit, out, _) = folder.run("explain GET https://acme.app.example.com/api/x");
    assert_eq!(exit, Exit::Done);
    let says = "tenant     acme is at a host of its own: portal.acme.example\n";
    assert!(out.contains(says), "{out}");
    let (_, out, _) = folder.run("explain GET https://portal.acme.example/api/x");
    assert!(out.contains("tenant     acme\n"), "{out}");
    assert!(
        out.contains("signs in   at http://localhost:1 as app\n"),
        "{out}"
    );
}

/// §7: check judges every site as serve makes it, and explain says which one a call is for.
#[test]
fn sites_are_judged_and_explained() {
    let main = CONFIG.replace("public_url", "sites = \"sites\"\npublic_url");
    let folder = Folder::with(&main);
    fs::create_dir(folder.path().join("dist")).unwrap();
    fs::write(folder.path().join("dist/index.html"), "").unwrap();
    fs::create_dir(folder.path().join("sites")).unwrap();
    let shop = "public_url = \"https://app.example.com/shop\"\n\
                [[route]]\npath = \"/api\"\nupstream = \"http://shop:1\"\n";
    fs::write(folder.path().join("sites/shop.toml"), shop).unwrap();
    let (exit, out, _) = folder.run("check");
    assert_eq!(exit, Exit::Done, "{out}");
    for says in [
        "https://app.example.com, https://app.example.com/shop on 127.0.0.1:0",
        "note: https://app.example.com and https://app.example.com/shop share one origin",
    ] {
        assert!(out.contains(says), "{out}");
    }
    for (call, says) in [
        (
            "https://app.example.com/shop/api/x",
            "site       shop (sites/shop.toml)\n  route      /api\n  goes to    http://shop:1/api/x\n",
        ),
        (
            "https://app.example.com/api/x",
            "site       bff.toml\n  route      /api\n  goes to    http://a:1/base/x",
        ),
        (
            "https://app.example.com/shop/bff/login",
            "site       shop (sites/shop.toml)\n  goes to    an endpoint of bff",
        ),
        (
            "https://z.example.com/",
            "404 no_route: z.example.com is the host of no site, nor a route's",
        ),
    ] {
        let (exit, out, err) = folder.run(&format!("explain GET {call}"));
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{call}");
        assert!(out.contains(says), "{call}: {out}");
    }
}

/// §7: check reads the address of the store to its end, as serve does; it was told at the start alone.
#[cfg(feature = "postgres")]
#[test]
fn check_reads_the_address_of_the_store() {
    let config = CONFIG.replace(
        "[session]",
        "[session]\nstore = \"postgres\"\nstore_url = \"postgres://localhost:notaport/bff\"",
    );
    let folder = Folder::with(&config);
    fs::create_dir(folder.path().join("dist")).unwrap();
    fs::write(folder.path().join("dist/index.html"), "").unwrap();
    let (exit, _, err) = folder.run("check");
    assert_eq!(exit, Exit::Usage, "{err}");
}

/// §7: names of tenants, of files and of browsers' words stood on the terminal as they came, so that one could
/// clear it and write "is fine" there, or begin a line of its own.
#[test]
fn no_name_commands_the_terminal() {
    let folder = Folder::with(&format!(
        "{CONFIG}\n[\"a\\u001b[2J\\nwarning: all is well\\u202e\"]\nx = 1\n"
    ));
    let (exit, _, err) = folder.run("check");
    assert_eq!(exit, Exit::Usage);
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(
        err.contains("a\\u001b[2J\\u000awarning: all is well\\u202e is not a known table"),
        "{err}"
    );
    let (_, _, err) = run_alone("bff explain \u{1b}[31m /x");
    assert!(!err.contains('\u{1b}'), "{err:?}");
}

/// N2: a site that browsers come to by https, on a listener without TLS that knows of no proxy, was said to be
/// fine.
#[test]
fn check_asks_who_speaks_tls() {
    let says = "write server.tls, or server.trusted_proxies";
    for (lines, warned) in [
        ("public_url = \"https://app.example.com\"", true),
        ("public_url = \"http://localhost:8080\"", false),
        (
            "public_url = \"https://app.example.com\"\ntrusted_proxies = [\"10.0.0.1\"]",
            false,
        ),
    ] {
        let config = CONFIG.replace("public_url = \"https://app.example.com\"", lines);
        let (exit, _, err) = Folder::with(&config).run("check");
        assert_eq!(exit, Exit::Done, "{err}");
        assert_eq!(err.contains(says), warned, "{lines}: {err}");
    }
}
