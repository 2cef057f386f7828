//! The words of which a key takes one: `"drop"`, `"keep"`.

use serde_json::json;

use crate::auth::{AccessDenied, AnonymousAnswer, LogoutHint};
use crate::config::document::{Node, Value};
use crate::config::error::Faults;
use crate::config::reader::{Read, wrong_type};
use crate::oidc::{
    AssertionAudience, Certification, Dpop, IdTokenAlg, Profile, PushedAuthorization,
    RequestObject, ResponseMode,
};
use crate::proxy::path::EncodedSlashes;
use crate::proxy::{CsrfCheck, RouteAuth, SetCookie};
use crate::session::SameSite;
use crate::session::store::{LimitScope, OnLimit};
use crate::telemetry::{LogFormat, SubjectInLog};

pub(super) use crate::config::values::{AtMost, Day, Size};

/// A value of few choices, each one word.
pub(super) trait Choice: Copy + 'static {
    /// The words and what they mean, in the order they are offered.
    fn words() -> Vec<(&'static str, Self)>;
    /// Words that one may expect, why they are refused and what to write.
    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[];
    /// The choices that are numbers in the file.
    const NUMBERS: bool = false;
}

/// A word read as a [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen<T>(pub(super) T);

impl<T: Choice> Read for Chosen<T> {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let all = choices::<T>();
        let text = match &node.value {
            Value::Integer(number) if T::NUMBERS => number.to_string(),
            Value::Text(text) | Value::Untyped(text) => text.clone(),
            _ => {
                wrong_type(node, key, "one of a few words", &all, faults);
                return None;
            }
        };
        if let Some((_, choice)) = T::words().into_iter().find(|(word, _)| *word == text) {
            return Some(Self(choice));
        }
        if let Some((_, what, remedy)) = T::REFUSED.iter().find(|(word, ..)| *word == text) {
            faults.refuse(
                &node.place,
                key,
                format!("is {text:?}, which {what}"),
                *remedy,
            );
        } else {
            faults.refuse(
                &node.place,
                key,
                format!("is {text:?}, which is not a choice"),
                format!("write {all}"),
            );
        }
        None
    }

    fn schema() -> serde_json::Value {
        let words: Vec<serde_json::Value> = T::words()
            .into_iter()
            .map(|(word, _)| match word.parse::<u64>() {
                Ok(number) if T::NUMBERS => number.into(),
                _ => word.into(),
            })
            .collect();
        json!({ "enum": words })
    }
}

/// The choices as a person would list them.
fn choices<T: Choice>() -> String {
    let quoted: Vec<String> = T::words()
        .into_iter()
        .map(|(word, _)| {
            if T::NUMBERS {
                word.to_owned()
            } else {
                format!("{word:?}")
            }
        })
        .collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// `provider.client_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuthMethod {
    SecretBasic,
    SecretPost,
    SecretJwt,
    PrivateKeyJwt,
    Certificate(Certification),
}

impl Choice for ClientAuthMethod {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("client_secret_basic", Self::SecretBasic),
            ("client_secret_post", Self::SecretPost),
            ("client_secret_jwt", Self::SecretJwt),
            ("private_key_jwt", Self::PrivateKeyJwt),
            (
                "tls_client_auth",
                Self::Certificate(Certification::Authority),
            ),
            (
                "self_signed_tls_client_auth",
                Self::Certificate(Certification::SelfSigned),
            ),
        ]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "none",
        "would make this a public client",
        "leave client_auth out and write allow_public_client = true if you must",
    )];
}

impl Choice for AssertionAudience {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("issuer", Self::Issuer),
            ("token_endpoint", Self::TokenEndpoint),
        ]
    }
}

/// `provider.logout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogoutPlace {
    Provider,
    Local,
}

impl Choice for LogoutPlace {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("provider", Self::Provider), ("local", Self::Local)]
    }
}

/// `session.store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Memory,
    Sqlite,
    Redis,
    Postgres,
    Cookie,
}

impl Choice for Store {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("memory", Self::Memory),
            ("sqlite", Self::Sqlite),
            ("redis", Self::Redis),
            ("postgres", Self::Postgres),
            ("cookie", Self::Cookie),
        ]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[
        ("valkey", "is spoken to as Redis", "write \"redis\""),
        (
            "postgresql",
            "is called by its short name",
            "write \"postgres\"",
        ),
    ];
}

impl Choice for EncodedSlashes {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("refuse", Self::Refuse), ("pass", Self::Pass)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "decode",
        "would make two paths of one, for the routes and for the upstream",
        "write \"pass\", which leaves them as they are",
    )];
}

impl Choice for OnLimit {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("end_oldest", Self::EndOldest), ("refuse", Self::Refuse)]
    }
}

impl Choice for LimitScope {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("site", Self::Site), ("issuer", Self::Issuer)]
    }
}

impl Choice for SameSite {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("Strict", Self::Strict), ("Lax", Self::Lax)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "None",
        "would send the session with every site's requests",
        "write \"Strict\", or \"Lax\" if links from other sites must arrive signed in",
    )];
}

impl Choice for ResponseMode {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("query", Self::Query), ("form_post", Self::FormPost)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "fragment",
        "never reaches a server",
        "write \"query\" or \"form_post\"",
    )];
}

impl Choice for Dpop {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("never", Self::Never),
            ("auto", Self::Auto),
            ("always", Self::Always),
        ]
    }
}

impl Choice for PushedAuthorization {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("never", Self::Never),
            ("auto", Self::Auto),
            ("always", Self::Always),
        ]
    }
}

impl Choice for RequestObject {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("never", Self::Never), ("signed", Self::Signed)]
    }
}

impl Choice for Profile {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("plain", Self::Plain), ("fapi2", Self::Fapi2)]
    }
}

impl Choice for LogoutHint {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("id_token", Self::IdToken), ("none", Self::None)]
    }
}

impl Choice for AccessDenied {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("page", Self::Page), ("return_to", Self::ReturnTo)]
    }
}

impl Choice for AnonymousAnswer {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("200", Self::Ok), ("401", Self::Unauthorized)]
    }

    const NUMBERS: bool = true;
}

impl Choice for RouteAuth {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("required", Self::Required),
            ("optional", Self::Optional),
            ("none", Self::None),
        ]
    }
}

impl Choice for CsrfCheck {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("header", Self::Header), ("origin", Self::Origin)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "none",
        "would let any site call this route as the user",
        "write \"origin\" for what cannot send a header, or auth = \"none\"",
    )];
}

impl Choice for SetCookie {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("drop", Self::Drop), ("keep", Self::Keep)]
    }
}

impl Choice for LogFormat {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("text", Self::Text), ("json", Self::Json)]
    }
}

impl Choice for SubjectInLog {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("hash", Self::Hash), ("clear", Self::Clear)]
    }
}

impl Choice for IdTokenAlg {
    fn words() -> Vec<(&'static str, Self)> {
        Self::ALL.map(|(alg, name)| (name, alg)).to_vec()
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[
        ("none", "accepts forged ID tokens", ASYMMETRIC),
        (
            "HS256",
            "would make the client secret a signing key",
            ASYMMETRIC,
        ),
        (
            "HS384",
            "would make the client secret a signing key",
            ASYMMETRIC,
        ),
        (
            "HS512",
            "would make the client secret a signing key",
            ASYMMETRIC,
        ),
    ];
}

const ASYMMETRIC: &str = "write \"RS256\", \"PS256\", \"ES256\" or \"EdDSA\"";
