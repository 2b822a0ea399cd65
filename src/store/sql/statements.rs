//! The SQL, made once when a store opens. The two dialects differ in three words. The tables are in [`super::schema`].

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// One statement's text. It is made from the words of this file and a checked table prefix; values are bound.
pub(super) struct Sql(Arc<str>);

impl SqlSafeStr for Sql {
    fn into_sql_str(self) -> SqlStr {
        AssertSqlSafe(self.0).into_sql_str()
    }
}

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
    pub(super) bytes: &'static str,
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

/// Parameters are numbered, in the order in which the callers bind them. The first two are the question's: see
/// [`super::proof`].
pub(super) struct Statements {
    pub(super) prefix: String,
    /// All that is known of a presented token: session, subject. One row, the store's own at least.
    pub(super) find: Statement,
    /// The same without the head's claims, which a standing does not need.
    pub(super) find_without_claims: Statement,
    /// Writes a session's row where it is still the one that was read. See [`super`].
    pub(super) save: Statement,
    /// The stronger of each: what either tombstone revoked stays revoked for as long as either said.
    pub(super) revoke_subject: Statement,
    /// The same two, and whoever listens is told: on PostgreSQL.
    pub(super) save_and_tell: Statement,
    pub(super) revoke_subject_and_tell: Statement,
    /// One row at least: without a session, where there is none.
    pub(super) sessions: Statement,
    /// Each removes a bounded batch. They have no proof: what has expired by two clocks may go, whoever removes it.
    pub(super) purges: [Sql; 2],
}

/// Answered with rows that prove whose they are.
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) sql: Sql,
}

impl Statement {
    /// `write` is given the column that proves the answer. Where it is read from or written to, `m` is the row of the
    /// store.
    fn new(name: &'static str, write: impl FnOnce(&str) -> String) -> Self {
        let sql = write(&format!("'{name} ' || $1 || ' ' || $2 AS proof")).into();
        Self { name, sql }
    }
}

/// The store that was opened, and no other.
const OWN: &str = "m.one = 1 AND m.id = $1";

impl Statements {
    pub(super) fn new(dialect: &Dialect, p: &str) -> Self {
        let Dialect { clock, skip_locked, .. } = dialect;
        let find = |proof: &str, claims: &str| {
            format!(
                "SELECT {proof}, m.born, t.instant, t.expires AS subject_expires, s.stamp, s.subject, \
                 s.session_start, s.head, s.head_until, s.generation, s.chain_until, s.renewed, s.ancestors, \
                 s.revoked_until, s.revoked_tokens, s.orphan, {claims} AS claims FROM {p}store m \
                 LEFT JOIN {p}sessions s ON s.session = $3 \
                 LEFT JOIN {p}subjects t ON t.subject = $4 WHERE {OWN}"
            )
        };
        let save = |proof: &str| {
            format!(
                "INSERT INTO {p}sessions AS s (session, subject, session_start, head, head_until, generation, \
                 chain_until, renewed, ancestors, claims, revoked_until, revoked_tokens, expires, stamp, orphan) \
                 SELECT $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17 \
                 FROM {p}store m WHERE {OWN} AND m.born = $18 AND NOT EXISTS (SELECT 1 FROM {p}subjects t \
                 WHERE t.subject = $20 AND t.expires > $21 AND t.instant >= $22) \
                 ON CONFLICT (session) DO UPDATE SET subject = excluded.subject, \
                 session_start = excluded.session_start, head = excluded.head, \
                 head_until = excluded.head_until, generation = excluded.generation, \
                 chain_until = excluded.chain_until, renewed = excluded.renewed, \
                 ancestors = excluded.ancestors, claims = excluded.claims, \
                 revoked_until = excluded.revoked_until, revoked_tokens = excluded.revoked_tokens, \
                 expires = excluded.expires, stamp = excluded.stamp, orphan = excluded.orphan \
                 WHERE s.stamp = $19 RETURNING {proof}"
            )
        };
        let revoke_subject = |proof: &str| {
            format!(
                "INSERT INTO {p}subjects AS t (subject, instant, expires) \
                 SELECT $3, $4, $5 FROM {p}store m WHERE {OWN} \
                 ON CONFLICT (subject) DO UPDATE SET \
                 instant = CASE WHEN t.expires > $6 AND t.instant > excluded.instant \
                 THEN t.instant ELSE excluded.instant END, \
                 expires = CASE WHEN t.expires > excluded.expires THEN t.expires ELSE excluded.expires END \
                 RETURNING {proof}"
            )
        };
        // One statement, so it is told at the commit of what it tells. Channel and message follow its own parameters.
        let telling = |write: String, parameters: usize| {
            let (channel, message) = (parameters + 1, parameters + 2);
            format!("WITH written AS ({write}) SELECT proof, pg_notify(${channel}, ${message}) FROM written")
        };
        // What has expired by the caller's clock and by the server's: one node whose clock has leapt ahead must not
        // remove tombstones that still matter to all the others.
        let purge = |table: &str, key: &str| {
            let expired = format!("expires <= $1 AND expires <= {clock}");
            let sql = format!(
                "DELETE FROM {p}{table} WHERE {key} IN (SELECT {key} FROM {p}{table} WHERE {expired} \
                 ORDER BY expires LIMIT $2{skip_locked}) AND {expired}"
            );
            sql.into()
        };
        Self {
            prefix: p.to_owned(),
            find: Statement::new("find", |proof| find(proof, "s.claims")),
            // Typed: a bare '' has no type in the first row of a PostgreSQL answer.
            find_without_claims: Statement::new("find_without_claims", |proof| {
                find(proof, "CAST('' AS TEXT)")
            }),
            save: Statement::new("save", save),
            revoke_subject: Statement::new("revoke_subject", revoke_subject),
            save_and_tell: Statement::new("save_and_tell", |proof| telling(save(proof), 22)),
            revoke_subject_and_tell: Statement::new("revoke_subject_and_tell", |proof| {
                telling(revoke_subject(proof), 6)
            }),
            sessions: Statement::new("sessions", |proof| {
                format!(
                    "SELECT {proof}, s.session, s.session_start, s.renewed, s.claims FROM {p}store m \
                     LEFT JOIN {p}sessions s ON s.subject = $3 AND s.head IS NOT NULL AND s.chain_until > $4 \
                     AND s.revoked_until <= $4 AND NOT EXISTS (SELECT 1 FROM {p}subjects t \
                     WHERE t.subject = $3 AND t.expires > $4 AND t.instant >= s.session_start) WHERE {OWN}"
                )
            }),
            purges: [purge("sessions", "session"), purge("subjects", "subject")],
        }
    }
}
