//! The statements that every dialect understands.

/// The columns of a row, in the order in which [`to_row`](super::row::to_row) reads them.
macro_rules! columns {
    () => {
        "hash, version, subject, provider_sid, name, created, seen, expires, ends, sealed, \
         site, issuer, client_id"
    };
}
pub(super) use columns;

/// Holds of the rows that are meant, as [`among`](super::row::among) puts them from the third place on: a row of
/// a release before sites names none, and no registration.
macro_rules! among {
    () => {
        "($3 = '' OR issuer = $3 AND ($4 = '' OR client_id = $4) OR issuer IS NULL AND $5 = 1) \
         AND ($6 = 0 OR COALESCE(site, '') = $7 \
             OR $6 = 2 AND site > $7 || '/' AND site < $7 || '0')"
    };
}

pub(super) const INSERT: &str = concat!(
    "INSERT INTO bff_sessions (",
    columns!(),
    ", folded) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ",
    // An insert whose answer got lost comes again, and never in place of the end that came since.
    "ON CONFLICT (hash) DO NOTHING"
);

/// Behind the rows that are meant, `$8` is the row that is not.
pub(super) const LIVE_OF_SUBJECT: &str = concat!(
    "SELECT hash FROM bff_sessions \
     WHERE subject = $1 AND ended IS NULL AND expires > $2 AND hash <> $8 AND ",
    among!(),
    " ORDER BY created, hash"
);

pub(super) const IS_LIVE: &str =
    "SELECT version FROM bff_sessions WHERE hash = $1 AND ended IS NULL";

pub(super) const RESEAL: &str = "UPDATE bff_sessions SET sealed = $3 \
    WHERE hash = $1 AND version = $2 AND ended IS NULL";

pub(super) const SLIDE: &str = "UPDATE bff_sessions SET \
        seen = CASE WHEN seen < $2 THEN $2 ELSE seen END, \
        expires = CASE WHEN expires < $3 THEN $3 ELSE expires END \
    WHERE hash = $1 AND ended IS NULL RETURNING version";

pub(super) const EXPIRED: &str = "SELECT hash FROM bff_sessions \
    WHERE ended IS NULL AND expires <= $1 ORDER BY expires, hash LIMIT $2";

pub(super) const FORGET_NOTES: &str = "DELETE FROM bff_notes WHERE expires <= $1";

/// `$2` is 0, so that the rows that are meant stand where they do elsewhere.
pub(super) const OF_SUBJECT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bff_sessions WHERE subject = $1 AND $2 = 0 AND ended IS NULL AND ",
    among!(),
    " ORDER BY created, hash"
);

pub(super) const OF_PROVIDER_SID: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bff_sessions WHERE provider_sid = $1 AND $2 = 0 AND ended IS NULL AND ",
    among!(),
    " ORDER BY created, hash"
);

pub(super) const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bff_sessions WHERE ended IS NULL AND (folded, hash) > ($1, $2) AND ",
    among!(),
    " AND (' ' || folded LIKE $8 ESCAPE '\\' OR folded LIKE $9 ESCAPE '\\') \
     ORDER BY folded, hash LIMIT $10"
);

pub(super) const LATEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bff_sessions WHERE ended IS NULL AND (seen, hash) < ($1, $2) AND ",
    among!(),
    " ORDER BY seen DESC, hash DESC LIMIT $8"
);

pub(super) const RELEASE: &str = "DELETE FROM bff_leases WHERE name = $1 AND owner = $2";

pub(super) const KEEP: &str = "INSERT INTO bff_notes (key, value, expires) VALUES ($1, $2, $3) \
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires \
    WHERE bff_notes.expires <= $4 RETURNING expires";

pub(super) const PEEK: &str = "SELECT value FROM bff_notes WHERE key = $1 AND expires > $2";

pub(super) const TAKE: &str =
    "DELETE FROM bff_notes WHERE key = $1 AND expires > $2 RETURNING value";
