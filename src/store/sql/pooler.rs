//! Refuses a pooler that shares server sessions between connections.
//!
//! PgBouncer in transaction mode, and other poolers, give a connection another server session for each transaction. Then the state of
//! a session is shared: prepared statements of different applications get mixed up, and a listener receives nothing. Such a
//! pooler is recognised by its behaviour, because error texts change with every release.

use std::future::Future;
use std::io;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor, Postgres, Row as _};

use super::failure::{
    ReadOnlyServer, failed, is_notification_failure, is_protocol_violation, misconfigured, unreachable,
};
use super::random;
use crate::error::ConfigError;
use crate::store::StoreError;

/// A session parameter. PostgreSQL keeps it as long as the session.
const MARK: &str = "tower_reissue.session";

/// With a shorter wait, a slow server could be taken for a pooler that drops notifications.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Opens two connections, checks that each has its own session, and closes them.
///
/// # Errors
/// [`StoreErrorKind::Misconfigured`] for a pooler that shares sessions and for a read-only server, and the errors of the
/// connections.
pub(super) async fn refuse_shared_sessions(
    options: &PgConnectOptions,
    wait: Duration,
) -> Result<(), StoreError> {
    let wait = wait.max(SHORTEST_WAIT);
    // Not by a pool, which would try again until its timeout: if no server listens, this fails at once.
    let connected = in_time(wait, PgConnection::connect_with(options)).await;
    let mut second = connected.map_err(|error| unreachable(options, error))?;
    let check = async {
        let mut first = listener(options).await?;
        let fault = match read_only(&mut second).await? {
            Some(fault) => Some(fault),
            None => shared_session(&mut first, &mut second, wait).await?,
        };
        // If closing fails, the server closes the connection.
        let _ = second.close().await;
        Ok(fault)
    };
    // Twice, because the check itself waits once for a notification.
    match in_time(2 * wait, check).await.map_err(failed)? {
        Some(fault) => Err(misconfigured(ConfigError::new(fault))),
        None => Ok(()),
    }
}

async fn read_only(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let setting: String =
        sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?.try_get(0)?;
    Ok((setting == "on").then(|| ReadOnlyServer.to_string()))
}

async fn shared_session(
    first: &mut PgListener,
    second: &mut PgConnection,
    wait: Duration,
) -> Result<Option<String>, sqlx::Error> {
    let mark = format!("{:016x}", random()?);
    let signs = async {
        match sign_of_sharing(first, second, &mark).await? {
            Some(sign) => Ok(Some(sign)),
            None => sign_of_lost_notifications(first, second, &mark, wait).await,
        }
    };
    let sign = match signs.await {
        // sqlx reports a notification on a connection that does not listen as a violation of the protocol.
        Err(sqlx::Error::Protocol(_)) => {
            Some("a connection receives notifications that another one listens for")
        }
        other => other?,
    };
    Ok(sign.map(|sign| {
        format!(
            "PgBouncer or another pooler in transaction mode is in front of the database ({sign}): the store needs \
             its own server session for each connection; set `pool_mode = session`, or connect to PostgreSQL directly"
        )
    }))
}

/// A sign of shared sessions that shows at once. There may be none, if the pooler happens to give each connection the same
/// session twice.
async fn sign_of_sharing(
    first: &mut PgListener,
    second: &mut PgConnection,
    mark: &str,
) -> Result<Option<&'static str>, sqlx::Error> {
    let set = format!("set_config('{MARK}', '{mark}', false)");
    let read = format!("current_setting('{MARK}', true)");
    let own = session(&mut *first, &set).await?;
    match second.execute("BEGIN").await {
        Err(error) if is_protocol_violation(&error) => return Ok(Some("it refuses transactions")),
        begun => begun?,
    };
    let other = session(&mut *second, &read).await?;
    if other.process == own.process || other.mark == own.mark {
        return Ok(Some("two connections have one session"));
    }
    // During its transaction, the second connection keeps its session.
    let later = session(&mut *first, &read).await?;
    second.execute("COMMIT").await?;
    Ok((later != own).then_some(ANOTHER_SESSION))
}

const ANOTHER_SESSION: &str = "a connection's next transaction is in another session";

/// Sends a notification to a connection that is between two transactions. A pooler that shares sessions has no session for it
/// then, so the notification is lost, whatever the size of the pool and its other users.
async fn sign_of_lost_notifications(
    first: &mut PgListener,
    second: &mut PgConnection,
    mark: &str,
    wait: Duration,
) -> Result<Option<&'static str>, sqlx::Error> {
    let channel = format!("tower_reissue_{mark}");
    first.listen(&channel).await?;
    match second.execute(AssertSqlSafe(format!("NOTIFY {channel}"))).await {
        // The server's queue is full, so no notification is delivered.
        Err(error) if is_notification_failure(&error) => return sign_of_reuse(first, second).await,
        told => told?,
    };
    match tokio::time::timeout(wait, first.try_recv()).await {
        Ok(Ok(Some(heard))) if heard.channel() == channel => Ok(None),
        Ok(Ok(None)) => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(Some(_))) | Err(_) => Ok(Some("a connection that listens receives nothing while it is idle")),
    }
}

/// A pooler reuses the session that was returned last, or the one that was returned first. The two connections return theirs in
/// both orders. In one of them, the first connection's next transaction is in another session.
async fn sign_of_reuse(
    first: &mut PgListener,
    second: &mut PgConnection,
) -> Result<Option<&'static str>, sqlx::Error> {
    for is_first_last in [false, true] {
        first.execute("BEGIN").await?;
        second.execute("BEGIN").await?;
        let own = session(&mut *first, "NULL").await?;
        if is_first_last {
            second.execute("COMMIT").await?;
            first.execute("COMMIT").await?;
        } else {
            first.execute("COMMIT").await?;
            second.execute("COMMIT").await?;
        }
        if session(&mut *first, "NULL").await? != own {
            return Ok(Some(ANOTHER_SESSION));
        }
    }
    Ok(None)
}

#[derive(PartialEq)]
struct Session {
    process: String,
    mark: Option<String>,
}

/// By the simple protocol, because behind a pooler a prepared statement may be another one's.
async fn session<'e>(
    connection: impl Executor<'e, Database = Postgres>,
    mark: &str,
) -> Result<Session, sqlx::Error> {
    let query = format!("SELECT CAST(pg_backend_pid() AS TEXT), {mark}");
    let row = sqlx::raw_sql(AssertSqlSafe(query)).fetch_one(connection).await?;
    Ok(Session { process: row.try_get(0)?, mark: row.try_get(1)? })
}

/// A listener on a connection of its own. sqlx requires a pool for it.
pub(super) async fn listener(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    // No silent reconnect, because notifications may have been missed.
    listener.eager_reconnect(false);
    Ok(listener)
}

async fn in_time<T>(
    wait: Duration,
    step: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(wait, step).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {wait:?}")).into())
    })
}
