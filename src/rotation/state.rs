//! [`Rotation`]: which key signs and which verify, as a function of what was loaded and when.
//!
//! No clock, no waiting, no randomness: sets and instants go in, a ring comes out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::keyring::handle::RetiredKey;
use crate::keyring::ring::KeyRing;
use crate::keyring::ring::ambiguous;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keyring::withdrawn::Withdrawn;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::key_set::KeySet;
use crate::keys::signing_key::SigningKey;
use crate::keys::verifying_key::VerifyingKey;
use crate::rotation::pace::Pace;
use crate::time::NumericDate;

/// How many retired keys are remembered, the last ones.
const MAX_RETIRED: usize = 16;

/// In whole seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// From a key's first sight to its first signature.
    pub(super) activation_delay: u64,
    /// How much later than here another node may see what is seen here.
    pub(super) spread: u64,
    /// From the last signature a key could have made to the end of its verifying.
    pub(super) overlap: u64,
    /// From a foreign source's first failure to the end of its keys.
    pub(super) stale_for: u64,
}

pub(super) struct Rotation {
    timing: Timing,
    /// There are no own keys.
    is_verify_only: bool,
    /// `None` where the only one was withdrawn.
    signing: Option<SigningKey>,
    /// Verifies already.
    next: Option<Next>,
    /// Signed, here or elsewhere. The newest first.
    retiring: Vec<Retiring>,
    /// What the own source says verifies.
    listed: Vec<VerifyingKey>,
    /// The own keys of the last ring.
    serving: Vec<VerifyingKey>,
    /// Those that have left the ring without being withdrawn, the last first, and since when.
    retired: VecDeque<(VerifyingKey, u64)>,
    /// By a number that is never given twice: what an issuer's source answers after it was removed is nobody's.
    foreign: BTreeMap<usize, Foreign>,
    /// The next number.
    next_issuer: usize,
    /// By the own source or by hand; of an issuer's keys, by its source too.
    withdrawn: Withdrawn,
    /// What time has passed: instants in here are its counts, not dates.
    pace: Pace,
}

struct Next {
    key: SigningKey,
    signs_from: u64,
}

struct Retiring {
    key: VerifyingKey,
    until: u64,
}

struct Foreign {
    issuer: Arc<TrustedIssuer>,
    keys: Vec<VerifyingKey>,
    /// Until the source answers it is taken to have some.
    has_keys: bool,
    failing_since: Option<u64>,
}

/// What an issuer's source answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    Keys,
    /// It holds no key, for the first time since it held one or at the start.
    TakenBack,
}

