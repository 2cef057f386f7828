//! `bff check --online` finds what `serve` would meet: the store, the upstreams, and what stands around
//! the listener. All of it at once.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
#[cfg(feature = "sqlite")]
use std::time::Duration;

use bff::dev::provider::client::Proof;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
#[cfg(feature = "sqlite")]
use bff::session::store::record_store::RecordStore as _;
#[cfg(feature = "sqlite")]
use bff::session::store::sql::{Migrations, SqlSettings, sqlite::SqliteStore};
use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::process::{Ended, run};
use crate::support::servers::postgres::Postgres;

const PROVIDER: &str = "client_id = \"app\"\nclient_secret = \"env:SECRET\"";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A folder with files, where `bff check` runs.
struct Place {
    dir: TempDir,
    environment: BTreeMap<String, String>,
}

impl Place {
    fn known_to(idp: &Idp) -> Self {
        let environment = [("SECRET", idp.client_secret.as_str()), ("KEY", KEY)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            dir: TempDir::new().unwrap(),
            environment: environment.into(),
        }
    }

    /// With these keys of [server] and [session], these routes, and that issuer.
    async fn check(&self, issuer: &str, server: &str, session: &str, routes: &str) -> Ended {
        let config = format!(
            "[server]\npublic_url = \"{PUBLIC_URL}\"\n{server}\n\
             [provider]\nissuer = \"{issuer}\"\n{PROVIDER}\n\
             [session]\nkeys = [\"env:KEY\"]\n{session}\n{routes}"
        );
        std::fs::write(self.dir.path().join("bff.toml"), config).unwrap();
        run(&["check", "--online"], self.dir.path(), &self.environment).await
    }
}

/// A port of this machine at which nobody listens.
fn nobody() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const BEHIND: &str = "trusted_proxies = [\"127.0.0.1\"]";

/// "Is fine" was said of a SQLite file in a folder that is not there, and `serve` ended at once.
#[tokio::test]
async fn a_missing_folder_of_the_store_is_found() {
    let idp = Idp::start(&nine_o_clock());
    let place = Place::known_to(&idp);
    let check = async |url: &str| {
        let session = format!("store = \"sqlite\"\nstore_url = \"{url}\"");
        place.check(&idp.issuer, BEHIND, &session, "").await
    };
    let ended = check("sqlite://none/sessions.db").await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("create that folder"), "{}", ended.err);
    // One that can be made is as good as there, and is not made by looking.
    let ended = check("sqlite://sessions.db").await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!place.dir.path().join("sessions.db").exists());
}

/// N3: beside the node that serves, as an upgrade has it checked, it said that another was to be ended,
/// and ended with 1. The file is held as one that serves holds it.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_that_a_node_serves_from_is_no_fault() {
    let idp = Idp::start(&nine_o_clock());
    let place = Place::known_to(&idp);
    let serving = SqliteStore::new(
        &place.dir.path().join("sessions.db"),
        SqlSettings {
            timeout: Duration::from_secs(5),
            migrations: Migrations::Run,
        },
    );
    serving.prepare().await.unwrap();
    let check = async || {
        let session = "store = \"sqlite\"\nstore_url = \"sqlite://sessions.db\"";
        place.check(&idp.issuer, BEHIND, session, "").await
    };
    let beside = check().await;
    assert_eq!(beside.code, Some(0), "{}", beside.err);
    let note = "note: the SQLite file of session.store_url is in use, as by the bff that serves";
    assert!(beside.out.contains(note), "{}", beside.out);
    assert!(!beside.out.contains("sqlite answer"), "{}", beside.out);

    drop(serving);
    soon("the file to be free", async {
        while check().await.out.contains(note) {}
    })
    .await;
    let alone = check().await;
    assert_eq!(alone.code, Some(0), "{}", alone.err);
    assert!(alone.out.contains("sqlite answer"), "{}", alone.out);
}

/// A store that is away is no fault of the configuration, which exit code 2 said it was; and it is told
/// where it was looked for.
#[tokio::test]
async fn a_store_that_is_away_is_named() {
    let idp = Idp::start(&nine_o_clock());
    let place = Place::known_to(&idp);
    let port = nobody();
    for (store, url, says) in [
        (
            "redis",
            format!("redis://127.0.0.1:{port}"),
            format!("Redis at 127.0.0.1:{port}: "),
        ),
        (
            "redis",
            format!("redis+sentinel://127.0.0.1:{port}/main"),
            format!("Redis at 127.0.0.1:{port}: "),
        ),
        (
            "redis",
            format!("redis+cluster://127.0.0.1:{port}"),
            format!("the Redis Cluster at 127.0.0.1:{port}: "),
        ),
        (
            "postgres",
            format!("postgres://bff:pass-horse@127.0.0.1:{port}/bff"),
            format!("PostgreSQL at 127.0.0.1:{port}/bff: "),
        ),
    ] {
        let session = format!("store = \"{store}\"\nstore_url = \"{url}\"");
        let ended = place.check(&idp.issuer, BEHIND, &session, "").await;
        assert_eq!(ended.code, Some(1), "{url}: {}", ended.err);
        assert!(ended.err.contains(&says), "{url}: {}", ended.err);
        let last = ended.err.lines().last().unwrap();
        assert!(!last.contains("horse"), "{last}");
        assert_eq!(last.matches("refused").count(), 1, "{last}");
    }
}

