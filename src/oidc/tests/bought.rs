//! Tokens that are bought without the user: what is asked, what an answer must be, what a failure means.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, SigningKey, Stage};
use crate::oidc::{AssertionAudience, BoughtToken, ClientAuth, TokenRefusal};
use crate::secret::{AccessToken, ClientKey};
use crate::web::token_spec::{ExchangeForm, ExchangeTerms, TokenGrant, TokenSpec};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The grants that buy, in the words of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    Client,
    Exchange,
    OnBehalfOf,
}

const ALL: [Grant; 3] = [Grant::Client, Grant::Exchange, Grant::OnBehalfOf];

impl Grant {
    fn spec(self, requested_token_type: Option<&str>) -> TokenSpec {
        let exchange = |form| {
            TokenGrant::Exchange(ExchangeTerms {
                form,
                requested_token_type: requested_token_type.map(str::to_owned),
                by_client: false,
            })
        };
        let grant = match self {
            Self::Client => TokenGrant::ClientCredentials,
            Self::Exchange => exchange(ExchangeForm::TokenExchange),
            Self::OnBehalfOf => exchange(ExchangeForm::OnBehalfOf),
        };
        let scopes = ["read", "write"].map(str::to_owned).to_vec();
        let resources = vec!["https://api.example.com/".to_owned()];
        TokenSpec::new(grant, resources, Some("api".to_owned()), scopes)
    }
}

impl Stage {
    async fn buy(&self, grant: Grant, spec: &TokenSpec) -> Result<BoughtToken, TokenRefusal> {
        match grant {
            Grant::Client => self.provider.client_token(spec, None).await,
            Grant::Exchange | Grant::OnBehalfOf => {
                let subject = AccessToken::new("at-of-the-user");
                let terms = spec.exchange().unwrap();
                self.provider
                    .exchange(&subject, None, spec, terms, None)
                    .await
            }
        }
    }
}

fn good() -> Value {
    json!({
        "access_token": "at-bought", "token_type": "Bearer", "expires_in": 60,
        "issued_token_type": ACCESS_TOKEN,
    })
}

/// A good answer but for what `change` says; null takes a member away.
fn but(change: &Value) -> Answer {
    let mut body = good();
    let members = body.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    Answer::json(200, &body)
}

fn word(outcome: &Result<BoughtToken, TokenRefusal>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(TokenRefusal::Refused(_)) => "refused",
        Err(TokenRefusal::Unavailable(_)) => "unavailable",
    }
}

/// RFC 6749 §4.4.2, RFC 8693 §2.1, RFC 8707 §2.2: each grant asks for what is written, and for no more.
#[tokio::test]
async fn each_grant_asks_for_what_is_written() {
    let asked_for = [
        ("audience", "api"),
        ("resource", "https://api.example.com/"),
        ("scope", "read write"),
    ];
    let cases = [
        (Grant::Client, vec![("grant_type", "client_credentials")]),
        (
            Grant::Exchange,
            vec![
                (
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ),
                ("subject_token", "at-of-the-user"),
                ("subject_token_type", ACCESS_TOKEN),
            ],
        ),
        (
            Grant::OnBehalfOf,
            vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", "at-of-the-user"),
                ("requested_token_use", "on_behalf_of"),
            ],
        ),
    ];
    for (grant, own) in cases {
        let stage = Stage::set().await;
        stage.fake.answer("/token", but(&json!({})));
        let bought = stage.buy(grant, &grant.spec(None)).await.unwrap();
        assert_eq!(bought.access_token.expose(), "at-bought");
        assert_eq!(bought.expires_in, Some(Duration::from_mins(1)));
        let asked = &stage.fake.asked("/token")[0];
        assert_eq!(asked.headers["authorization"], "Basic YXBwOnMzY3JldA==");
        let mut form: Vec<_> = asked.form.iter().collect();
        form.sort();
        let expected = own.into_iter().chain(asked_for);
        let mut expected: Vec<_> = expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        expected.sort();
        let expected: Vec<_> = expected.iter().map(|(name, value)| (name, value)).collect();
        assert_eq!(form, expected, "{grant:?}");
    }
}

