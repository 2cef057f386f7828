//! The stories that the certified oidc-provider is part of (tests/providers/oidc-provider). Each has one of its
//! own, which demands what the story is about. Its UserInfo stands for an API that checks proofs: what it takes
//! and refuses is nobody's here to say.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{House, Server, TOKEN_LIFE, tokens_end, told, trail, variable};
use crate::client_auth::client_key;
use crate::support::browser::Browser;
use crate::support::call::Call;
use crate::support::journey::parameter;
use crate::support::ports::free_port;
use crate::support::process::run;

/// The provider as a process.
struct Certified {
    addr: SocketAddr,
    _dir: TempDir,
    _server: Server,
}

impl Certified {
    /// One that demands `more`, and knows the house as this client.
    async fn start(house: &House, more: &Value, client: &Value) -> Self {
        let port = free_port();
        let mut own = json!({
            "client_id": "app",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "response_types": ["code"],
            "redirect_uris": [house.at("/bff/callback")],
            "post_logout_redirect_uris": [house.at("/bff/logout/callback")],
            // On loopback alone a native app may be called at http.
            "application_type": "native",
            "scope": "openid profile email offline_access orders:read mail:read jobs:run",
        });
        let mut config = json!({ "port": port, "life": TOKEN_LIFE.as_secs() });
        for (into, members) in [(&mut own, client), (&mut config, more)] {
            for (name, value) in members.as_object().unwrap() {
                into[name] = value.clone();
            }
        }
        config["clients"] = json!([own]);
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        let program = Path::new(&variable("BFF_TEST_OIDC_PROVIDER")).join("server.mjs");
        let command = ["node", program.to_str().unwrap(), file.to_str().unwrap()];
        let server = Server::start(&command, dir.path(), &[("NODE_NO_WARNINGS", "1")]);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Server::listens(addr).await;
        Self {
            addr,
            _dir: dir,
            _server: server,
        }
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The whole configuration with these lines of `[provider]`, and its UserInfo as an API.
    fn config(&self, house: &House, lines: &str, more: &str) -> String {
        let issuer = self.issuer();
        let provider = format!("issuer = \"{issuer}\"\nclient_id = \"app\"\n{lines}");
        format!(
            "{}[[route]]\npath = \"/me\"\nupstream = \"{issuer}\"\n{more}",
            house.config(&provider)
        )
    }

    /// The claims of a token that this one signed for `audience`.
    async fn claims(&self, token: &str, audience: &str) -> Value {
        let host = self.addr.to_string();
        let keys = Call::bare("GET", "/jwks").header("Host", &host);
        let keys = keys.send(self.addr).await.json();
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let mut keys = keys["keys"].as_array().unwrap().iter();
        let key = keys.find(|key| key["kid"] == kid.as_str()).unwrap();
        let key = DecodingKey::from_jwk(&serde_json::from_value(key.clone()).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        let token = jsonwebtoken::decode::<Value>(token, &key, &validation);
        token.unwrap().claims
    }
}

const SECRET: &str = "client_secret = \"env:BFF_CLIENT_SECRET\"";

/// What that is.
const VARIABLE: (&str, &str) = (
    "BFF_CLIENT_SECRET",
    "a-secret-of-the-tests-alone-of-32-bytes",
);

/// A client with that secret.
fn by_secret() -> Value {
    json!({ "client_secret": VARIABLE.1 })
}

/// A client with this key, whose ID tokens are signed as banks want it.
fn by_key(jwk: &Value) -> Value {
    json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "id_token_signed_response_alg": "PS256",
        "jwks": { "keys": [jwk] },
    })
}

async fn sign_in(house: &House, browser: &mut Browser, name: &str, more: &str) {
    let login = format!("{}&login_hint={name}{more}", house.login());
    let visit = browser.visit(&login).await;
    assert_eq!(visit.url().as_str(), house.at("/"), "{}", trail(&visit));
    assert!(house.is_signed_in(browser).await);
}

/// Who the provider says that a call of this browser's is.
async fn who(house: &House, browser: &Browser) -> String {
    let reply = house.call_to("/me", browser).send(house.node.addr).await;
    if reply.status != 200 {
        return told(&reply);
    }
    reply.json()["sub"].as_str().unwrap().to_owned()
}

/// That `bff check --online` finds nothing lacking.
async fn fits(house: &House, config: &str) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("bff.toml"), config).unwrap();
    let ended = run(&["check", "--online"], dir.path(), &house.environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lacks = ended.err.lines().filter(|line| {
        // On loopback, which is no fault of the provider's.
        line.contains("provider.") && !line.contains("provider.issuer is http")
    });
    assert_eq!(lacks.count(), 0, "{}", ended.err);
}

