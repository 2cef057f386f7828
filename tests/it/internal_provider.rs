//! A provider that browsers know by one name and `bff` reaches by another, as in Docker Compose and
//! Kubernetes: who is asked where, and who the tokens are of.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::json;
use tempfile::TempDir;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::Call;
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Asked, Idp, SECOND_SITE};
use crate::support::journey::refusal;
use crate::support::process::{Ended, run};
use crate::support::upstream::Upstream;

/// What browsers know it by; no resolver does.
const ISSUER: &str = "https://id.bff.invalid";

/// What only we ask.
const OURS: [(Endpoint, &str); 5] = [
    (Endpoint::Discovery, "/.well-known/openid-configuration"),
    (Endpoint::Jwks, "/jwks"),
    (Endpoint::Token, "/token"),
    (Endpoint::UserInfo, "/userinfo"),
    (Endpoint::Revocation, "/revoke"),
];

/// An address of this machine that counts as another's: http there takes the operator's word.
fn internal_url(idp: &Idp) -> String {
    format!("http://0.0.0.0:{}", idp.addr().port())
}

fn asked_inside<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    Bff::with(idp, upstream)
        .set("provider.internal_url", internal_url(idp))
        .set("provider.internal_http", true)
        .set("provider.userinfo", true)
        .set("provider.scopes", vec!["openid", "offline_access"])
}

/// The `Host` that each request to `endpoint` named.
fn hosts(idp: &Idp, endpoint: Endpoint) -> Vec<String> {
    let host = |asked: &Asked| asked.headers["host"].to_str().unwrap().to_owned();
    idp.asked(endpoint).iter().map(host).collect()
}

/// All but what a browser visits is asked inside, with the metadata's names or with the internal ones,
/// and the tokens are of the issuer all the same. It could not be written, and no login worked.
#[tokio::test]
async fn the_provider_is_asked_at_its_internal_address() {
    for named_inside in [false, true] {
        let idp = Idp::known_as(ISSUER, &nine_o_clock());
        let upstream = Upstream::start();
        if named_inside {
            for (name, path) in [
                ("authorization_endpoint", "/authorize"),
                ("token_endpoint", "/token"),
                ("jwks_uri", "/jwks"),
                ("userinfo_endpoint", "/userinfo"),
                ("end_session_endpoint", "/end_session"),
                ("revocation_endpoint", "/revoke"),
            ] {
                let inside = json!(format!("{}{path}", internal_url(&idp)));
                idp.misbehave(Fault::Set(Stage::Metadata, name, inside));
            }
        }
        let bff = asked_inside(&idp, &upstream).start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        // The access token is refreshed on the way.
        bff.clock().advance(Duration::from_mins(20));
        let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
        let link = browser.session().await["logout_url"].clone();
        let visit = browser.click(link.as_str().unwrap()).await;
        assert!(
            visit.replies[0]
                .location()
                .is_some_and(|to| to.as_str().starts_with(ISSUER)),
            "{visit:?}"
        );
        idp.asked_times(Endpoint::Revocation, 1).await;
        assert!(idp.count(Endpoint::Token) >= 2, "a code and a refresh");
        let inside = internal_url(&idp).replace("http://", "");
        for (endpoint, path) in OURS {
            let hosts = hosts(&idp, endpoint);
            assert!(!hosts.is_empty(), "{path}");
            assert!(hosts.iter().all(|host| *host == inside), "{path} {hosts:?}");
        }
        for endpoint in [Endpoint::Authorize, Endpoint::EndSession] {
            let hosts = hosts(&idp, endpoint);
            assert!(!hosts.is_empty(), "{endpoint:?}");
            assert!(
                hosts.iter().all(|host| host == "id.bff.invalid"),
                "{endpoint:?} {hosts:?}"
            );
        }
    }
}

/// D3: a token that names the internal address as its issuer is of another one.
#[tokio::test]
async fn a_token_of_the_internal_address_is_anothers() {
    let idp = Idp::known_as(ISSUER, &nine_o_clock());
    let upstream = Upstream::start();
    let bff = asked_inside(&idp, &upstream).start();
    idp.misbehave(Fault::claim("iss", internal_url(&idp)));
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    let reply = browser.open(callback.as_str()).await;
    assert_eq!(refusal(&reply), "400 login_failed");
}

/// The provider calls back from within, where we have another name too; for any other host, and for any
/// other endpoint there, all is as before (I8).
#[tokio::test]
async fn the_provider_calls_back_from_within() {
    for (inside, expected) in [(true, 200), (false, 404)] {
        let idp = Idp::known_as(ISSUER, &nine_o_clock());
        let upstream = Upstream::start();
        let bff = asked_inside(&idp, &upstream).start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let sid = idp.sids("alice").pop().unwrap();
        let token = idp.logout_token(None, Some(&sid));
        let path = if inside {
            "/bff/backchannel-logout"
        } else {
            "/bff/session"
        };
        let call = Call::bare("POST", path)
            .header("Host", "bff:8080")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("logout_token={token}"));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, expected, "{reply:?}");
        let signed_in = browser.signed_in().await;
        assert_eq!(signed_in.is_none(), inside);
    }
}

