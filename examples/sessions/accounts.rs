//! Accounts: the service's own table, beside the store of sessions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Result;

#[derive(Clone)]
pub(crate) struct Accounts {
    pool: SqlitePool,
    /// A hash takes 19 MiB, and anybody can ask for one.
    hashing: Arc<Semaphore>,
}

/// An account whose password was right, and the hash that it had then.
pub(crate) struct Checked {
    pub(crate) name: String,
    hash: String,
}

/// What a sign-in came to.
pub(crate) enum SignIn {
    Right(Checked),
    /// The name or the password is wrong. The caller is not told which.
    Wrong,
    Blocked,
}

/// Hashed in place of the password of an account that there is not: a wrong name takes as long as a wrong password.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$YaiCaPkP+vGBBPK1nZnrdm3Ap9WxeFAc/p4vYYtXl6U";

impl Accounts {
    pub(crate) async fn open(data: &Path) -> Result<Self> {
        let file = SqliteConnectOptions::new().filename(data.join("accounts.db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(file.busy_timeout(Duration::from_secs(5))).await?;
        let table = "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, hash TEXT NOT NULL, blocked INT NOT NULL)";
        sqlx::query(table).execute(&pool).await?;
        Ok(Self { pool, hashing: Arc::new(Semaphore::new(4)) })
    }

    /// Whether the name was free.
    pub(crate) async fn sign_up(&self, name: &str, password: &str) -> Result<bool> {
        let insert = sqlx::query("INSERT INTO accounts VALUES (?, ?, 0) ON CONFLICT DO NOTHING");
        let done = insert.bind(name).bind(self.hash(password).await?).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Result<SignIn> {
        let select = sqlx::query_as("SELECT hash, blocked FROM accounts WHERE name = ?");
        let found: Option<(String, bool)> = select.bind(name).fetch_optional(&self.pool).await?;
        let (is_known, blocked) = (found.is_some(), found.as_ref().is_some_and(|(_, blocked)| *blocked));
        let hash = found.map_or(NOBODY.to_owned(), |(hash, _)| hash);
        let is_right = self.verify(password, &hash).await?;
        Ok(match is_known && is_right {
            false => SignIn::Wrong,
            true if blocked => SignIn::Blocked,
            true => SignIn::Right(Checked { name: name.to_owned(), hash }),
        })
    }

    /// Whether the password is still the one that was checked, and the account not blocked.
    pub(crate) async fn still_holds(&self, checked: &Checked) -> Result<bool> {
        let select = sqlx::query_scalar("SELECT hash = ? AND NOT blocked FROM accounts WHERE name = ?");
        let holds = select.bind(&checked.hash).bind(&checked.name).fetch_optional(&self.pool).await?;
        Ok(holds.unwrap_or(false))
    }

    pub(crate) async fn set_password(&self, name: &str, password: &str) -> Result<Checked> {
        let hash = self.hash(password).await?;
        let update = sqlx::query("UPDATE accounts SET hash = ? WHERE name = ?");
        update.bind(&hash).bind(name).execute(&self.pool).await?;
        Ok(Checked { name: name.to_owned(), hash })
    }

    pub(crate) async fn set_blocked(&self, name: &str, blocked: bool) -> Result<()> {
        let update = sqlx::query("UPDATE accounts SET blocked = ? WHERE name = ?");
        update.bind(blocked).bind(name).execute(&self.pool).await?;
        Ok(())
    }

    pub(crate) async fn is_blocked(&self, name: &str) -> Result<bool> {
        let select = sqlx::query_scalar("SELECT blocked FROM accounts WHERE name = ?");
        Ok(select.bind(name).fetch_optional(&self.pool).await?.unwrap_or(true))
    }

    /// Argon2id as its crate sets it up.
    async fn hash(&self, password: &str) -> Result<String> {
        let password = password.to_owned();
        let hashing =
            move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string());
        self.in_turn(hashing).await?.map_err(|error| error.to_string().into())
    }

    async fn verify(&self, password: &str, hash: &str) -> Result<bool> {
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let verifying = move || {
            let hash = PasswordHash::new(&hash).map_err(|error| error.to_string())?;
            Ok::<_, String>(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        };
        Ok(self.in_turn(verifying).await??)
    }

    /// Takes tens of milliseconds by design, so it runs in a thread of its own, and four at a time. Who has to wait too long is
    /// answered 503.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = timeout(Duration::from_secs(5), Arc::clone(&self.hashing).acquire_owned()).await??;
        let work = move || {
            let _turn = turn;
            work()
        };
        Ok(tokio::task::spawn_blocking(work).await?)
    }
}
