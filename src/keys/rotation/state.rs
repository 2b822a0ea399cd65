//! [`Rotation`]: which key signs and which verify, as a function of what was loaded and when.
//!
//! No clock, no waiting, no randomness: sets and instants go in, a ring comes out.

use std::collections::BTreeSet;

use super::pace::Pace;
use crate::NumericDate;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::{KeyRing, KeySet, SigningKey, VerifyingKey};

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
    /// `None` where the only one was withdrawn.
    signing: Option<SigningKey>,
    /// Verifies already.
    next: Option<Next>,
    /// Signed, here or elsewhere. The newest first.
    retiring: Vec<Retiring>,
    /// What the own source says verifies.
    listed: Vec<VerifyingKey>,
    foreign: Vec<Foreign>,
    /// By the own source or by hand. Never taken back: a list that is cut short for a moment must not bring a compromised
    /// key back.
    withdrawn: BTreeSet<String>,
    /// The names, withdrawn, of keys that were held once: these lines are no mistakes.
    withdrew: BTreeSet<String>,
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
    issuer: String,
    keys: Vec<VerifyingKey>,
    withdrawn: BTreeSet<String>,
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
    pub(super) fn new(timing: Timing, issuers: impl IntoIterator<Item = String>) -> Self {
        let foreign = |issuer| Foreign {
            issuer,
            keys: Vec::new(),
            withdrawn: BTreeSet::new(),
            has_keys: true,
            failing_since: None,
        };
        Self {
            timing,
            signing: None,
            next: None,
            retiring: Vec::new(),
            listed: Vec::new(),
            foreign: issuers.into_iter().map(foreign).collect(),
            withdrawn: BTreeSet::new(),
            withdrew: BTreeSet::new(),
            pace: Pace::default(),
        }
    }

    /// The own source holds this now. Its withdrawals count even where its signing key can't be used.
    pub(super) fn own_loaded(&mut self, set: KeySet, now: NumericDate) -> Result<(), KeyError> {
        let now = self.tick(now);
        let KeySet { signing, verifying, withdrawn, skipped, .. } = set;
        self.withdrawn.extend(withdrawn);
        // A key that this very set renames is known by its old name before that is gone.
        self.withdraw_other_names();
        // A set that holds nothing is no list of what is retired: it could not be read, or is a mistake.
        let is_list = signing.is_some() || !verifying.is_empty();
        let before = if is_list { std::mem::replace(&mut self.listed, verifying) } else { Vec::new() };
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
                    "the source holds no key that signs; give it a private key or a secret",
                ),
                Some(error) => did_not_load("the source holds no key that signs", error),
            });
        };
        if self.is_withdrawn(&key.verifying_key()) {
            // It is held nowhere: its other names are known here or never.
            self.withdrawn.insert(key.fingerprint().to_owned());
            self.withdrew.extend([key.kid().to_owned(), key.fingerprint().to_owned()]);
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
        self.withdraw_other_names();
        let withdrawn = set.withdrawn.clone();
        let failure = set.skipped.first().cloned();
        let keys: Vec<_> = set.into_verifying().collect();
        if let Some(foreign) = self.foreign.get_mut(at) {
            // Even where it holds nothing else: the last key may be the compromised one.
            foreign.withdraw(withdrawn, &keys);
        }
        if let Some(error) = failure.filter(|_| keys.is_empty()) {
            self.foreign_failed(at, now);
            let what = "no key of the issuer's set loads; the ones held so far serve on for a time";
            return Err(did_not_load(what, &error));
        }
        let Some(foreign) = self.foreign.get_mut(at) else { return Ok(Loaded::Keys) };
        foreign.failing_since = None;
        foreign.keys = keys;
        let had_keys = std::mem::replace(&mut foreign.has_keys, !foreign.keys.is_empty());
        Ok(if had_keys && foreign.keys.is_empty() { Loaded::TakenBack } else { Loaded::Keys })
    }

    /// A foreign issuer's source could not be loaded.
    pub(super) fn foreign_failed(&mut self, at: usize, now: NumericDate) {
        let now = self.tick(now);
        if let Some(foreign) = self.foreign.get_mut(at) {
            foreign.failing_since.get_or_insert(now);
        }
    }

    /// Nothing under this `kid` or fingerprint from now on.
    pub(super) fn withdraw(&mut self, kid: &str) {
        self.withdrawn.insert(kid.to_owned());
        self.withdraw_other_names();
    }

    /// Of what the own source withdraws, the names that no key held here ever had: misspelt ones, perhaps.
    pub(super) fn withdrawing_nothing(&mut self, names: &[String]) -> Vec<KeyError> {
        self.withdraw_other_names();
        names
            .iter()
            .filter(|name| !self.withdrew.contains(*name))
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
                    foreign.issuer
                );
                KeyError::new(KeyErrorKind::Ring, message).about(key.kid())
            };
            claimed.into_iter().map(error).collect::<Vec<_>>()
        };
        self.foreign.iter().flat_map(claims).collect()
    }

    /// The ring at this instant.
    pub(super) fn ring(&mut self, now: NumericDate) -> KeyRing {
        let now = self.tick(now);
        self.advance(now);
        let next = self.next.iter().map(|next| next.key.verifying_key());
        let retiring = self.retiring.iter().map(|retiring| retiring.key.clone());
        let own = next.chain(retiring).chain(self.listed.iter().cloned());
        let ring = own.fold(KeyRing::of(self.signing.clone()), KeyRing::with_own);
        let serving = self.foreign.iter().filter(|foreign| {
            foreign.failing_since.is_none_or(|since| now < since.saturating_add(self.timing.stale_for))
        });
        serving
            .fold(ring, |ring, foreign| {
                ring.with_foreign(&foreign.issuer, foreign.keys.iter().cloned(), &foreign.withdrawn)
            })
            .without(&self.withdrawn)
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
        if self.signing.as_ref().is_some_and(|key| self.is_withdrawn(&key.verifying_key())) {
            self.signing = None;
        }
        if self.next.as_ref().is_some_and(|next| self.is_withdrawn(&next.key.verifying_key())) {
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
        let foreign = self.foreign.iter().flat_map(|foreign| &foreign.keys).cloned();
        let keys: Vec<_> = self.own_keys().chain(foreign).filter(|key| self.is_withdrawn(key)).collect();
        for key in keys {
            self.withdrawn.insert(key.fingerprint().to_owned());
            self.withdrew.extend([key.kid().to_owned(), key.fingerprint().to_owned()]);
        }
    }

    fn own_keys(&self) -> impl Iterator<Item = VerifyingKey> {
        let signing = self.signing.iter().chain(self.next.iter().map(|next| &next.key));
        let verifying = self.retiring.iter().map(|retiring| &retiring.key).chain(&self.listed).cloned();
        signing.map(SigningKey::verifying_key).chain(verifying)
    }

    fn is_withdrawn(&self, key: &VerifyingKey) -> bool {
        is_named(&self.withdrawn, key)
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

impl Foreign {
    /// Under whatever name it is held or comes now.
    fn withdraw(&mut self, names: Vec<String>, coming: &[VerifyingKey]) {
        self.withdrawn.extend(names);
        let named = self.keys.iter().chain(coming).filter(|key| is_named(&self.withdrawn, key));
        let fingerprints: Vec<_> = named.map(|key| key.fingerprint().to_owned()).collect();
        self.withdrawn.extend(fingerprints);
    }
}

fn did_not_load(what: &str, error: &KeyError) -> KeyError {
    KeyError::new(error.kind(), format!("{what}; what did not load: {error}")).because(error.clone())
}

fn is_named(withdrawn: &BTreeSet<String>, key: &VerifyingKey) -> bool {
    withdrawn.contains(key.kid()) || withdrawn.contains(key.fingerprint())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::Algorithm;

    const DELAY: u64 = 10;
    const SPREAD: u64 = 5;
    const OVERLAP: u64 = 100;
    const STALE: u64 = 50;
    const TIMING: Timing =
        Timing { activation_delay: DELAY, spread: SPREAD, overlap: OVERLAP, stale_for: STALE };

    fn key(name: &str) -> SigningKey {
        let secret = format!("{name:-<64}");
        SigningKey::from_secret(Algorithm::HS256, secret.as_bytes()).unwrap().with_kid(name)
    }

    fn set(name: &str) -> KeySet {
        KeySet::signing(key(name))
    }

    fn at(secs: u64) -> NumericDate {
        NumericDate::from_secs(1_000 + secs)
    }

    /// "signing | every key that verifies", at an instant.
    fn ring(rotation: &mut Rotation, secs: u64) -> String {
        let ring = rotation.ring(at(secs));
        let signing = ring.signing_key().map_or("-", SigningKey::kid).to_owned();
        format!("{signing} | {}", ring.kids().collect::<Vec<_>>().join(" "))
    }

    fn rotation(timing: Timing) -> Rotation {
        let mut rotation = Rotation::new(timing, ["x".to_owned()]);
        rotation.own_loaded(set("a"), at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), "a | a");
        rotation
    }

    #[test]
    fn a_key_verifies_at_once_signs_after_its_delay_and_verifies_on_for_its_overlap() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("b"), at(20)).unwrap();
        let activated = 20 + DELAY + 1;
        let gone = activated + SPREAD + OVERLAP;
        for (instant, expected) in [
            (20, "a | a b"),
            (activated - 1, "a | a b"),
            (activated, "b | b a"),
            (gone - 1, "b | b a"),
            (gone, "b | b"),
        ] {
            // The same key is loaded again and again.
            rotation.own_loaded(set("b"), at(instant)).unwrap();
            assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
        }
    }

    #[test]
    fn without_a_delay_a_key_signs_at_once() {
        let mut rotation = rotation(Timing { activation_delay: 0, ..TIMING });
        rotation.own_loaded(set("b"), at(20)).unwrap();
        for (instant, expected) in
            [(20, "b | b a"), (20 + SPREAD + OVERLAP - 1, "b | b a"), (20 + SPREAD + OVERLAP, "b | b")]
        {
            assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
        }
    }

    #[test]
    fn an_old_key_that_comes_back_signs_on_and_the_other_retires() {
        // Before the new one has signed here: on other nodes it may have.
        let mut early = rotation(TIMING);
        early.own_loaded(set("b"), at(20)).unwrap();
        assert_eq!(ring(&mut early, 25), "a | a b");
        early.own_loaded(set("a"), at(25)).unwrap();
        let gone = 25 + DELAY + SPREAD + OVERLAP;
        for (instant, expected) in [(25, "a | a b"), (gone - 1, "a | a b"), (gone, "a | a")] {
            assert_eq!(ring(&mut early, instant), expected, "at {instant}");
        }
        // After it.
        let mut late = rotation(TIMING);
        late.own_loaded(set("b"), at(20)).unwrap();
        assert_eq!(ring(&mut late, 40), "b | b a");
        late.own_loaded(set("a"), at(50)).unwrap();
        let activated = 50 + DELAY + 1;
        for (instant, expected) in [
            (50, "b | b a"),
            (activated, "a | a b"),
            (activated + SPREAD + OVERLAP - 1, "a | a b"),
            (activated + SPREAD + OVERLAP, "a | a"),
        ] {
            assert_eq!(ring(&mut late, instant), expected, "at {instant}");
        }
    }

    #[test]
    fn a_key_replaced_before_it_signed_verifies_on_too() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("b"), at(20)).unwrap();
        rotation.own_loaded(set("c"), at(25)).unwrap();
        assert_eq!(ring(&mut rotation, 25), "a | a c b");
        assert_eq!(ring(&mut rotation, 35), "a | a c b");
        assert_eq!(ring(&mut rotation, 36), "c | c a b");
        let b_gone = 25 + DELAY + SPREAD + OVERLAP;
        assert_eq!(ring(&mut rotation, b_gone - 1), "c | c a b");
        assert_eq!(ring(&mut rotation, b_gone), "c | c a");
    }

    #[test]
    fn a_withdrawn_key_is_gone_at_once_whatever_it_was_doing() {
        let prepare = || {
            let mut rotation = rotation(TIMING);
            rotation.own_loaded(set("b").retiring(key("listed")), at(20)).unwrap();
            rotation.foreign_loaded(0, KeySet::verifying([key("f").into()]), at(20)).unwrap();
            assert_eq!(ring(&mut rotation, 20), "a | a b listed f");
            rotation
        };
        for (kid, expected) in [
            // The next one must not wait: nothing else can sign.
            ("a", "b | b listed f"),
            ("b", "a | a listed f"),
            ("listed", "a | a b f"),
            ("f", "a | a b listed"),
            (key("a").fingerprint(), "b | b listed f"),
            ("unknown", "a | a b listed f"),
        ] {
            let mut by_hand = prepare();
            by_hand.withdraw(kid);
            assert_eq!(ring(&mut by_hand, 20), expected, "{kid}");

            let mut by_source = prepare();
            let set = set("b").retiring(key("listed")).withdrawing(kid);
            assert_eq!(by_source.own_loaded(set, at(21)).is_err(), kid == "b", "{kid}");
            assert_eq!(ring(&mut by_source, 21), expected, "{kid}");
            // A list that is cut short for a moment brings nothing back.
            let _ = by_source.own_loaded(super::tests::set("b").retiring(key("listed")), at(22));
            assert_eq!(ring(&mut by_source, 22), expected, "{kid}");
        }
        let mut retiring = rotation(Timing { activation_delay: 0, ..TIMING });
        retiring.own_loaded(set("b"), at(20)).unwrap();
        assert_eq!(ring(&mut retiring, 20), "b | b a");
        retiring.own_loaded(set("b").withdrawing("a"), at(21)).unwrap();
        assert_eq!(ring(&mut retiring, 21), "b | b");
    }

    #[test]
    fn a_withdrawn_signing_key_without_a_successor_leaves_none_until_one_comes() {
        let mut rotation = rotation(TIMING);
        rotation.withdraw("a");
        assert_eq!(ring(&mut rotation, 1), "- | ");
        assert_eq!(rotation.own_loaded(set("a"), at(2)).unwrap_err().kind(), KeyErrorKind::Ring);
        assert_eq!(ring(&mut rotation, 2), "- | ");
        rotation.own_loaded(set("b"), at(3)).unwrap();
        assert_eq!(ring(&mut rotation, 3), "b | b");
    }

    #[test]
    fn a_key_withdrawn_under_one_name_is_withdrawn_under_all() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("b").retiring(key("a").with_kid("other")), at(20)).unwrap();
        assert_eq!(ring(&mut rotation, 20), "a | a b other");
        rotation.withdraw("other");
        assert_eq!(ring(&mut rotation, 20), "b | b");
    }

    #[test]
    fn a_key_withdrawn_by_the_set_that_renames_it_is_withdrawn() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("a").retiring(key("old")), at(1)).unwrap();
        let renamed = set("a").retiring(key("old").with_kid("new")).withdrawing("old");
        rotation.own_loaded(renamed, at(2)).unwrap();
        assert_eq!(ring(&mut rotation, 2), "a | a");
        // Refused as the one to sign with, it does not sign under another name.
        let refused = rotation.own_loaded(set("b").withdrawing("b"), at(3)).unwrap_err();
        assert_eq!(refused.kind(), KeyErrorKind::Ring);
        let renamed = KeySet::signing(key("b").with_kid("c"));
        assert_eq!(rotation.own_loaded(renamed, at(4)).unwrap_err().kind(), KeyErrorKind::Ring);
        assert_eq!(ring(&mut rotation, 100), "a | a");
    }

    #[test]
    fn a_foreign_key_withdrawn_under_one_name_is_withdrawn_under_all() {
        let named = |kid: &str| KeySet::verifying([key("f").with_kid(kid).into(), key("g").into()]);
        for by_hand in [true, false] {
            let mut rotation = rotation(TIMING);
            rotation.foreign_loaded(0, named("f"), at(0)).unwrap();
            assert_eq!(ring(&mut rotation, 0), "a | a f g");
            if by_hand {
                rotation.withdraw("f");
                rotation.foreign_loaded(0, named("other"), at(1)).unwrap();
            } else {
                rotation.foreign_loaded(0, named("other").withdrawing("f"), at(1)).unwrap();
            }
            assert_eq!(ring(&mut rotation, 1), "a | a g", "by hand: {by_hand}");
            rotation.foreign_loaded(0, named("third"), at(2)).unwrap();
            assert_eq!(ring(&mut rotation, 2), "a | a g", "by hand: {by_hand}");
        }
    }

    #[test]
    fn a_foreign_source_that_withdraws_its_last_key_withdraws_it() {
        let mut rotation = rotation(TIMING);
        let set = || KeySet::verifying([key("f").into(), key("g").into()]);
        rotation.foreign_loaded(0, set(), at(0)).unwrap();
        let last = KeySet::default().withdrawing("f");
        assert_eq!(rotation.foreign_loaded(0, last, at(1)).unwrap(), Loaded::TakenBack);
        assert_eq!(ring(&mut rotation, 1), "a | a");
        rotation.foreign_loaded(0, set(), at(2)).unwrap();
        assert_eq!(ring(&mut rotation, 2), "a | a g");
    }

    #[test]
    fn retired_keys_of_the_source_survive_a_restart_and_go_when_they_are_no_longer_listed() {
        let mut rotation = Rotation::new(TIMING, []);
        rotation.own_loaded(set("b").retiring(key("a")), at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), "b | b a");
        rotation.own_loaded(set("b"), at(2)).unwrap();
        assert_eq!(ring(&mut rotation, 2), "b | b");
    }

    #[test]
    fn a_retired_key_that_is_missing_while_something_does_not_load_verifies_on_for_its_overlap_and_no_longer()
    {
        let half_read = |set: KeySet| {
            let mut set = set;
            set.skipped.push(KeyError::unavailable("half written"));
            set
        };
        let mut rotation = Rotation::new(TIMING, []);
        rotation.own_loaded(half_read(set("b").retiring(key("a")).retiring(key("z"))), at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), "b | b a z");
        let gone = 1 + SPREAD + OVERLAP;
        for (instant, expected) in [
            (1, "b | b a z"),
            (2, "b | b a z"),
            (gone - 1, "b | b a z"),
            (gone, "b | b"),
            (gone + 1, "b | b"),
        ] {
            // A README among the keys is skipped at every load.
            rotation.own_loaded(half_read(set("b")), at(instant)).unwrap();
            assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
        }
        // One that loads again is listed as before, and leaves as it would have.
        rotation.own_loaded(set("b").retiring(key("a")), at(gone + 2)).unwrap();
        rotation.own_loaded(half_read(set("b")), at(gone + 3)).unwrap();
        rotation.own_loaded(set("b").retiring(key("a")), at(gone + 4)).unwrap();
        assert_eq!(ring(&mut rotation, gone + 1_000), "b | b a");
        rotation.own_loaded(set("b"), at(gone + 1_000)).unwrap();
        assert_eq!(ring(&mut rotation, gone + 1_000), "b | b");
    }

    #[test]
    fn a_key_that_signs_and_is_listed_is_one_key() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("a").retiring(key("a")).retiring(key("a")), at(1)).unwrap();
        assert_eq!(ring(&mut rotation, 1), "a | a");
        // It was replaced here, and the source lists it as well: it goes when both let go of it.
        rotation.own_loaded(set("b").retiring(key("a")), at(20)).unwrap();
        let long_after = 20 + DELAY + SPREAD + OVERLAP + 1_000;
        assert_eq!(ring(&mut rotation, 40), "b | b a");
        assert_eq!(ring(&mut rotation, long_after), "b | b a");
        rotation.own_loaded(set("b"), at(long_after)).unwrap();
        assert_eq!(ring(&mut rotation, long_after), "b | b");
    }

    #[test]
    fn keys_that_share_a_name_are_all_tried() {
        let mut rotation = Rotation::new(Timing { activation_delay: 0, ..TIMING }, []);
        for (n, name) in ["one", "two", "three"].into_iter().enumerate() {
            rotation.own_loaded(KeySet::signing(key(name).with_kid("main")), at(n as u64)).unwrap();
            rotation.ring(at(n as u64));
        }
        let ring = rotation.ring(at(3));
        assert_eq!(ring.candidates(Some("main"), "HS256").count(), 3);
        rotation.withdraw(key("two").fingerprint());
        assert_eq!(rotation.ring(at(3)).candidates(Some("main"), "HS256").count(), 2);
    }

    #[test]
    fn a_source_without_a_signing_key_changes_nothing() {
        let mut rotation = rotation(TIMING);
        let error = rotation.own_loaded(KeySet::verifying([]), at(1)).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::WrongType);
        assert_eq!(ring(&mut rotation, 1), "a | a");
    }

    #[test]
    fn a_failed_load_hands_its_withdrawals_on() {
        let failed = |kid: &str| KeySet {
            skipped: vec![KeyError::unavailable("current can't be read")],
            ..KeySet::default().withdrawing(kid)
        };
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("a").retiring(key("b")).retiring(key("c")), at(1)).unwrap();
        assert_eq!(ring(&mut rotation, 1), "a | a b c");
        let error = rotation.own_loaded(failed("b"), at(2)).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Unavailable);
        assert!(error.to_string().contains("current can't be read"), "{error}");
        assert_eq!(ring(&mut rotation, 2), "a | a c");
        rotation.own_loaded(failed("a"), at(3)).unwrap_err();
        assert_eq!(ring(&mut rotation, 3), "- | c");

        rotation.foreign_loaded(0, KeySet::verifying([key("f").into(), key("g").into()]), at(4)).unwrap();
        rotation.foreign_loaded(0, failed("f"), at(5)).unwrap_err();
        assert_eq!(ring(&mut rotation, 5), "- | c g");
    }

    #[test]
    fn a_withdrawal_that_no_key_ever_answered_to_is_told() {
        let mut rotation = rotation(TIMING);
        rotation.foreign_loaded(0, KeySet::verifying([key("f").into()]), at(0)).unwrap();
        let names = ["a", "f", "typo"].map(str::to_owned);
        let set = names.iter().fold(set("b"), |set, name| set.withdrawing(name));
        rotation.own_loaded(set.clone(), at(1)).unwrap();
        let told = |rotation: &mut Rotation| {
            let errors = rotation.withdrawing_nothing(&names);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert!(told(&mut rotation).starts_with("key \"typo\""), "{}", told(&mut rotation));
        // Long after the keys are gone from every source, too.
        assert_eq!(ring(&mut rotation, 10_000), "b | b");
        rotation.foreign_loaded(0, KeySet::verifying([key("g").into()]), at(10_001)).unwrap();
        assert_eq!(rotation.withdrawing_nothing(&names).len(), 1);
        // Nor is the key that the source would sign with unknown.
        rotation.own_loaded(set.withdrawing("b"), at(10_002)).unwrap_err();
        assert!(rotation.withdrawing_nothing(&["b".to_owned()]).is_empty());
    }

    #[test]
    fn foreign_keys_are_replaced_whole_and_serve_on_for_a_time_while_their_source_fails() {
        let mut rotation = rotation(TIMING);
        let foreign = |name: &str| KeySet::verifying([key(name).into()]);
        rotation.foreign_loaded(0, foreign("f"), at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), "a | a f");
        rotation.foreign_loaded(0, foreign("g"), at(1)).unwrap();
        assert_eq!(ring(&mut rotation, 1), "a | a g");
        rotation.foreign_failed(0, at(10));
        rotation.foreign_failed(0, at(30));
        let unread = KeySet { skipped: vec![KeyError::unavailable("it can't be read")], ..KeySet::default() };
        let error = rotation.foreign_loaded(0, unread, at(40)).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Unavailable);
        for (instant, expected) in [(10, "a | a g"), (10 + STALE - 1, "a | a g"), (10 + STALE, "a | a")] {
            assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
        }
        rotation.foreign_loaded(0, foreign("g"), at(100)).unwrap();
        assert_eq!(ring(&mut rotation, 100 + STALE), "a | a g");
    }

    #[test]
    fn an_issuer_that_publishes_an_empty_set_has_taken_its_keys_back() {
        let mut rotation = rotation(TIMING);
        let foreign = || KeySet::verifying([key("f").into()]);
        let mut load = |set: KeySet, secs| {
            let loaded = rotation.foreign_loaded(0, set, at(secs)).unwrap();
            (loaded, ring(&mut rotation, secs))
        };
        let (without, with) = ("a | a".to_owned(), "a | a f".to_owned());
        // Told at the first sight alone, the start's included.
        assert_eq!(load(KeySet::default(), 0), (Loaded::TakenBack, without.clone()));
        assert_eq!(load(KeySet::default(), 1), (Loaded::Keys, without.clone()));
        assert_eq!(load(foreign(), 2), (Loaded::Keys, with.clone()));
        assert_eq!(load(KeySet::default(), 3), (Loaded::TakenBack, without.clone()));
        rotation.foreign_failed(0, at(4));
        assert_eq!(ring(&mut rotation, 5), without, "an outage brings nothing back");
    }

    #[test]
    fn an_own_set_that_holds_nothing_changes_nothing() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("a").retiring(key("listed")), at(1)).unwrap();
        let error = rotation.own_loaded(KeySet::default(), at(2)).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::WrongType);
        let failed = KeySet { skipped: vec![KeyError::unavailable("it can't be read")], ..KeySet::default() };
        rotation.own_loaded(failed, at(3)).unwrap_err();
        for secs in [3, 100_000] {
            assert_eq!(ring(&mut rotation, secs), "a | a listed");
        }
    }

    #[test]
    fn an_own_key_that_an_issuer_publishes_is_not_the_issuers() {
        let mut rotation = rotation(TIMING);
        let names = ["a", "f", "b", "listed"].map(|name| key(name).with_kid(format!("x-{name}")).into());
        rotation.foreign_loaded(0, KeySet::verifying(names), at(1)).unwrap();
        assert_eq!(ring(&mut rotation, 1), "a | a x-f x-b x-listed");
        rotation.own_loaded(set("b").retiring(key("listed")), at(2)).unwrap();
        assert_eq!(ring(&mut rotation, 2), "a | a b listed x-f");
        assert_eq!(rotation.ring(at(2)).candidates(Some("x-a"), "HS256").count(), 0);
        let told: Vec<_> = rotation.claimed_by_others().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        for kid in ["x-a", "x-b", "x-listed"] {
            assert!(told.iter().any(|line| line.contains(kid) && line.contains("\"x\"")), "{told:?}");
        }
    }

    #[test]
    fn what_a_foreign_source_withdraws_is_its_own() {
        let mut rotation = rotation(TIMING);
        let set = KeySet::verifying([key("f").into(), key("g").into()]).withdrawing("f").withdrawing("a");
        rotation.foreign_loaded(0, set, at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), "a | a g");
    }

    #[test]
    fn a_clock_that_steps_back_changes_nothing() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("b"), at(20)).unwrap();
        assert_eq!(ring(&mut rotation, 31), "b | b a");
        assert_eq!(ring(&mut rotation, 0), "b | b a");
        rotation.own_loaded(set("c"), at(5)).unwrap();
        assert_eq!(ring(&mut rotation, 31 + DELAY), "b | b c a");
        assert_eq!(ring(&mut rotation, 31 + DELAY + 1), "c | c b a");
    }

    #[test]
    fn a_clock_that_was_far_ahead_for_once_freezes_nothing() {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("b"), NumericDate::MAX).unwrap();
        let ring_at = |rotation: &mut Rotation, now| {
            let ring = rotation.ring(now);
            (ring.signing_key().unwrap().kid().to_owned(), ring.kids().count())
        };
        assert_eq!(ring_at(&mut rotation, NumericDate::MAX), ("a".to_owned(), 2));
        // It is right again: the waits that began go on.
        let activated = DELAY + 1;
        for (instant, expected) in [
            (0, "a | a b"),
            (activated - 1, "a | a b"),
            (activated, "b | b a"),
            (activated + SPREAD + OVERLAP - 1, "b | b a"),
            (activated + SPREAD + OVERLAP, "b | b"),
        ] {
            assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
        }
    }

    #[test]
    fn times_without_end_do_not_overflow() {
        let endless = u64::MAX;
        let timing =
            Timing { activation_delay: endless, spread: endless, overlap: endless, stale_for: endless };
        let mut rotation = rotation(timing);
        rotation.own_loaded(set("b"), at(1)).unwrap();
        rotation.own_loaded(set("c"), at(2)).unwrap();
        rotation.foreign_failed(0, at(2));
        assert_eq!(ring(&mut rotation, 1_000_000), "a | a c b");
    }
}
