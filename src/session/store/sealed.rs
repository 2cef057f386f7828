//! A session as a row, and back: what a store is given holds no secret that it could read (G5).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::clock::{Randomness, Timestamp};
use crate::secret::{IdToken, LogoutSid};
use crate::session::id::SessionHash;
use crate::session::inherited::Inherited;
use crate::session::record::{Authentication, Details, Facts, NewSession, Session, Times, Tokens};
use crate::session::seal::{FieldReader, FieldWriter, Keys, UnsealError};
use crate::session::store::record_store::Row;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// The form of what is sealed: that of releases before sites, and one that names site and registration.
/// Another number, and these must still be read.
const FORM: i64 = 1;
const FORM_OF_SITES: i64 = 2;

/// The member of [`Details::grant_facts`](crate::session::record::Details) that names the registration
/// in the first form, whose fields are those that releases before sites know: they read past a member
/// that they do not, and keep it.
const REGISTRATION: &str = "registration";

/// What seals the sessions of all sites, and opens them.
#[derive(Debug, Clone)]
pub(in crate::session) struct Sealer {
    keys: Keys,
    inherited: Inherited,
    randomness: Arc<dyn Randomness>,
}

impl Sealer {
    /// Seals by these keys; what names no registration is of the inherited one.
    pub(in crate::session) fn new(
        keys: Keys,
        inherited: Inherited,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        Self {
            keys,
            inherited,
            randomness,
        }
    }

    /// Whether some other key than the first sealed it.
    pub(super) fn is_outdated(&self, sealed: &[u8]) -> bool {
        self.keys.is_outdated_bytes(sealed)
    }

    /// The row of a session with these tokens.
    pub(super) fn row(&self, session: &Session, tokens: &Tokens) -> Row {
        Row {
            facts: session.facts.clone(),
            times: session.times(),
            version: tokens.version,
            sealed: self.contents(session, tokens).into(),
        }
    }

    /// The sealed part of the row of a session with these tokens.
    pub(super) fn contents(&self, session: &Session, tokens: &Tokens) -> Vec<u8> {
        let fields = fields(session, tokens, tokens.id_token.as_deref(), &self.inherited);
        let keys = self.keys.of_site(&session.site);
        keys.seal_bytes(&place(&session.hash), fields.finish(), &*self.randomness)
    }

    /// A row as it is to be read: one that names no registration is of the inherited one.
    pub(super) fn named(&self, mut row: Row) -> Row {
        if row.facts.registration.is_unnamed() {
            row.facts.registration = Registration::clone(&self.inherited.now());
        }
        row
    }

    /// The session of a row.
    ///
    /// # Errors
    ///
    /// The row does not open; see [`UnsealError`].
    pub(super) fn open(&self, row: &Row) -> Result<Arc<Session>, UnsealError> {
        let keys = self.keys.of_site(&row.facts.site);
        let plaintext = keys.open_bytes(&place(&row.facts.hash), &row.sealed)?;
        let session = read(&plaintext, row.facts.hash, &self.inherited);
        let session = session.ok_or(UnsealError::Corrupt)?;
        // Whoever can write to the store could put old contents under a new version.
        if session.new.tokens.version != row.version || session.new.facts.site != row.facts.site {
            return Err(UnsealError::Corrupt);
        }
        let (seen, expires) = (row.times.seen, row.times.expires);
        Ok(Arc::new(session.seen(seen, |ends| expires.min(ends))))
    }
}

/// All of a session, and the moments that bound its life: a store's word is not taken for them. With this
/// ID token or none in the place of its own.
pub(in crate::session) fn fields(
    session: &Session,
    tokens: &Tokens,
    id_token: Option<&IdToken>,
    inherited: &Inherited,
) -> FieldWriter {
    let (facts, details) = (&session.facts, &session.details);
    let registration = &facts.registration;
    // What a node of a release before sites reads, it takes for its own: to it no token may go that is
    // another client's.
    let is_inherited = facts.site.is_main() && *registration == *inherited.now();
    let writer = if is_inherited {
        FieldWriter::default().number(FORM)
    } else {
        FieldWriter::default()
            .number(FORM_OF_SITES)
            .text(facts.site.as_str())
            .text(&registration.issuer)
            .text(&registration.client_id)
    };
    let grant_facts = if is_inherited {
        naming(&details.grant_facts, registration)
    } else {
        details.grant_facts.clone()
    };
    let authentication = &details.authentication;
    let mut writer = writer
        .number(session.created.unix_millis())
        .number(session.ends.unix_millis())
        .text(&details.tag)
        .text(details.logout_sid.in_link())
        .text(&facts.subject)
        .optional_text(facts.provider_sid.as_deref())
        .text(&facts.name)
        .optional_text(details.user_agent.as_deref())
        .text(&details.claims)
        .text(&grant_facts)
        .optional_text(authentication.acr.as_deref())
        .optional_moment(authentication.auth_time)
        .number(i64::try_from(authentication.amr.len()).unwrap_or(i64::MAX));
    for method in &authentication.amr {
        writer = writer.text(method);
    }
    writer.tokens_and_hint(tokens, id_token)
}

