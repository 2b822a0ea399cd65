//! The tables. The first process creates them, and a newer version migrates them.

use sqlx::Row as _;

use super::backend::{Backend, on};
use super::failure::{failed, misconfigured};
use super::random;
use super::statements::{Dialect, Sql};
use crate::error::ConfigError;
use crate::store::StoreError;

impl Backend {
    /// Creates or migrates the schema, even if other processes do so at the same time. Returns the store's id, which is
    /// random and made with the tables. They are dated a second after the later of `now` and the server's clock, because
    /// what began within this second may have begun before a loss.
    ///
    /// Nothing here is a prepared statement: what these say is believed without a [proof](super::proof).
    pub(super) async fn migrate(&self, dialect: &Dialect, p: &str, now: i64) -> Result<String, StoreError> {
        let versions = versions(dialect, p);
        let newest = i64::try_from(versions.len()).unwrap_or(i64::MAX);
        // Most starts find it in place. A role without the right to create tables is enough for them.
        match self.id(p, newest).await {
            Ok(Some(id)) => return Ok(id),
            // There is no such table, most likely, or no such column yet.
            Ok(None) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        let id = format!("{:016x}{:016x}", random().map_err(failed)?, random().map_err(failed)?);
        let clock = dialect.clock;
        let born = format!("CASE WHEN {clock} > {now} THEN {clock} ELSE {now} END + 1");
        let begin_store = [
            format!(
                "CREATE TABLE IF NOT EXISTS {p}store (one BIGINT PRIMARY KEY CHECK (one = 1), \
                 version BIGINT NOT NULL, born BIGINT NOT NULL)"
            ),
            format!(
                "INSERT INTO {p}store (one, version, born) VALUES (1, 0, {born}) ON CONFLICT (one) DO NOTHING"
            ),
        ];
        let version = format!("SELECT version FROM {p}store WHERE one = 1");
        let finish = [
            format!("UPDATE {p}store SET id = '{id}' WHERE id = ''"),
            format!("UPDATE {p}store SET version = {newest} WHERE one = 1"),
        ];
        /// In one transaction, under a lock that lets one process at a time in.
        macro_rules! migrate {
            ($pool:expr, $begin:expr) => {{
                let mut tx = $pool.begin_with(Sql::from($begin)).await.map_err(failed)?;
                for statement in begin_store {
                    sqlx::raw_sql(Sql::from(statement)).execute(&mut *tx).await.map_err(failed)?;
                }
                let row = sqlx::raw_sql(Sql::from(version)).fetch_one(&mut *tx).await.map_err(failed)?;
                let found: i64 = row.try_get(0).map_err(failed)?;
                if found > newest {
                    return Err(misconfigured(ConfigError::new(format!(
                        "the schema is of version {found}, made by a newer release; this one knows {newest}"
                    ))));
                }
                let done = usize::try_from(found).unwrap_or_default();
                for statement in versions.into_iter().skip(done).flatten().chain(finish) {
                    sqlx::raw_sql(Sql::from(statement)).execute(&mut *tx).await.map_err(failed)?;
                }
                tx.commit().await.map_err(failed)?;
            }};
        }
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { writer, .. } => {
                migrate!(writer, "BEGIN IMMEDIATE".to_owned());
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let encoding = sqlx::raw_sql("SHOW server_encoding").fetch_one(pool).await;
                let encoding: String = encoding.and_then(|row| row.try_get(0)).map_err(failed)?;
                if encoding != "UTF8" {
                    return Err(misconfigured(ConfigError::new(format!(
                        "the database's encoding is {encoding}: claims are Unicode, so it must be UTF8"
                    ))));
                }
                migrate!(pool, format!("BEGIN; SELECT pg_advisory_xact_lock({})", lock_key(p)));
            }
        }
        // Somebody else's, where two began at once.
        let id = self.id(p, newest).await.map_err(failed)?;
        id.ok_or_else(|| failed(sqlx::Error::RowNotFound))
    }

    /// `None` for another version.
    async fn id(&self, p: &str, newest: i64) -> Result<Option<String>, sqlx::Error> {
        let sql = Sql::from(format!("SELECT id FROM {p}store WHERE one = 1 AND version = {newest}"));
        on!(self, read, connection => match sqlx::raw_sql(&sql).fetch_optional(connection).await {
            Ok(Some(row)) => row.try_get(0).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        })
    }
}

