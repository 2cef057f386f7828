//! The few things of a certificate that we read ourselves (RFC 5280 §4.1), as far as DER goes.
//!
//! What is not written as expected is `None`: whether it is a certificate at all is the TLS library's
//! to judge.

use std::iter;

use crate::clock::Timestamp;

/// `subjectAltName` (RFC 5280 §4.2.1.6).
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// From when and until when a certificate is valid (RFC 5280 §4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (validity, _) = from_validity(certificate)?;
        let mut moments = elements(validity).map(|(tag, time)| moment(tag, time));
        Some(Self {
            not_before: moments.next()??,
            not_after: moments.next()??,
        })
    }
}

fn moment(tag: u8, time: &[u8]) -> Option<Timestamp> {
    let digits = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i32 = year.parse().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        0x18 => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let month = time::Month::try_from(pair(0)?).ok()?;
    let moment = time::Date::from_calendar_date(year, month, pair(2)?)
        .ok()?
        .with_hms(pair(4)?, pair(6)?, pair(8)?)
        .ok()?
        .assume_utc();
    Some(Timestamp::from_unix_seconds(moment.unix_timestamp()))
}

/// The names in a certificate's `subjectAltName`, each with its tag.
pub(crate) fn alternative_names(certificate: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    elements(find_alternative_names(certificate).unwrap_or_default())
}

fn find_alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let (_, after_validity) = from_validity(certificate)?;
    // subject and subjectPublicKeyInfo stand before it, and the ids that nobody writes.
    let (_, extensions) = elements(after_validity).find(|(tag, _)| *tag == 0xa3)?;
    let (_, extensions, _) = element(extensions)?;
    elements(extensions).find_map(|(_, extension)| {
        let (_, id, rest) = element(extension)?;
        // `critical` stands between the two, where it is so.
        let (_, value) = elements(rest).last().filter(|_| id == SUBJECT_ALT_NAME)?;
        element(value).map(|(_, names, _)| names)
    })
}

/// The validity of a certificate, and what follows it.
fn from_validity(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    let (tag, _, rest) = element(fields)?;
    if tag == 0xa0 {
        fields = rest; // version [0], which version 1 leaves out
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (_, validity, rest) = element(fields)?;
    Some((validity, rest))
}

/// The DER elements of `bytes`, one after the other, as far as they can be read.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    iter::from_fn(move || {
        let (tag, content, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, content))
    })
}

/// The first DER element of `bytes`: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        length = octets.iter().try_fold(0_usize, |length, &octet| {
            Some(length.checked_mul(256)? + usize::from(octet))
        })?;
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
