//! How rows go into a database, and come out of it again.

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::{Facts, Times};
use crate::session::store::record_store::{Row, Rows, Standing};
use crate::session::store::{At, SiteFilter, folded};
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

use super::dialect::{Cells, Value};

pub(super) fn bytes_of(hash: &SessionHash) -> Value<'_> {
    Value::Bytes(hash.as_bytes())
}

pub(super) fn int(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The bytes of a name that an index takes, which is more than a list shows.
const KEY_BYTES: usize = 256;

/// What the list is sorted by: the folded name, as far as an index takes it. The last character of
/// all stands behind every name that begins with a prefix, and so never in one.
pub(super) fn key(name: &str) -> String {
    let mut key = folded(name).replace(char::MAX, "\u{fffd}");
    key.truncate(key.floor_char_boundary(KEY_BYTES));
    key
}

/// A text as LIKE takes it for itself.
pub(super) fn literally(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal
}

/// The rows that are meant, as `among!` has them: issuer, `client_id`, whether those without one too; and
/// how to take the site, and which. Anything is empty, or 0.
pub(super) fn among(rows: &Rows) -> [Value<'_>; 5] {
    let (issuer, client_id) = match &rows.within.at {
        At::Anywhere => ("", ""),
        At::Issuer(issuer) => (&**issuer, ""),
        At::Client(own) => (&*own.issuer, &*own.client_id),
    };
    let (how, site) = match &rows.within.site {
        None => (0, ""),
        Some(SiteFilter::Only(site)) => (1, site.as_str()),
        Some(SiteFilter::WithTenants(site)) => (2, site.as_str()),
    };
    [
        Value::Text(issuer),
        Value::Text(client_id),
        Value::Int(i64::from(rows.unnamed_too)),
        Value::Int(how),
        Value::Text(site),
    ]
}

pub(super) fn insert_values<'a>(row: &'a Row, folded: &'a str) -> [Value<'a>; ROW_COLUMNS + 1] {
    let (facts, times) = (&row.facts, &row.times);
    let registration = Some(&facts.registration).filter(|own| !own.is_unnamed());
    [
        bytes_of(&facts.hash),
        Value::Int(int(row.version)),
        Value::Text(&facts.subject),
        Value::MaybeText(facts.provider_sid.as_deref()),
        Value::Text(&facts.name),
        Value::Int(times.created.unix_millis()),
        Value::Int(times.seen.unix_millis()),
        Value::Int(times.expires.unix_millis()),
        Value::Int(times.ends.unix_millis()),
        Value::Bytes(&row.sealed),
        Value::Text(facts.site.as_str()),
        Value::MaybeText(registration.map(|own| &*own.issuer)),
        Value::MaybeText(registration.map(|own| &*own.client_id)),
        Value::Text(folded),
    ]
}

pub(super) const ROW_COLUMNS: usize = 13;

pub(super) fn to_row(row: &impl Cells) -> Result<Row, sqlx::Error> {
    let time = |column| {
        let millis = there(row.int(column)?)?;
        Ok::<_, sqlx::Error>(Timestamp::from_unix_millis(millis))
    };
    // Releases before sites leave these columns empty.
    let site = row.text(10)?;
    let registration = match (row.text(11)?, row.text(12)?) {
        (Some(issuer), Some(client_id)) => Registration::new(&issuer, &client_id),
        _ => Registration::unnamed(),
    };
    Ok(Row {
        facts: Facts {
            hash: to_hash(row)?,
            site: site.map_or_else(SiteId::main, |site| SiteId::new(&site)),
            registration,
            subject: there(row.text(2)?)?.into(),
            provider_sid: row.text(3)?.map(Into::into),
            name: there(row.text(4)?)?.into(),
        },
        times: Times {
            created: time(5)?,
            seen: time(6)?,
            expires: time(7)?,
            ends: time(8)?,
        },
        version: to_version(there(row.int(1)?)?)?,
        sealed: there(row.bytes(9)?)?.into(),
    })
}

pub(super) fn to_hash(row: &impl Cells) -> Result<SessionHash, sqlx::Error> {
    SessionHash::from_slice(&there(row.bytes(0)?)?).ok_or_else(|| strange("a hash of other length"))
}

pub(super) fn to_standing(row: &impl Cells) -> Result<Standing, sqlx::Error> {
    Ok(match (row.int(0)?, row.int(1)?) {
        (_, Some(reason)) => Standing::Ended(to_reason(reason)?),
        (Some(version), None) => Standing::Live(to_version(version)?),
        (None, None) => Standing::Nothing,
    })
}

fn to_version(value: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|_| strange("a negative version"))
}

pub(super) fn to_reason(value: i64) -> Result<EndReason, sqlx::Error> {
    u8::try_from(value)
        .ok()
        .and_then(EndReason::from_u8)
        .ok_or_else(|| strange("an unknown reason of an end"))
}

fn there<T>(cell: Option<T>) -> Result<T, sqlx::Error> {
    cell.ok_or_else(|| strange("an empty column"))
}

fn strange(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}
