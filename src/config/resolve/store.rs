//! `session.store` and what goes with it: where sessions are kept.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::error::{Faults, Place};
use crate::config::file::SessionTable;
use crate::config::reader::{Field, Written};
use crate::config::resolve::{Surroundings, count, span, table};
use crate::config::secret_source::AddressSource;
use crate::config::words::{AtMost, Chosen, Store};
use crate::secret::StoreUrl;
#[cfg(feature = "redis")]
use crate::session::store::redis::url::RedisUrl;
use crate::session::store::{Limit, LimitScope, OnLimit};
use crate::session::{StorePlace, StoreSettings};
use crate::web::loopback::is_loopback_host;
use crate::web::regular_file::{self, LARGEST_SECRET};

const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_STALENESS: Duration = Duration::from_secs(1);
const LONG_STALENESS: Duration = Duration::from_mins(1);
/// What one of `session.near_cache` stands for.
const REMEMBERED: u64 = 4 << 10;
/// A few hundred sessions.
const LEAST_MEMORY: u64 = 1 << 20;

/// Which store, in the word of the file.
pub(super) fn kind(session: &SessionTable) -> Store {
    session.store.or(Chosen(Store::Memory)).0
}

/// `session.store`, `store_url` and their like.
pub(super) fn store(
    field: &Field<SessionTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<StoreSettings> {
    let (session, place) = table(field);
    let session = &session;
    let kind = kind(session);
    if kind == Store::Cookie {
        warn_of_no_store(session, faults);
    }
    let url = address(session, kind, &place, surroundings, faults);
    let max_staleness = session.max_staleness.or(MAX_STALENESS);
    if let Some(written) = session.max_staleness.written()
        && written.value > LONG_STALENESS
    {
        written.warn(
            faults,
            "lets a session that was ended elsewhere live on for more than a minute when nodes do not hear each other",
            "write \"60s\" or less",
        );
    }
    let ca = session.store_ca.written().and_then(|written| {
        let path = surroundings.folder.private(written, &written.value);
        if let Err(error) = regular_file::read(&path, LARGEST_SECRET) {
            written.refuse(
                faults,
                format!("names {}, which can't be read ({error})", path.display()),
                "write the path of a PEM file with the roots of the store's certificate",
            );
            return None;
        }
        Some(path)
    });
    Some(StoreSettings {
        place: url?,
        timeout: span(&session.store_timeout, TIMEOUT, faults),
        max_staleness,
        memory: memory(session, kind, faults),
        migrate: session.migrate.or(true),
        ca,
    })
}

/// `session.memory`, or `session.near_cache`, which counted what is remembered of a store elsewhere.
fn memory(session: &SessionTable, kind: Store, faults: &mut Faults) -> Option<u64> {
    let counted = session.near_cache.written().map(|written| {
        let most = 100_000_000;
        let sessions: u64 = count(&session.near_cache, 0, 1, most, faults);
        if session.memory.stands() {
            written.refuse(
                faults,
                "bounds what session.memory bounds too",
                "leave near_cache out",
            );
        }
        sessions * REMEMBERED
    });
    let Some(written) = session.memory.written() else {
        let remembered = counted.filter(|_| kind != Store::Memory);
        return remembered.map(|bytes| bytes.max(LEAST_MEMORY));
    };
    let bytes = written.value.0;
    if bytes < LEAST_MEMORY {
        written.refuse(
            faults,
            "has room for no session",
            "write \"1MiB\" or more: a session takes about 4 KiB",
        );
    }
    Some(bytes)
}

/// What sessions in the cookie cannot do, a sentence each.
fn warn_of_no_store(session: &SessionTable, faults: &mut Faults) {
    let Some(written) = session.store.written() else {
        return;
    };
    for (what, remedy) in [
        (
            "keeps sign-outs and back-channel logouts in mind in this process alone and while it runs, so that a copied cookie may outlive them",
            "choose \"sqlite\", \"redis\" or \"postgres\" where a session that was ended must stay so",
        ),
        (
            "lets no two processes share a refresh: both would spend the refresh token that is good once",
            "run one process, or choose \"redis\" or \"postgres\"",
        ),
        (
            "keeps no list of sessions: /bff/sessions shows those that this process has seen since it started, and the administration none",
            "choose \"sqlite\", \"redis\" or \"postgres\" where all of them must be found",
        ),
    ] {
        written.warn(faults, what, remedy);
    }
}

fn address(
    session: &SessionTable,
    kind: Store,
    place: &Place,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<StorePlace> {
    let example = match kind {
        Store::Memory | Store::Cookie => {
            if let Some(written) = session.store_url.written() {
                written.refuse(
                    faults,
                    "names a store, which session.store does not ask for",
                    "write store = \"redis\", \"postgres\" or \"sqlite\", or leave store_url out",
                );
                return None;
            }
            return Some(if kind == Store::Memory {
                StorePlace::Memory
            } else {
                StorePlace::Cookie
            });
        }
        Store::Sqlite => "\"sqlite:///var/lib/bff/sessions.db\"",
        Store::Redis => "\"redis://localhost:6379\" or \"env:BFF_STORE_URL\"",
        Store::Postgres => "\"postgres://localhost/bff\" or \"env:BFF_STORE_URL\"",
    };
    if !surroundings.purpose.needs_secrets() {
        return Some(StorePlace::Memory);
    }
    let Some(written) = session.store_url.written() else {
        if !session.store_url.stands() {
            faults.refuse(
                place,
                "session.store_url",
                "is missing, and the store is not in this process",
                format!("write store_url = {example}"),
            );
        }
        return None;
    };
    let text = written.resolve(surroundings.secrets(), faults)?;
    match kind {
        Store::Sqlite => file(written, &text, surroundings, faults).map(StorePlace::Sqlite),
        Store::Redis => {
            let fits = scheme(&text).is_some_and(|scheme| {
                let (kind, how) = scheme.split_once('+').unwrap_or((scheme, ""));
                ["redis", "rediss"].contains(&kind) && ["", "cluster", "sentinel"].contains(&how)
            });
            let url = checked(written, &text, fits, example, faults)?;
            #[cfg(feature = "redis")]
            if let Err(error) = RedisUrl::parse(&text) {
                written.refuse(
                    faults,
                    error.to_string(),
                    format!("write one such as {example}"),
                );
                return None;
            }
            let is_verified = text.starts_with("rediss");
            let remedy = "write rediss:// (or rediss+sentinel://, rediss+cluster://), and store_ca for an authority of your own";
            warn_of_cleartext(written, &text, is_verified, remedy, faults);
            Some(StorePlace::Redis(url))
        }
        Store::Postgres => {
            let fits =
                scheme(&text).is_some_and(|scheme| ["postgres", "postgresql"].contains(&scheme));
            let is_verified = text.contains("sslmode=verify-");
            let remedy = "end it with ?sslmode=verify-full";
            warn_of_cleartext(written, &text, is_verified, remedy, faults);
            checked(written, &text, fits, example, faults).map(StorePlace::Postgres)
        }
        Store::Memory | Store::Cookie => None,
    }
}

/// N2: what leaves this machine is encrypted, and goes to whom it is meant for.
fn warn_of_cleartext(
    written: &Written<AddressSource>,
    text: &str,
    is_verified: bool,
    remedy: &str,
    faults: &mut Faults,
) {
    let authority = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?']).next())
        .unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let is_here = hosts.split(',').all(|host| {
        // What stands behind the last colon is a port, unless it belongs to an IPv6 address.
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'));
        is_loopback_host(name.map_or(host, |(name, _)| name))
    });
    if !is_verified && !is_here && !hosts.is_empty() {
        let what = "leads to another machine without a certificate that is verified, so that whoever stands between reads and writes along";
        written.warn(faults, what, remedy);
    }
}

fn scheme(text: &str) -> Option<&str> {
    text.split_once("://").map(|(scheme, _)| scheme)
}

fn checked(
    written: &Written<AddressSource>,
    text: &str,
    fits: bool,
    example: &str,
    faults: &mut Faults,
) -> Option<StoreUrl> {
    if fits {
        return Some(StoreUrl::new(text));
    }
    // What it says instead may be a secret in the wrong place, so it is not repeated.
    written.refuse(
        faults,
        "is no address of the store that session.store names",
        format!("write one such as {example}"),
    );
    None
}

/// `sqlite:///absolute`, `sqlite://relative`, or a plain path.
fn file(
    written: &Written<AddressSource>,
    text: &str,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<PathBuf> {
    let path = match text.split_once("://") {
        Some(("sqlite", path)) => path,
        Some(_) => {
            checked(
                written,
                text,
                false,
                "\"sqlite:///var/lib/bff/sessions.db\"",
                faults,
            )?;
            return None;
        }
        None => text.strip_prefix("sqlite:").unwrap_or(text),
    };
    if path.is_empty() || path.contains([':', '?']) {
        written.refuse(
            faults,
            "names no file",
            "write one such as \"sqlite:///var/lib/bff/sessions.db\": a session store is a file",
        );
        return None;
    }
    Some(surroundings.folder.private(written, path))
}

/// More than anybody has browsers, and few enough to list and to end at once.
const MAX_PER_USER: usize = 64;

/// `session.max_per_user` and `session.on_limit`.
pub(super) fn limit(session: &SessionTable, faults: &mut Faults) -> Option<Limit> {
    let most = most_per_user(session, faults);
    if most.is_none() {
        if let Some(written) = session.on_limit.written() {
            written.refuse(
                faults,
                "says what happens at a limit, and there is none",
                "write a number as max_per_user too, or leave on_limit out",
            );
        }
        if let Some(written) = session.max_per_user_scope.written() {
            written.refuse(
                faults,
                "says what counts against a limit, and there is none",
                "write a number as max_per_user too, or leave max_per_user_scope out",
            );
        }
    }
    Some(Limit {
        most: most?,
        on_limit: session.on_limit.or(Chosen(OnLimit::EndOldest)).0,
        scope: session.max_per_user_scope.or(Chosen(LimitScope::Site)).0,
    })
}

fn most_per_user(session: &SessionTable, faults: &mut Faults) -> Option<usize> {
    let in_cookies = kind(session) == Store::Cookie;
    let Some(written) = session.max_per_user.written() else {
        return (!in_cookies).then_some(MAX_PER_USER);
    };
    let AtMost::Number(number) = written.value else {
        return None;
    };
    if in_cookies {
        written.refuse(
            faults,
            "limits sessions that nobody counts: with store = \"cookie\" they are in the browsers alone",
            "choose another store, or leave max_per_user out",
        );
    }
    let most = 10_000;
    if !(1..=most).contains(&number) {
        written.refuse(
            faults,
            format!("is {number}, out of bounds"),
            format!("write a number from 1 to {most}, or \"none\" to lift the limit"),
        );
    }
    usize::try_from(number).ok()
}
