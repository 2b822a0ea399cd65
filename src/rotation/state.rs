//! [`RotationState`]: which key signs and which keys verify, as a function of what was loaded and when.
//!
//! It has no clock, does not wait, and draws no random numbers: key sets and instants go in, a ring comes out.

use std::collections::{BTreeMap, HashSet, VecDeque};
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
use crate::rotation::elapsed::Elapsed;
use crate::rotation::source::directory::{Word, undecorated};
use crate::time::NumericDate;

/// How many retired keys are remembered: the latest.
const MAX_RETIRED: usize = 16;

/// In whole seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// From the load of a new key to its first signature.
    pub(super) activation_delay: u64,
    /// How much later than this node another one may load a change.
    pub(super) spread: u64,
    /// From the last signature that any node can have made with a key until it stops verifying.
    pub(super) overlap: u64,
    /// From a foreign source's first failure until its keys are dropped.
    pub(super) stale_for: u64,
}

pub(super) struct RotationState {
    timing: Timing,
    /// There are no own keys.
    is_verify_only: bool,
    /// The `iss` of each authority that signs with these keys; `None` of one that writes none. Each key must be able to sign for all.
    own_issuers: Vec<Option<Arc<str>>>,
    /// `None` if it was withdrawn and no other has replaced it, or there are no own keys.
    signing: Option<SigningKey>,
    /// The next signing key. It verifies already.
    next: Option<Next>,
    /// Keys that signed, here or on other nodes, the newest first.
    retiring: Vec<Retiring>,
    /// The keys that the own source lists as verifying only.
    listed: Vec<VerifyingKey>,
    /// The own keys of the last ring.
    serving: Vec<VerifyingKey>,
    /// The own keys that left the ring without being withdrawn, and when. The latest first.
    retired: VecDeque<(VerifyingKey, u64)>,
    /// By a number that is never reused, so that a late answer of a removed issuer's source belongs to no issuer.
    foreign: BTreeMap<usize, Foreign>,
    /// The next number.
    next_issuer: usize,
    /// Withdrawn by the own source or a call; an issuer's keys also by that issuer's source.
    withdrawn: Withdrawn,
    /// The time that has passed. Instants in this struct are its counts of seconds, not dates.
    elapsed: Elapsed,
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
    /// Whether its last answer had keys. `true` before the first answer.
    has_keys: bool,
    failing_since: Option<u64>,
}

/// The answer of an issuer's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuerKeys {
    /// It has keys.
    Held,
    /// It has no keys any more, or none at the start.
    Emptied,
    /// It has no keys, and had none at its last answer.
    StillEmpty,
}

