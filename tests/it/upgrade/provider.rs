//! A provider without a memory: whatever it gives out says itself of whom it is. So one that starts
//! years later knows the code and the refresh token of a session that was put down in a file.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bff::clock::{Clock, SystemRandomness};
use bff::dev::provider::keys::SigningKey;
use bff::dev::provider::parameters::Parameters;
use bff::secret::random_base64url;
use bff::web::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::helper::Helper;
use crate::support::idp::CLIENT_ID;

/// What browsers and tokens call it, wherever it listens.
pub(super) const ISSUER: &str = "https://id.example";

/// The user whose first access token is over at once.
pub(super) const HASTY: &str = "hasty";

/// The user whose access tokens are so long that no cookie holds one.
pub(super) const WORDY: &str = "wordy";

/// The user whose sign-on here has no name.
pub(super) const NAMELESS: &str = "nameless";

/// Seconds that any other access token lives.
pub(super) const ACCESS_TOKEN_SECONDS: u64 = 300;

/// The provider.
#[derive(Debug)]
pub(super) struct Provider {
    house: Arc<House>,
    // Last, so that its thread ends before what it uses.
    helper: Helper,
}

#[derive(Debug)]
struct House {
    key: SigningKey,
    clock: Arc<dyn Clock>,
    /// Codes and refresh tokens that were redeemed.
    used: Mutex<HashSet<String>>,
}

/// A sign-on, as each code and token writes it out.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SignOn {
    sub: String,
    sid: Option<String>,
    auth_time: i64,
    nonce: Option<String>,
    /// No two are alike.
    serial: String,
}

impl Provider {
    pub(super) fn start(clock: Arc<dyn Clock>) -> Self {
        let house = Arc::new(House {
            key: SigningKey::p256(serial()).unwrap(),
            clock,
            used: Mutex::default(),
        });
        let helper = Helper::listen("the provider without a memory", {
            let house = Arc::clone(&house);
            move |stream| serve(Arc::clone(&house), stream)
        });
        Self { house, helper }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.helper.addr()
    }

    /// `provider.internal_url`.
    pub(super) fn internal_url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Who a token is of, and what kind it is; `None` for none of ours.
    pub(super) fn is_of(token: &str) -> Option<(&str, String)> {
        let (kind, sign_on) = read(token)?;
        Some((kind, sign_on.sub))
    }

    /// The provider's name for the sign-on of a token.
    pub(super) fn sid_of(token: &str) -> Option<String> {
        read(token)?.1.sid
    }

