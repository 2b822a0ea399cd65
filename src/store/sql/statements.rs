//! The SQL, made once when a store opens. The two dialects differ in three words.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// One statement's text. It is made from the words of this file and a checked table prefix; values are bound.
pub(super) struct Sql(Arc<str>);

impl SqlSafeStr for &Sql {
    fn into_sql_str(self) -> SqlStr {
        AssertSqlSafe(Arc::clone(&self.0)).into_sql_str()
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Where SQLite and PostgreSQL part.
pub(super) struct Dialect {
    /// The column type of bytes.
    bytes: &'static str,
    /// The server's own clock, in whole seconds since the Unix epoch.
    clock: &'static str,
    /// Rows that another purge is removing, or a rotation is renewing, are left to it.
    skip_locked: &'static str,
}

#[cfg(feature = "sqlite")]
pub(super) const SQLITE: Dialect =
    Dialect { bytes: "BLOB", clock: "CAST(strftime('%s', 'now') AS INTEGER)", skip_locked: "" };

#[cfg(feature = "postgres")]
pub(super) const POSTGRES: Dialect = Dialect {
    bytes: "BYTEA",
    clock: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)",
    skip_locked: " FOR UPDATE SKIP LOCKED",
};

/// Parameters are numbered, in the order in which the callers bind them.
pub(super) struct Statements {
    /// All that is known of a presented token: session, subject. One row, the store's own at least.
    pub(super) find: Sql,
    /// The same without the head's claims, which a standing does not need.
    pub(super) find_without_claims: Sql,
    /// Writes a session's row where it is still the one that was read, in a store that is. See [`super`].
    pub(super) save: Sql,
    /// The stronger of each: what either tombstone revoked stays revoked for as long as either said.
    pub(super) revoke_subject: Sql,
    /// The same two, and whoever listens is told: on PostgreSQL.
    pub(super) save_and_tell: Sql,
    pub(super) revoke_subject_and_tell: Sql,
    pub(super) sessions: Sql,
    /// Each removes a bounded batch.
    pub(super) purges: [Sql; 2],
    pub(super) version: Sql,
    pub(super) set_version: Sql,
    pub(super) create_store: Sql,
    pub(super) record_birth: Sql,
    /// The schema's versions, each made from the one before.
    pub(super) migrations: Vec<Vec<Sql>>,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect, p: &str) -> Self {
        let Dialect { bytes, clock, skip_locked } = dialect;
        let find = |claims: &str| {
            format!(
                "SELECT m.born, t.instant, t.expires AS subject_expires, s.stamp, s.subject, s.session_start, \
                 s.head, s.head_until, s.generation, s.chain_until, s.renewed, s.ancestors, s.revoked_until, \
                 s.revoked_tokens, s.orphan, {claims} AS claims FROM {p}store m \
                 LEFT JOIN {p}sessions s ON s.session = $1 \
                 LEFT JOIN {p}subjects t ON t.subject = $2 WHERE m.one = 1"
            )
        };
        // What has expired by the caller's clock and by the server's: one node whose clock has leapt ahead must not
        // remove tombstones that still matter to all the others.
        let purge = |table: &str, key: &str| {
            let expired = format!("expires <= $1 AND expires <= {clock}");
            format!(
                "DELETE FROM {p}{table} WHERE {key} IN (SELECT {key} FROM {p}{table} WHERE {expired} \
                 ORDER BY expires LIMIT $2{skip_locked}) AND {expired}"
            )
        };
        // One statement, so it is told at the commit of what it tells. Channel and message follow its own parameters.
        let telling = |write: &str, parameters: usize| {
            let (channel, message) = (parameters + 1, parameters + 2);
            format!(
                "WITH written AS ({write} RETURNING 1) SELECT pg_notify(${channel}, ${message}) FROM written"
            )
        };
        let save = format!(
            "INSERT INTO {p}sessions AS s (session, subject, session_start, head, head_until, generation, \
             chain_until, renewed, ancestors, claims, revoked_until, revoked_tokens, expires, stamp, orphan) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $19 \
             FROM {p}store m WHERE m.one = 1 AND m.born = $20 AND NOT EXISTS (SELECT 1 FROM {p}subjects t \
             WHERE t.subject = $15 AND t.expires > $16 AND t.instant >= $17) \
             ON CONFLICT (session) DO UPDATE SET subject = excluded.subject, \
             session_start = excluded.session_start, head = excluded.head, \
             head_until = excluded.head_until, generation = excluded.generation, \
             chain_until = excluded.chain_until, renewed = excluded.renewed, \
             ancestors = excluded.ancestors, claims = excluded.claims, \
             revoked_until = excluded.revoked_until, revoked_tokens = excluded.revoked_tokens, \
             expires = excluded.expires, stamp = excluded.stamp, orphan = excluded.orphan WHERE s.stamp = $18"
        );
        let revoke_subject = format!(
            "INSERT INTO {p}subjects AS t (subject, instant, expires) VALUES ($1, $2, $3) \
             ON CONFLICT (subject) DO UPDATE SET \
             instant = CASE WHEN t.expires > $4 AND t.instant > excluded.instant \
             THEN t.instant ELSE excluded.instant END, \
             expires = CASE WHEN t.expires > excluded.expires THEN t.expires ELSE excluded.expires END"
        );
        Self {
            find: find("s.claims").into(),
            // Typed: a bare '' has no type in the first row of a PostgreSQL answer.
            find_without_claims: find("CAST('' AS TEXT)").into(),
            save_and_tell: telling(&save, 20).into(),
            save: save.into(),
            revoke_subject_and_tell: telling(&revoke_subject, 4).into(),
            revoke_subject: revoke_subject.into(),
            sessions: format!(
                "SELECT s.session, s.session_start, s.renewed, s.claims FROM {p}sessions s \
                 WHERE s.subject = $1 AND s.head IS NOT NULL AND s.chain_until > $2 AND s.revoked_until <= $2 \
                 AND NOT EXISTS (SELECT 1 FROM {p}subjects t \
                 WHERE t.subject = $1 AND t.expires > $2 AND t.instant >= s.session_start)"
            ).into(),
            purges: [purge("sessions", "session").into(), purge("subjects", "subject").into()],
            version: format!("SELECT version FROM {p}store WHERE one = 1").into(),
            set_version: format!("UPDATE {p}store SET version = $1 WHERE one = 1").into(),
            create_store: format!(
                "CREATE TABLE IF NOT EXISTS {p}store (one BIGINT PRIMARY KEY CHECK (one = 1), \
                 version BIGINT NOT NULL, born BIGINT NOT NULL)"
            ).into(),
            record_birth: format!(
                "INSERT INTO {p}store (one, version, born) VALUES (1, 0, $1) ON CONFLICT (one) DO NOTHING"
            ).into(),
            migrations: vec![
                vec![
                    // A session's chain is in its row whole, so that one statement changes it in one step. No
                    // `head`: no chain, only what was revoked before a token of the session was first renewed.
                    format!(
                        "CREATE TABLE {p}sessions (session {bytes} PRIMARY KEY, subject {bytes}, \
                         session_start BIGINT, head {bytes}, head_until BIGINT, generation BIGINT, \
                         chain_until BIGINT, renewed BIGINT, ancestors {bytes}, claims TEXT, \
                         revoked_until BIGINT NOT NULL, revoked_tokens {bytes} NOT NULL, \
                         expires BIGINT NOT NULL, stamp BIGINT NOT NULL)"
                    ).into(),
                    format!(
                        "CREATE TABLE {p}subjects (subject {bytes} PRIMARY KEY, instant BIGINT NOT NULL, \
                         expires BIGINT NOT NULL)"
                    ).into(),
                ],
                vec![
                    format!("CREATE INDEX {p}sessions_by_subject ON {p}sessions (subject)").into(),
                    format!("CREATE INDEX {p}sessions_by_expiry ON {p}sessions (expires)").into(),
                    format!("CREATE INDEX {p}subjects_by_expiry ON {p}subjects (expires)").into(),
                ],
                vec![
                    // 1 where nobody vouches for the time before the chain was begun. Until here that was forgotten.
                    format!("ALTER TABLE {p}sessions ADD COLUMN orphan BIGINT NOT NULL DEFAULT 0").into(),
                    format!(
                        "UPDATE {p}sessions SET orphan = 1 WHERE generation > 0 \
                         AND session_start < (SELECT born FROM {p}store WHERE one = 1)"
                    ).into(),
                ],
            ],
        }
    }
}
