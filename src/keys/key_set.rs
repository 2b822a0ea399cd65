//! [`KeySet`]: the keys that a source holds at one moment.

use std::time::Duration;

use super::error::KeyError;
use super::signing_key::SigningKey;
use super::verifying_key::VerifyingKey;

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
