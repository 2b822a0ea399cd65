//! The SQL, made once when a store opens. The two dialects differ in three words. The tables are in [`super::schema`].

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::record::{ANCESTOR, ANCESTOR_UNTIL};
use crate::store::chain::MAX_ANCESTORS;

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
    pub(super) clock: &'static str,
    /// Continues the proof of an answer, with ` read-only` where the server takes no writes.
    read_only: &'static str,
    /// Rows that another purge is removing, or a rotation is renewing, are left to it.
    skip_locked: &'static str,
    /// Whether one statement can write a row and answer with another one.
    writes_within: bool,
}

impl Dialect {
    /// The subject of the row for every subject's sessions. It is empty, as no hash is.
    pub(super) fn everybody(&self) -> String {
        format!("CAST('' AS {})", self.bytes)
    }
}

#[cfg(feature = "sqlite")]
pub(super) const SQLITE: Dialect = Dialect {
    bytes: "BLOB",
    clock: "CAST(strftime('%s', 'now') AS INTEGER)",
    read_only: "",
    skip_locked: "",
    writes_within: false,
};

#[cfg(feature = "postgres")]
pub(super) const POSTGRES: Dialect = Dialect {
    bytes: "BYTEA",
    // A cast alone would round.
    clock: "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp())) AS BIGINT)",
    // On a standby it is always on.
    read_only: " || CASE WHEN current_setting('transaction_read_only') = 'on' THEN ' read-only' ELSE '' END",
    skip_locked: " FOR UPDATE SKIP LOCKED",
    writes_within: true,
};

/// Parameters are numbered, in the order in which the callers bind them. The first two are the question's: see
/// [`super::proof`].
pub(super) struct Statements {
    pub(super) prefix: String,
    /// All that is known of a presented token: session and subject. At least one row, the store's own.
    pub(super) find: Statement,
    /// The same without the head's claims, which only a rotation needs.
    pub(super) find_without_claims: Statement,
    /// Makes the head's successor the head, if nothing speaks against it, and answers what `find` does, as it was before. It is
    /// the usual rotation in one round trip. `None` where a statement can't do both.
    pub(super) advance: Option<Statement>,
    /// Write a session's row, or the row of a subject's cutoff, if the row has not changed since it was read. See
    /// [`super`].
    pub(super) save: Statement,
    pub(super) save_cutoff: Statement,
    /// The same two, which also notify listeners: on PostgreSQL.
    pub(super) save_and_tell: Statement,
    pub(super) save_cutoff_and_tell: Statement,
    /// A page of sessions. It always answers a row: if there is no session, the row has none.
    pub(super) sessions: Statement,
    /// Live sessions on record, of a subject or of all, that begin after an instant and more than so many seconds ahead of
    /// the server's clock, but one. It always answers a row: if there is no session, the row has none.
    pub(super) begun_after: Statement,
    /// A subject's sessions over the limit: the oldest live ones of those opened before the opened one; the latest start and
    /// the expiry of those to forget; the oldest start of those that are kept. At least one row.
    pub(super) crowd: Statement,
    /// Removes a session's row where it is still as a sign-in made it.
    pub(super) undo: Sql,
    /// Removes the subject's sessions that are kept no longer than this, and of which no token began after a start.
    pub(super) forget: Sql,
    pub(super) horizon: Statement,
    /// Written if it has not changed since it was read.
    pub(super) set_horizon: Statement,
    /// Each gives records without end one, a bounded batch of them.
    pub(super) bounds: [Sql; 2],
    /// Each removes a bounded batch. Neither has a proof: what has expired by two clocks may go, whoever removes it.
    pub(super) purges: [Sql; 2],
}

/// Answered with rows that prove whose they are.
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) sql: Sql,
}

impl Statement {
    /// `write` gets the column that proves the answer.
    fn new(dialect: &Dialect, name: &'static str, write: impl FnOnce(&str) -> String) -> Self {
        let sql = write(&format!("'{name} ' || $1 || ' ' || $2{} AS proof", dialect.read_only)).into();
        Self { name, sql }
    }
}

/// The row `m` of the store that was opened, and of no other.
const OWN: &str = "m.one = 1 AND m.id = $1";