/// B1, D1, E3: in, calls, a refresh, and out by the end-session endpoint.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs oidc-provider: tests/providers.sh"]
async fn it_signs_in_and_out() {
    let mut house = House::new(&[VARIABLE]);
    let provider = Certified::start(&house, &json!({}), &by_secret()).await;
    let config = provider.config(&house, SECRET, "");
    fits(&house, &config).await;
    house.serve_as(&config).await;
    let mut browser = house.browser();
    sign_in(&house, &mut browser, "alice", "").await;
    assert_eq!(who(&house, &browser).await, "alice");
    for round in 1..=2 {
        tokens_end().await;
        let calls = (0..50).map(|_| who(&house, &browser));
        let told = join_all(calls).await;
        assert!(told.iter().all(|told| told == "alice"), "{told:?}");
        assert_eq!(house.refreshes("ok").await, round);
    }
    let session = house.session(&mut browser).await;
    let link = session["logout_url"].as_str().unwrap().to_owned();
    browser.click(&link).await;
    assert!(!house.is_signed_in(&mut browser).await);
}

/// A10, A14: a key proves who we are, the tokens are bound to keys of the users', and a nonce is demanded of every
/// proof: at the token endpoint, at UserInfo during the login, and at each call. Who steals a token has nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs oidc-provider: tests/providers.sh"]
async fn it_takes_our_proofs() {
    let (pem, jwk) = client_key();
    let mut house = House::new(&[("BFF_CLIENT_KEY", &pem)]);
    let mut client = by_key(&jwk);
    client["dpop_bound_access_tokens"] = json!(true);
    let provider = Certified::start(&house, &json!({ "nonces": true }), &client).await;
    let lines = "client_key = \"env:BFF_CLIENT_KEY\"\ndpop = \"always\"\nuserinfo = true";
    let to_house =
        "[[route]]\npath = \"/seen\"\nupstream = \"API\"\n".replace("API", &house.api.url());
    let config = provider.config(&house, lines, &to_house);
    fits(&house, &config).await;
    house.serve_as(&config).await;
    let (mut alice, mut bob) = (house.browser(), house.browser());
    sign_in(&house, &mut alice, "alice", "").await;
    sign_in(&house, &mut bob, "bob", "").await;
    let session = house.session(&mut alice).await;
    assert_eq!(session["user"]["email"], "alice@example.com");
    for round in 1..=2 {
        for (browser, name) in [(&alice, "alice"), (&bob, "bob")] {
            let calls = (0..50).map(|_| who(&house, browser));
            let told = join_all(calls).await;
            assert!(told.iter().all(|told| told == name), "{round}: {told:?}");
        }
        tokens_end().await;
    }
    // What an API was shown, in the hands of whoever read it there.
    house.call_to("/seen", &alice).send(house.node.addr).await;
    let seen = house.api.last();
    let token = seen.header("authorization").unwrap().to_owned();
    let proof = seen.header("dpop").unwrap().to_owned();
    let bare = token.strip_prefix("DPoP ").unwrap();
    let thief = Call::bare("GET", "/me").header("Host", &provider.addr.to_string());
    for (authorization, proof) in [
        (format!("Bearer {bare}"), None),
        (token.clone(), None),
        (token.clone(), Some(proof)),
    ] {
        let mut call = thief.clone().header("Authorization", &authorization);
        if let Some(proof) = &proof {
            call = call.header("DPoP", proof);
        }
        let refused = call.send(provider.addr).await.status;
        assert!((400..500).contains(&refused), "{authorization} {proof:?}");
    }
    assert_eq!(who(&house, &alice).await, "alice");
}

/// A12, A13, FAPI 2.0: the provider demands pushed and signed requests and keeps to its profile. One word of ours
/// does all of that, and a second one signs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs oidc-provider: tests/providers.sh"]
async fn it_holds_us_to_its_profile() {
    let (pem, jwk) = client_key();
    let mut house = House::new(&[("BFF_CLIENT_KEY", &pem)]);
    for signed in [false, true] {
        let demands = json!({ "fapi": true, "pushed": true, "signed": signed, "nonces": true });
        let mut client = by_key(&jwk);
        client["dpop_bound_access_tokens"] = json!(true);
        client["request_object_signing_alg"] = json!("ES256");
        if !signed {
            client
                .as_object_mut()
                .unwrap()
                .remove("request_object_signing_alg");
        }
        let provider = Certified::start(&house, &demands, &client).await;
        let object = if signed { "signed" } else { "never" };
        let lines = format!(
            "client_key = \"env:BFF_CLIENT_KEY\"\nprofile = \"fapi2\"\nrequest_object = \"{object}\""
        );
        let config = provider.config(&house, &lines, "");
        fits(&house, &config).await;
        house.serve_as(&config).await;
        let mut browser = house.browser();
        let begun = browser.open(&house.login()).await.location().unwrap();
        let shown: Vec<_> = begun.query_pairs().map(|(name, _)| name).collect();
        assert_eq!(shown, ["client_id", "request_uri"]);
        sign_in(&house, &mut browser, "alice", "").await;
        assert_eq!(who(&house, &browser).await, "alice");
        tokens_end().await;
        assert_eq!(who(&house, &browser).await, "alice");
        // A name is good once.
        let again = browser.open(begun.as_str()).await;
        let used = browser.open(begun.as_str()).await;
        assert!(again.status < 400, "{}", again.text());
        drop(used);
        house.node.stop().await;
    }
}

