//! Refuses a pooler that lends one server session to many connections.
//!
//! PgBouncer in transaction mode, and others like it, attach a connection to a server session for one transaction at a
//! time. What a session keeps from one to the next is then shared: prepared statements are mixed up between
//! applications, and a listener hears nothing. Such a pooler is told by what it does, for error texts change with every
//! release.

use std::future::Future;
use std::io;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor, Postgres, Row as _};

use super::failure::{failed, is_protocol_violation, is_untold, misconfigured, unreachable};
use super::random;
use crate::error::ConfigError;
use crate::store::StoreError;

/// A parameter of a session, which PostgreSQL keeps as long as the session lasts.
const MARK: &str = "tower_reissue.session";

/// A shorter wait could take a slow server for a pooler that passes no notification on.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Looks at the sessions of two connections, and closes them.
///
/// # Errors
/// [`StoreErrorKind::Misconfigured`] for a pooler that shares sessions, and for a server that only reads; otherwise
/// what the connections met.
pub(super) async fn refuse_shared_sessions(
    options: &PgConnectOptions,
    wait: Duration,
) -> Result<(), StoreError> {
    let wait = wait.max(SHORTEST_WAIT);
    // Where nothing listens this fails at once. A pool would try again until its time is over.
    let connected = in_time(wait, PgConnection::connect_with(options)).await;
    let mut second = connected.map_err(|error| unreachable(options, error))?;
    let look = async {
        let mut first = listener(options).await?;
        let fault = match read_only(&mut second).await? {
            Some(fault) => Some(fault),
            None => shared_session(&mut first, &mut second, wait).await?,
        };
        // The server closes what fails to.
        let _ = second.close().await;
        Ok(fault)
    };
    // Twice: one wait is for a notification.
    match in_time(2 * wait, look).await.map_err(failed)? {
        Some(fault) => Err(misconfigured(ConfigError::new(fault))),
        None => Ok(()),
    }
}

async fn read_only(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let setting: String =
        sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?.try_get(0)?;
    Ok((setting == "on").then(|| {
        "the server only reads: it is a standby, or `default_transaction_read_only` is on; the store needs the primary"
            .to_owned()
    }))
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
            None => sign_of_deafness(first, second, &mark, wait).await,
        }
    };
    let sign = match signs.await {
        // To this library, a notification that nobody listens for breaks the protocol.
        Err(sqlx::Error::Protocol(_)) => Some("a connection is told what another listens for"),
        other => other?,
    };
    Ok(sign.map(|sign| {
        format!(
            "PgBouncer or another pooler in transaction mode stands before the database ({sign}): the store needs \
             a session of the server for each connection; set `pool_mode = session`, or connect to PostgreSQL directly"
        )
    }))
}

/// What shows at once that sessions are shared, if anything does: the pooler may happen to lend a connection one session
/// twice, and another one to the other connection.
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
    // The other session is taken as long as its transaction lasts.
    let later = session(&mut *first, &read).await?;
    second.execute("COMMIT").await?;
    Ok((later != own).then_some(ANOTHER_SESSION))
}

const ANOTHER_SESSION: &str = "a connection's next transaction is in another session";

/// Sends a notification to a connection that is between two transactions. A pooler that shares sessions has taken the
/// connection's away by then, so nothing can reach it, whatever the size of the pool and whoever else uses it.
async fn sign_of_deafness(
    first: &mut PgListener,
    second: &mut PgConnection,
    mark: &str,
    wait: Duration,
) -> Result<Option<&'static str>, sqlx::Error> {
    let channel = format!("tower_reissue_{mark}");
    first.listen(&channel).await?;
    match second.execute(AssertSqlSafe(format!("NOTIFY {channel}"))).await {
        // The server's queue is full: nobody hears anything.
        Err(error) if is_untold(&error) => return sign_of_lending(first, second).await,
        told => told?,
    };
    match tokio::time::timeout(wait, first.try_recv()).await {
        Ok(Ok(Some(heard))) if heard.channel() == channel => Ok(None),
        Ok(Ok(None)) => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(Some(_))) | Err(_) => Ok(Some("a connection that listens hears nothing while it is idle")),
    }
}

/// A pooler lends out the session that was given back last, or the one that has waited longest. Each connection gives one
/// back, in either order: in one of them, the first connection's next transaction is in another session.
async fn sign_of_lending(
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

/// By the simple protocol: a prepared statement's answer may be another's here.
async fn session<'e>(
    connection: impl Executor<'e, Database = Postgres>,
    mark: &str,
) -> Result<Session, sqlx::Error> {
    let look = format!("SELECT CAST(pg_backend_pid() AS TEXT), {mark}");
    let row = sqlx::raw_sql(AssertSqlSafe(look)).fetch_one(connection).await?;
    Ok(Session { process: row.try_get(0)?, mark: row.try_get(1)? })
}

/// Its pool is there because sqlx wants one.
pub(super) async fn listener(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    // What breaks is not opened anew in silence: something may have been missed.
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
