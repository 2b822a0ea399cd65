//! [`Withdrawn`]: the keys that are removed for good, under all their names.

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::verifying_key::VerifyingKey;

/// Kids and fingerprints of withdrawn keys. Names are never removed, because a list that is truncated for a moment must not
/// bring a compromised key back.
///
/// A key that is withdrawn under one name is withdrawn under all. But an issuer chooses the names of the keys that it publishes:
/// if it publishes another owner's key under a withdrawn name, only its own entry is removed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawn {
    everywhere: BTreeSet<String>,
    of_issuers: BTreeMap<String, BTreeSet<String>>,
    /// The names of withdrawn keys that were seen.
    seen: BTreeSet<String>,
}

impl Withdrawn {
    /// Withdraws every key of these names, of all owners.
    pub(crate) fn extend(&mut self, names: impl IntoIterator<Item = String>) {
        self.everywhere.extend(names);
    }

    /// Withdraws this issuer's keys of these names.
    pub(crate) fn extend_of(&mut self, issuer: &str, names: impl IntoIterator<Item = String>) {
        self.of_issuers.entry(issuer.to_owned()).or_default().extend(names);
    }

    /// Whether the key is withdrawn. If it is, this withdraws it under its other name too. `issuer` is `None` for an own key.
    pub(crate) fn observe(&mut self, key: &VerifyingKey, issuer: Option<&str>) -> bool {
        let is_withdrawn = self.holds(key, issuer);
        if is_withdrawn {
            let fingerprint = key.fingerprint().to_owned();
            self.seen.extend([key.kid().to_owned(), fingerprint.clone()]);
            match issuer {
                None => self.extend([fingerprint]),
                Some(issuer) => self.extend_of(issuer, [fingerprint]),
            }
        }
        is_withdrawn
    }

    /// Whether the key is withdrawn, by the names that are known so far. `issuer` is `None` for an own key.
    pub(crate) fn holds(&self, key: &VerifyingKey, issuer: Option<&str>) -> bool {
        let of_issuer = issuer.and_then(|issuer| self.of_issuers.get(issuer));
        let mut sets = std::iter::once(&self.everywhere).chain(of_issuer);
        sets.any(|names| names.contains(key.kid()) || names.contains(key.fingerprint()))
    }

    /// Whether a withdrawn key with this name was seen.
    pub(crate) fn has_seen(&self, name: &str) -> bool {
        self.seen.contains(name)
    }
}
