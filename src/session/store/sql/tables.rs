//! The tables in PostgreSQL.

use super::dialect::SCHEMA_VERSION;

/// Whether we may use the tables in which what is told waits.
pub(super) const MAY_WAIT: &str = "SELECT COALESCE( \
    has_table_privilege(to_regclass('bff_told'), 'SELECT') \
    AND has_table_privilege(to_regclass('bff_told'), 'INSERT') \
    AND has_table_privilege(to_regclass('bff_told'), 'DELETE') \
    AND has_table_privilege(to_regclass('bff_turns'), 'SELECT') \
    AND has_table_privilege(to_regclass('bff_turns'), 'INSERT') \
    AND has_table_privilege(to_regclass('bff_turns'), 'UPDATE'), false)";

/// Where what is told waits, in the order in which it came, and until when it does. Rows come and go, so what is left of them is cleared
/// away early.
macro_rules! told {
    () => {
        "
    CREATE UNLOGGED TABLE bff_told (
        place bigint GENERATED ALWAYS AS IDENTITY,
        line text NOT NULL)
        WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
    CREATE UNLOGGED TABLE bff_turns (name text PRIMARY KEY, expires bigint NOT NULL);"
    };
}

/// Subjects and the provider's ids are found by hash: a B-tree takes no long ones.
pub(super) const SCHEMA: &str = concat!(
    "
    CREATE TABLE bff_schema (version bigint NOT NULL);
    CREATE TABLE bff_sessions (
        hash bytea PRIMARY KEY,
        version bigint NOT NULL,
        subject text NOT NULL,
        provider_sid text,
        name text NOT NULL,
        folded text COLLATE \"C\" NOT NULL,
        created bigint NOT NULL,
        seen bigint NOT NULL,
        expires bigint NOT NULL,
        ends bigint NOT NULL,
        sealed bytea NOT NULL,
        ended bigint,
        forget_at bigint,
        site text COLLATE \"C\",
        issuer text,
        client_id text
    );
    CREATE INDEX bff_sessions_subject ON bff_sessions USING hash (subject) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_sid ON bff_sessions USING hash (provider_sid) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_name ON bff_sessions (folded, hash) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_expires ON bff_sessions (expires, hash) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_forget ON bff_sessions (forget_at) WHERE forget_at IS NOT NULL;
    CREATE TABLE bff_leases (
        name text PRIMARY KEY,
        owner text NOT NULL,
        expires bigint NOT NULL
    );
    CREATE TABLE bff_notes (
        key text PRIMARY KEY,
        value bytea NOT NULL,
        expires bigint NOT NULL
    );
    CREATE INDEX bff_notes_expires ON bff_notes (expires);",
    told!(),
    "
    INSERT INTO bff_schema (version) VALUES (1);"
);

/// What a schema of the release before lacks. A `bff` from then reads and writes past it.
pub(super) const SITES: &str = concat!(
    "
    ALTER TABLE bff_sessions
        ADD COLUMN IF NOT EXISTS site text COLLATE \"C\",
        ADD COLUMN IF NOT EXISTS issuer text,
        ADD COLUMN IF NOT EXISTS client_id text;",
    told!()
);

// The number in the text of the schema.
const _: () = assert!(SCHEMA_VERSION == 1);