impl Rotation {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            is_verify_only: false,
            signing: None,
            next: None,
            retiring: Vec::new(),
            listed: Vec::new(),
            serving: Vec::new(),
            retired: VecDeque::new(),
            foreign: BTreeMap::new(),
            next_issuer: 0,
            withdrawn: Withdrawn::default(),
            pace: Pace::default(),
        }
    }

    /// The same without own keys.
    pub(super) fn verify_only(self) -> Self {
        Self { is_verify_only: true, ..self }
    }

    /// Trusts another issuer from now on. The number is what its source's answers are taken by.
    pub(super) fn trust(&mut self, issuer: Arc<TrustedIssuer>) -> Result<usize, KeyError> {
        if let Some(rival) = self.foreign.values().find(|held| held.issuer.overlaps(&issuer)) {
            return Err(ambiguous(&rival.issuer, &issuer));
        }
        let at = self.next_issuer;
        self.next_issuer += 1;
        let foreign = Foreign { issuer, keys: Vec::new(), has_keys: true, failing_since: None };
        self.foreign.insert(at, foreign);
        Ok(at)
    }

    /// Trusts the issuer of this number no longer. What it withdrew stays withdrawn, should it come again.
    pub(super) fn distrust(&mut self, at: usize) {
        self.withdraw_other_names();
        self.foreign.remove(&at);
    }

    /// The own source holds this now. Its withdrawals count even where its signing key can't be used.
    pub(super) fn own_loaded(&mut self, set: KeySet, now: NumericDate) -> Result<(), KeyError> {
        let now = self.tick(now);
        let KeySet { signing, verifying, withdrawn, skipped, .. } = set;
        self.withdrawn.extend(withdrawn);
        // A key that this very set renames is known by its old name before that is gone.
        self.withdraw_other_names();
        // A set that does not sign is refused, and is no list of what is retired: it could not be read, or is a mistake.
        let before =
            if signing.is_some() { std::mem::replace(&mut self.listed, verifying) } else { Vec::new() };
        if !skipped.is_empty() {
            // A listed key that is missing now may be the one that did not load. Not for ever: what does not load may
            // be no key at all, and never go away.
            let until = now.saturating_add(self.timing.verifies_on());
            let missing: Vec<_> =
                before.into_iter().filter(|key| !self.listed.iter().any(|held| held.is_same(key))).collect();
            // The last goes in first: the first stays in front.
            missing.into_iter().rev().for_each(|key| self.retire(key, until));
        }
        self.withdraw_other_names();
        let Some(key) = signing else {
            return Err(match skipped.first() {
                None => KeyError::new(
                    KeyErrorKind::WrongType,
                    "the source holds no key that signs; give it a private key or a secret. Keys of another issuer, such as \
                     a `JwksUrl`'s, go in with `KeyRotation::trust(issuer, source)`; without own keys begin with \
                     `KeyRotation::verify_only()`",
                ),
                Some(error) => did_not_load("the source holds no key that signs", error),
            });
        };
        // It is held nowhere: its other names are known here or never.
        if self.withdrawn.meet(&key.verifying_key(), None) {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                "the source would sign with it, and it is withdrawn: put another in its place",
            )
            .about(key.kid()));
        }
        self.succeed(key, now);
        Ok(())
    }

    /// A foreign issuer's source holds this now: nothing at all, and none of the issuer's tokens is admitted any more. Its
    /// old keys serve on only where one was there and did not load.
    pub(super) fn foreign_loaded(
        &mut self,
        at: usize,
        set: KeySet,
        now: NumericDate,
    ) -> Result<Loaded, KeyError> {
        let withdrawn = set.withdrawn.clone();
        let failure = set.skipped.first().cloned();
        let keys: Vec<_> = set.into_verifying().collect();
        if let Some(Foreign { issuer, .. }) = self.foreign.get(&at) {
            // Even where it holds nothing else: the last key may be the compromised one.
            self.withdrawn.extend_of(issuer.name(), withdrawn);
        }
        // Those that go now are met by the names they had.
        self.withdraw_other_names();
        if let Some(error) = failure.filter(|_| keys.is_empty()) {
            self.foreign_failed(at, now);
            let what = "no key of the issuer's set loads; the ones held so far serve on for a time";
            return Err(did_not_load(what, &error));
        }
        let Some(foreign) = self.foreign.get_mut(&at) else { return Ok(Loaded::Keys) };
        foreign.failing_since = None;
        foreign.keys = keys;
        let had_keys = std::mem::replace(&mut foreign.has_keys, !foreign.keys.is_empty());
        Ok(if had_keys && foreign.keys.is_empty() { Loaded::TakenBack } else { Loaded::Keys })
    }

    /// A foreign issuer's source could not be loaded.
    pub(super) fn foreign_failed(&mut self, at: usize, now: NumericDate) {
        let now = self.tick(now);
        if let Some(foreign) = self.foreign.get_mut(&at) {
            foreign.failing_since.get_or_insert(now);
        }
    }

    /// Nothing under this `kid` or fingerprint from now on.
    pub(super) fn withdraw(&mut self, kid: &str) {
        self.withdrawn.extend([kid.to_owned()]);
        self.withdraw_other_names();
    }

    /// Of what the own source withdraws, the names that no key held here ever had: misspelt ones, perhaps.
    pub(super) fn withdrawing_nothing(&mut self, names: &[String]) -> Vec<KeyError> {
        self.withdraw_other_names();
        names
            .iter()
            .filter(|name| !self.withdrawn.has_met(name))
            .map(|name| {
                KeyError::new(
                    KeyErrorKind::Ring,
                    "it is listed as withdrawn, and no key held here has this `kid` or fingerprint: is it misspelt?",
                )
                .about(name)
            })
            .collect()
    }

    /// The own keys that trusted issuers publish as theirs, too.
    pub(super) fn claimed_by_others(&self) -> Vec<KeyError> {
        let own: Vec<_> = self.own_keys().map(|key| key.fingerprint().to_owned()).collect();
        let claims = |foreign: &Foreign| {
            let claimed: Vec<_> =
                foreign.keys.iter().filter(|key| own.iter().any(|own| own == key.fingerprint())).collect();
            let error = |key: &VerifyingKey| {
                let message = format!(
                    "it is an own key, and the issuer {:?} publishes it as its own: there it is passed over, for \
                     tokens of the one would pass for the other's",
                    foreign.issuer.name()
                );
                KeyError::new(KeyErrorKind::Ring, message).about(key.kid())
            };
            claimed.into_iter().map(error).collect::<Vec<_>>()
        };
        self.foreign.values().flat_map(claims).collect()
    }

    /// The ring at this instant.
    pub(super) fn ring(&mut self, now: NumericDate) -> KeyRing {
        let now = self.tick(now);
        self.advance(now);
        let next = self.next.iter().map(|next| next.key.verifying_key());
        let retiring = self.retiring.iter().map(|retiring| retiring.key.clone());
        let own = next.chain(retiring).chain(self.listed.iter().cloned());
        let ring =
            if self.is_verify_only { KeyRing::verify_only() } else { KeyRing::of(self.signing.clone()) };
        let ring = own.fold(ring, KeyRing::with_own);
        let serving = self.foreign.values().filter(|foreign| {
            foreign.failing_since.is_none_or(|since| now < since.saturating_add(self.timing.stale_for))
        });
        let ring = serving
            .fold(ring, |ring, foreign| ring.with_foreign(&foreign.issuer, foreign.keys.iter().cloned()))
            .without(&mut self.withdrawn);
        self.remember_retired(&ring, now);
        ring
    }

    /// The retired keys of exactly this `kid`.
    pub(super) fn retired(&mut self, kid: &str, now: NumericDate) -> Vec<RetiredKey> {
        let now = self.tick(now);
        let of_kid =
            self.retired.iter().filter(|(key, _)| key.kid() == kid && !self.withdrawn.holds(key, None));
        of_kid
            .map(|(key, since)| RetiredKey { key: key.clone(), for_secs: now.saturating_sub(*since) })
            .collect()
    }

    fn remember_retired(&mut self, ring: &KeyRing, now: u64) {
        let own: Vec<_> = ring.own_keys().cloned().collect();
        let is_gone = |key: &VerifyingKey| !own.iter().any(|held| held.is_same(key));
        for key in std::mem::take(&mut self.serving).into_iter().filter(is_gone) {
            self.retired.push_front((key, now));
        }
        self.retired.retain(|(key, _)| is_gone(key) && !self.withdrawn.holds(key, None));
        self.retired.truncate(MAX_RETIRED);
        self.serving = own;
    }

    /// The source names this key as the one to sign with.
    fn succeed(&mut self, key: SigningKey, now: u64) {
        let is_key = |held: &SigningKey| held.verifying_key().is_same(&key.verifying_key());
        let Timing { activation_delay, .. } = self.timing;
        let signs_already = self.signing.as_ref().is_some_and(is_key);
        if !signs_already && self.next.as_ref().is_some_and(|next| is_key(&next.key)) {
            return;
        }
        if let Some(passed_over) = self.next.take() {
            // A node that saw it earlier may yet begin to sign with it.
            let until = now.saturating_add(activation_delay).saturating_add(self.timing.verifies_on());
            self.retire(passed_over.key.verifying_key(), until);
        }
        if signs_already {
            return;
        }
        // One more second, for instants are floored: it was seen up to a second later than `now` says.
        let wait = if activation_delay == 0 { 0 } else { activation_delay.saturating_add(1) };
        self.next = Some(Next { key, signs_from: now.saturating_add(wait) });
    }

    /// What the passing of time does by itself.
    fn advance(&mut self, now: u64) {
        self.withdraw_other_names();
        let is_withdrawn = |key: &SigningKey| self.withdrawn.holds(&key.verifying_key(), None);
        if self.signing.as_ref().is_some_and(is_withdrawn) {
            self.signing = None;
        }
        if self.next.as_ref().is_some_and(|next| is_withdrawn(&next.key)) {
            self.next = None;
        }
        let is_time = |next: &Next| now >= next.signs_from || self.signing.is_none();
        if self.next.as_ref().is_some_and(is_time)
            && let Some(next) = self.next.take()
        {
            // It is the signing key now, not one that retires, whatever it was before.
            self.retiring.retain(|retiring| !retiring.key.is_same(&next.key.verifying_key()));
            if let Some(replaced) = self.signing.replace(next.key) {
                let until = now.saturating_add(self.timing.verifies_on());
                self.retire(replaced.verifying_key(), until);
            }
        }
        self.retiring.retain(|retiring| now < retiring.until);
    }

    fn retire(&mut self, key: VerifyingKey, until: u64) {
        let known = self.retiring.iter().position(|retiring| retiring.key.is_same(&key));
        let before = known.map(|at| self.retiring.remove(at).until);
        self.retiring.insert(0, Retiring { key, until: before.map_or(until, |before| before.max(until)) });
    }

    /// A key that is withdrawn under one name is withdrawn.
    fn withdraw_other_names(&mut self) {
        let retired: Vec<_> = self.retired.iter().map(|(key, _)| key.clone()).collect();
        for key in self.own_keys().collect::<Vec<_>>().into_iter().chain(retired) {
            self.withdrawn.meet(&key, None);
        }
        for Foreign { issuer, keys, .. } in self.foreign.values() {
            for key in keys {
                self.withdrawn.meet(key, Some(issuer.name()));
            }
        }
    }

    fn own_keys(&self) -> impl Iterator<Item = VerifyingKey> {
        let signing = self.signing.iter().chain(self.next.iter().map(|next| &next.key));
        let verifying = self.retiring.iter().map(|retiring| &retiring.key).chain(&self.listed).cloned();
        signing.map(SigningKey::verifying_key).chain(verifying)
    }

    fn tick(&mut self, now: NumericDate) -> u64 {
        self.pace.at(now)
    }
}

impl Timing {
    /// From the end of a key's signing here to the end of its verifying: other nodes may sign with it until they have
    /// seen what was seen here.
    fn verifies_on(self) -> u64 {
        self.spread.saturating_add(self.overlap)
    }
}

fn did_not_load(what: &str, error: &KeyError) -> KeyError {
    KeyError::new(error.kind(), format!("{what}; what did not load: {error}")).because(error.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
