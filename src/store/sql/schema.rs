//! The tables: made by whoever comes first, and brought up to date by whoever knows more.

use super::backend::{Backend, on};
use super::failure::{failed, misconfigured};
use super::statements::{Sql, Statements};
use crate::ConfigError;
use crate::store::StoreError;

impl Backend {
    /// Makes the schema, or brings it up to date, whoever else does the same at the same time.
    pub(super) async fn migrate(
        &self,
        statements: &Statements,
        prefix: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let newest = i64::try_from(statements.migrations.len()).unwrap_or(i64::MAX);
        // Most starts find it in place. A role without the right to create tables is enough for them.
        match self.version(statements).await {
            Ok(version) if version == Some(newest) => return Ok(()),
            // There is no such table, most likely.
            Ok(_) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        /// In one transaction, under a lock that lets one process at a time in.
        macro_rules! migrate {
            ($pool:expr, $begin:expr) => {{
                let mut tx = $pool.begin_with(&$begin).await.map_err(failed)?;
                sqlx::query(&statements.create_store).execute(&mut *tx).await.map_err(failed)?;
                sqlx::query(&statements.record_birth).bind(now).execute(&mut *tx).await.map_err(failed)?;
                let found: i64 =
                    sqlx::query_scalar(&statements.version).fetch_one(&mut *tx).await.map_err(failed)?;
                if found > newest {
                    return Err(misconfigured(ConfigError::new(format!(
                        "the schema is of version {found}, made by a newer release; this one knows {newest}"
                    ))));
                }
                let done = usize::try_from(found).unwrap_or_default();
                for statement in statements.migrations.iter().skip(done).flatten() {
                    sqlx::query(statement).execute(&mut *tx).await.map_err(failed)?;
                }
                sqlx::query(&statements.set_version).bind(newest).execute(&mut *tx).await.map_err(failed)?;
                tx.commit().await.map_err(failed)
            }};
        }
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { writer, .. } => {
                let _ = prefix;
                migrate!(writer, Sql::from("BEGIN IMMEDIATE".to_owned()))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
                    .fetch_one(pool)
                    .await
                    .map_err(failed)?;
                if encoding != "UTF8" {
                    return Err(misconfigured(ConfigError::new(format!(
                        "the database's encoding is {encoding}: claims are Unicode, UTF8 is right"
                    ))));
                }
                migrate!(
                    pool,
                    Sql::from(format!("BEGIN; SELECT pg_advisory_xact_lock({})", lock_key(prefix)))
                )
            }
        }
    }

    async fn version(&self, statements: &Statements) -> Result<Option<i64>, sqlx::Error> {
        on!(self, read, connection => sqlx::query_scalar(&statements.version).fetch_optional(connection).await)
    }
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
