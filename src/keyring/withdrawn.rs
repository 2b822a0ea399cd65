//! [`Withdrawn`]: the keys that are out for good, under whatever name they come again.

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::verifying_key::VerifyingKey;

/// Kids and fingerprints that no key answers to any more. Never taken back: a list that is cut short for a moment must
/// not bring a compromised key back.
///
/// A key that is withdrawn under one name is withdrawn. But under which names an issuer publishes which keys is the
/// issuer's to say: its entry of a withdrawn name is gone, and the same key of another owner is not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawn {
    everywhere: BTreeSet<String>,
    of_issuers: BTreeMap<String, BTreeSet<String>>,
    /// The names of keys that were met and are withdrawn.
    met: BTreeSet<String>,
}

impl Withdrawn {
    /// Every key of these names, whoever's it is.
    pub(crate) fn extend(&mut self, names: impl IntoIterator<Item = String>) {
        self.everywhere.extend(names);
    }

    /// The keys of these names that are this issuer's.
    pub(crate) fn extend_of(&mut self, issuer: &str, names: impl IntoIterator<Item = String>) {
        self.of_issuers.entry(issuer.to_owned()).or_default().extend(names);
    }

    /// Whether the key is withdrawn; then it is under its other name too. `None`: an own key.
    pub(crate) fn meet(&mut self, key: &VerifyingKey, issuer: Option<&str>) -> bool {
        let is_withdrawn = self.holds(key, issuer);
        if is_withdrawn {
            let fingerprint = key.fingerprint().to_owned();
            self.met.extend([key.kid().to_owned(), fingerprint.clone()]);
            match issuer {
                None => self.extend([fingerprint]),
                Some(issuer) => self.extend_of(issuer, [fingerprint]),
            }
        }
        is_withdrawn
    }

    /// Whether the key is withdrawn, as far as the keys that were met tell. `None`: an own key.
    pub(crate) fn holds(&self, key: &VerifyingKey, issuer: Option<&str>) -> bool {
        let of_issuer = issuer.and_then(|issuer| self.of_issuers.get(issuer));
        let mut sets = std::iter::once(&self.everywhere).chain(of_issuer);
        sets.any(|names| names.contains(key.kid()) || names.contains(key.fingerprint()))
    }

    /// Whether a key that was met had this name.
    pub(crate) fn has_met(&self, name: &str) -> bool {
        self.met.contains(name)
    }
}