    /// A logout token (Back-Channel Logout §2.4).
    pub(super) fn logout_token(&self, sub: Option<&str>, sid: Option<&str>) -> String {
        let now = self.house.clock.now().unix_seconds();
        let mut claims = json!({
            "iss": ISSUER, "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": serial(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        for (name, value) in [("sub", sub), ("sid", sid)] {
            if let Some(value) = value {
                claims[name] = value.into();
            }
        }
        self.house.sign("logout+jwt", &claims)
    }
}

impl House {
    fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        let query = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        match request.uri().path() {
            "/.well-known/openid-configuration" => json_answer(200, &metadata()),
            "/jwks" => json_answer(200, &json!({ "keys": [self.key.public_jwk()] })),
            "/authorize" => self.authorize(&query),
            "/token" => match self.redeem(&Parameters::parse(request.body())) {
                Some(tokens) => json_answer(200, &tokens),
                None => json_answer(400, &json!({ "error": "invalid_grant" })),
            },
            "/revoke" => json_answer(200, &json!({})),
            _ => json_answer(404, &json!({})),
        }
    }

    /// Asks nobody anything: whoever is hinted at signs on, else somebody.
    fn authorize(&self, query: &Parameters) -> Response<Body> {
        let sub = query.value("login_hint").unwrap_or("somebody");
        let sign_on = SignOn {
            sub: sub.to_owned(),
            sid: (sub != NAMELESS).then(serial),
            auth_time: self.clock.now().unix_seconds(),
            nonce: query.value("nonce").map(str::to_owned),
            serial: serial(),
        };
        let mut back = url::Url::parse(query.value("redirect_uri").unwrap()).unwrap();
        back.query_pairs_mut()
            .append_pair("code", &write("code", &sign_on))
            .append_pair("state", query.value("state").unwrap())
            .append_pair("iss", ISSUER);
        Response::builder()
            .status(303)
            .header("location", back.as_str())
            .body(Body::Empty)
            .unwrap()
    }

    /// The tokens for a code or a refresh token, each of which is good once.
    fn redeem(&self, form: &Parameters) -> Option<Value> {
        let (wanted, presented) = match form.value("grant_type")? {
            "authorization_code" => ("code", form.value("code")?),
            _ => ("refresh", form.value("refresh_token")?),
        };
        let (kind, sign_on) = read(presented)?;
        let is_first = self.used.lock().unwrap().insert(presented.to_owned());
        if kind != wanted || !is_first {
            return None;
        }
        let fresh = SignOn {
            nonce: None,
            serial: serial(),
            ..sign_on.clone()
        };
        let mut access_token = write("access", &fresh);
        if sign_on.sub == WORDY {
            access_token = format!("{access_token}.{}", "w".repeat(6000));
        }
        let hasty = kind == "code" && sign_on.sub == HASTY;
        let lifetime = if hasty { 1 } else { ACCESS_TOKEN_SECONDS };
        let id_token = self.id_token(kind, &sign_on, &access_token);
        Some(json!({
            "access_token": access_token,
            "refresh_token": write("refresh", &fresh),
            "id_token": id_token,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": "openid profile email offline_access",
        }))
    }

    /// An ID token; that of a code was issued when the code was, as far as anybody can tell.
    fn id_token(&self, kind: &str, sign_on: &SignOn, access_token: &str) -> String {
        let now = self.clock.now().unix_seconds();
        let issued = if kind == "code" {
            sign_on.auth_time
        } else {
            now
        };
        let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
        let mut claims = json!({
            "iss": ISSUER, "aud": CLIENT_ID, "sub": sign_on.sub,
            "iat": issued, "exp": now + 300, "auth_time": sign_on.auth_time,
            "acr": "urn:example:silver", "amr": ["pwd", "otp"],
            "name": format!("{} Ödegård", sign_on.sub),
            "email": format!("{}@example.com", sign_on.sub),
            "at_hash": URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]),
        });
        let said = [("sid", &sign_on.sid), ("nonce", &sign_on.nonce)];
        for (name, value) in said {
            if let Some(value) = value {
                claims[name] = value.clone().into();
            }
        }
        self.sign("JWT", &claims)
    }

    fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "kid": self.key.kid(), "typ": typ });
        self.key.sign(&header, claims).unwrap()
    }
}

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/jwks"),
        "revocation_endpoint": format!("{ISSUER}/revoke"),
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
    })
}

fn serial() -> String {
    random_base64url::<12>(&SystemRandomness)
}

fn write(kind: &str, sign_on: &SignOn) -> String {
    let written = serde_json::to_vec(sign_on).unwrap();
    format!("{kind}.{}", URL_SAFE_NO_PAD.encode(written))
}

fn read(token: &str) -> Option<(&str, SignOn)> {
    let mut parts = token.split('.');
    let (kind, written) = (parts.next()?, parts.next()?);
    let written = URL_SAFE_NO_PAD.decode(written).ok()?;
    Some((kind, serde_json::from_slice(&written).ok()?))
}

fn json_answer(status: u16, value: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::full(value.to_string().into_bytes()))
        .unwrap()
}

async fn serve(house: Arc<House>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let house = Arc::clone(&house);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(house.answer(&Request::from_parts(parts, body)))
        }
    });
    // However it ended, it did.
    let ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(ended);
}
