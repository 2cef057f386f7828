//! Which sessions a request asks for: the parameters of `/api/sessions`, and the cursor between two
//! pages.
//!
//! A list has up to two parts: those that are found exactly, by subject, provider sid or e-mail
//! address, then those that are found by how a word of their name begins. Each is in the order of the
//! folded names, then of the hashes, so that a cursor stays good while sessions come and go. The list
//! of all can be asked for by last use as well.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::{Cursor, Listed, Recency, SiteFilter, begins_a_word, folded};
use crate::web::site_id::SiteId;

/// Characters that a parameter may have.
const LONGEST: usize = 1024;
const USUAL_LIMIT: usize = 50;
const MOST: usize = 200;

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// At which sites; `None` for all.
    pub(super) site: Option<SiteFilter>,
    pub(super) filter: Filter,
    pub(super) sort: Sort,
    pub(super) limit: usize,
    /// Where the page before ended.
    pub(super) after: Option<Place>,
}

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// By name.
    Name,
    /// Those used last first; of a search, within each page.
    LastSeen,
}

/// Which sessions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// What a person types: a subject, a provider sid, an e-mail address, or the beginning of a word
    /// of a name.
    Anything(String),
    /// Exactly this subject.
    Subject(String),
    /// Exactly this session at the provider.
    ProviderSid(String),
    /// Those of the users who signed in with this e-mail address.
    Email(String),
    /// The beginning of a word of a name; an empty one is all sessions.
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
    /// Behind this one of all by their last use.
    Recent(Recency),
}

/// What `DELETE /api/sessions` is asked for: whose sessions.
#[derive(Debug)]
pub(super) enum Ending {
    /// All of a subject, wherever the site says.
    OfSubject(String, Option<SiteFilter>),
    /// All of a site, or of a tenant.
    OfSite(SiteFilter),
}

impl Ending {
    /// Reads the query of `DELETE /api/sessions`.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        // What somebody's variable left empty must not stand for everybody.
        let is_empty =
            |(name, value): (Cow<'_, str>, Cow<'_, str>)| name == "subject" && value.is_empty();
        if form_urlencoded::parse(query.as_bytes()).any(is_empty) {
            return bad("subject is empty; leave it out to end all sessions of a site.");
        }
        let mut parameters = Parameters::read(query, &["subject", "site", "tenant"])?;
        match (parameters.take("subject"), parameters.take_site()?) {
            (Some(subject), site) => Ok(Self::OfSubject(subject, site)),
            (None, Some(site)) => Ok(Self::OfSite(site)),
            (None, None) => bad(
                "Say whose sessions are to end: subject, site or both are missing, and nobody's end \
                 without.",
            ),
        }
    }
}

impl Asked {
    /// Reads the query of `GET /api/sessions`.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let known = [
            "q", "subject", "sid", "email", "name", "site", "tenant", "sort", "limit", "cursor",
        ];
        let mut parameters = Parameters::read(query, &known)?;
        let site = parameters.take_site()?;
        let mut filters = [
            parameters.take("q").map(Filter::Anything),
            parameters.take("subject").map(Filter::Subject),
            parameters.take("sid").map(Filter::ProviderSid),
            parameters.take("email").map(Filter::Email),
            parameters.take("name").map(Filter::Name),
        ]
        .into_iter()
        .flatten();
        let filter = filters
            .next()
            .unwrap_or_else(|| Filter::Name(String::new()));
        if filters.next().is_some() {
            return bad("Give one of q, subject, sid, email and name.");
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
        let sort = match parameters.take("sort").as_deref() {
            None | Some("name") => Sort::Name,
            Some("last_seen") => Sort::LastSeen,
            Some(_) => return bad("sort must be name or last_seen."),
        };
        let after = match parameters.take("cursor") {
            None => None,
            Some(text) => Some(
                Place::read(&text)
                    .filter(|place| filter.has(place, sort))
                    .ok_or(Refusal::BadCursor)?,
            ),
        };
        Ok(Self {
            site,
            filter,
            sort,
            limit,
            after,
        })
    }
}

impl Filter {
    /// Whether all sessions are meant.
    pub(super) fn is_all(&self) -> bool {
        matches!(self, Self::Name(text) if text.is_empty())
    }

    /// The e-mail address that is looked for, or may be.
    pub(super) fn email(&self) -> Option<&str> {
        match self {
            Self::Email(email) => Some(email),
            Self::Anything(text) => text.contains('@').then_some(text),
            Self::Subject(_) | Self::ProviderSid(_) | Self::Name(_) => None,
        }
    }

    /// What a word of a name begins with, folded; `None` where no name is looked at.
    pub(super) fn name_word(&self) -> Option<String> {
        match self {
            Self::Anything(text) | Self::Name(text) => Some(folded(text)),
            Self::Subject(_) | Self::ProviderSid(_) | Self::Email(_) => None,
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
            Self::Email(_) | Self::Name(_) => false,
        }
    }

    /// Whether a place can be one of this list.
    fn has(&self, place: &Place, sort: Sort) -> bool {
        let by_last_use = self.is_all() && sort == Sort::LastSeen;
        match place {
            Place::Recent(_) => by_last_use,
            _ if by_last_use => false,
            Place::Exact(_) => !matches!(self, Self::Name(_)),
            Place::Named(cursor) => self
                .name_word()
                .is_some_and(|word| begins_a_word(&cursor.name, &word)),
            Place::BeforeNamed => matches!(self, Self::Anything(_)),
        }
    }
}

impl Place {
    /// The place as clients hand it back.
    pub(super) fn write(&self) -> String {
        if let Self::Recent(Recency { at, hash }) = self {
            let mut bytes = vec![b'r'];
            bytes.extend_from_slice(hash.as_bytes());
            bytes.extend_from_slice(&at.unix_millis().to_be_bytes());
            return URL_SAFE_NO_PAD.encode(bytes);
        }
        let (kind, cursor) = match self {
            Self::Exact(cursor) => (b'e', Some(cursor)),
            Self::Named(cursor) => (b'n', Some(cursor)),
            Self::BeforeNamed | Self::Recent(_) => (b'b', None),
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
        if *kind == b'r' {
            return Some(Self::Recent(Recency {
                at: Timestamp::from_unix_millis(i64::from_be_bytes(name.try_into().ok()?)),
                hash: SessionHash::from_slice(hash)?,
            }));
        }
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
    /// An empty one counts as none, but where the name of a site may stand: that of bff.toml is empty,
    /// and a tenant that somebody's variable left empty must not stand for the whole site.
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
        parameters.retain(|(name, value)| {
            matches!(name.as_str(), "site" | "tenant") || !value.is_empty()
        });
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A site with all its tenants, or one tenant.
    fn take_site(&mut self) -> Result<Option<SiteFilter>, Refusal> {
        let (site, tenant) = (self.take("site"), self.take("tenant"));
        let Some(site) = site else {
            return match tenant {
                None => Ok(None),
                Some(_) => bad("tenant says nothing without its site: give both."),
            };
        };
        if site.contains('/') {
            return bad("site is without a tenant: write site=shop&tenant=acme for that of shop.");
        }
        let site = SiteId::new(&site);
        match tenant.as_deref() {
            None => Ok(Some(SiteFilter::WithTenants(site))),
            Some("") => bad("tenant is empty; leave it out for a site with all its tenants."),
            Some(tenant) => Ok(Some(SiteFilter::Only(site.tenant(tenant)))),
        }
    }
}

fn bad<T>(sentence: &str) -> Result<T, Refusal> {
    Err(Refusal::BadRequest(sentence.to_owned()))
}
