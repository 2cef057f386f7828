//! A session as a row, and back: what a store is given holds no secret that it could read (G5).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::clock::{Randomness, Timestamp};
use crate::secret::{IdToken, LogoutSid};
use crate::session::id::SessionHash;
use crate::session::inherited::Inherited;
use crate::session::record::{Authentication, Details, Facts, NewSession, Session, Times};
use crate::session::seal::{FieldReader, FieldWriter, Keys, UnsealError};
use crate::session::store::record_store::Row;
use crate::session::tokens::Tokens;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// The form of what is sealed: that of releases before sites, one that names site and registration, and
/// one that does and holds a set of tokens. Another number, and these must still be read.
const FORM: i64 = 1;
const FORM_OF_SITES: i64 = 2;
const FORM_OF_SETS: i64 = 3;

/// The member of [`Details::grant_facts`](crate::session::record::Details) that names the registration
/// in the first form, whose fields are those that releases before sites know: they read past a member
/// that they do not, and keep it.
const REGISTRATION: &str = "registration";

/// The member there that says when the provider lets go of the refresh token, and of which version of the
/// tokens that is true: releases that do not know it keep it as it is.
const GRANT_ENDS: &str = "grant_ends";

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
        if FieldReader::new(&plaintext).number() > Some(FORM_OF_SETS) {
            return Err(UnsealError::NewerForm);
        }
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
    // Nor what it would send without the proof that belongs to it, or leave out of what it writes.
    let are_plain = tokens.are_plain();
    let named = |form| {
        FieldWriter::default()
            .number(form)
            .text(facts.site.as_str())
            .text(&registration.issuer)
            .text(&registration.client_id)
    };
    let writer = match (are_plain, is_inherited) {
        (true, true) => FieldWriter::default().number(FORM),
        (true, false) => named(FORM_OF_SITES),
        (false, _) => named(FORM_OF_SETS),
    };
    let mut said = Vec::new();
    if are_plain && is_inherited {
        let named = json!([&*registration.issuer, &*registration.client_id]);
        said.push((REGISTRATION, named));
    }
    if let Some(ends) = tokens.grant_ends {
        said.push((GRANT_ENDS, json!([tokens.version, ends.unix_millis()])));
    }
    let grant_facts = saying(&details.grant_facts, said);
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
    let writer = writer.tokens_and_hint(tokens, id_token);
    if are_plain {
        writer
    } else {
        writer.set_of_tokens(tokens)
    }
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
    let form = reader.number()?;
    let named = match form {
        FORM => None,
        FORM_OF_SITES | FORM_OF_SETS => Some((
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
    let grant_ends = end_of_grant_in(grant_facts);
    let mut new = NewSession {
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
    let tokens = &mut new.tokens;
    if form == FORM_OF_SETS {
        reader.set_of_tokens(tokens)?;
    }
    tokens.grant_ends = grant_ends
        .filter(|(version, _)| *version == tokens.version)
        .map(|(_, ends)| ends);
    let read = Read { new, created, ends };
    reader.is_empty().then_some(read)
}

/// The facts of a grant that say this as well; those that are no object stay as they are.
fn saying(grant_facts: &str, said: Vec<(&str, Value)>) -> Box<str> {
    if said.is_empty() {
        return grant_facts.into();
    }
    let Ok(mut facts) = serde_json::from_str::<Map<String, Value>>(grant_facts) else {
        return grant_facts.into();
    };
    let said = said.into_iter();
    facts.extend(said.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(facts).to_string().into()
}

/// Until when the facts of a grant say that it lasts, and by the tokens of which version.
fn end_of_grant_in(grant_facts: &str) -> Option<(u64, Timestamp)> {
    if !grant_facts.contains(GRANT_ENDS) {
        return None;
    }
    let facts: Map<String, Value> = serde_json::from_str(grant_facts).ok()?;
    match facts.get(GRANT_ENDS)?.as_array()?.as_slice() {
        [version, ends] => {
            let ends = Timestamp::from_unix_millis(ends.as_i64()?);
            Some((version.as_u64()?, ends))
        }
        _ => None,
    }
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
    use crate::secret::{AccessToken, ProofKey, SessionKey};
    use crate::session::fixture;
    use crate::session::tokens::Access;
    use crate::web::proof::Prover;
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

    /// A session with a set of tokens comes back whole; one with its own token alone is written as releases
    /// before this one read it; what a later release wrote is nobody's end.
    #[test]
    fn a_set_of_tokens_comes_back() {
        let sealer = sealer();
        let session = session("", &fixture::registration());
        let plain = Arc::clone(&session.tokens());
        let form = |tokens: &Tokens| {
            let fields = fields(&session, tokens, None, &fixture::inherited());
            FieldReader::new(fields.finish()).number()
        };
        assert_eq!(form(&plain), Some(FORM));
        let now = Timestamp::from_unix_seconds(1000);
        let bound = Access::new(1, AccessToken::bound("orders")).unwrap();
        let mut set = plain.with(Some("resource=orders".into()), bound, now);
        set.prover = Some(Arc::new(Prover::of(ProofKey::new(b"key"))));
        set.grant_ends = Some(now + Duration::from_secs(7));
        assert_eq!(form(&set), Some(FORM_OF_SETS));
        let opened = sealer.open(&sealer.row(&session, &set)).unwrap();
        let opened = opened.tokens();
        assert!(opened.are_those_of(&set));
        assert_eq!((opened.own.version, opened.spent), (1, 1));
        let orders = opened.access(Some(&"resource=orders".into())).unwrap();
        assert_eq!(orders.authorization, "DPoP orders");
        assert_eq!(opened.prover.as_ref().unwrap().key().expose(), b"key");
        assert_eq!(opened.grant_ends, set.grant_ends);

        // The end of the grant is told in the first form too, for the tokens that it is true of.
        let mut ending = Tokens::clone(&plain);
        ending.grant_ends = set.grant_ends;
        assert_eq!(form(&ending), Some(FORM));
        let row = sealer.row(&session, &ending);
        assert_eq!(
            sealer.open(&row).unwrap().tokens().grant_ends,
            set.grant_ends
        );

        let newer = FieldWriter::default().number(FORM_OF_SETS + 1);
        let keys = sealer.keys.of_site(&session.site);
        let sealed = keys.seal_bytes(&place(&session.hash), newer.finish(), &SystemRandomness);
        let row = Row {
            sealed: sealed.into(),
            ..row
        };
        assert_eq!(sealer.open(&row).unwrap_err(), UnsealError::NewerForm);
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
