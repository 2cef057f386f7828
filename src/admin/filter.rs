//! Which sessions a request asks for: the parameters of `/api/sessions`, and the cursor between two
//! pages.
//!
//! A list has up to two parts: those that are found exactly, by subject or provider sid, then those
//! that are found by how their name begins. Each is in the order of the folded names, then of the
//! hashes, so that a cursor stays good while sessions come and go.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::refusal::Refusal;
use crate::session::id::SessionHash;
use crate::session::store::{Cursor, Listed, folded};

/// Characters that a parameter may have.
const LONGEST: usize = 1024;
const USUAL_LIMIT: usize = 50;
const MOST: usize = 200;

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) filter: Filter,
    pub(super) limit: usize,
    /// Where the page before ended.
    pub(super) after: Option<Place>,
}

/// Which sessions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// What a person types: a subject, a provider sid, or the beginning of a name.
    Anything(String),
    /// Exactly this subject.
    Subject(String),
    /// Exactly this session at the provider.
    ProviderSid(String),
    /// The beginning of a name; an empty one is all sessions.
    Name(String),
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind this one of those that are found exactly.
    Exact(Cursor),
    /// Behind this one of those that are found by name.
    Named(Cursor),
    /// Before all that are found by name.
    BeforeNamed,
}

/// What `DELETE /api/sessions` is asked for: whose sessions.
pub(super) fn subject_of(query: &str) -> Result<String, Refusal> {
    let mut parameters = Parameters::read(query, &["subject"])?;
    parameters.take("subject").ok_or_else(|| {
        Refusal::BadRequest(
            "Say whose sessions are to end: subject is missing, and nobody's end without it."
                .to_owned(),
        )
    })
}

impl Asked {
    /// Reads the query of `GET /api/sessions`.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let known = ["q", "subject", "sid", "name", "limit", "cursor"];
        let mut parameters = Parameters::read(query, &known)?;
        let mut filters = [
            parameters.take("q").map(Filter::Anything),
            parameters.take("subject").map(Filter::Subject),
            parameters.take("sid").map(Filter::ProviderSid),
            parameters.take("name").map(Filter::Name),
        ]
        .into_iter()
        .flatten();
        let filter = filters
            .next()
            .unwrap_or_else(|| Filter::Name(String::new()));
        if filters.next().is_some() {
            return Err(Refusal::BadRequest(
                "Give one of q, subject, sid and name.".to_owned(),
            ));
        }
        let limit = match parameters.take("limit") {
            None => USUAL_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| {
                    Refusal::BadRequest(format!("limit must be a number from 1 to {MOST}."))
                })?,
        };
        let after = match parameters.take("cursor") {
            None => None,
            Some(text) => Some(
                Place::read(&text)
                    .filter(|place| filter.has(place))
                    .ok_or(Refusal::BadCursor)?,
            ),
        };
        Ok(Self {
            filter,
            limit,
            after,
        })
    }
}

impl Filter {
    /// What names begin with, folded; `None` where no name is looked at.
    pub(super) fn name_prefix(&self) -> Option<String> {
        match self {
            Self::Anything(text) | Self::Name(text) => Some(folded(text)),
            Self::Subject(_) | Self::ProviderSid(_) => None,
        }
    }

    /// Whether a session is among those found exactly, and so not to be listed by its name again.
    pub(super) fn is_exactly(&self, listed: &Listed) -> bool {
        match self {
            Self::Anything(text) => {
                *listed.subject == **text || listed.provider_sid.as_deref() == Some(text)
            }
            Self::Subject(subject) => *listed.subject == **subject,
            Self::ProviderSid(sid) => listed.provider_sid.as_deref() == Some(sid),
            Self::Name(_) => false,
        }
    }

    /// Whether a place can be one of this list.
    fn has(&self, place: &Place) -> bool {
        match place {
            Place::Exact(_) => !matches!(self, Self::Name(_)),
            Place::Named(cursor) => self
                .name_prefix()
                .is_some_and(|prefix| cursor.name.starts_with(&prefix)),
            Place::BeforeNamed => matches!(self, Self::Anything(_)),
        }
    }
}

impl Place {
    /// The place as clients hand it back.
    pub(super) fn write(&self) -> String {
        let (kind, cursor) = match self {
            Self::Exact(cursor) => (b'e', Some(cursor)),
            Self::Named(cursor) => (b'n', Some(cursor)),
            Self::BeforeNamed => (b'b', None),
        };
        let mut bytes = vec![kind];
        if let Some(cursor) = cursor {
            bytes.extend_from_slice(cursor.hash.as_bytes());
            bytes.extend_from_slice(cursor.name.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (kind, rest) = bytes.split_first()?;
        if *kind == b'b' {
            return rest.is_empty().then_some(Self::BeforeNamed);
        }
        let (hash, name) = rest.split_at_checked(32)?;
        let name = std::str::from_utf8(name).ok()?;
        let cursor = Cursor {
            name: name.into(),
            hash: SessionHash::from_slice(hash)?,
        };
        match kind {
            b'e' => Some(Self::Exact(cursor)),
            b'n' => Some(Self::Named(cursor)),
            _ => None,
        }
    }
}

/// The parameters of a query, each once.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// An empty one counts as none.
    fn read(query: &str, known: &[&str]) -> Result<Self, Refusal> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let refuse = |what: &str| Err(Refusal::BadRequest(format!("{name} {what}.")));
            if !known.contains(&&*name) {
                let known = known.join(", ");
                return Err(Refusal::BadRequest(format!(
                    "A parameter is not known; there are {known}."
                )));
            }
            if parameters.iter().any(|(given, _)| *given == name) {
                return refuse("stands twice");
            }
            // A cursor holds a name in its own letters, of up to four bytes each.
            if name != "cursor" && value.chars().count() > LONGEST {
                return refuse("is too long");
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        parameters.retain(|(_, value)| !value.is_empty());
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(at).1)
    }
}
