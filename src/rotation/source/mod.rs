//! Key sources: [`KeySource`] and its implementations.
//!
//! | source | for |
//! |---|---|
//! | [`KeySet`] | keys in memory |
//! | [`EnvSource`] | an environment variable |
//! | [`FileSource`] | a file, and files of retired keys |
//! | [`DirectorySource`] | a mounted Kubernetes Secret |
//! | [`CommandSource`] | a helper program that prints the key |
//! | [`GeneratedSource`] | a key that is generated at the first start and kept in a directory |
//! | `JwksUrl` (feature `jwks`) | a JWK set at a URL, usually another issuer's |
//!
//! A [`KeyRotation`](super::KeyRotation) loads a source repeatedly and compares the results, so it notices a replaced
//! file however it was replaced (a symlink swapped, a rename, truncated and written). If a source can't be read or a
//! key does not load, the current keys stay in use, and an event reports it.
//!
//! Only a [`DirectorySource`], or the [`KeySet::withdrawn`] of a source of yours, withdraws a compromised key. With
//! any other source, a replaced key is accepted for the rotation's overlap: [what to do](crate::manual::keys).
//!
//! No source protects the key where it is stored. The file's mode, the Secret's access rules and the helper's
//! credentials are up to the operator. Only [`GeneratedSource`], which stores a key itself, refuses one that others
//! can read or replace.

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
pub(crate) mod load_permits;
mod private_directory;
mod snapshot;

pub use self::command::CommandSource;
pub use self::directory::DirectorySource;
pub use self::env::EnvSource;
pub use self::file::FileSource;
pub use self::format::{DangerousKeyFormat, KeyFormat};
pub use self::generated::GeneratedSource;
#[cfg(feature = "settings")]
pub(crate) use self::given::{is_key_text, is_secret_for_name, is_secret_for_path, is_variable};
#[cfg(feature = "jwks-no-provider")]
pub use self::jwks_url::{DangerousJwksUrl, JwksUrl};

/// A source of keys.
///
/// It is loaded at every reload, and the result is compared with the last one, so a source need not know what changed. It is
/// loaded in the background, never during a request, by one load at a time. A load that takes longer than 15 s has failed and
/// is dropped. A load that blocks its thread can't be dropped, and no other load begins before it ends. A source must bound
/// the threads that it starts itself. A panic is a failed load.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of keys",
    note = "keys in memory are one as a `KeySet`: `KeySet::signing(key)`, `KeySet::verifying([key])`",
    note = "a URL is one as a `JwksUrl` (feature `jwks`): `JwksUrl::new(url)?`, or by its issuer `JwksUrl::discover(issuer)?`"
)]
pub trait KeySource: Send + Sync + 'static {
    /// Names the source in logs; no secrets.
    fn describe(&self) -> String;

    /// What it holds now.
    fn load(&self) -> impl Future<Output = Result<KeySet, KeyError>> + Send;
}

/// Reads a file with a secret other than a key.
#[cfg(feature = "settings")]
pub(crate) async fn read_file(path: impl Into<std::path::PathBuf>) -> Result<snapshot::Bytes, KeyError> {
    let path = path.into();
    snapshot::blocking(move || snapshot::read(&path)).await
}

/// Refuses a file that others can replace.
#[cfg(feature = "settings")]
pub(crate) fn refuse_replaceable(path: &std::path::Path) -> Result<(), KeyError> {
    private_directory::read_unreplaceable(path).map(drop)
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
