//! `[session]`: the key ring, the lifetimes and the cookie.

use std::time::Duration;

use crate::config::error::Faults;
use crate::config::file::{CookieTable, SessionTable};
use crate::config::reader::{Field, Written};
use crate::config::resolve::public::Public;
use crate::config::resolve::store;
use crate::config::resolve::{Surroundings, quoted, span, table};
use crate::config::secret_source::{KeyPlace, SecretSource};
use crate::config::words::{Choice as _, Chosen, Store};
use crate::secret::SessionKey;
use crate::session::{CookieSettings, SameSite, SessionSettings};

const IDLE_TIMEOUT: Duration = Duration::from_mins(30);
const MAX_LIFETIME: Duration = Duration::from_hours(8);
const LONG_IDLE: Duration = Duration::from_hours(24);
const LONG_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// `__Host-Http-` and a name that leaves room for the login cookies' suffix.
const LONGEST_NAME: usize = 64;

/// What a site says in `[session]`.
pub(super) fn session(
    field: &Field<SessionTable>,
    public: Option<&Public>,
    faults: &mut Faults,
) -> Option<SessionSettings> {
    let (session, _) = table(field);
    let (idle_timeout, max_lifetime) = lifetimes(&session, faults);
    Some(SessionSettings {
        idle_timeout,
        max_lifetime,
        limit: store::limit(&session, faults),
        cookie: cookie(&session.cookie, public, faults)?,
    })
}

/// `session.keys`.
pub(super) fn key_ring(
    field: &Field<SessionTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Vec<SessionKey>> {
    let (session, place) = table(field);
    let kind = store::kind(&session);
    let purpose = surroundings.purpose;
    if !purpose.needs_secrets() || (purpose.is_without_provider() && kind == Store::Memory) {
        // Nobody should need production's keys for a try or a question on their own machine.
        Some(Vec::new())
    } else {
        if !session.keys.stands() {
            let remedy =
                "write keys = [\"env:BFF_SESSION_KEY\"] and set it to what bff keygen prints";
            // Sessions in memory end with the process, so this store alone can do without.
            if kind == Store::Memory {
                let what = "is missing, so that a restart signs everyone out";
                faults.warn(&place, "session.keys", what, remedy);
            } else {
                let what = "is missing, and what seals sessions that last must last as well";
                faults.refuse(&place, "session.keys", what, remedy);
            }
        }
        keys(&session.keys, surroundings, faults)
    }
}

/// Where the keys come from, in their order.
pub(super) fn key_places(field: &Field<SessionTable>) -> Vec<KeyPlace> {
    let (session, _) = table(field);
    let Some(written) = session.keys.written() else {
        return Vec::new();
    };
    let sources = written.value.iter();
    sources.map(|source| source.value.place()).collect()
}

/// `session.store`, as it is written.
pub(super) fn store_name(field: &Field<SessionTable>) -> &'static str {
    let kind = store::kind(&table(field).0);
    let mut words = Store::words().into_iter();
    words
        .find_map(|(word, known)| (known == kind).then_some(word))
        .unwrap_or_default()
}

