//! What a provider can get wrong: every fault of section D and of the OpenID Foundation's
//! conformance modules for relying parties, as data.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bff::dev::provider::core::Core;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::keys::SigningKey;
use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};

/// What a logout token is about.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// A member is added or replaced.
    Set(Stage, &'static str, Value),
    /// A member is missing.
    Remove(Stage, &'static str),
    /// The whole value is another.
    Replace(Stage, Value),
    /// How an ID token or a logout token is signed.
    Signature(SignatureFault),
    /// What else stands in the key set.
    Keys(KeySetFault),
    /// Several at once.
    All(Vec<Self>),
    /// Fresh keys sign, made between the code and its exchange.
    RotateBeforeSigning,
    /// An OAuth error in place of the answer, with this status.
    Error(Endpoint, u16, &'static str),
    /// An answer that the provider's own code had no part in.
    Answer(Endpoint, u16, &'static str, Vec<u8>),
    /// A redirect in place of the answer.
    Redirect(Endpoint, String),
    /// The answer comes late.
    Late(Endpoint, Duration),
    /// The connection is closed when the request has been read; nothing happened.
    DropUnheard(Endpoint),
    /// The connection is closed when the request has been carried out.
    DropAfterwards(Endpoint),
}

/// How an ID token or a logout token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// One bit is off.
    Broken,
    /// `alg: none`, and nothing after the last dot.
    None,
    /// `alg: NoNe`, which a careless comparison lets through.
    NoneOddCase,
    /// HMAC with the published RSA modulus as its key (RFC 8725 §2.1).
    HmacWithPublicKey,
    /// HMAC with the client secret, which was not agreed on.
    HmacWithClientSecret,
    /// Another algorithm than was agreed on, rightly signed.
    Es256,
    /// A key that was never published, under the `kid` of one that was.
    Stranger,
    /// A key that was never published, which the header brings along (`jwk`).
    StrangerInHeader,
    /// A key that was never published, under a `kid` of its own.
    UnknownKid,
    /// No `kid`.
    NoKid,
    /// A header that may not be ignored: `crit`.
    Critical,
    /// `b64: false` (RFC 7797).
    UnencodedPayload,
}

/// What the key set holds beside, or in place of, the right keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySetFault {
    /// One RSA key alone, with no `kid`: the single-key conformance module.
    OneWithoutKid,
    /// Three RSA, P-256, secp256k1 and OKP keys, none with a `kid`, the right one among them.
    ManyWithoutKid,
    /// Keys for encryption, of unknown types and curves, broken ones, and one that stands twice.
    Junk,
    /// An `oct` key under the right `kid`.
    SymmetricTwin,
    /// An RSA key of 1024 bits in place of the right one.
    ShortRsa,
    /// No key at all.
    Empty,
    /// Every key is called [`SAME_KID`], whichever it is.
    SameKids,
    /// What a JSON library writes for the members that a key does not have.
    NullMembers,
}

/// What keys are called whose provider names all of them alike.
pub(crate) const SAME_KID: &str = "the-key";

impl Fault {
    /// Sets a claim of a login's ID token.
    pub(crate) fn claim(name: &'static str, value: impl Into<Value>) -> Self {
        Self::Set(Stage::IdTokenClaims, name, value.into())
    }

    /// Leaves out a claim of a login's ID token.
    pub(crate) const fn no_claim(name: &'static str) -> Self {
        Self::Remove(Stage::IdTokenClaims, name)
    }

    /// Sets a claim of a logout token.
    pub(crate) fn logout_claim(name: &'static str, value: impl Into<Value>) -> Self {
        Self::Set(Stage::LogoutTokenClaims, name, value.into())
    }

    /// Leaves out a claim of a logout token.
    pub(crate) const fn no_logout_claim(name: &'static str) -> Self {
        Self::Remove(Stage::LogoutTokenClaims, name)
    }

    /// Sets a member of the answer to a code.
    pub(crate) fn token(name: &'static str, value: impl Into<Value>) -> Self {
        Self::Set(Stage::TokenResponse, name, value.into())
    }

    /// Leaves out a member of the answer to a code.
    pub(crate) const fn no_token(name: &'static str) -> Self {
        Self::Remove(Stage::TokenResponse, name)
    }

    /// Section D of the requirements for a login's ID token, each with its rule: a relying
    /// party has to refuse every one of them.
    ///
    /// `now` is the provider's time in Unix seconds.
    pub(crate) fn bad_id_tokens(now: i64) -> Vec<(&'static str, Self)> {
        use SignatureFault as Signed;
        let header = |name, value| Self::Set(Stage::IdTokenHeader, name, value);
        vec![
            ("D1 alg none", Self::Signature(Signed::None)),
            ("D1 alg NoNe", Self::Signature(Signed::NoneOddCase)),
            ("D1 another alg", Self::Signature(Signed::Es256)),
            ("D2 a broken signature", Self::Signature(Signed::Broken)),
            ("D2 a stranger's key", Self::Signature(Signed::Stranger)),
            (
                "D3 HMAC, public key",
                Self::Signature(Signed::HmacWithPublicKey),
            ),
            (
                "D3 HMAC, secret",
                Self::Signature(Signed::HmacWithClientSecret),
            ),
            (
                "D4 jwk in the header",
                Self::Signature(Signed::StrangerInHeader),
            ),
            ("D4 crit", Self::Signature(Signed::Critical)),
            ("D4 b64 false", Self::Signature(Signed::UnencodedPayload)),
            ("D5 typ at+jwt", header("typ", json!("at+jwt"))),
            ("D5 typ logout+jwt", header("typ", json!("logout+jwt"))),
            ("D5 events", Self::claim("events", json!({}))),
            ("D6 another iss", Self::claim("iss", "https://evil.example")),
            ("D6 no iss", Self::no_claim("iss")),
            (
                "D6 iss a list",
                Self::claim("iss", json!(["https://evil.example"])),
            ),
            ("D7 another aud", Self::claim("aud", "somebody-else")),
            ("D7 no aud", Self::no_claim("aud")),
            ("D7 an empty aud", Self::claim("aud", json!([]))),
            (
                "D7 a second aud",
                Self::claim("aud", json!([super::idp::CLIENT_ID, "other"])),
            ),
            ("D8 another azp", Self::claim("azp", "somebody-else")),
            ("D9 no exp", Self::no_claim("exp")),
            ("D9 exp long past", Self::claim("exp", now - 3600)),
            (
                "D9 exp a string",
                Self::claim("exp", (now + 300).to_string()),
            ),
            ("D9 exp huge", Self::claim("exp", json!(1e300))),
            ("D9 exp negative", Self::claim("exp", -1)),
            ("D6 iss null", Self::claim("iss", Value::Null)),
            ("D7 aud null", Self::claim("aud", Value::Null)),
            ("D9 exp null", Self::claim("exp", Value::Null)),
            ("D9 iat null", Self::claim("iat", Value::Null)),
            ("D11 sub null", Self::claim("sub", Value::Null)),
            ("D9 no iat", Self::no_claim("iat")),
            ("D9 iat in the future", Self::claim("iat", now + 3600)),
            ("D9 iat a bool", Self::claim("iat", true)),
            ("D9 nbf in the future", Self::claim("nbf", now + 3600)),
            ("D9 nbf a string", Self::claim("nbf", "soon")),
            ("D10 no nonce", Self::no_claim("nonce")),
            (
                "D10 another nonce",
                Self::claim("nonce", "not-the-one-that-was-sent"),
            ),
            ("D11 no sub", Self::no_claim("sub")),
            ("D11 an empty sub", Self::claim("sub", "")),
            ("D11 sub a number", Self::claim("sub", 7)),
            ("D11 an endless sub", Self::claim("sub", "s".repeat(256))),
            (
                "D12 another at_hash",
                Self::claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
            ),
            ("D14 keys gone", Self::Keys(KeySetFault::Empty)),
            ("D15 an unknown kid", Self::Signature(Signed::UnknownKid)),
            ("D17 a short RSA key", Self::Keys(KeySetFault::ShortRsa)),
            ("C10 no ID token", Self::no_token("id_token")),
            ("C10 ID token garbage", Self::token("id_token", "a.b.c")),
        ]
    }

    /// What a relying party has to take, odd as it looks.
    pub(crate) fn odd_but_valid() -> Vec<(&'static str, Self)> {
        let client = super::idp::CLIENT_ID;
        vec![
            (
                "D5 typ jwt",
                Self::Set(Stage::IdTokenHeader, "typ", json!("jwt")),
            ),
            ("D7 aud as a list", Self::claim("aud", json!([client]))),
            ("D8 azp is us", Self::claim("azp", client)),
            ("D9 iat within the skew", Self::claim("iat", 1_795_251_630)),
            ("D12 no at_hash", Self::no_claim("at_hash")),
            (
                "D14 one key, no kid",
                Self::Keys(KeySetFault::OneWithoutKid),
            ),
            (
                "D14 many keys, no kid",
                Self::Keys(KeySetFault::ManyWithoutKid),
            ),
            ("D15 keys rotated before signing", Self::RotateBeforeSigning),
            ("D17 junk in the key set", Self::Keys(KeySetFault::Junk)),
            ("D17 null in keys", Self::Keys(KeySetFault::NullMembers)),
            ("D5 events null", Self::claim("events", Value::Null)),
            ("D8 azp null", Self::claim("azp", Value::Null)),
            ("D9 nbf null", Self::claim("nbf", Value::Null)),
            ("D12 at_hash null", Self::claim("at_hash", Value::Null)),
            ("D13 auth_time null", Self::claim("auth_time", Value::Null)),
            ("acr null", Self::claim("acr", Value::Null)),
            ("sid null", Self::claim("sid", Value::Null)),
            (
                "D4 a kid that is null",
                Self::Set(Stage::IdTokenHeader, "kid", Value::Null),
            ),
            ("C8 token_type bearer", Self::token("token_type", "bearer")),
            ("C8 token_type BEARER", Self::token("token_type", "BEARER")),
            ("C8 no expires_in", Self::no_token("expires_in")),
            ("C8 expires_in a string", Self::token("expires_in", "300")),
            ("C9 no scope", Self::no_token("scope")),
        ]
    }

    /// What a relying party has to refuse of a token response, whatever the ID token says (C8).
    pub(crate) fn bad_token_responses() -> Vec<(&'static str, Self)> {
        vec![
            ("C8 no access_token", Self::no_token("access_token")),
            ("C8 an empty access_token", Self::token("access_token", "")),
            ("C8 access_token a number", Self::token("access_token", 7)),
            ("C8 no token_type", Self::no_token("token_type")),
            ("C8 token_type DPoP", Self::token("token_type", "DPoP")),
            ("C8 token_type mac", Self::token("token_type", "mac")),
            ("C8 a list", Self::Replace(Stage::TokenResponse, json!([]))),
            (
                "C8 a string",
                Self::Replace(Stage::TokenResponse, json!("token")),
            ),
        ]
    }

    /// What ends a session when it comes with a refresh: an ID token about somebody else, however it
    /// is signed (D18).
    pub(crate) fn refreshed_id_tokens_of_another() -> Vec<(&'static str, Self)> {
        let claim = |name, value| Self::Set(Stage::RefreshedIdTokenClaims, name, json!(value));
        let badly_signed = |fault| Self::All(vec![claim("sub", "mallory"), Self::Signature(fault)]);
        vec![
            ("D18 another iss", claim("iss", "https://evil.example")),
            ("D18 another sub", claim("sub", "mallory")),
            (
                "D18 another sub, a stranger's key",
                badly_signed(SignatureFault::Stranger),
            ),
            (
                "D18 another sub, an unknown key",
                badly_signed(SignatureFault::UnknownKid),
            ),
            (
                "D18 another sub, alg none",
                badly_signed(SignatureFault::None),
            ),
        ]
    }

    /// What costs a refresh its ID token and nothing else (D18).
    pub(crate) fn doubtful_refreshed_id_tokens(now: i64) -> Vec<(&'static str, Self)> {
        let claim = |name, value| Self::Set(Stage::RefreshedIdTokenClaims, name, value);
        vec![
            ("D18 another aud", claim("aud", json!("somebody-else"))),
            ("D18 another azp", claim("azp", json!("somebody-else"))),
            (
                "D18 another auth_time",
                claim("auth_time", json!(now - 86_400)),
            ),
            (
                "D18 another nonce",
                claim("nonce", json!("not-the-one-that-was-sent")),
            ),
            ("D18 an old iat", claim("iat", json!(now - 30))),
            (
                "D18 D9 iat of a fast clock",
                claim("iat", json!(now + 3600)),
            ),
            ("D18 D9 over", claim("exp", json!(now - 3600))),
            (
                "D18 no sub",
                Self::Remove(Stage::RefreshedIdTokenClaims, "sub"),
            ),
            (
                "D18 no iss",
                Self::Remove(Stage::RefreshedIdTokenClaims, "iss"),
            ),
            ("D18 an empty sub", claim("sub", json!(""))),
            ("D18 sub a number", claim("sub", json!(7))),
            (
                "D18 D12 another at_hash",
                claim("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
            ),
            ("D18 D1 alg none", Self::Signature(SignatureFault::None)),
            (
                "D18 D2 a stranger's key",
                Self::Signature(SignatureFault::Stranger),
            ),
            (
                "D18 D15 an unknown key",
                Self::Signature(SignatureFault::UnknownKid),
            ),
        ]
    }

    /// Sections D and E for a logout token, each with its rule: a relying party has to refuse every
    /// one of them.
    ///
    /// `now` is the provider's time in Unix seconds.
    pub(crate) fn bad_logout_tokens(now: i64) -> Vec<(&'static str, Self)> {
        use SignatureFault as Signed;
        let header = |name, value: &str| Self::Set(Stage::LogoutTokenHeader, name, json!(value));
        let (claim, none) = (Self::logout_claim, Self::no_logout_claim);
        let events = |events: Value| Self::logout_claim("events", events);
        vec![
            ("D1 alg none", Self::Signature(Signed::None)),
            ("D1 alg NoNe", Self::Signature(Signed::NoneOddCase)),
            ("D1 another alg", Self::Signature(Signed::Es256)),
            ("D2 a broken signature", Self::Signature(Signed::Broken)),
            ("D2 a stranger's key", Self::Signature(Signed::Stranger)),
            (
                "D3 HMAC, public key",
                Self::Signature(Signed::HmacWithPublicKey),
            ),
            (
                "D3 HMAC, secret",
                Self::Signature(Signed::HmacWithClientSecret),
            ),
            (
                "D4 jwk in the header",
                Self::Signature(Signed::StrangerInHeader),
            ),
            ("D4 crit", Self::Signature(Signed::Critical)),
            ("D4 b64 false", Self::Signature(Signed::UnencodedPayload)),
            (
                "D6 another iss",
                claim("iss", "https://evil.example".into()),
            ),
            ("D6 no iss", none("iss")),
            ("D7 another aud", claim("aud", "somebody-else".into())),
            ("D7 no aud", none("aud")),
            ("D7 an empty aud", claim("aud", json!([]))),
            (
                "D7 a second aud",
                claim("aud", json!([super::idp::CLIENT_ID, "other"])),
            ),
            ("D9 no exp", none("exp")),
            ("D9 exp long past", claim("exp", json!(now - 3600))),
            ("D9 exp a string", claim("exp", json!("9999999999"))),
            ("D9 exp huge", claim("exp", json!(1e300))),
            ("D9 no iat", none("iat")),
            ("D9 iat in the future", claim("iat", json!(now + 3600))),
            ("D9 iat a string", claim("iat", json!("1"))),
            ("D9 nbf in the future", claim("nbf", json!(now + 3600))),
            (
                "E9 old, though not over",
                Self::All(vec![
                    claim("iat", json!(now - 301)),
                    claim("exp", json!(now + 3600)),
                ]),
            ),
            ("E8 typ at+jwt", header("typ", "at+jwt")),
            ("E8 typ secevent+jwt", header("typ", "secevent+jwt")),
            ("E8 typ empty", header("typ", "")),
            ("E8 no jti", none("jti")),
            ("E8 an empty jti", claim("jti", "".into())),
            ("E8 jti a number", claim("jti", json!(7))),
            ("E8 a nonce", claim("nonce", "n-1".into())),
            ("E8 no events", none("events")),
            ("E8 empty events", events(json!({}))),
            ("E8 events a string", events(json!(LOGOUT_EVENT))),
            ("E8 events a list", events(json!([LOGOUT_EVENT]))),
            ("E8 another event", events(json!({ "urn:other": {} }))),
            (
                "E8 the event is true",
                events(json!({ LOGOUT_EVENT: true })),
            ),
            (
                "E8 the event is null",
                events(json!({ LOGOUT_EVENT: null })),
            ),
            (
                "E8 the event is a list",
                events(json!({ LOGOUT_EVENT: [] })),
            ),
            (
                "E8 neither sub nor sid",
                Self::All(vec![none("sub"), none("sid")]),
            ),
            ("E8 sub a number", claim("sub", json!(7))),
            ("E8 an empty sub", claim("sub", "".into())),
            ("E8 sid a number", claim("sid", json!(7))),
            ("E8 an empty sid", claim("sid", "".into())),
            ("D15 an unknown kid", Self::Signature(Signed::UnknownKid)),
        ]
    }

    /// Logout tokens that a relying party has to take, odd as they look (E8).
    pub(crate) fn odd_but_valid_logout_tokens(now: i64) -> Vec<(&'static str, Self)> {
        let header = |name, value: &str| Self::Set(Stage::LogoutTokenHeader, name, json!(value));
        let client = super::idp::CLIENT_ID;
        vec![
            ("no typ", Self::Remove(Stage::LogoutTokenHeader, "typ")),
            ("typ JWT", header("typ", "JWT")),
            ("typ Logout+JWT", header("typ", "Logout+JWT")),
            ("aud as a list", Self::logout_claim("aud", json!([client]))),
            ("azp is us", Self::logout_claim("azp", client)),
            ("sub alone", Self::no_logout_claim("sid")),
            ("sid alone", Self::no_logout_claim("sub")),
            (
                "an unknown claim",
                Self::logout_claim("trace_id", json!({ "a": [1] })),
            ),
            (
                "another event beside",
                Self::logout_claim("events", json!({ LOGOUT_EVENT: {}, "urn:other": 1 })),
            ),
            (
                "words in the event",
                Self::logout_claim("events", json!({ LOGOUT_EVENT: { "why": "x" } })),
            ),
            (
                "a nonce that is null",
                Self::logout_claim("nonce", Value::Null),
            ),
            ("azp that is null", Self::logout_claim("azp", Value::Null)),
            ("nbf that is null", Self::logout_claim("nbf", Value::Null)),
            ("sid that is null", Self::logout_claim("sid", Value::Null)),
            ("iat of a fast clock", Self::logout_claim("iat", now + 30)),
            ("just not old", Self::logout_claim("iat", now - 290)),
            ("exp in a year", Self::logout_claim("exp", now + 31_536_000)),
            ("no kid", Self::Signature(SignatureFault::NoKid)),
        ]
    }

    /// Changes `value` at `stage`; `false` where this fault has no business there.
    pub(super) fn apply(
        &self,
        stage: Stage,
        value: &mut Value,
        core: &Core,
        client_secret: &str,
    ) -> bool {
        match self {
            Self::Set(at, name, new) if *at == stage => {
                if let Some(members) = value.as_object_mut() {
                    members.insert((*name).to_owned(), new.clone());
                }
                true
            }
            Self::Remove(at, name) if *at == stage => {
                if let Some(members) = value.as_object_mut() {
                    members.remove(*name);
                }
                true
            }
            Self::Replace(at, new) if *at == stage => {
                value.clone_from(new);
                true
            }
            Self::All(faults) => {
                let mut applied = false;
                for fault in faults {
                    applied |= fault.apply(stage, value, core, client_secret);
                }
                applied
            }
            Self::Signature(fault) => {
                let member = match stage {
                    Stage::TokenResponse | Stage::RefreshResponse => "id_token",
                    Stage::LogoutToken => "logout_token",
                    _ => return false,
                };
                if let Some(token) = value.get(member).and_then(Value::as_str) {
                    value[member] = json!(fault.sign_again(token, core, client_secret));
                }
                true
            }
            Self::Keys(fault) => match stage {
                Stage::Jwks => {
                    fault.publish(value);
                    true
                }
                Stage::IdTokenHeader | Stage::LogoutTokenHeader => {
                    if fault.hides_kid() {
                        value.as_object_mut().unwrap().remove("kid");
                    }
                    // Not used up: the key set is still to come.
                    false
                }
                _ => false,
            },
            _ => false,
        }
    }
}

impl SignatureFault {
    fn sign_again(self, id_token: &str, core: &Core, client_secret: &str) -> String {
        let mut parts = id_token.split('.').map(str::to_owned);
        let (header, payload, signature) = (
            parts.next().unwrap(),
            parts.next().unwrap(),
            parts.next().unwrap(),
        );
        let claims = decoded(&payload);
        let mut header = decoded(&header);
        let stranger = |header: &Value, kid: &str| {
            let key = SigningKey::rsa(kid).unwrap();
            (key.public_jwk(), key.sign(header, &claims).unwrap())
        };
        let kid = header["kid"].as_str().unwrap_or_default().to_owned();
        match self {
            Self::Broken => {
                let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
                bytes[0] ^= 1;
                format!(
                    "{}.{payload}.{}",
                    encoded(&header),
                    URL_SAFE_NO_PAD.encode(bytes)
                )
            }
            Self::None | Self::NoneOddCase => {
                header["alg"] = json!(if self == Self::None { "none" } else { "NoNe" });
                format!("{}.{payload}.", encoded(&header))
            }
            Self::HmacWithPublicKey | Self::HmacWithClientSecret => {
                header["alg"] = json!("HS256");
                let modulus = core.keys().signing_with("RS256").public_jwk()["n"].clone();
                let key = if self == Self::HmacWithPublicKey {
                    URL_SAFE_NO_PAD.decode(modulus.as_str().unwrap()).unwrap()
                } else {
                    client_secret.as_bytes().to_vec()
                };
                let message = format!("{}.{payload}", encoded(&header));
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
                let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
                format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
            }
            Self::Es256 => {
                let keys = core.keys();
                let key = keys.signing_with("ES256");
                key.sign(&json!({ "alg": "ES256", "kid": key.kid() }), &claims)
                    .unwrap()
            }
            Self::Stranger => stranger(&header, &kid).1,
            Self::StrangerInHeader => {
                let key = SigningKey::rsa(kid).unwrap();
                header["jwk"] = key.public_jwk();
                key.sign(&header, &claims).unwrap()
            }
            Self::UnknownKid => {
                header["kid"] = json!("nobody-has-this-kid");
                stranger(&header, "nobody-has-this-kid").1
            }
            Self::NoKid => {
                header.as_object_mut().unwrap().remove("kid");
                core.keys()
                    .signing_with("RS256")
                    .sign(&header, &claims)
                    .unwrap()
            }
            Self::Critical => {
                header["crit"] = json!(["urn:example:must-know"]);
                header["urn:example:must-know"] = json!(true);
                core.keys()
                    .signing_with("RS256")
                    .sign(&header, &claims)
                    .unwrap()
            }
            Self::UnencodedPayload => {
                header["crit"] = json!(["b64"]);
                header["b64"] = json!(false);
                core.keys()
                    .signing_with("RS256")
                    .sign(&header, &claims)
                    .unwrap()
            }
        }
    }
}

impl KeySetFault {
    /// Whether ID tokens say nothing of their key.
    fn hides_kid(self) -> bool {
        matches!(self, Self::OneWithoutKid | Self::ManyWithoutKid)
    }

    fn publish(self, jwks: &mut Value) {
        let keys = jwks["keys"].as_array_mut().unwrap();
        match self {
            Self::OneWithoutKid => {
                keys.truncate(1);
                without_kid(keys);
            }
            Self::ManyWithoutKid => {
                for _ in 0..2 {
                    keys.insert(0, SigningKey::rsa("other").unwrap().public_jwk());
                    keys.insert(0, SigningKey::p256("other").unwrap().public_jwk());
                }
                let coordinate = || URL_SAFE_NO_PAD.encode([7; 32]);
                for _ in 0..3 {
                    keys.insert(
                        0,
                        json!({ "kty": "EC", "crv": "secp256k1", "use": "sig", "alg": "ES256K",
                                "x": coordinate(), "y": coordinate() }),
                    );
                    keys.insert(
                        0,
                        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                                "x": coordinate() }),
                    );
                }
                without_kid(keys);
            }
            Self::Junk => {
                let twin = keys[0].clone();
                let kid = twin["kid"].clone();
                let junk = [
                    json!(null),
                    json!("a string"),
                    json!({}),
                    json!({ "kty": "XYZ", "kid": "unknown-type" }),
                    json!({ "kty": "EC", "crv": "P-999", "kid": "unknown-curve", "x": "AA", "y": "AA" }),
                    json!({ "kty": "RSA", "kid": "no-numbers" }),
                    json!({ "kty": "RSA", "kid": "bad-numbers", "n": "!!!", "e": "AQAB" }),
                    json!({ "kty": "oct", "kid": "symmetric", "k": "c2VjcmV0" }),
                    json!({ "kty": "RSA", "use": "enc", "kid": kid, "n": twin["n"], "e": "AQAB" }),
                    json!({ "kty": 7, "kid": [] }),
                    twin,
                ];
                for key in junk {
                    keys.insert(0, key);
                }
            }
            Self::SymmetricTwin => {
                let kid = keys[0]["kid"].clone();
                let key = json!({ "kty": "oct", "alg": "HS256", "kid": kid, "k": "c2VjcmV0" });
                keys.insert(0, key);
            }
            Self::ShortRsa => {
                let mut short = vec![0xc3; 128];
                short[127] = 1;
                keys[0]["n"] = json!(URL_SAFE_NO_PAD.encode(short));
            }
            Self::Empty => keys.clear(),
            Self::SameKids => {
                for key in keys {
                    key["kid"] = json!(SAME_KID);
                }
            }
            Self::NullMembers => {
                for key in keys {
                    for name in ["use", "alg", "x5c", "x5t"] {
                        key[name] = Value::Null;
                    }
                    key["key_ops"] = json!([]);
                }
            }
        }
    }
}

fn without_kid(keys: &mut [Value]) {
    for key in keys {
        key.as_object_mut().unwrap().remove("kid");
    }
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