/// A session as its contents tell it, of which they do not say when it was last used.
pub(in crate::session) struct Read {
    new: NewSession,
    created: Timestamp,
    ends: Timestamp,
}

impl Read {
    /// The session, last used at `seen`; `expires` says when it ends by that.
    pub(in crate::session) fn seen(
        self,
        seen: Timestamp,
        expires: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Session {
        let times = Times {
            created: self.created,
            seen,
            expires: expires(self.ends),
            ends: self.ends,
        };
        Session::new(self.new, times)
    }
}

/// Reads what [`fields`] wrote.
pub(in crate::session) fn read(
    plaintext: &[u8],
    hash: SessionHash,
    inherited: &Inherited,
) -> Option<Read> {
    let mut reader = FieldReader::new(plaintext);
    let named = match reader.number()? {
        FORM => None,
        FORM_OF_SITES => Some((
            SiteId::new(reader.text()?),
            Registration::new(reader.text()?, reader.text()?),
        )),
        _ => return None,
    };
    let created = Timestamp::from_unix_millis(reader.number()?);
    let ends = Timestamp::from_unix_millis(reader.number()?);
    let (tag, logout_sid) = (reader.text()?, LogoutSid::new(reader.text()?));
    let (subject, provider_sid, name) = (reader.text()?, reader.optional_text()?, reader.text()?);
    let user_agent = reader.optional_text()?;
    let (claims, grant_facts) = (reader.text()?, reader.text()?);
    let inherited = inherited.now();
    let (site, registration) = named.unwrap_or_else(|| {
        // Most are of the inherited one: then all hold one object.
        let other = named_in(grant_facts).filter(|own| *own != *inherited);
        let own = other.unwrap_or_else(|| Registration::clone(&inherited));
        (SiteId::main(), own)
    });
    let new = NewSession {
        facts: Facts {
            hash,
            site,
            registration,
            subject: subject.into(),
            provider_sid: provider_sid.map(Into::into),
            name: name.into(),
        },
        details: Details {
            tag: tag.into(),
            logout_sid,
            user_agent: user_agent.map(Into::into),
            claims: claims.into(),
            grant_facts: grant_facts.into(),
            authentication: Authentication {
                acr: reader.optional_text()?.map(Into::into),
                auth_time: reader.optional_moment()?,
                amr: {
                    let methods = reader.number()?;
                    (0..methods)
                        .map(|_| reader.text().map(Into::into))
                        .collect::<Option<_>>()?
                },
            },
        },
        tokens: reader.tokens()?,
    };
    let read = Read { new, created, ends };
    reader.is_empty().then_some(read)
}

/// The facts of a grant with the registration in them; those that are no object stay as they are.
fn naming(grant_facts: &str, registration: &Registration) -> Box<str> {
    let Ok(mut facts) = serde_json::from_str::<Map<String, Value>>(grant_facts) else {
        return grant_facts.into();
    };
    let named = json!([&*registration.issuer, &*registration.client_id]);
    facts.insert(REGISTRATION.to_owned(), named);
    Value::Object(facts).to_string().into()
}

/// The registration that the facts of a grant name.
fn named_in(grant_facts: &str) -> Option<Registration> {
    let facts: Map<String, Value> = serde_json::from_str(grant_facts).ok()?;
    match facts.get(REGISTRATION)?.as_array()?.as_slice() {
        [issuer, client_id] => Some(Registration::new(issuer.as_str()?, client_id.as_str()?)),
        _ => None,
    }
}

/// What the contents are bound to: moved to another session's place, they do not open.
fn place(hash: &SessionHash) -> String {
    format!("session record {}", hash.to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SeededRandomness, SystemRandomness};
    use crate::secret::SessionKey;
    use crate::session::fixture;
    use std::time::Duration;

    fn hash() -> SessionHash {
        SessionHash::from_slice(&[7; 32]).unwrap()
    }

    fn session(site: &str, registration: &Registration) -> Session {
        let mut new = fixture::new_session(hash(), "alice");
        new.facts.site = SiteId::new(site);
        new.facts.registration = registration.clone();
        new.facts.provider_sid = Some("sid".into());
        new.details.grant_facts = r#"{"iat":1,"iss":"https://id.example.com"}"#.into();
        new.details.authentication.amr = vec!["pwd".into(), "otp".into()];
        let (now, hour) = (Timestamp::from_unix_seconds(1000), Duration::from_hours(1));
        Session::new(new, Times::beginning(now, hour, hour))
    }

    fn sealer() -> Sealer {
        let keys = Keys::of(&SessionKey::random(&SeededRandomness::new(1)));
        Sealer::new(keys, fixture::inherited(), Arc::new(SystemRandomness))
    }

    /// §7: site and registration stand in what is sealed, whatever the row says in the clear.
    #[test]
    fn a_session_comes_back_with_its_site_and_its_registration() {
        let other = Registration::new("https://other", "b");
        let sealer = sealer();
        for (site, registration) in [
            ("", fixture::registration()),
            ("", other.clone()),
            ("shop", fixture::registration()),
            ("shop/acme", other),
        ] {
            let session = session(site, &registration);
            let row = sealer.row(&session, &session.tokens());
            assert_eq!(sealer.open(&row).unwrap().facts, session.facts);
            // Moved to another site's in the clear, it opens nowhere.
            let mut moved = row.clone();
            moved.facts.site = SiteId::new("elsewhere");
            assert_eq!(sealer.open(&moved).unwrap_err(), UnsealError::Corrupt);
            // Another registration in the clear is not believed.
            let mut renamed = row;
            renamed.facts.registration = Registration::unnamed();
            assert_eq!(sealer.open(&renamed).unwrap().facts, session.facts);
        }
    }

    /// §7: 0.2.0 reads what is written of the main site's own registration, and keeps what it does not
    /// know; of any other's it reads nothing, so that no token goes to another client.
    #[test]
    fn the_release_before_reads_what_is_its_own() {
        let inherited = fixture::inherited();
        let own = session("", &fixture::registration());
        let fields = fields(&own, &own.tokens(), None, &inherited);
        let mut reader = FieldReader::new(fields.finish());
        assert_eq!(reader.number(), Some(1));
        assert_eq!(reader.number(), Some(own.created.unix_millis()));
        assert_eq!(reader.number(), Some(own.ends.unix_millis()));
        for text in ["tag", "logout-sid", "alice"] {
            assert_eq!(reader.text(), Some(text));
        }
        assert_eq!(reader.optional_text(), Some(Some("sid")));
        assert_eq!(reader.text(), Some("alice"));
        assert_eq!(reader.optional_text(), Some(None));
        assert_eq!(reader.text(), Some("{}"));
        let facts: Map<String, Value> = serde_json::from_str(reader.text().unwrap()).unwrap();
        assert_eq!(facts["iat"], 1);
        assert_eq!(
            named_in(&Value::Object(facts).to_string()),
            Some(fixture::registration())
        );
        assert_eq!(reader.optional_text(), Some(None));
        assert_eq!(reader.optional_moment(), Some(None));
        assert_eq!(reader.number(), Some(2));
        assert_eq!((reader.text(), reader.text()), (Some("pwd"), Some("otp")));
        assert!(reader.tokens().is_some() && reader.is_empty());
        let other = session("", &Registration::new("https://id.example.com", "other"));
        let fields = super::fields(&other, &other.tokens(), None, &inherited);
        assert_eq!(FieldReader::new(fields.finish()).number(), Some(2));
    }

    /// §7: what 0.2.0 wrote is the main site's and of the registration that it has; what we wrote stays
    /// with its client when the configuration names another.
    #[test]
    fn what_names_no_registration_is_of_the_inherited_one() {
        let own = session("", &fixture::registration());
        let written = fields(&own, &own.tokens(), None, &fixture::inherited());
        let now = Inherited::new(Registration::new("https://new", "new"));
        let read_now = |plaintext: &[u8]| read(plaintext, hash(), &now).unwrap().new.facts;
        assert_eq!(read_now(written.finish()), own.facts);
        let before = own.details.grant_facts.clone();
        let as_of_0_2_0 = written_as_0_2_0(&own, &before);
        let facts = read_now(as_of_0_2_0.finish());
        assert_eq!(
            (facts.site, facts.registration),
            (SiteId::main(), Registration::clone(&now.now()))
        );
    }

    fn written_as_0_2_0(session: &Session, grant_facts: &str) -> FieldWriter {
        let details = &session.details;
        FieldWriter::default()
            .number(1)
            .number(session.created.unix_millis())
            .number(session.ends.unix_millis())
            .text(&details.tag)
            .text(details.logout_sid.in_link())
            .text(&session.subject)
            .optional_text(session.provider_sid.as_deref())
            .text(&session.name)
            .optional_text(None)
            .text(&details.claims)
            .text(grant_facts)
            .optional_text(None)
            .optional_moment(None)
            .number(0)
            .tokens(&session.tokens())
    }
}