impl RotationState {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            is_verify_only: false,
            own_issuers: Vec::new(),
            signing: None,
            next: None,
            retiring: Vec::new(),
            listed: Vec::new(),
            serving: Vec::new(),
            retired: VecDeque::new(),
            foreign: BTreeMap::new(),
            next_issuer: 0,
            withdrawn: Withdrawn::default(),
            elapsed: Elapsed::default(),
        }
    }

    /// The same without own keys.
    pub(super) fn verify_only(self) -> Self {
        Self { is_verify_only: true, ..self }
    }

    /// Trusts another issuer, and returns the number by which its source's answers are passed in. The keys of an issuer that it
    /// replaces are its own until its source answers.
    pub(super) fn trust(
        &mut self,
        issuer: Arc<TrustedIssuer>,
        replaced: Option<usize>,
        now: NumericDate,
    ) -> Result<usize, KeyError> {
        let now = self.tick(now);
        let mut others = self.foreign.iter().filter(|(at, _)| Some(**at) != replaced);
        if let Some((_, rival)) = others.find(|(_, held)| held.issuer.overlaps(&issuer)) {
            return Err(ambiguous(&rival.issuer, &issuer));
        }
        let foreign = match replaced.and_then(|at| self.foreign.remove(&at)) {
            // Until the source answers they count as stale, however often it is replaced.
            Some(held) => Foreign { issuer, failing_since: held.failing_since.or(Some(now)), ..held },
            None => Foreign { issuer, keys: Vec::new(), has_keys: true, failing_since: None },
        };
        let at = self.next_issuer;
        self.next_issuer += 1;
        self.foreign.insert(at, foreign);
        Ok(at)
    }

    /// Stops trusting the issuer of this number. What it withdrew stays withdrawn, also if it is trusted again.
    pub(super) fn distrust(&mut self, at: usize) {
        self.withdraw_other_names();
        self.foreign.remove(&at);
    }

    /// Adds the `iss` of an authority, unless a key that signs, or is about to, may not sign for it.
    pub(super) fn sign_for(&mut self, iss: Option<&Arc<str>>) -> Result<(), KeyError> {
        let next = self.next.iter().map(|next| &next.key);
        for key in self.signing.iter().chain(next) {
            key.check_issuer(iss.map(|iss| &**iss))?;
        }
        if !self.own_issuers.iter().any(|own| own.as_ref() == iss) {
            self.own_issuers.push(iss.cloned());
        }
        Ok(())
    }

    /// Applies an answer of the own source. Its withdrawals take effect even if its signing key can't be used.
    pub(super) fn own_loaded(&mut self, set: KeySet, now: NumericDate) -> Result<(), KeyError> {
        let now = self.tick(now);
        let KeySet { signing, verifying, withdrawn, skipped, .. } = set;
        self.withdrawn.extend(withdrawn);
        // Before the old keys are replaced: this set may rename a key that it withdraws under the old name.
        self.withdraw_other_names();
        if let Some(key) = &signing {
            let refused = self.own_issuers.iter().find_map(|own| key.check_issuer(own.as_deref()).err());
            if let Some(error) = refused {
                // It may have withdrawn the key under another name.
                self.withdrawn.observe(&key.verifying_key(), None);
                return Err(error);
            }
        }
        // A set without a signing key is refused as unread or a mistake, so it does not say which keys are retired. The same keys in
        // another order are no news.
        let is_news = signing.is_some() && !are_same(&verifying, &self.listed);
        let before = if is_news { std::mem::replace(&mut self.listed, verifying) } else { Vec::new() };
        if !skipped.is_empty() {
            // A listed key that is missing now may be one that did not load, so it still verifies for a time. The time is
            // limited, because the file that does not load may never have been a key.
            let until = now.saturating_add(self.timing.verifies_on());
            let missing: Vec<_> =
                before.into_iter().filter(|key| !self.listed.iter().any(|held| held.is_same(key))).collect();
            // In reverse, because `retire` inserts at the front.
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
        // A withdrawn key is not stored, so this is the only chance to learn its other name.
        if self.withdrawn.observe(&key.verifying_key(), None) {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                "it is withdrawn, and the source names it as the signing key: replace it with another",
            )
            .about(key.kid()));
        }
        self.propose(key, now);
        Ok(())
    }

    /// Applies an answer of a foreign issuer's source. After an empty set none of the issuer's tokens is admitted. Its old keys
    /// stay in use only if the set has keys and none of them loads.
    pub(super) fn foreign_loaded(
        &mut self,
        at: usize,
        set: KeySet,
        now: NumericDate,
    ) -> Result<IssuerKeys, KeyError> {
        let withdrawn = set.withdrawn.clone();
        let failure = set.skipped.first().cloned();
        let keys: Vec<_> = set.into_verifying().collect();
        if let Some(Foreign { issuer, .. }) = self.foreign.get(&at) {
            // Also if the set has no keys: the last one may be compromised.
            self.withdrawn.extend_of(issuer, withdrawn);
        }
        // Before the old keys are replaced, so that their names are known.
        self.withdraw_other_names();
        if let Some(error) = failure.filter(|_| keys.is_empty()) {
            self.foreign_failed(at, now);
            let what =
                "no key of the issuer's set loads; its previous keys stay in use until `stale_for` is over";
            return Err(did_not_load(what, &error));
        }
        let Some(foreign) = self.foreign.get_mut(&at) else { return Ok(IssuerKeys::Held) };
        foreign.failing_since = None;
        // The same keys in another order are no news.
        if !are_same(&keys, &foreign.keys) {
            foreign.keys = keys;
        }
        let had_keys = std::mem::replace(&mut foreign.has_keys, !foreign.keys.is_empty());
        Ok(match (had_keys, foreign.has_keys) {
            (_, true) => IssuerKeys::Held,
            (true, false) => IssuerKeys::Emptied,
            (false, false) => IssuerKeys::StillEmpty,
        })
    }

    /// Notes that a foreign issuer's source could not be loaded.
    pub(super) fn foreign_failed(&mut self, at: usize, now: NumericDate) {
        let now = self.tick(now);
        if let Some(foreign) = self.foreign.get_mut(&at) {
            foreign.failing_since.get_or_insert(now);
        }
    }

    /// Withdraws the keys with this `kid` or fingerprint.
    pub(super) fn withdraw(&mut self, kid: &str) {
        self.withdrawn.extend([kid.to_owned()]);
        self.withdraw_other_names();
    }

    /// An error for each of these withdrawn names that no key ever had here. They may be misspelt. Names that were read in another
    /// one count with it: that one is unknown if none of them is known, and otherwise each of its unknown words.
    pub(super) fn unknown_withdrawals(&mut self, names: &[String]) -> Vec<KeyError> {
        self.withdraw_other_names();
        let has_seen = |name: &str| self.withdrawn.has_seen(name);
        let read_in = |name: &String| {
            let words = Word::all(name).into_iter().filter(|word| word.is_name).map(|word| word.text);
            let parts = words.chain(Word::first(name)).chain([undecorated(name).to_owned()]);
            parts.filter(|part| part != name).collect::<Vec<_>>()
        };
        let parts: HashSet<_> = names.iter().flat_map(read_in).collect();
        let listed: HashSet<_> = names.iter().collect();
        let mut errors = Vec::new();
        for name in names {
            if parts.contains(name) || has_seen(name) || has_seen(undecorated(name)) {
                continue;
            }
            let words = |name: &str| Word::all(name).into_iter().map(|word| word.text).collect::<Vec<_>>();
            // A `kid` with commas, whose parts need not name anything.
            let first = Word::first(name).filter(|first| has_seen(first));
            let parts_of_first = first.as_deref().map(words).unwrap_or_default();
            let (seen, mut unseen): (Vec<_>, Vec<_>) =
                words(name).into_iter().partition(|word| has_seen(word));
            unseen.retain(|word| !parts_of_first.contains(word));
            if seen.is_empty() && first.is_none() {
                errors.push(unknown_withdrawal(name));
                continue;
            }
            let (misspelt, others): (Vec<_>, Vec<_>) =
                unseen.into_iter().partition(|word| listed.contains(word));
            errors.extend(misspelt.iter().map(|word| unknown_withdrawal(word)));
            if !others.is_empty() {
                let message = "it stands beside another name in a list of withdrawn keys, and withdraws nothing: a name has a line \
                               of its own, and a comment begins with `#`";
                errors.push(KeyError::new(KeyErrorKind::Ring, message).about(&others.join(" ")));
            }
        }
        errors
    }

    /// An error for each own key that this trusted issuer publishes as its own.
    pub(super) fn own_keys_of(&self, at: usize) -> Vec<KeyError> {
        let Some(Foreign { issuer, keys, .. }) = self.foreign.get(&at) else { return Vec::new() };
        let own: HashSet<_> = self.own_keys().map(|key| key.fingerprint().to_owned()).collect();
        let error = |key: &VerifyingKey| {
            let message = format!(
                "it is an own key, and the issuer {:?} publishes it too. It is not used as the issuer's, because each could \
                 then sign the other's tokens",
                issuer.name()
            );
            KeyError::new(KeyErrorKind::Ring, message).about(key.kid())
        };
        keys.iter().filter(|key| own.contains(key.fingerprint())).map(error).collect()
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
        let is_stale = |foreign: &Foreign| {
            foreign.failing_since.is_some_and(|since| now >= since.saturating_add(self.timing.stale_for))
        };
        let ring = self.foreign.values().fold(ring, |ring, foreign| {
            let keys = foreign.keys.iter().filter(|_| !is_stale(foreign));
            ring.with_foreign(&foreign.issuer, keys.cloned())
        });
        let ring = ring.without(&mut self.withdrawn);
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

    /// Makes this key the next signing key, unless it signs or is next already.
    fn propose(&mut self, key: SigningKey, now: u64) {
        let is_key = |held: &SigningKey| held.verifying_key().is_same(&key.verifying_key());
        let Timing { activation_delay, .. } = self.timing;
        let signs_already = self.signing.as_ref().is_some_and(is_key);
        if !signs_already && self.next.as_ref().is_some_and(|next| is_key(&next.key)) {
            return;
        }
        if let Some(skipped_key) = self.next.take() {
            // A node that loaded it earlier may still begin to sign with it.
            let until = now.saturating_add(activation_delay).saturating_add(self.timing.verifies_on());
            self.retire(skipped_key.key.verifying_key(), until);
        }
        if signs_already {
            return;
        }
        // Instants are floored, so the load may be up to a second later than `now`.
        let wait = if activation_delay == 0 { 0 } else { activation_delay.saturating_add(1) };
        self.next = Some(Next { key, signs_from: now.saturating_add(wait) });
    }

    /// Applies what is due at this instant: a key begins to sign, or stops verifying.
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
            // It may be an earlier signing key that signs again.
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

    /// Withdraws a key under all its names if it is withdrawn under one.
    fn withdraw_other_names(&mut self) {
        let retired: Vec<_> = self.retired.iter().map(|(key, _)| key.clone()).collect();
        for key in self.own_keys().collect::<Vec<_>>().into_iter().chain(retired) {
            self.withdrawn.observe(&key, None);
        }
        for Foreign { issuer, keys, .. } in self.foreign.values() {
            for key in keys {
                self.withdrawn.observe(key, Some(issuer));
            }
        }
    }

    fn own_keys(&self) -> impl Iterator<Item = VerifyingKey> {
        let signing = self.signing.iter().chain(self.next.iter().map(|next| &next.key));
        let verifying = self.retiring.iter().map(|retiring| &retiring.key).chain(&self.listed).cloned();
        signing.map(SigningKey::verifying_key).chain(verifying)
    }

    fn tick(&mut self, now: NumericDate) -> u64 {
        self.elapsed.at(now)
    }
}

impl Timing {
    /// How long a key still verifies after it stopped signing here. Other nodes may sign with it until they have loaded the
    /// change too.
    fn verifies_on(self) -> u64 {
        self.spread.saturating_add(self.overlap)
    }
}

/// Whether they are the same keys, in whatever order.
fn are_same(some: &[VerifyingKey], others: &[VerifyingKey]) -> bool {
    let are_in = |some: &[VerifyingKey], others: &[VerifyingKey]| {
        some.iter().all(|key| others.iter().any(|other| other.is_same(key)))
    };
    are_in(some, others) && are_in(others, some)
}

fn unknown_withdrawal(name: &str) -> KeyError {
    let message = "it is listed as withdrawn, but no key here has this `kid` or fingerprint: is it misspelt?";
    KeyError::new(KeyErrorKind::Ring, message).about(name)
}

fn did_not_load(what: &str, error: &KeyError) -> KeyError {
    KeyError::new(error.kind(), format!("{what}; what did not load")).because(error.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
