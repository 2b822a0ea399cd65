//! [`Rotation`]: which key signs and which verify, as a function of what was loaded and when.
//!
//! No clock, no waiting, no randomness: sets and instants go in, a ring comes out.

use std::collections::BTreeSet;

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
    /// A clock that steps back changes nothing.
    latest: NumericDate,
}

struct Next {
    key: SigningKey,
    signs_from: NumericDate,
}

struct Retiring {
    key: VerifyingKey,
    until: NumericDate,
}

struct Foreign {
    issuer: String,
    keys: Vec<VerifyingKey>,
    withdrawn: BTreeSet<String>,
    failing_since: Option<NumericDate>,
}

impl Rotation {
    pub(super) fn new(timing: Timing, issuers: impl IntoIterator<Item = String>) -> Self {
        let foreign =
            |issuer| Foreign { issuer, keys: Vec::new(), withdrawn: BTreeSet::new(), failing_since: None };
        Self {
            timing,
            signing: None,
            next: None,
            retiring: Vec::new(),
            listed: Vec::new(),
            foreign: issuers.into_iter().map(foreign).collect(),
            withdrawn: BTreeSet::new(),
            withdrew: BTreeSet::new(),
            latest: NumericDate::default(),
        }
    }

    /// The own source holds this now. Its withdrawals count even where its signing key can't be used.
    pub(super) fn own_loaded(&mut self, set: KeySet, now: NumericDate) -> Result<(), KeyError> {
        let now = self.tick(now);
        let KeySet { signing, verifying, withdrawn, skipped, .. } = set;
        self.withdrawn.extend(withdrawn);
        let before = std::mem::replace(&mut self.listed, verifying);
        if !skipped.is_empty() {
            // A listed key that is missing now may be the one that did not load.
            let missing: Vec<_> =
                before.into_iter().filter(|key| !self.listed.iter().any(|held| held.is_same(key))).collect();
            self.listed.extend(missing);
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

    /// A foreign issuer's source holds this now.
    pub(super) fn foreign_loaded(
        &mut self,
        at: usize,
        set: KeySet,
        now: NumericDate,
    ) -> Result<(), KeyError> {
        if let Some(foreign) = self.foreign.get_mut(at) {
            foreign.withdrawn.extend(set.withdrawn.iter().cloned());
        }
        let failure = set.skipped.first().cloned();
        let keys: Vec<_> = set.into_verifying().collect();
        if keys.is_empty() {
            self.foreign_failed(at, now);
            let what = "the issuer's set holds no key; the ones held so far serve on for a time";
            return Err(match failure {
                None => KeyError::new(KeyErrorKind::Ring, what),
                Some(error) => did_not_load(what, &error),
            });
        }
        if let Some(foreign) = self.foreign.get_mut(at) {
            foreign.keys = keys;
            foreign.failing_since = None;
        }
        Ok(())
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

    /// The ring at this instant.
    pub(super) fn ring(&mut self, now: NumericDate) -> KeyRing {
        let now = self.tick(now);
        self.advance(now);
        let next = self.next.iter().map(|next| next.key.verifying_key());
        let retiring = self.retiring.iter().map(|retiring| retiring.key.clone());
        let own = next.chain(retiring).chain(self.listed.iter().cloned());
        let ring = own.fold(KeyRing::of(self.signing.clone()), KeyRing::with_own);
        let serving = self.foreign.iter().filter(|foreign| {
            foreign.failing_since.is_none_or(|since| now < since.after(self.timing.stale_for))
        });
        serving
            .fold(ring, |ring, foreign| {
                ring.with_foreign(&foreign.issuer, foreign.keys.iter().cloned(), &foreign.withdrawn)
            })
            .without(&self.withdrawn)
    }

    /// The source names this key as the one to sign with.
    fn succeed(&mut self, key: SigningKey, now: NumericDate) {
        let is_key = |held: &SigningKey| held.verifying_key().is_same(&key.verifying_key());
        let Timing { activation_delay, spread, overlap, .. } = self.timing;
        let signs_already = self.signing.as_ref().is_some_and(is_key);
        if !signs_already && self.next.as_ref().is_some_and(|next| is_key(&next.key)) {
            return;
        }
        if let Some(passed_over) = self.next.take() {
            // A node that saw it earlier may yet begin to sign with it.
            let until = now.after(activation_delay + spread + overlap);
            self.retire(passed_over.key, until);
        }
        if signs_already {
            return;
        }
        // One more second, for instants are floored: it was seen up to a second later than `now` says.
        let wait = if activation_delay == 0 { 0 } else { activation_delay + 1 };
        self.next = Some(Next { key, signs_from: now.after(wait) });
    }

    /// What the passing of time does by itself.
    fn advance(&mut self, now: NumericDate) {
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
                // Other nodes may sign with it until they have seen what was seen here.
                let until = now.after(self.timing.spread + self.timing.overlap);
                self.retire(replaced, until);
            }
        }
        self.retiring.retain(|retiring| now < retiring.until);
    }

    fn retire(&mut self, key: SigningKey, until: NumericDate) {
        let key = key.verifying_key();
        let known = self.retiring.iter().position(|retiring| retiring.key.is_same(&key));
        let before = known.map(|at| self.retiring.remove(at).until);
        self.retiring.insert(0, Retiring { key, until: before.map_or(until, |before| before.max(until)) });
    }

    /// A key that is withdrawn under one name is withdrawn.
    fn withdraw_other_names(&mut self) {
        let signing = self.signing.iter().chain(self.next.iter().map(|next| &next.key));
        let verifying = self.retiring.iter().map(|retiring| &retiring.key).chain(&self.listed).cloned();
        let foreign = self.foreign.iter().flat_map(|foreign| &foreign.keys).cloned();
        let keys = signing.map(SigningKey::verifying_key).chain(verifying).chain(foreign);
        let keys: Vec<_> = keys.filter(|key| self.is_withdrawn(key)).collect();
        for key in keys {
            self.withdrawn.insert(key.fingerprint().to_owned());
            self.withdrew.extend([key.kid().to_owned(), key.fingerprint().to_owned()]);
        }
    }

    fn is_withdrawn(&self, key: &VerifyingKey) -> bool {
        self.withdrawn.contains(key.kid()) || self.withdrawn.contains(key.fingerprint())
    }

    fn tick(&mut self, now: NumericDate) -> NumericDate {
        self.latest = self.latest.max(now);
        self.latest
    }
}

fn did_not_load(what: &str, error: &KeyError) -> KeyError {
    KeyError::new(error.kind(), format!("{what}; what did not load: {error}")).because(error.clone())
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
    fn retired_keys_of_the_source_survive_a_restart_and_go_when_they_are_no_longer_listed() {
        let mut rotation = Rotation::new(TIMING, []);
        rotation.own_loaded(set("b").retiring(key("a")), at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), "b | b a");
        // One that could not be read may be the one that is missing.
        let mut half_read = set("b");
        half_read.skipped.push(KeyError::unavailable("half written"));
        rotation.own_loaded(half_read, at(1)).unwrap();
        assert_eq!(ring(&mut rotation, 1), "b | b a");
        rotation.own_loaded(set("b"), at(2)).unwrap();
        assert_eq!(ring(&mut rotation, 2), "b | b");
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
        assert_eq!(
            rotation.foreign_loaded(0, KeySet::default(), at(40)).unwrap_err().kind(),
            KeyErrorKind::Ring
        );
        for (instant, expected) in [(10, "a | a g"), (10 + STALE - 1, "a | a g"), (10 + STALE, "a | a")] {
            assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
        }
        rotation.foreign_loaded(0, foreign("g"), at(100)).unwrap();
        assert_eq!(ring(&mut rotation, 100 + STALE), "a | a g");
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
}