/// Of several sites the one takes it whose path it is. Where sites of several clients have that path, none
/// does, and the log says what to do: the first site alone was looked at.
#[tokio::test]
async fn of_several_sites_the_one_is_meant_whose_path_it_is() {
    let another = "[provider]\nclient_id = \"shop\"\n";
    let own_path = "base_path = \"/own\"\n";
    for (shop, path, expected) in [
        (own_path.to_owned(), "/own/backchannel-logout", 200),
        // Sites of one client: whichever takes the token ends the sessions at all of them.
        (String::new(), "/bff/backchannel-logout", 200),
        (another.to_owned(), "/bff/backchannel-logout", 404),
        (
            format!("{own_path}{another}"),
            "/bff/backchannel-logout",
            200,
        ),
    ] {
        let idp = Idp::known_as(ISSUER, &nine_o_clock());
        let upstream = Upstream::start();
        let bff = asked_inside(&idp, &upstream)
            .set("server.sites", "sites")
            .file(
                "sites/shop.toml",
                format!("public_url = \"{SECOND_SITE}\"\n{shop}"),
            )
            .start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let sid = idp.sids("alice").pop().unwrap();
        let token = idp.logout_token(None, Some(&sid));
        let call = Call::bare("POST", path)
            .header("Host", "bff:8080")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("logout_token={token}"));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, expected, "{shop}: {reply:?}");
        let signed_in = browser.signed_in().await;
        assert_eq!(signed_in.is_none(), expected == 200, "{shop}");
        let told = bff
            .logs()
            .lines_with("give each of them a base_path of its own");
        assert_eq!(told.len(), usize::from(expected == 404), "{shop}");
    }
}

/// Where `bff check` runs.
fn place(idp: &Idp, provider: &str) -> (TempDir, BTreeMap<String, String>) {
    let dir = TempDir::new().unwrap();
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://app.example\"\n\
         tls = {{ cert = \"tls.pem\", key = \"tls.key\" }}\n\
         [provider]\nclient_id = \"app\"\nclient_secret = \"env:SECRET\"\n{provider}\n\
         [session]\nkeys = [\"env:KEY\"]\n"
    );
    let certified = rcgen::generate_simple_self_signed(["app.example".to_owned()]).unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("bff.toml", config);
    write("tls.pem", certified.cert.pem());
    write("tls.key", certified.signing_key.serialize_pem());
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let environment = [("SECRET", idp.client_secret.as_str()), ("KEY", key)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    (dir, environment.into())
}

async fn check_online(dir: &Path, environment: &BTreeMap<String, String>) -> Ended {
    run(&["check", "--online"], dir, environment).await
}

/// `check --online` asks where `serve` does, and warns of what travels in the clear.
#[tokio::test]
async fn check_asks_where_serve_does() {
    let idp = Idp::known_as(ISSUER, &nine_o_clock());
    let inside = internal_url(&idp);
    let (dir, environment) = place(
        &idp,
        &format!("issuer = \"{ISSUER}\"\ninternal_url = \"{inside}\"\ninternal_http = true"),
    );
    let ended = check_online(dir.path(), &environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let says = format!("{ISSUER}, asked at {inside}/, answers as it should");
    assert!(ended.out.contains(&says), "{}", ended.out);
    let warns = "provider.internal_http sends the client secret and every token in the clear";
    assert!(ended.err.contains(warns), "{}", ended.err);
    assert_eq!(idp.count(Endpoint::Authorize), 1, "a login of nobody");
}

/// Whoever meets the two names for the first time is told of the key, and so is whoever looks in the
/// wrong place.
#[tokio::test]
async fn what_does_not_fit_says_what_to_write() {
    let idp = Idp::known_as("http://localhost:8180/realms/main", &nine_o_clock());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://localhost:{}", nobody.local_addr().unwrap().port());
    drop(nobody);
    let here = format!("http://{}", idp.addr());
    let wrong = format!("{here}/realms/other");
    let metadata = "/.well-known/openid-configuration";
    let cases = [
        (
            format!("issuer = \"{here}\""),
            2,
            "name another issuer, \"http://localhost:8180/realms/main\"; write issuer = \
             \"http://localhost:8180/realms/main\" if that is the one that is meant; if bff reaches the \
             provider by another name than browsers do, write the browsers' as issuer and the other as \
             provider.internal_url"
                .to_owned(),
        ),
        (
            format!("issuer = \"{wrong}\""),
            2,
            format!(
                "{wrong}{metadata} answers 404 where the metadata should be; write \
                 provider.issuer to the letter"
            ),
        ),
        (
            format!("issuer = \"{ISSUER}\"\ninternal_url = \"{wrong}\"\ninternal_http = true"),
            2,
            "write provider.internal_url to the letter".to_owned(),
        ),
        (
            format!("issuer = \"{away}\""),
            1,
            format!("no metadata from {away}{metadata} (a container is a machine of its own"),
        ),
    ];
    for (provider, code, says) in cases {
        let (dir, environment) = place(&idp, &provider);
        let ended = check_online(dir.path(), &environment).await;
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert!(ended.err.contains(&says), "{}", ended.err);
    }
}