/// C8, L5: what a login and a refresh know to be a fault is one for every token that is bought, and none of
/// them is a refusal of what was asked for.
#[tokio::test]
async fn a_faulty_answer_is_an_outage() {
    let body = |kind, body: &'static str| Answer::Body(200, kind, body.into());
    let status = |status| Answer::json(status, &good());
    let cases = [
        ("no token type", but(&json!({"token_type": null}))),
        ("a token type of nothing", but(&json!({"token_type": ""}))),
        ("MAC", but(&json!({"token_type": "mac"}))),
        ("DPoP, unasked", but(&json!({"token_type": "DPoP"}))),
        ("no access token at all", but(&json!({"token_type": "N_A"}))),
        (
            "a token type in a list",
            but(&json!({"token_type": ["Bearer"]})),
        ),
        ("no token", but(&json!({"access_token": null}))),
        ("an empty token", but(&json!({"access_token": ""}))),
        ("a number for a token", but(&json!({"access_token": 1}))),
        ("an object for a token", but(&json!({"access_token": {}}))),
        ("no JSON", body("application/json", "access_token=at")),
        ("nothing", body("application/json", "")),
        ("a list", body("application/json", "[]")),
        (
            "more than an object",
            body(
                "application/json",
                r#"{"access_token":"a","token_type":"Bearer"}{}"#,
            ),
        ),
        ("a page", body("text/html", "<p>maintenance")),
        (
            "too large",
            Answer::Body(200, "application/json", vec![b' '; 1024 * 1024 + 1].into()),
        ),
        ("201", status(201)),
        ("204", Answer::Body(204, "application/json", "".into())),
        ("a redirect", Answer::Redirect("/token".to_owned())),
        ("500 with a token in it", status(500)),
    ];
    for (name, answer) in cases {
        for grant in ALL {
            let stage = Stage::set().await;
            stage.fake.answer("/token", answer.clone());
            let outcome = stage.buy(grant, &grant.spec(None)).await;
            assert_eq!(word(&outcome), "unavailable", "{name}, {grant:?}");
            let asked = stage.fake.asked("/token").len();
            assert_eq!(asked, 1, "{name}, {grant:?}: answered, so no retry");
        }
    }
}

/// L5: the provider that says no to what was asked for is told from the one that cannot be asked, or that
/// takes us for nobody: only the first is an answer to the browser.
#[tokio::test]
async fn an_error_is_a_refusal_or_an_outage() {
    let error = |status, error: &str| Answer::json(status, &json!({"error": error}));
    let cases = [
        ("invalid_grant", error(400, "invalid_grant"), "refused"),
        ("invalid_request", error(400, "invalid_request"), "refused"),
        ("invalid_target", error(400, "invalid_target"), "refused"),
        ("invalid_scope", error(400, "invalid_scope"), "refused"),
        ("access_denied", error(403, "access_denied"), "refused"),
        (
            "unauthorized_client",
            error(400, "unauthorized_client"),
            "refused",
        ),
        (
            "unsupported_grant_type",
            error(400, "unsupported_grant_type"),
            "refused",
        ),
        (
            "interaction_required",
            error(400, "interaction_required"),
            "refused",
        ),
        ("a code of its own", error(400, "policy_17"), "refused"),
        (
            "a code that is a number",
            Answer::json(400, &json!({"error": 1})),
            "refused",
        ),
        (
            "the page of a firewall",
            Answer::Body(403, "text/html", "<p>no".into()),
            "refused",
        ),
        (
            "invalid_client",
            error(401, "invalid_client"),
            "unavailable",
        ),
        (
            "invalid_client as 400",
            error(400, "invalid_client"),
            "unavailable",
        ),
        (
            "401 and no code",
            Answer::Body(401, "text/html", "<p>who?".into()),
            "unavailable",
        ),
        ("slow_down", error(400, "slow_down"), "unavailable"),
        ("429", error(429, "invalid_request"), "unavailable"),
        ("408", error(408, ""), "unavailable"),
        ("500", error(500, "invalid_grant"), "unavailable"),
        (
            "502",
            Answer::Body(502, "text/html", "".into()),
            "unavailable",
        ),
        ("503", error(503, "temporarily_unavailable"), "unavailable"),
    ];
    for (name, answer, expected) in cases {
        for grant in ALL {
            let stage = Stage::set().await;
            stage.fake.answer("/token", answer.clone());
            let outcome = stage.buy(grant, &grant.spec(None)).await;
            assert_eq!(word(&outcome), expected, "{name}, {grant:?}");
            assert_eq!(stage.fake.asked("/token").len(), 1, "{name}, {grant:?}");
        }
    }
}