/// What PostgreSQL says is said once, and without the line of its own source.
#[tokio::test]
async fn a_database_speaks_once() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let idp = Idp::start(&nine_o_clock());
    let place = Place::known_to(&idp);
    let url = server.url("nowhere");
    let session = format!("store = \"postgres\"\nstore_url = \"{url}\"");
    let ended = place.check(&idp.issuer, BEHIND, &session, "").await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    let last = ended.err.lines().last().unwrap();
    assert!(
        last.ends_with("create the database, or mend its name in session.store_url"),
        "{last}"
    );
    assert_eq!(
        last.matches("nowhere\\\" does not exist").count(),
        1,
        "{last}"
    );
}

/// What does not keep `bff` from serving is a warning each: an upstream that does not answer, a
/// certificate for another host, a key that everybody can read, a proxy that nobody named.
#[tokio::test]
async fn what_is_unwise_is_warned_of() {
    let idp = Idp::start(&nine_o_clock());
    let place = Place::known_to(&idp);
    let route = format!(
        "[[route]]\npath = \"/api\"\nupstream = \"http://127.0.0.1:{}\"\n",
        nobody()
    );
    let authority = Authority::new();
    let files = |name: &str, mode: u32| {
        let (cert, key) = authority.certificate_for(name);
        let path = |file: &str| place.dir.path().join(file);
        std::fs::write(path("tls.crt"), cert).unwrap();
        std::fs::write(path("tls.key"), key).unwrap();
        std::fs::set_permissions(path("tls.key"), Permissions::from_mode(mode)).unwrap();
    };
    let tls = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";
    let all = [
        "is not for app.example, the host of server.public_url",
        "which every user of this machine can read",
        "nothing is known of who ends TLS",
        "cannot be reached (Connection refused",
    ];
    for (server, name, mode, routes, expected) in [
        (tls, "app.example", 0o600, "", vec![]),
        (tls, "app.example", 0o640, "", vec![]),
        (tls, "other.example", 0o600, "", vec![all[0]]),
        (tls, "app.example", 0o644, "", vec![all[1]]),
        (BEHIND, "app.example", 0o644, "", vec![]),
        ("", "app.example", 0o600, "", vec![all[2]]),
        (
            "listen = \"unix:/run/bff/app.sock\"",
            "app.example",
            0o600,
            "",
            vec![],
        ),
        (tls, "app.example", 0o600, &route, vec![all[3]]),
        (
            tls,
            "other.example",
            0o644,
            &route,
            vec![all[0], all[1], all[3]],
        ),
    ] {
        files(name, mode);
        let ended = place.check(&idp.issuer, server, "", routes).await;
        let case = format!("{server} {name} {mode:o} {routes}: {}", ended.err);
        assert_eq!(ended.code, Some(0), "{case}");
        for warning in all {
            let warned = ended.err.lines().any(|line| line.contains(warning));
            assert_eq!(warned, expected.contains(&warning), "{case}");
        }
    }
}

/// A6, A8: a provider that publishes no metadata is asked for its keys: "answers as it should" must not be
/// said of one that nobody asked.
#[tokio::test]
async fn keys_of_a_provider_without_metadata_are_looked_for() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Answer(
        Endpoint::Discovery,
        404,
        "text/plain",
        Vec::new(),
    ));
    let mut place = Place::known_to(&idp);
    let mut write = |name: &str, value: String| {
        let variable = format!("BFF_PROVIDER__{name}");
        place.environment.insert(variable, value);
    };
    write("DISCOVERY", "false".to_owned());
    write("ENDPOINTS__AUTHORIZATION", idp.url("/authorize"));
    write("ENDPOINTS__TOKEN", idp.url("/token"));
    write("ENDPOINTS__JWKS", idp.url("/jwks"));
    let there = place.check(&idp.issuer, BEHIND, "", "").await;
    assert_eq!(there.code, Some(0), "{}", there.err);
    assert!(there.out.contains("answers as it should"), "{}", there.out);
    assert_eq!(idp.count(Endpoint::Discovery), 0);
    assert_eq!(idp.count(Endpoint::Jwks), 1);
    let nowhere = format!("http://127.0.0.1:{}/jwks", nobody());
    let name = "BFF_PROVIDER__ENDPOINTS__JWKS".to_owned();
    place.environment.insert(name, nowhere.clone());
    let away = place.check(&idp.issuer, BEHIND, "", "").await;
    assert_eq!(away.code, Some(1), "{}", away.err);
    let says = format!("provider.endpoints.jwks {nowhere}: the provider cannot be asked");
    assert!(away.err.contains(&says), "{}", away.err);
}