/// G7: the first seals, all open.
fn keys(
    field: &Field<Vec<Written<SecretSource>>>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Vec<SessionKey>> {
    let Some(written) = field.written() else {
        return (!field.stands()).then(Vec::new);
    };
    if written.value.is_empty() {
        written.refuse(
            faults,
            "is empty",
            "write [\"env:BFF_SESSION_KEY\"], or leave the key out for a fresh one at each start",
        );
        return None;
    }
    let mut ring: Vec<SessionKey> = Vec::new();
    let mut texts = Vec::new();
    for source in &written.value {
        let Some(text) = source.resolve(surroundings.secrets(), faults) else {
            continue;
        };
        let Some(key) = SessionKey::parse(&text) else {
            source.refuse(
                faults,
                format!("{:?} holds no key of 32 bytes", source.value),
                "put what bff keygen prints there",
            );
            continue;
        };
        if key.is_one_byte() {
            source.warn(
                faults,
                format!(
                    "{:?} holds one byte 32 times, so that anyone can make sessions of their own",
                    source.value
                ),
                "put what bff keygen prints there; bff keygen --rotate says how",
            );
        }
        if texts.contains(&text) {
            source.refuse(
                faults,
                format!(
                    "{:?} holds a key that stands in the list already",
                    source.value
                ),
                "leave it out",
            );
        }
        ring.push(key);
        texts.push(text);
    }
    (ring.len() == written.value.len()).then_some(ring)
}

/// G9: idle within absolute, neither of them zero.
fn lifetimes(session: &SessionTable, faults: &mut Faults) -> (Duration, Duration) {
    let idle = span(&session.idle_timeout, IDLE_TIMEOUT, faults);
    let lifetime = span(&session.max_lifetime, MAX_LIFETIME, faults);
    let shortest = Duration::from_secs(1);
    for field in [&session.idle_timeout, &session.max_lifetime] {
        if let Some(written) = field.written()
            && !written.value.is_zero()
            && written.value < shortest
        {
            written.refuse(faults, "is shorter than a second", "write \"1s\" or more");
        }
    }
    if idle > lifetime {
        // Whichever was written is the one to change.
        if let Some(written) = session.idle_timeout.written() {
            written.refuse(
                faults,
                format!("is longer than session.max_lifetime, {}", quoted(lifetime)),
                format!(
                    "write {} or less, or a longer max_lifetime",
                    quoted(lifetime)
                ),
            );
        } else if let Some(written) = session.max_lifetime.written()
            && !lifetime.is_zero()
        {
            written.refuse(
                faults,
                format!("is shorter than session.idle_timeout, {}", quoted(idle)),
                format!("write idle_timeout = {} too", quoted(lifetime)),
            );
        }
    }
    if let Some(written) = session.idle_timeout.written()
        && idle > LONG_IDLE
    {
        written.warn(
            faults,
            "keeps sessions that nobody used for more than a day",
            format!("write {} or less", quoted(LONG_IDLE)),
        );
    }
    if let Some(written) = session.max_lifetime.written()
        && lifetime > LONG_LIFETIME
    {
        written.warn(
            faults,
            "keeps sessions for more than a week",
            format!("write {} or less", quoted(LONG_LIFETIME)),
        );
    }
    (idle, lifetime)
}

/// G1: what the prefix of the name promises must hold.
fn cookie(
    field: &Field<CookieTable>,
    public: Option<&Public>,
    faults: &mut Faults,
) -> Option<CookieSettings> {
    let (cookie, _) = table(field);
    let public = public?;
    let secure = public.is_https();
    let default = if secure { "__Host-Http-bff" } else { "bff" };
    let (name, former_name) = match cookie.name.written() {
        Some(written) => (cookie_name(written, secure, faults)?, None),
        None if cookie.name.stands() => return None,
        None => {
            let mounted = format!("{default}{}", suffix_of(&public.mount));
            match public.loopback_port() {
                // Two digits at least: bff-1 is a chunk of bff.
                Some(port) => (
                    format!("{mounted}-{port:02}"),
                    public.mount.is_empty().then(|| default.to_owned()),
                ),
                None => (mounted, None),
            }
        }
    };
    Some(CookieSettings {
        name,
        former_name,
        secure,
        same_site: cookie.same_site.or(Chosen(SameSite::Strict)).0,
        persistent: cookie.persistent.or(false),
    })
}

/// What tells the cookie of a site on a path from its neighbours': `.shop` for `/shop`. Without a dash,
/// since the names of chunks, logins and logouts begin with their cookie's and one.
fn suffix_of(mount: &str) -> String {
    mount
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '.'
            }
        })
        .collect()
}

fn cookie_name(written: &Written<String>, secure: bool, faults: &mut Faults) -> Option<String> {
    const PREFIXES: [&str; 4] = ["__Host-Http-", "__Host-", "__Http-", "__Secure-"];
    let name = written.value.as_str();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.bytes().all(token) || name.len() > LONGEST_NAME {
        written.refuse(
            faults,
            format!("is not a cookie's name: {name:?}"),
            format!("write at most {LONGEST_NAME} letters, digits, \"-\" and \"_\", as in \"__Host-Http-bff\""),
        );
        return None;
    }
    let starts_with = |prefix: &&&str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let Some(prefix) = PREFIXES.iter().find(starts_with) else {
        if secure {
            written.warn(
                faults,
                "has no prefix, so that a neighbouring host can set a cookie of this name",
                format!("write \"__Host-Http-{name}\""),
            );
        }
        return Some(name.to_owned());
    };
    if !name.starts_with(prefix) {
        written.refuse(
            faults,
            format!("writes the prefix {prefix} in another case, which browsers match exactly"),
            format!("write it as {prefix}"),
        );
        return None;
    }
    if name.len() == prefix.len() {
        written.refuse(
            faults,
            "is a prefix alone",
            format!("write \"{prefix}bff\""),
        );
        return None;
    }
    if !secure {
        written.refuse(
            faults,
            "has a prefix that browsers refuse without https",
            "write \"bff\" or leave the key out while public_url is http",
        );
        return None;
    }
    if !prefix.starts_with("__Host-") {
        let bare = name.strip_prefix(prefix).unwrap_or(name);
        written.warn(
            faults,
            format!(
                "has the prefix {prefix}, which lets a neighbouring host set a cookie of this name"
            ),
            format!("write \"__Host-Http-{bare}\""),
        );
    }
    Some(name.to_owned())
}
