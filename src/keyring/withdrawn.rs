//! [`Withdrawn`]: the keys that are removed for good, under all their names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// By the issuer's name or template.
    of_issuers: BTreeMap<String, OfIssuer>,
    /// The listed names that a key had.
    seen: BTreeSet<String>,
}

/// What is withdrawn of one issuer's keys. It counts for all issuers that can mean the same `iss`: one that is trusted again by a
/// template has the same keys.
#[derive(Clone, Debug)]
struct OfIssuer {
    issuer: TrustedIssuer,
    listed: BTreeSet<String>,
    /// The fingerprints of its keys that are withdrawn by their `kid`, the latest last.
    learnt: VecDeque<String>,
}

/// As many as a key set can have. An issuer can give a new key a withdrawn `kid` at each load, and only its own keys are forgotten
/// then.
const MAX_LEARNT: usize = 256;

impl Withdrawn {
    /// Withdraws every key of these names, of all owners.
    pub(crate) fn extend(&mut self, names: impl IntoIterator<Item = String>) {
        self.everywhere.extend(names);
    }

    /// Withdraws this issuer's keys of these names.
    pub(crate) fn extend_of(&mut self, issuer: &TrustedIssuer, names: impl IntoIterator<Item = String>) {
        let mut names = names.into_iter().peekable();
        if names.peek().is_some() {
            self.of(issuer).listed.extend(names);
        }
    }

    fn of(&mut self, issuer: &TrustedIssuer) -> &mut OfIssuer {
        let new = || OfIssuer::new(issuer.as_provider());
        self.of_issuers.entry(issuer.name().to_owned()).or_insert_with(new)
    }

    /// Whether the key is withdrawn. If it is, this withdraws it under its other name too. `issuer` is `None` for an own key.
    pub(crate) fn observe(&mut self, key: &VerifyingKey, issuer: Option<&TrustedIssuer>) -> bool {
        if !self.holds(key, issuer) {
            return false;
        }
        // An issuer can rename its keys without end, so of their names only those are kept that are listed anyway.
        for name in [key.kid(), key.fingerprint()] {
            if issuer.is_none() || self.is_listed(name) {
                self.seen.insert(name.to_owned());
            }
        }
        let fingerprint = key.fingerprint().to_owned();
        match issuer {
            None => self.extend([fingerprint]),
            Some(issuer) => self.of(issuer).learn(fingerprint),
        }
        true
    }

    fn is_listed(&self, name: &str) -> bool {
        self.everywhere.contains(name) || self.of_issuers.values().any(|of| of.listed.contains(name))
    }

    /// Whether the key is withdrawn, by the names that are known so far. `issuer` is `None` for an own key.
    pub(crate) fn holds(&self, key: &VerifyingKey, issuer: Option<&TrustedIssuer>) -> bool {
        let is_everywhere = [key.kid(), key.fingerprint()].iter().any(|name| self.everywhere.contains(*name));
        is_everywhere
            || issuer
                .is_some_and(|issuer| self.of_issuers.values().any(|of| of.holds(key) && of.is_of(issuer)))
    }

    /// Whether a withdrawn key with this name was seen.
    pub(crate) fn has_seen(&self, name: &str) -> bool {
        self.seen.contains(name)
    }
}

impl OfIssuer {
    fn new(issuer: TrustedIssuer) -> Self {
        Self { issuer, listed: BTreeSet::new(), learnt: VecDeque::new() }
    }

    fn is_of(&self, issuer: &TrustedIssuer) -> bool {
        self.issuer.name() == issuer.name() || self.issuer.overlaps(issuer)
    }

    fn holds(&self, key: &VerifyingKey) -> bool {
        self.listed.contains(key.kid())
            || self.listed.contains(key.fingerprint())
            || self.learnt.iter().any(|learnt| learnt == key.fingerprint())
    }

    fn learn(&mut self, fingerprint: String) {
        if self.listed.contains(&fingerprint) || self.learnt.contains(&fingerprint) {
            return;
        }
        if self.learnt.len() == MAX_LEARNT {
            self.learnt.pop_front();
        }
        self.learnt.push_back(fingerprint);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::keys::{Algorithm, SigningKey};

    fn key(n: usize, kid: &str) -> VerifyingKey {
        SigningKey::from_secret(Algorithm::HS256, format!("{n:-<64}")).unwrap().with_kid(kid).into()
    }

    #[test]
    fn what_an_issuer_can_add_is_bounded_whatever_it_publishes_and_however_it_is_trusted() {
        let mut withdrawn = Withdrawn::default();
        withdrawn.extend(["bad".to_owned()]);
        let mut tenants = Vec::new();
        for n in 0..1_000 {
            tenants.push(format!("t{n}"));
            let issuer = TrustedIssuer::tenants("https://x/{tid}", tenants.clone());
            assert!(withdrawn.observe(&key(n, "bad"), Some(&issuer)));
        }
        let [of] = &withdrawn.of_issuers.values().collect::<Vec<_>>()[..] else { panic!("one entry") };
        assert_eq!((of.learnt.len(), of.listed.len(), withdrawn.seen.len()), (MAX_LEARNT, 0, 1));
        assert!(format!("{:?}", of.issuer).len() < 500, "no tenants");
        // Renamed, the latest are still known, for every way to name their issuer.
        for issuer in [TrustedIssuer::every_tenant("https://x/{tid}"), TrustedIssuer::new("https://x/t")] {
            assert!(withdrawn.holds(&key(999, "renamed"), Some(&issuer)));
            assert!(!withdrawn.holds(&key(0, "renamed"), Some(&issuer)));
        }
        assert!(!withdrawn.holds(&key(999, "renamed"), Some(&TrustedIssuer::new("https://y/t"))));
        assert!(!withdrawn.holds(&key(999, "renamed"), None), "another owner's key of the same bytes");
    }
}
