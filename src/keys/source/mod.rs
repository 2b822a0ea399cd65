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
use std::time::Duration;

use super::error::KeyError;
use super::signing_key::SigningKey;
use super::verifying_key::VerifyingKey;

mod command;
mod directory;
mod env;
mod erased;
mod file;
mod format;
mod generated;
mod given;
#[cfg(feature = "jwks-no-provider")]
mod jwks_url;
mod look;
mod private_directory;
mod turn;

pub use self::command::CommandSource;
pub use self::directory::DirectorySource;
pub use self::env::EnvSource;
pub(crate) use self::erased::ErasedSource;
pub use self::file::FileSource;
pub use self::format::{DangerousKeyFormat, KeyFormat};
pub use self::generated::GeneratedSource;
#[cfg(feature = "jwks-no-provider")]
pub use self::jwks_url::{DangerousJwksUrl, JwksUrl};
pub(crate) use self::turn::{Turn, Turns};

/// What a source holds at one moment.
///
/// Where it holds no key and says of none that it was [`skipped`](Self::skipped), the owner has taken its keys back: of a
/// trusted issuer no token is admitted then. Of the own source it is an error, and the keys held so far serve on. A source
/// that can't tell returns an error.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeySet {
    /// The key to sign with. A foreign issuer's set needs none.
    pub signing: Option<SigningKey>,
    /// Retired or public keys.
    pub verifying: Vec<VerifyingKey>,
    /// Kids (or fingerprints) withdrawn as compromised: nothing under them is admitted from this load on, for as long as
    /// the process lives. In the own source's set a `kid` takes a trusted issuer's key of that name too, in an issuer's set
    /// that issuer's alone.
    pub withdrawn: Vec<String>,
    /// How long it is fresh, as HTTP caching headers say: 24 hours count at most, the reload interval at least. `None`: the
    /// reload interval rules.
    pub fresh_for: Option<Duration>,
    /// Keys of the set that did not load; the others serve.
    pub skipped: Vec<KeyError>,
}

impl KeySet {
    /// One key, which signs.
    pub fn signing(key: SigningKey) -> Self {
        Self { signing: Some(key), ..Self::default() }
    }

    /// Keys that only verify.
    pub fn verifying(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self { verifying: keys.into_iter().collect(), ..Self::default() }
    }

    /// With a further key that only verifies.
    pub fn retiring(mut self, key: impl Into<VerifyingKey>) -> Self {
        self.verifying.push(key.into());
        self
    }

    /// With a key withdrawn as compromised, by its `kid` or fingerprint.
    pub fn withdrawing(mut self, kid: impl Into<String>) -> Self {
        self.withdrawn.push(kid.into());
        self
    }

    /// How long it is fresh.
    pub fn fresh_for(mut self, time: Duration) -> Self {
        self.fresh_for = Some(time);
        self
    }

    /// Takes another set's keys as ones that only verify.
    pub(crate) fn retire(&mut self, other: Self) {
        self.verifying.extend(other.into_verifying());
    }

    /// Every key of it, as what verifies.
    pub(crate) fn into_verifying(self) -> impl Iterator<Item = VerifyingKey> {
        self.signing.map(VerifyingKey::from).into_iter().chain(self.verifying)
    }
}

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