/// C8: what real providers send beside a good token costs nothing.
#[tokio::test]
async fn an_odd_answer_with_a_good_token_is_taken() {
    let text = good().to_string();
    let minute = Some(60);
    let cases = [
        ("plain", but(&json!({})), minute),
        (
            "another case",
            but(&json!({"token_type": "bEARER"})),
            minute,
        ),
        ("no lifetime", but(&json!({"expires_in": null})), None),
        (
            "a lifetime as text",
            but(&json!({"expires_in": "60"})),
            minute,
        ),
        ("half a second", but(&json!({"expires_in": 60.5})), minute),
        (
            "a lifetime before now",
            but(&json!({"expires_in": -1})),
            None,
        ),
        (
            "a lifetime in words",
            but(&json!({"expires_in": "soon"})),
            None,
        ),
        ("none at all", but(&json!({"expires_in": 0})), Some(0)),
        (
            "a refresh token",
            but(&json!({"refresh_token": "rt"})),
            minute,
        ),
        ("an ID token", but(&json!({"id_token": "no.jwt"})), minute),
        (
            "an ID token of a number",
            but(&json!({"id_token": 1})),
            minute,
        ),
        ("less scope", but(&json!({"scope": "read"})), minute),
        ("no scope", but(&json!({"scope": ""})), minute),
        (
            "of another media type",
            Answer::Body(200, "text/plain", text.clone().into()),
            minute,
        ),
        ("of none", Answer::Body(200, "", text.into()), minute),
    ];
    for (name, answer, lifetime) in cases {
        for grant in ALL {
            let stage = Stage::set().await;
            stage.fake.answer("/token", answer.clone());
            let bought = stage.buy(grant, &grant.spec(None)).await.unwrap();
            assert_eq!(bought.access_token.expose(), "at-bought", "{name}");
            let expires_in = bought.expires_in.map(|span| span.as_secs());
            assert_eq!(expires_in, lifetime, "{name}, {grant:?}");
        }
    }
}

/// A16, RFC 8693 §2.2.1: an exchange brings the kind of token that was asked for; where none was, one that an
/// upstream can take. The other grants know no kinds.
#[tokio::test]
async fn an_exchange_brings_the_kind_that_was_asked_for() {
    let saml = "urn:ietf:params:oauth:token-type:saml2";
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    let cases = [
        (None, json!(ACCESS_TOKEN), "ok"),
        (None, json!(JWT), "ok"),
        (None, json!(id_token), "unavailable"),
        (None, json!(saml), "unavailable"),
        (None, json!(null), "unavailable"),
        (None, json!(""), "unavailable"),
        (None, json!(1), "unavailable"),
        (Some(JWT), json!(JWT), "ok"),
        (Some(JWT), json!(ACCESS_TOKEN), "unavailable"),
        (Some(JWT), json!(null), "unavailable"),
        (Some(saml), json!(saml), "ok"),
    ];
    for (requested, issued, expected) in cases {
        let answer = but(&json!({"issued_token_type": issued}));
        for grant in ALL {
            let stage = Stage::set().await;
            stage.fake.answer("/token", answer.clone());
            let outcome = stage.buy(grant, &grant.spec(requested)).await;
            let expected = if grant == Grant::Exchange {
                expected
            } else {
                "ok"
            };
            assert_eq!(
                word(&outcome),
                expected,
                "{requested:?}, {issued}, {grant:?}"
            );
            let asked = &stage.fake.asked("/token")[0];
            let sent = asked.form.get("requested_token_type");
            let sent = sent.map(String::as_str);
            assert_eq!(sent, requested.filter(|_| grant != Grant::Client));
        }
    }
}

/// L6's kin, A10: nothing is spent, so that what may be lost is asked for once more, with a new assertion.
#[tokio::test]
async fn what_is_lost_on_the_way_is_asked_for_once_more() {
    let key = SigningKey::es256("client");
    for grant in ALL {
        let stage = Stage::set_with(|settings| {
            settings.client_auth = ClientAuth::PrivateKeyJwt {
                key: ClientKey::new(key.pem.as_str()),
                key_id: None,
                audience: AssertionAudience::Issuer,
            };
        })
        .await;
        stage.fake.answer("/token", but(&json!({})));
        stage.fake.answer_once("/token", Answer::BreakOff);
        stage.buy(grant, &grant.spec(None)).await.unwrap();
        let asked = stage.fake.asked("/token");
        assert_eq!(asked.len(), 2, "{grant:?}");
        let assertion = |at: usize| &asked[at].form["client_assertion"];
        assert_ne!(assertion(0), assertion(1), "{grant:?}");

        stage.fake.answer("/token", Answer::BreakOff);
        let outcome = stage.buy(grant, &grant.spec(None)).await;
        assert_eq!(word(&outcome), "unavailable", "{grant:?}");
        assert_eq!(stage.fake.asked("/token").len(), 4, "not for ever");
    }
}