/// The schema's versions, each made from the one before.
fn versions(dialect: &Dialect, p: &str) -> Vec<Vec<String>> {
    let Dialect { bytes, .. } = dialect;
    vec![
        vec![
            // A session's chain is in its row whole, so that one statement changes it in one step. No `head`: no chain,
            // only what was revoked before a token of the session was first renewed.
            format!(
                "CREATE TABLE {p}sessions (session {bytes} PRIMARY KEY, subject {bytes}, session_start BIGINT, \
                 head {bytes}, head_until BIGINT, generation BIGINT, chain_until BIGINT, renewed BIGINT, \
                 ancestors {bytes}, claims TEXT, revoked_until BIGINT NOT NULL, \
                 revoked_tokens {bytes} NOT NULL, expires BIGINT NOT NULL, stamp BIGINT NOT NULL)"
            ),
            format!(
                "CREATE TABLE {p}subjects (subject {bytes} PRIMARY KEY, instant BIGINT NOT NULL, \
                 expires BIGINT NOT NULL)"
            ),
        ],
        vec![
            format!("CREATE INDEX {p}sessions_by_subject ON {p}sessions (subject)"),
            format!("CREATE INDEX {p}sessions_by_expiry ON {p}sessions (expires)"),
            format!("CREATE INDEX {p}subjects_by_expiry ON {p}subjects (expires)"),
        ],
        vec![
            // 1: the session is older than the store, so revocations of it may be lost. Earlier versions did not record this.
            format!("ALTER TABLE {p}sessions ADD COLUMN orphan BIGINT NOT NULL DEFAULT 0"),
            format!(
                "UPDATE {p}sessions SET orphan = 1 WHERE generation > 0 \
                 AND session_start < (SELECT born FROM {p}store WHERE one = 1)"
            ),
        ],
        vec![
            // The store's own name, which proves its answers. Empty until it is made, in this transaction.
            format!("ALTER TABLE {p}store ADD COLUMN id TEXT NOT NULL DEFAULT ''"),
            // None until the first authority says what it needs.
            format!("ALTER TABLE {p}store ADD COLUMN horizon BIGINT"),
            format!("ALTER TABLE {p}store ADD COLUMN raises {bytes}"),
            // Every statement of an older release names `expires`: it fails from here on, where else it would not keep
            // what it does not know.
            format!("ALTER TABLE {p}sessions RENAME COLUMN expires TO kept_until"),
            format!("ALTER TABLE {p}subjects RENAME COLUMN expires TO kept_until"),
            // The session that is spared, unless it began by `floor`. The subject of no bytes is everybody.
            format!("ALTER TABLE {p}subjects ADD COLUMN spared {bytes}"),
            format!("ALTER TABLE {p}subjects ADD COLUMN floor BIGINT"),
            format!("ALTER TABLE {p}subjects ADD COLUMN stamp BIGINT NOT NULL DEFAULT 0"),
            // Listings, and how many sessions a subject has, the newest first.
            format!("DROP INDEX {p}sessions_by_subject"),
            format!("CREATE INDEX {p}sessions_by_subject ON {p}sessions (subject, session_start, session)"),
        ],
        // A revocation of everybody's sessions looks for those that begin ahead of the clock.
        vec![format!(
            "CREATE INDEX {p}sessions_by_start ON {p}sessions (session_start) WHERE head IS NOT NULL"
        )],
        // A token of which the row says that it is revoked can have begun later than the chain.
        vec![format!("ALTER TABLE {p}sessions ADD COLUMN latest_start BIGINT")],
        // The place among its subject's sessions in the order in which they were opened. Those of earlier versions have
        // none, and come first.
        vec![format!("ALTER TABLE {p}sessions ADD COLUMN opened BIGINT")],
    ]
}

/// FNV-1a of the prefix, after a tag: the advisory lock of stores that share tables, and of no others.
#[cfg(feature = "postgres")]
fn lock_key(prefix: &str) -> i64 {
    let hash =
        b"tower-reissue ".iter().chain(prefix.as_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    i64::from_be_bytes(hash.to_be_bytes())
}