/// A13: signed in the browser's address, where nothing is pushed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs oidc-provider: tests/providers.sh"]
async fn it_reads_a_signed_request() {
    let (pem, jwk) = client_key();
    let mut house = House::new(&[("BFF_CLIENT_KEY", &pem)]);
    let provider = Certified::start(&house, &json!({ "signed": true }), &by_key(&jwk)).await;
    let lines = "client_key = \"env:BFF_CLIENT_KEY\"\nrequest_object = \"signed\"";
    let config = provider.config(&house, lines, "");
    fits(&house, &config).await;
    house.serve_as(&config).await;
    let mut browser = house.browser();
    let begun = browser.open(&house.login()).await.location().unwrap();
    assert!(parameter(&begun, "request").is_some() && parameter(&begun, "state").is_none());
    sign_in(&house, &mut browser, "alice", "").await;
    assert_eq!(who(&house, &browser).await, "alice");
}

/// A15: two APIs and our own token: each for its audience alone, bound to the user's key and to ours.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs oidc-provider: tests/providers.sh"]
async fn it_gives_each_api_its_own_token() {
    const ORDERS: &str = "https://orders.example.com";
    const MAIL: &str = "https://mail.example.com";
    const JOBS: &str = "https://jobs.example.com";
    let mut house = House::new(&[VARIABLE]);
    let allowed = json!({ "resources": [ORDERS, MAIL] });
    let provider = Certified::start(&house, &allowed, &by_secret()).await;
    let routes = [
        (
            "/orders",
            format!("{{ resource = \"{ORDERS}\", scopes = [\"orders:read\"] }}"),
        ),
        (
            "/mail",
            format!("{{ resource = \"{MAIL}\", scopes = [\"mail:read\"] }}"),
        ),
        (
            "/jobs",
            format!("{{ client = {{ resource = \"{JOBS}\", scopes = [\"jobs:run\"] }} }}"),
        ),
    ];
    let api = house.api.url();
    let routes: String = routes
        .map(|(path, token)| {
            format!("[[route]]\npath = \"{path}\"\nupstream = \"{api}\"\ntoken = {token}\n")
        })
        .concat();
    let lines = format!(
        "{SECRET}\ndpop = \"auto\"\nresource = [\"{ORDERS}\", \"{MAIL}\"]\n\
         scopes = [\"openid\", \"offline_access\", \"orders:read\", \"mail:read\"]"
    );
    let config = provider.config(&house, &lines, &routes);
    house.serve_as(&config).await;
    let mut browser = house.browser();
    sign_in(&house, &mut browser, "alice", "").await;
    for _ in 0..2 {
        let mut keys = Vec::new();
        for (path, audience, scope, sub) in [
            ("/orders", ORDERS, "orders:read", "alice"),
            ("/mail", MAIL, "mail:read", "alice"),
            ("/jobs", JOBS, "jobs:run", "app"),
        ] {
            let reply = house.call_to(path, &browser).send(house.node.addr).await;
            assert_eq!(told(&reply), "200 ", "{path}");
            let seen = house.api.last();
            let token = seen.header("authorization").unwrap();
            let token = token.strip_prefix("DPoP ").expect("a bound one");
            let claims = provider.claims(token, audience).await;
            assert_eq!(claims["scope"], scope);
            let whose = claims.get("sub").unwrap_or(&claims["client_id"]);
            assert_eq!(whose, sub, "{claims}");
            let proof = jsonwebtoken::decode_header(seen.header("dpop").unwrap()).unwrap();
            let key = proof.jwk.unwrap();
            let key = key.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
            assert_eq!(claims["cnf"]["jkt"], key.unwrap());
            keys.push(claims["cnf"]["jkt"].clone());
        }
        assert!(keys[0] == keys[1] && keys[0] != keys[2], "{keys:?}");
        tokens_end().await;
    }
}

/// D13, K1: a second login that is as strong as was asked, and the session goes on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs oidc-provider: tests/providers.sh"]
async fn it_signs_in_more_strongly() {
    let mut house = House::new(&[VARIABLE]);
    let provider = Certified::start(&house, &json!({}), &by_secret()).await;
    let pay = "[[route]]\npath = \"/pay\"\nupstream = \"API\"\nrequire = { acr = \"mfa\" }\n";
    let config = provider.config(&house, SECRET, &pay.replace("API", &house.api.url()));
    house.serve_as(&config).await;
    let mut browser = house.browser();
    sign_in(&house, &mut browser, "alice", "").await;
    let refused = house.call_to("/pay", &browser).send(house.node.addr).await;
    assert_eq!(told(&refused), "401 step_up_required");
    let problem = refused.json();
    let link = house.at(problem["login_url"].as_str().unwrap());
    browser
        .visit(&format!("{link}&login_hint=alice&prompt=login"))
        .await;
    let paid = house.call_to("/pay", &browser).send(house.node.addr).await;
    assert_eq!(told(&paid), "200 ", "{}", house.session(&mut browser).await);
    assert_eq!(house.session(&mut browser).await["auth"]["acr"], "mfa");
}
