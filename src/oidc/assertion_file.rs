//! An assertion that others write: a JWT in a file that Kubernetes, SPIFFE or a cloud renews (RFC 7523
//! §2.2). It is read before each use, and the one before it is good for as long as it says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::web::regular_file;

/// Larger than any JWT that a server takes.
const LARGEST: u64 = 64 * 1024;

/// Why a file gives no assertion; continues the key that named it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionFault {
    /// It is not there, or not ours to read.
    #[error("names {}, which can't be read ({reason})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// There is nothing in it.
    #[error("names {}, which is empty", .0.display())]
    Empty(PathBuf),
    /// No JWT, or one without an end, which no server may take (RFC 7523 §3).
    #[error("names {}, which holds no JWT with an end (`exp`)", .0.display())]
    NoJwt(PathBuf),
    /// Its end has passed.
    #[error("names {}, whose JWT ended at {ended:?} and was not renewed", path.display())]
    Stale {
        /// The file.
        path: PathBuf,
        /// When it ended.
        ended: Timestamp,
    },
}

/// Whether the file at `path` gives an assertion, for those who check a configuration. Blocking.
///
/// # Errors
///
/// Why not.
pub fn check_assertion_file(path: &Path, now: Timestamp) -> Result<(), AssertionFault> {
    Assertion::read(path, now).map(drop)
}

/// A JWT that is good now.
pub(super) struct Assertion {
    text: Zeroizing<String>,
    ends: Timestamp,
}

impl Assertion {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn read(path: &Path, now: Timestamp) -> Result<Self, AssertionFault> {
        let read = regular_file::read_text(path, LARGEST);
        let read = read.map_err(|error| AssertionFault::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let read = Zeroizing::new(read);
        let text = Zeroizing::new(read.trim().to_owned());
        if text.is_empty() {
            return Err(AssertionFault::Empty(path.to_owned()));
        }
        let ends = end(&text).ok_or_else(|| AssertionFault::NoJwt(path.to_owned()))?;
        if ends <= now {
            return Err(AssertionFault::Stale {
                path: path.to_owned(),
                ended: ends,
            });
        }
        Ok(Self { text, ends })
    }
}

/// When a JWT says that it ends. Whether it is signed is for the provider to judge.
fn end(jwt: &str) -> Option<Timestamp> {
    let mut parts = jwt.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    let exp = claims.get("exp")?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let exp = exp as i64;
    Some(Timestamp::from_unix_seconds(exp))
}

/// The file, and what was last good in it.
pub(super) struct AssertionFile {
    path: PathBuf,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    good: Option<Arc<Assertion>>,
    /// What was told of the file since.
    told: Option<AssertionFault>,
}

impl AssertionFile {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            last: Mutex::default(),
        }
    }

    /// What the file holds now, or held while that is good. Blocking.
    pub(super) fn look(&self, now: Timestamp) -> Result<Looked, AssertionFault> {
        let read = Assertion::read(&self.path, now);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = match read {
            Ok(read) => {
                let assertion = Arc::new(read);
                *last = Last {
                    good: Some(Arc::clone(&assertion)),
                    told: None,
                };
                let news = None;
                return Ok(Looked { assertion, news });
            }
            Err(fault) => fault,
        };
        let kept = last.good.as_ref().filter(|good| good.ends > now);
        let Some(assertion) = kept.map(Arc::clone) else {
            return Err(fault);
        };
        let news = (last.told.as_ref() != Some(&fault)).then(|| fault.clone());
        last.told = Some(fault);
        Ok(Looked { assertion, news })
    }
}

/// The assertion that is good now.
pub(super) struct Looked {
    pub(super) assertion: Arc<Assertion>,
    /// Why it is not what the file holds, where that was not told yet.
    pub(super) news: Option<AssertionFault>,
}

impl Looked {
    /// The assertion, with the news told.
    pub(super) fn told(self) -> Arc<Assertion> {
        if let Some(fault) = self.news {
            tracing::error!(
                event = "provider.client_assertion",
                error = %fault,
                good_until = self.assertion.ends.rfc3339(),
                "provider.client_assertion_file is at fault; what it held before is used until it ends"
            );
        }
        self.assertion
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_251_600);

    fn jwt(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims))
    }

    fn ending(seconds: i64) -> String {
        jwt(&json!({"sub": "app", "exp": NOW.unix_seconds() + seconds}))
    }

    /// A10: what is no assertion says so in a sentence that names the file.
    #[test]
    fn a_file_without_an_assertion_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assertion");
        let look = || check_assertion_file(&path, NOW).map_err(|fault| fault.to_string());
        let missing = look().unwrap_err();
        assert!(
            missing.contains("assertion, which can't be read (No such"),
            "{missing}"
        );
        for (text, says) in [
            (String::new(), "which is empty"),
            ("\n \n".to_owned(), "which is empty"),
            ("hunter2".to_owned(), "no JWT with an end"),
            (format!("{}.x", ending(60)), "no JWT with an end"),
            (jwt(&json!({"sub": "app"})), "no JWT with an end"),
            (jwt(&json!({"exp": "soon"})), "no JWT with an end"),
            (jwt(&json!([])), "no JWT with an end"),
            (ending(0), "ended at"),
            (ending(-3600), "ended at"),
            (jwt(&json!({"exp": -1e300})), "ended at"),
        ] {
            fs::write(&path, &text).unwrap();
            let fault = look().unwrap_err();
            assert!(fault.contains(says), "{text}: {fault}");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
        for text in [
            ending(1),
            format!("{}\n", ending(60)),
            jwt(&json!({"exp": 1e12 + 0.5})),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(look(), Ok(()), "{text}");
        }
    }

    /// A10: a new assertion is used at once; a fault of the file costs nothing while the old one is good.
    #[test]
    fn the_old_one_is_kept_while_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assertion");
        let file = AssertionFile::new(&path);
        let (first, second) = (ending(60), ending(120));
        fs::write(&path, &first).unwrap();
        assert_eq!(file.look(NOW).unwrap().assertion.text(), first);
        fs::write(&path, format!("{second}\n")).unwrap();
        assert_eq!(file.look(NOW).unwrap().assertion.text(), second);
        for text in ["", "x", &ending(0)] {
            fs::write(&path, text).unwrap();
            assert_eq!(file.look(NOW).unwrap().assertion.text(), second, "{text}");
        }
        fs::remove_file(&path).unwrap();
        let late = NOW + Duration::from_secs(119);
        assert_eq!(file.look(late).unwrap().assertion.text(), second);
        let over = NOW + Duration::from_mins(2);
        assert!(matches!(
            file.look(over),
            Err(AssertionFault::Unreadable { .. })
        ));
        fs::write(&path, &second).unwrap();
        assert!(matches!(file.look(over), Err(AssertionFault::Stale { .. })));
    }
}
