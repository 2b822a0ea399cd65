//! Where keys come from: [`KeySource`] and the sources that are ready.
//!
//! | source | for |
//! |---|---|
//! | [`KeySet`] | keys at hand, in memory |
//! | [`EnvSource`] | an environment variable |
//! | [`FileSource`] | a file, and files of retired keys |
//! | [`DirectorySource`] | a mounted Kubernetes Secret |
//! | [`CommandSource`] | a helper program that prints the key |
//! | [`GeneratedSource`] | a key made at the first start and kept in a directory |
//! | `JwksUrl` (feature `jwks`) | a JWK set at a URL, another issuer's usually |
//!
//! A [`KeyRotation`](super::KeyRotation) loads a source again and again and compares what it finds, so whatever way a file is
//! replaced (a symlink swapped, a rename, truncated and written) is noticed. What can't be read or does not load changes
//! nothing: the keys held so far serve on, and an event tells.
//!
//! Only a [`DirectorySource`], or the [`KeySet::withdrawn`] of a source of yours, takes a compromised key out. With any other
//! source a key that is replaced is accepted for the rotation's overlap: [what to do](crate::manual::keys).
//!
//! No source protects the key where it lies: the file's mode, the Secret's access rules and the helper's own credentials
//! are the operator's. [`GeneratedSource`] alone, which keeps a key itself, refuses one that others can read or replace.

use std::future::Future;

use crate::keys::error::KeyError;
pub use crate::keys::key_set::KeySet;

pub(crate) mod command;
pub(crate) mod directory;
pub(crate) mod env;
pub(crate) mod erased;
pub(crate) mod file;
pub(crate) mod format;
pub(crate) mod generated;
mod given;
#[cfg(feature = "jwks-no-provider")]
pub(crate) mod jwks_url;
mod look;
mod private_directory;
pub(crate) mod turn;

pub use self::command::CommandSource;
pub use self::directory::DirectorySource;
pub use self::env::EnvSource;
pub use self::file::FileSource;
pub use self::format::{DangerousKeyFormat, KeyFormat};
pub use self::generated::GeneratedSource;
#[cfg(feature = "jwks-no-provider")]
pub use self::jwks_url::{DangerousJwksUrl, JwksUrl};

/// Where keys come from.
///
/// It is asked again at every reload, and the answer is compared with the last: a source need not know what changed.
/// It is asked in the background, never on the path of a request, by one load at a time. What takes longer than 15 s has
/// failed, and is dropped; what blocks its thread can't be, and no other load begins before it ends. Threads that a
/// source of yours starts itself it bounds itself. A panic is a failed load.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no source of keys",
    note = "keys at hand are one as a `KeySet`: `KeySet::signing(key)`, `KeySet::verifying([key])`"
)]
pub trait KeySource: Send + Sync + 'static {
    /// Names the source in logs; no secrets.
    fn describe(&self) -> String;

    /// What it holds now.
    fn load(&self) -> impl Future<Output = Result<KeySet, KeyError>> + Send;
}

/// Keys at hand: always the same.
impl KeySource for KeySet {
    fn describe(&self) -> String {
        "keys in memory".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        Ok(self.clone())
    }
}
