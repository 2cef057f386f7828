//! How the provider stands since the start, as the last look at its metadata and keys found it.
//! What follows from it, whether work should be sent here, is for others to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use crate::oidc::error::{ProviderError, Unavailable};
use crate::oidc::metadata::Metadata;
use crate::telemetry::chain;
use crate::web::outbound::OutboundError;

/// What is known of the provider; the sentences are for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its metadata and keys are here, and the last look found them good.
    Known,
    /// They were found once, and the last look failed.
    KnownOnce(String),
    /// They were never found: it answers, and no login can work with what it says.
    Wrong(String),
    /// They were never found: it does not answer, or says "later".
    Silent(String),
}

/// What the looks found so far.
#[derive(Default)]
pub(super) struct Looks {
    /// Once found, it stays so: an outage is no wrong answer.
    known: AtomicBool,
    failure: ArcSwapOption<Failure>,
}

struct Failure {
    is_answer: bool,
    sentence: String,
}

impl Looks {
    /// Takes down what one look at metadata and keys brought.
    pub(super) fn note(&self, outcome: Result<&Metadata, &ProviderError>) {
        let failure = match outcome {
            Ok(metadata) => no_login_can_work(metadata).map(|sentence| Failure {
                is_answer: true,
                sentence,
            }),
            Err(error) => Some(Failure {
                is_answer: is_answer(error),
                sentence: chain(error),
            }),
        };
        if failure.is_none() {
            self.known.store(true, Ordering::Relaxed);
        }
        self.failure.store(failure.map(Arc::new));
    }

    pub(super) fn standing(&self) -> Standing {
        let failure = self.failure.load();
        let known = self.known.load(Ordering::Relaxed);
        match (&*failure, known) {
            (None, true) => Standing::Known,
            (None, false) => Standing::Silent("it was not asked yet".to_owned()),
            (Some(failure), true) => Standing::KnownOnce(failure.sentence.clone()),
            (Some(failure), false) if failure.is_answer => {
                Standing::Wrong(failure.sentence.clone())
            }
            (Some(failure), false) => Standing::Silent(failure.sentence.clone()),
        }
    }
}

/// Whether the provider said something that will be as wrong in an hour, unlike a timeout or a 503.
fn is_answer(error: &ProviderError) -> bool {
    match error {
        ProviderError::Misbehaved(_) => true,
        ProviderError::Unavailable(unavailable) => match &**unavailable {
            Unavailable::Status { answer, .. } => !answer.says_later(),
            Unavailable::NoAnswer { source, .. } | Unavailable::NoMetadata { source, .. } => {
                matches!(source, OutboundError::TooLarge)
            }
            Unavailable::BadTokenResponse(_)
            | Unavailable::BadPushedResponse
            | Unavailable::KeysThrottled
            | Unavailable::Credential(_) => false,
        },
    }
}

fn no_login_can_work(metadata: &Metadata) -> Option<String> {
    let lacks = metadata.lacks().iter().filter(|lack| lack.prevents_login());
    let lacks: Vec<String> = lacks.map(ToString::to_string).collect();
    (!lacks.is_empty()).then(|| format!("no login can work: {}", lacks.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::error::{Misbehaviour, OtherIssuer};
    use crate::oidc::error_code::ErrorAnswer;
    use crate::oidc::tests::settings;

    const ISSUER: &str = "https://id.example.com";

    fn metadata(scopes: &[&str]) -> Metadata {
        let document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/authorize",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/jwks",
            "response_types_supported": scopes,
        });
        Metadata::parse(&settings(ISSUER), document.as_object().unwrap().clone()).unwrap()
    }

    fn other_issuer() -> OtherIssuer {
        OtherIssuer::new("https://other.example", &settings(ISSUER))
    }

    fn status(status: u16) -> ProviderError {
        let answer = ErrorAnswer { status, code: None };
        let endpoint = "metadata";
        Unavailable::Status { endpoint, answer }.into()
    }

    fn no_answer(source: OutboundError) -> ProviderError {
        let endpoint = "metadata";
        Unavailable::NoAnswer { endpoint, source }.into()
    }

    /// A8: a wrong answer is told from none, until the provider is found; from then on nothing is a
    /// wrong answer, since all that comes is an outage.
    #[test]
    fn a_wrong_answer_is_told_from_an_outage() {
        type Judge = fn(&Standing) -> bool;
        let silent: Judge = |standing| matches!(standing, Standing::Silent(_));
        let wrong: Judge = |standing| matches!(standing, Standing::Wrong(_));
        let other = || Misbehaviour::from(Box::new(other_issuer())).into();
        let timeout = || no_answer(OutboundError::Timeout(std::time::Duration::from_secs(3)));
        let failures: [(&str, ProviderError, Judge); 7] = [
            ("no answer", timeout(), silent),
            ("503", status(503), silent),
            ("429", status(429), silent),
            ("404", status(404), wrong),
            ("403", status(403), wrong),
            ("another issuer", other(), wrong),
            ("too large", no_answer(OutboundError::TooLarge), wrong),
        ];
        for (name, failure, expected) in failures {
            let looks = Looks::default();
            assert!(silent(&looks.standing()), "not asked yet");
            looks.note(Err(&failure));
            assert!(
                expected(&looks.standing()),
                "{name}: {:?}",
                looks.standing()
            );
            looks.note(Ok(&metadata(&["code"])));
            assert_eq!(looks.standing(), Standing::Known, "{name}");
            looks.note(Err(&failure));
            let later = looks.standing();
            assert!(matches!(later, Standing::KnownOnce(_)), "{name}: {later:?}");
        }
        // Found, and no login can work with it.
        let looks = Looks::default();
        looks.note(Ok(&metadata(&["token"])));
        assert!(wrong(&looks.standing()), "{:?}", looks.standing());
    }
}
