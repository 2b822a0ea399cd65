//! [`Withdrawn`]: the keys that are removed for good, under all their names.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keys::verifying_key::VerifyingKey;

/// Kids and fingerprints of withdrawn keys. Names are never removed, because a list that is truncated for a moment must not
/// bring a compromised key back.
///
/// A key that is withdrawn under one name is withdrawn under all. But an issuer chooses the names of the keys that it publishes:
/// if it publishes another owner's key under a withdrawn name, only its own entry is removed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawn {
    everywhere: BTreeSet<String>,
    /// An entry counts for every issuer of that name, and for all that can mean the same `iss`: one that is trusted again by a
    /// template has the same keys.
    of_issuers: Vec<(Arc<TrustedIssuer>, BTreeSet<String>)>,
    /// The names of withdrawn keys that were seen.
    seen: BTreeSet<String>,
}

impl Withdrawn {
    /// Withdraws every key of these names, of all owners.
    pub(crate) fn extend(&mut self, names: impl IntoIterator<Item = String>) {
        self.everywhere.extend(names);
    }

    /// Withdraws this issuer's keys of these names.
    pub(crate) fn extend_of(&mut self, issuer: &Arc<TrustedIssuer>, names: impl IntoIterator<Item = String>) {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return;
        }
        match self.of_issuers.iter_mut().find(|(held, _)| held == issuer) {
            Some((_, withdrawn)) => withdrawn.extend(names),
            None => self.of_issuers.push((Arc::clone(issuer), names.collect())),
        }
    }

    /// Whether the key is withdrawn. If it is, this withdraws it under its other name too. `issuer` is `None` for an own key.
    pub(crate) fn observe(&mut self, key: &VerifyingKey, issuer: Option<&Arc<TrustedIssuer>>) -> bool {
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
    pub(crate) fn holds(&self, key: &VerifyingKey, issuer: Option<&Arc<TrustedIssuer>>) -> bool {
        let is_named =
            |names: &BTreeSet<String>| names.contains(key.kid()) || names.contains(key.fingerprint());
        let is_of_issuer = |issuer: &Arc<TrustedIssuer>| {
            let mut entries = self.of_issuers.iter().filter(|(_, names)| is_named(names));
            entries.any(|(held, _)| held.name() == issuer.name() || held.overlaps(issuer))
        };
        is_named(&self.everywhere) || issuer.is_some_and(is_of_issuer)
    }

    /// Whether a withdrawn key with this name was seen.
    pub(crate) fn has_seen(&self, name: &str) -> bool {
        self.seen.contains(name)
    }
}
