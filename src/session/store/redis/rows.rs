//! A session as fields of a Redis hash.

use super::scripts::Call;
use super::trouble::Trouble;
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::{Facts, Times};
use crate::session::store::record_store::{Lookup, Row, Standing};
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// The fields, in the order in which [`lookup`] takes their values and the script `END` gives them.
pub(super) const FIELDS: [&str; 13] = [
    "version", "created", "seen", "expires", "ends", "subject", "sid", "name", "data", "ended",
    "site", "issuer", "client",
];

/// The fields that [`standing`] and [`expires`] take.
pub(super) const STANDING: [&str; 3] = ["version", "expires", "ended"];

/// The values of a record, as Redis gives them.
pub(super) type Values = Vec<Option<Vec<u8>>>;

/// Appends the fields of a row, each with its value.
pub(super) fn write<'a>(call: Call<'a>, row: &Row) -> Call<'a> {
    let (facts, times) = (&row.facts, &row.times);
    let numbers = [
        ("created", times.created),
        ("seen", times.seen),
        ("expires", times.expires),
        ("ends", times.ends),
    ];
    let texts = [
        ("subject", Some(&*facts.subject)),
        ("name", Some(&*facts.name)),
        ("sid", facts.provider_sid.as_deref()),
        ("site", Some(facts.site.as_str())),
        ("issuer", Some(&*facts.registration.issuer)),
        ("client", Some(&*facts.registration.client_id)),
    ];
    let mut call = call.bytes("version").number(row.version);
    for (field, moment) in numbers {
        call = call.bytes(field).number(moment.unix_millis());
    }
    for (field, text) in texts {
        if let Some(text) = text {
            call = call.bytes(field).bytes(text.as_bytes());
        }
    }
    call.bytes("data").bytes(row.sealed.as_ref())
}

/// What the values of [`FIELDS`] say. Releases before sites write neither site nor registration.
pub(super) fn lookup(hash: &SessionHash, values: Values) -> Result<Lookup, Trouble> {
    let mut values = values.into_iter();
    let mut next = || values.next().flatten();
    let (version, created, seen, expires, ends) = (next(), next(), next(), next(), next());
    let (subject, sid, name, data, ended) = (next(), next(), next(), next(), next());
    let (site, issuer, client) = (next(), next(), next());
    if let Some(reason) = ended {
        return Ok(Lookup::Ended(reason_of(&reason)));
    }
    if version.is_none() {
        return Ok(Lookup::Nothing);
    }
    Ok(Lookup::Row(Row {
        facts: Facts {
            hash: *hash,
            site: match site {
                Some(site) => SiteId::new(&text(Some(site))?),
                None => SiteId::main(),
            },
            registration: match (issuer, client) {
                (Some(issuer), Some(client)) => {
                    Registration::new(&text(Some(issuer))?, &text(Some(client))?)
                }
                _ => Registration::unnamed(),
            },
            subject: text(subject)?,
            provider_sid: sid.map(|sid| text(Some(sid))).transpose()?,
            name: text(name)?,
        },
        times: Times {
            created: time(created)?,
            seen: time(seen)?,
            expires: time(expires)?,
            ends: time(ends)?,
        },
        version: number(version)?,
        sealed: data.ok_or(Trouble::NoRecord)?.into(),
    }))
}

/// What the values of [`STANDING`] say.
pub(super) fn standing(values: &[Option<Vec<u8>>]) -> Result<Standing, Trouble> {
    match values {
        [_, _, Some(reason)] => Ok(Standing::Ended(reason_of(reason))),
        [Some(version), _, None] => Ok(Standing::Live(number(Some(version.clone()))?)),
        _ => Ok(Standing::Nothing),
    }
}

/// Until when a session lives that these values of [`STANDING`] tell of; `None` if it does not.
pub(super) fn expires(values: &[Option<Vec<u8>>]) -> Result<Option<Timestamp>, Trouble> {
    match values {
        [Some(_), Some(expires), None] => Ok(Some(time(Some(expires.clone()))?)),
        _ => Ok(None),
    }
}

/// A moment, as written in milliseconds.
pub(super) fn time(value: Option<Vec<u8>>) -> Result<Timestamp, Trouble> {
    number(value).map(Timestamp::from_unix_millis)
}

/// A reason that a newer version knows and we do not is an end all the same.
pub(super) fn reason_of(text: &[u8]) -> EndReason {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| EndReason::from_u8(text.parse().ok()?))
        .unwrap_or(EndReason::Expired)
}

/// A number, as Redis writes it.
pub(super) fn number<T: std::str::FromStr>(value: Option<Vec<u8>>) -> Result<T, Trouble> {
    text(value)?.parse().map_err(|_| Trouble::NoRecord)
}

fn text(value: Option<Vec<u8>>) -> Result<Box<str>, Trouble> {
    let text = String::from_utf8(value.ok_or(Trouble::NoRecord)?);
    text.map(Into::into).map_err(|_| Trouble::NoRecord)
}
