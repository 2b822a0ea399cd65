//! [`KeySet`]: the keys that a source holds at one moment.

use std::fmt;
use std::time::Duration;

use super::error::KeyError;
use super::signing_key::SigningKey;
use super::verifying_key::VerifyingKey;

/// The keys that a source holds at one moment.
///
/// If a set holds no key and lists none as [`skipped`](Self::skipped), the owner has withdrawn all its keys: no token
/// of a trusted issuer is admitted then. For the own source this is an error, and the current keys stay in use. A
/// source that can't read its keys returns an error.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeySet {
    /// The key to sign with. A foreign issuer's set needs none.
    pub signing: Option<SigningKey>,
    /// Retired or public keys.
    pub verifying: Vec<VerifyingKey>,
    /// Kids or fingerprints of compromised keys. Nothing under them is admitted from this load on, for as long as the
    /// process lives. In the own source's set a `kid` also removes a trusted issuer's key of that name; in an
    /// issuer's set only that issuer's.
    pub withdrawn: Vec<String>,
    /// How long the set is fresh, by HTTP caching headers: at least the reload interval, and at most 24 hours count.
    /// `None`: the reload interval is used.
    pub fresh_for: Option<Duration>,
    /// Keys of the set that did not load. The others are used.
    pub skipped: Vec<KeyError>,
    /// Whether a part of the source has not answered yet, so that its keys are those of an earlier load.
    pub(crate) is_late: bool,
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

    /// Adds a key that only verifies.
    #[must_use = "the set is moved into the result"]
    pub fn retiring(mut self, key: impl Into<VerifyingKey>) -> Self {
        self.verifying.push(key.into());
        self
    }

    /// Withdraws a compromised key, by its `kid` or fingerprint.
    #[must_use = "the set is moved into the result"]
    pub fn withdrawing(mut self, kid: impl Into<String>) -> Self {
        self.withdrawn.push(kid.into());
        self
    }

    /// How long the set is fresh.
    #[must_use = "the set is moved into the result"]
    pub fn fresh_for(mut self, time: Duration) -> Self {
        self.fresh_for = Some(time);
        self
    }

    /// Adds another set's keys as keys that only verify, with what it withdraws and what of it did not load. `place` is where the
    /// set was.
    pub(crate) fn retire(&mut self, mut other: Self, place: impl fmt::Display) {
        self.withdrawn.append(&mut other.withdrawn);
        self.skipped.extend(other.skipped.drain(..).map(|error| error.within(&place)));
        self.verifying.extend(other.into_verifying());
    }

    /// All its keys as verifying keys.
    pub(crate) fn into_verifying(self) -> impl Iterator<Item = VerifyingKey> {
        self.signing.map(VerifyingKey::from).into_iter().chain(self.verifying)
    }
}
