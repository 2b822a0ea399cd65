//! Accounts: the service's own table, beside the store of sessions.

use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::Result;

#[derive(Clone)]
pub(crate) struct Accounts(SqlitePool);

/// What a sign-in came to.
#[derive(Debug, PartialEq)]
pub(crate) enum SignIn {
    Right,
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
        let pool = SqlitePool::connect_with(file.busy_timeout(std::time::Duration::from_secs(5))).await?;
        let table = "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, hash TEXT NOT NULL, blocked INT NOT NULL)";
        sqlx::query(table).execute(&pool).await?;
        Ok(Self(pool))
    }

    /// Whether the name was free.
    pub(crate) async fn sign_up(&self, name: &str, password: &str) -> Result<bool> {
        let insert = sqlx::query("INSERT INTO accounts VALUES (?, ?, 0) ON CONFLICT DO NOTHING");
        let done = insert.bind(name).bind(hash(password).await?).execute(&self.0).await?;
        Ok(done.rows_affected() == 1)
    }

    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Result<SignIn> {
        let select = sqlx::query_as("SELECT hash, blocked FROM accounts WHERE name = ?");
        let found: Option<(String, bool)> = select.bind(name).fetch_optional(&self.0).await?;
        let (is_known, blocked) = (found.is_some(), found.as_ref().is_some_and(|(_, blocked)| *blocked));
        let is_right = verify(password, found.map_or(NOBODY.to_owned(), |(hash, _)| hash)).await?;
        Ok(match is_known && is_right {
            false => SignIn::Wrong,
            true if blocked => SignIn::Blocked,
            true => SignIn::Right,
        })
    }

    pub(crate) async fn set_password(&self, name: &str, password: &str) -> Result<()> {
        let update = sqlx::query("UPDATE accounts SET hash = ? WHERE name = ?");
        update.bind(hash(password).await?).bind(name).execute(&self.0).await?;
        Ok(())
    }

    pub(crate) async fn set_blocked(&self, name: &str, blocked: bool) -> Result<()> {
        let update = sqlx::query("UPDATE accounts SET blocked = ? WHERE name = ?");
        update.bind(blocked).bind(name).execute(&self.0).await?;
        Ok(())
    }

    pub(crate) async fn is_blocked(&self, name: &str) -> Result<bool> {
        let select = sqlx::query_scalar("SELECT blocked FROM accounts WHERE name = ?");
        Ok(select.bind(name).fetch_optional(&self.0).await?.unwrap_or(true))
    }
}

/// Argon2id as its crate sets it up. It takes tens of milliseconds by design: in a thread of its own.
async fn hash(password: &str) -> Result<String> {
    let password = password.to_owned();
    let hashing = move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string());
    tokio::task::spawn_blocking(hashing).await?.map_err(|error| error.to_string().into())
}

async fn verify(password: &str, hash: String) -> Result<bool> {
    let password = password.to_owned();
    let verifying = move || {
        let hash = PasswordHash::new(&hash).map_err(|error| error.to_string())?;
        Ok::<_, String>(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    };
    Ok(tokio::task::spawn_blocking(verifying).await??)
}