impl Statements {
    pub(super) fn new(dialect: &Dialect, p: &str) -> Self {
        let Dialect { clock, skip_locked, writes_within, .. } = dialect;
        let everybody = dialect.everybody();
        let find = |proof: &str, claims: &str| {
            format!(
                "SELECT {proof}, m.born, m.horizon, {clock} AS clock, \
                 t.stamp AS t_stamp, t.instant AS t_instant, t.spared AS t_spared, t.floor AS t_floor, \
                 t.kept_until AS t_kept_until, \
                 a.stamp AS a_stamp, a.instant AS a_instant, a.spared AS a_spared, a.floor AS a_floor, \
                 a.kept_until AS a_kept_until, \
                 s.stamp, s.subject, s.session_start, s.head, s.head_until, s.generation, s.chain_until, \
                 s.renewed, s.ancestors, s.revoked_until, s.revoked_tokens, s.orphan, s.latest_start, \
                 {claims} AS claims \
                 FROM {p}store m LEFT JOIN {p}sessions s ON s.session = $3 \
                 LEFT JOIN {p}subjects t ON t.subject = $4 \
                 LEFT JOIN {p}subjects a ON a.subject = {everybody} WHERE {OWN}"
            )
        };
        // The store as it was read, not long ago. Horizon and latest clock are the parameters from this one on.
        let as_read = |first: usize| {
            format!("{OWN} AND m.horizon IS NOT DISTINCT FROM ${first} AND {clock} <= ${}", first + 1)
        };
        let cutoff_stamp =
            |subject: &str| format!("(SELECT stamp FROM {p}subjects WHERE subject = {subject})");
        let save = |proof: &str| {
            format!(
                "INSERT INTO {p}sessions AS s (session, subject, session_start, head, head_until, generation, \
                 chain_until, renewed, ancestors, claims, revoked_until, revoked_tokens, kept_until, stamp, \
                 orphan, latest_start, opened) \
                 SELECT $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
                 CASE WHEN $26 THEN (SELECT COALESCE(MAX(o.opened), 0) + 1 FROM {p}sessions o \
                 WHERE o.subject = $4) END \
                 FROM {p}store m WHERE {} AND m.born = $21 \
                 AND {} IS NOT DISTINCT FROM $23 AND {} IS NOT DISTINCT FROM $24 \
                 ON CONFLICT (session) DO UPDATE SET subject = excluded.subject, \
                 session_start = excluded.session_start, head = excluded.head, \
                 head_until = excluded.head_until, generation = excluded.generation, \
                 chain_until = excluded.chain_until, renewed = excluded.renewed, \
                 ancestors = excluded.ancestors, claims = excluded.claims, \
                 revoked_until = excluded.revoked_until, revoked_tokens = excluded.revoked_tokens, \
                 kept_until = excluded.kept_until, stamp = excluded.stamp, orphan = excluded.orphan, \
                 latest_start = excluded.latest_start, opened = COALESCE(excluded.opened, s.opened) \
                 WHERE s.stamp = $25 RETURNING {proof}",
                as_read(19),
                cutoff_stamp("$22"),
                cutoff_stamp(&everybody),
            )
        };
        let save_cutoff = |proof: &str| {
            format!(
                "INSERT INTO {p}subjects AS t (subject, instant, spared, floor, kept_until, stamp) \
                 SELECT $3, $4, $5, $6, $7, $8 FROM {p}store m WHERE {} \
                 ON CONFLICT (subject) DO UPDATE SET instant = excluded.instant, spared = excluded.spared, \
                 floor = excluded.floor, kept_until = excluded.kept_until, stamp = excluded.stamp \
                 WHERE t.stamp = $11 RETURNING {proof}",
                as_read(9),
            )
        };
        // One statement, so that the notification is sent when the change commits. Channel and message follow its parameters.
        let notifying = |write: String, parameters: usize| {
            let (channel, message) = (parameters + 1, parameters + 2);
            format!("WITH written AS ({write}) SELECT proof, pg_notify(${channel}, ${message}) FROM written")
        };
        let newest_first = "s.session_start DESC, s.session DESC";
        // As `Cutoff::revokes` says.
        let cut_off_by = |subject: &str, start: &str, now: &str| {
            format!(
                "EXISTS (SELECT 1 FROM {p}subjects t WHERE t.subject IN ({subject}, {everybody}) \
                 AND t.kept_until > {now} AND t.instant >= {start} AND (t.spared IS NULL \
                 OR t.spared <> s.session OR t.floor >= {start}))"
            )
        };
        let is_cut_off = |now: &str| cut_off_by("$3", "s.session_start", now);
        // As `Found::judge` and `Chain::advance` say of a token that is the head of a live session of which no token was revoked.
        // It forgets the oldest ancestor if that has expired, and leaves the others to a rotation that is decided in the code.
        let advance = |proof: &str| {
            let found = find(proof, "(SELECT COUNT(*) FROM advanced) AS advanced, s.claims");
            let cut_off = cut_off_by("$4", "$11", "$9");
            format!(
                "WITH advanced AS (UPDATE {p}sessions AS s SET head = $6, claims = $7, head_until = $8, \
                 chain_until = GREATEST(s.chain_until, $8), renewed = $9, stamp = $10, \
                 generation = s.generation + 1, kept_until = GREATEST(s.chain_until, s.revoked_until, $8), \
                 ancestors = CASE WHEN s.ancestors <> '' \
                 AND substring(s.ancestors FROM {ANCESTOR_UNTIL} + 1 FOR 8) <= int8send($9) \
                 THEN substring(s.ancestors FROM {ANCESTOR} + 1) ELSE s.ancestors END \
                 || s.head || int8send(s.generation) || int8send(s.head_until) \
                 FROM {p}store m WHERE {OWN} AND s.session = $3 AND s.head = $5 AND s.head <> $6 \
                 AND s.chain_until > $9 AND s.revoked_until <= $9 AND s.revoked_tokens = '' AND s.orphan = 0 \
                 AND octet_length(s.ancestors) < {} AND position($6 IN s.ancestors) = 0 \
                 AND NOT {cut_off} RETURNING 1) {found}",
                MAX_ANCESTORS * ANCESTOR,
            )
        };
        // Expired by the caller's clock and by the server's: a node whose clock is far ahead must not remove tombstones that
        // still matter to the others.
        let purge = |table: &str, key: &str| {
            let expired = format!("kept_until <= $1 AND kept_until <= {clock}");
            let sql = format!(
                "DELETE FROM {p}{table} WHERE {key} IN (SELECT {key} FROM {p}{table} WHERE {expired} \
                 ORDER BY kept_until LIMIT $2{skip_locked}) AND {expired}"
            );
            sql.into()
        };
        // Clocks may differ by a minute, and 300 s more are the margin of every revocation.
        let bound = |table: &str, key: &str, others: &[&str]| {
            let end = |column: &&str| {
                format!(", {column} = CASE WHEN r.{column} > b.until THEN b.until ELSE r.{column} END")
            };
            let others = others.iter().map(end).collect::<String>();
            let sql = format!(
                "UPDATE {p}{table} AS r SET kept_until = b.until{others} \
                 FROM (SELECT {clock} + m.horizon + 360 AS until FROM {p}store m WHERE {OWN}) AS b \
                 WHERE r.{key} IN (SELECT {key} FROM {p}{table} WHERE kept_until >= $2 LIMIT $3{skip_locked}) \
                 AND r.kept_until >= $2 AND b.until < $2"
            );
            sql.into()
        };
        Self {
            prefix: p.to_owned(),
            find: Statement::new(dialect, "find", |proof| find(proof, "s.claims")),
            // Typed: a bare '' has no type in the first row of a PostgreSQL answer.
            find_without_claims: Statement::new(dialect, "find_without_claims", |proof| {
                find(proof, "CAST('' AS TEXT)")
            }),
            advance: writes_within.then(|| Statement::new(dialect, "advance", advance)),
            save: Statement::new(dialect, "save", save),
            save_cutoff: Statement::new(dialect, "save_cutoff", save_cutoff),
            save_and_tell: Statement::new(dialect, "save_and_tell", |proof| notifying(save(proof), 26)),
            save_cutoff_and_tell: Statement::new(dialect, "save_cutoff_and_tell", |proof| {
                notifying(save_cutoff(proof), 11)
            }),
            sessions: Statement::new(dialect, "sessions", |proof| {
                let is_cut_off = is_cut_off("$4");
                format!(
                    "SELECT {proof}, s.session, s.session_start, s.renewed, s.claims FROM {p}store m \
                     LEFT JOIN (SELECT s.session, s.session_start, s.renewed, s.claims FROM {p}sessions s \
                     WHERE s.subject = $3 AND (s.session_start, s.session) < ($5, $6) \
                     AND s.head IS NOT NULL AND s.chain_until > $4 AND s.revoked_until <= $4 \
                     AND NOT {is_cut_off} ORDER BY {newest_first} LIMIT $7) s \
                     ON 1 = 1 WHERE {OWN} ORDER BY {newest_first}"
                )
            }),
            begun_after: Statement::new(dialect, "begun_after", |proof| {
                format!(
                    "SELECT {proof}, s.session, s.session_start FROM {p}store m \
                     LEFT JOIN (SELECT s.session, s.session_start FROM {p}sessions s \
                     WHERE s.head IS NOT NULL AND s.session_start > $3 AND s.session_start > {clock} + $4 \
                     AND s.revoked_until <= $5 AND (s.subject = $6 OR $6 IS NULL) \
                     AND s.session IS DISTINCT FROM $7) s ON 1 = 1 WHERE {OWN}"
                )
            }),
            crowd: Statement::new(dialect, "crowd", |proof| {
                // None that is live ends while others are not: "all others" can have spared the oldest.
                let live_first = format!("CASE WHEN {} THEN 1 ELSE 0 END", is_cut_off("$5"));
                format!(
                    "SELECT {proof}, s.session, s.session_start, o.session_start AS forgettable, \
                     (SELECT MAX(k.kept_until) FROM {p}sessions k WHERE k.subject = $3 \
                     AND k.session_start <= o.session_start) AS kept_until, \
                     (SELECT k.session_start FROM {p}sessions k WHERE k.subject = $3 AND k.session <> $4 \
                     AND k.kept_until > $5 ORDER BY k.session_start, k.session LIMIT 1) AS oldest \
                     FROM {p}store m \
                     LEFT JOIN (SELECT s.session, s.session_start FROM {p}sessions s WHERE s.subject = $3 \
                     AND s.head IS NOT NULL AND s.chain_until > $5 AND (COALESCE(s.opened, 0), s.session) \
                     < ((SELECT n.opened FROM {p}sessions n WHERE n.session = $4), $4) \
                     ORDER BY {live_first}, {newest_first} LIMIT $6 OFFSET $7) s ON 1 = 1 \
                     LEFT JOIN (SELECT s.session_start FROM {p}sessions s WHERE s.subject = $3 \
                     AND s.kept_until > $5 ORDER BY {newest_first} LIMIT 1 OFFSET $8) o ON 1 = 1 WHERE {OWN}"
                )
            }),
            undo: format!(
                "DELETE FROM {p}sessions WHERE session = $2 AND stamp = $3 \
                 AND EXISTS (SELECT 1 FROM {p}store m WHERE {OWN})"
            )
            .into(),
            forget: format!(
                "DELETE FROM {p}sessions WHERE subject = $2 AND session_start <= $3 \
                 AND COALESCE(latest_start, session_start) <= $3 AND kept_until <= $4 \
                 AND EXISTS (SELECT 1 FROM {p}store m WHERE {OWN})"
            )
            .into(),
            horizon: Statement::new(dialect, "horizon", |proof| {
                format!("SELECT {proof}, {clock} AS clock, m.horizon, m.raises FROM {p}store m WHERE {OWN}")
            }),
            set_horizon: Statement::new(dialect, "set_horizon", |proof| {
                format!(
                    "UPDATE {p}store AS m SET horizon = $3, raises = $4, \
                     born = CASE WHEN m.born < $7 THEN \
                     CASE WHEN $7 < {clock} + 1 THEN {clock} + 1 ELSE $7 END ELSE m.born END WHERE {OWN} \
                     AND m.horizon IS NOT DISTINCT FROM $5 AND m.raises IS NOT DISTINCT FROM $6 \
                     RETURNING {proof}"
                )
            }),
            bounds: [
                bound("sessions", "session", &["revoked_until", "chain_until", "head_until"]),
                bound("subjects", "subject", &[]),
            ],
            purges: [purge("sessions", "session"), purge("subjects", "subject")],
        }
    }
}