/// One fault hides no other, and what has to be changed weighs more than who is away.
#[tokio::test]
async fn all_is_told_at_once() {
    let idp = Idp::start(&nine_o_clock());
    let place = Place::known_to(&idp);
    let away = format!("http://127.0.0.1:{}", nobody());
    let route = format!("[[route]]\npath = \"/api\"\nupstream = \"{away}\"\n");
    for (session, code, says) in [
        (
            "store = \"sqlite\"\nstore_url = \"sqlite://none/sessions.db\"".to_owned(),
            2,
            "create that folder",
        ),
        (
            format!(
                "store = \"redis\"\nstore_url = \"redis://127.0.0.1:{}\"",
                nobody()
            ),
            1,
            "the session store does not answer",
        ),
    ] {
        let ended = place.check(&away, BEHIND, &session, &route).await;
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        for says in [says, "cannot be reached", "no metadata from"] {
            assert!(ended.err.contains(says), "{says}: {}", ended.err);
        }
    }
}

/// A configuration that cannot be read says why, and what helps.
#[tokio::test]
async fn a_configuration_that_cannot_be_read_says_why() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("folder.toml")).unwrap();
    std::fs::write(path("latin.toml"), b"# \xe9t\xe9\n").unwrap();
    for (name, says) in [
        (
            "none.toml",
            "none.toml: is not there; go to the folder that holds it",
        ),
        ("folder.toml", "folder.toml: is a folder; name the file"),
        (
            "latin.toml",
            "latin.toml: is no text in UTF-8; save it as UTF-8",
        ),
    ] {
        let ended = run(&["check", "--config", name], dir.path(), &BTreeMap::new()).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.starts_with(says), "{}", ended.err);
    }
}

/// DESIGN §7: each of several providers is asked, and what is wrong with one names its own key.
#[tokio::test]
async fn each_of_several_providers_is_asked() {
    let clock = nine_o_clock();
    let corp = Idp::start(&clock).called("corp");
    let social = Idp::start(&clock).called("social");
    let mut place = Place::known_to(&corp);
    let secret = social.client_secret.clone();
    place.environment.insert("SOCIAL".to_owned(), secret);
    let check = async |social: &str| {
        let config = format!(
            "[server]\npublic_url = \"{PUBLIC_URL}\"\n{BEHIND}\n[session]\nkeys = [\"env:KEY\"]\n\
             [provider]\nclient_id = \"app\"\n\
             [providers.corp]\nissuer = \"{}\"\nclient_secret = \"env:SECRET\"\n\
             [providers.social]\nissuer = \"{social}\"\nclient_secret = \"env:SOCIAL\"\n",
            corp.issuer
        );
        std::fs::write(place.dir.path().join("bff.toml"), config).unwrap();
        run(&["check", "--online"], place.dir.path(), &place.environment).await
    };
    let fine = check(&social.issuer).await;
    assert_eq!(fine.code, Some(0), "{}", fine.err);
    let praise = format!("{}, {} answer as they should", corp.issuer, social.issuer);
    assert!(fine.out.contains(&praise), "{}", fine.out);

    let away = format!("http://127.0.0.1:{}", nobody());
    let ended = check(&away).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let says = format!("providers.social.issuer {away}: ");
    assert!(ended.err.contains(&says), "{}", ended.err);

    social.expect_proof(Proof::Secret("another".to_owned()));
    let ended = check(&social.issuer).await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    let says = "bff.toml: providers.social.client_";
    assert!(ended.err.contains(says), "{}", ended.err);
    assert!(!ended.err.contains("provider.client_"), "{}", ended.err);
}

/// DESIGN §8: a provider that offers no grant by which a route's token is bought is named with the route: its calls
/// were 403, and nobody had said so.
#[tokio::test]
async fn a_grant_that_the_provider_does_not_offer_is_named() {
    let idp = Idp::start(&nine_o_clock());
    let place = Place::known_to(&idp);
    let route = |path: &str, token: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nupstream = \"{}\"\ntoken = {token}\n",
            idp.issuer
        )
    };
    let routes = [
        route("/orders", "{ resource = \"https://orders.example.com\" }"),
        route("/mail", "{ exchange = { audience = \"mail\" } }"),
        route("/files", "{ exchange = { audience = \"files\" } }"),
        route("/clock", "\"client\""),
    ]
    .concat();
    let ended = place.check(&idp.issuer, BEHIND, "", &routes).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!ended.err.contains("bought by the grant"), "{}", ended.err);
    let grants = serde_json::json!(["authorization_code", "refresh_token"]);
    idp.misbehave(Fault::Set(Stage::Metadata, "grant_types_supported", grants));
    let ended = place.check(&idp.issuer, BEHIND, "", &routes).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for (routes, grant) in [
        (
            "\"/mail\", \"/files\"",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("\"/clock\"", "client_credentials"),
    ] {
        let said = format!("token of the route {routes} is bought by the grant {grant}, which");
        assert!(ended.err.contains(&said), "{}", ended.err);
    }
    assert_eq!(
        ended.err.matches("bought by the grant").count(),
        2,
        "{}",
        ended.err
    );
}
