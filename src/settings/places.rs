//! [`Place`]: keys from one place that the settings name. [`OwnKeys`]: several of them as one source.

use std::iter::once;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::key_set::KeySet;
use crate::rotation::load::Loader;
use crate::rotation::source::KeySource;

/// Keys from one place that the settings name.
pub(super) struct Place {
    /// Names the setting in errors.
    setting: String,
    source: Loader,
}

impl Place {
    pub(super) fn new(setting: &str, source: impl KeySource) -> Self {
        Self { setting: setting.to_owned(), source: Loader::of_part(Arc::new(source)) }
    }
}

impl KeySource for Place {
    fn describe(&self) -> String {
        format!("{}, by {}", self.source.description(), self.setting)
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let loaded = self.source.load_part().await;
        loaded.map_err(|error| KeyError::new(error.kind(), self.setting.clone()).because(error))
    }
}

/// Once one place has answered, the others are waited for this long. An answer that comes later counts at the next load.
const LATE: Duration = Duration::from_secs(1);

/// A place of the own keys, and what it answered last.
struct Part {
    place: Arc<Place>,
    /// One load at most. It goes on if it is late.
    running: tokio::sync::Mutex<JoinSet<Result<KeySet, KeyError>>>,
    last: Mutex<Option<Result<KeySet, KeyError>>>,
}

impl Part {
    fn new(place: Place) -> Self {
        Self { place: Arc::new(place), running: Default::default(), last: Mutex::default() }
    }

    /// Ends with a load's answer. If it is dropped before that, the load goes on.
    async fn load(&self) {
        let mut running = self.running.lock().await;
        if let Some(late) = running.try_join_next() {
            self.keep(late);
        }
        if running.is_empty() {
            let place = self.place.clone();
            running.spawn(async move { place.load().await });
        }
        if let Some(answer) = running.join_next().await {
            self.keep(answer);
        }
    }

    fn keep(&self, answer: Result<Result<KeySet, KeyError>, JoinError>) {
        let cancelled = |_| Err(KeyError::unavailable("the load was cancelled"));
        let answer = answer.unwrap_or_else(cancelled);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    /// Whether a load is still running.
    fn is_late(&self) -> bool {
        self.running.try_lock().is_ok_and(|running| !running.is_empty())
    }

    /// `None` before the first answer.
    fn last(&self) -> Option<Result<KeySet, KeyError>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The own keys: one place that signs, and others with retired keys.
pub(super) struct OwnKeys {
    signing: Part,
    retired: Vec<Part>,
}

impl OwnKeys {
    pub(super) fn new(signing: Place, retired: Vec<Place>) -> Self {
        Self { signing: Part::new(signing), retired: retired.into_iter().map(Part::new).collect() }
    }

    /// Whether one place can be late for another.
    pub(super) fn has_parts(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Loads every place. Only at the start each is waited for.
    async fn load_parts(&self) {
        let parts = || once(&self.signing).chain(&self.retired);
        let is_start = parts().any(|part| part.last().is_none());
        let mut loads: FuturesUnordered<_> = parts().map(Part::load).collect();
        loads.next().await;
        let others = loads.collect::<()>();
        if is_start {
            others.await;
        } else {
            // Too late is not an error: the last answers are used.
            let _ = timeout(LATE, others).await;
        }
    }

    fn loaded_signing(&self) -> Result<KeySet, KeyError> {
        let missing = || Err(KeyError::unavailable("the load was cancelled"));
        let set = self.signing.last().unwrap_or_else(missing)?;
        // A set that withdraws keys counts also if no key loads.
        if set.signing.is_none() && set.withdrawn.is_empty() {
            let message = format!(
                "{} has no key that signs: expected a private key or a secret. A public key that verifies goes into \
                 `retired_keys`, another issuer's into `trusted_issuers`",
                self.signing.place.setting
            );
            return Err(KeyError::new(KeyErrorKind::WrongType, message));
        }
        Ok(set)
    }
}

impl KeySource for OwnKeys {
    fn describe(&self) -> String {
        self.signing.place.describe()
    }

    /// The withdrawals of each place take effect also if others are late or do not load, even the one that signs.
    ///
    /// How long a retired set is fresh has no effect: no request under an unknown own key has it fetched, so a key that was added
    /// to it would be refused until then.
    async fn load(&self) -> Result<KeySet, KeyError> {
        self.load_parts().await;
        let signing = self.loaded_signing();
        let mut set = match &signing {
            Ok(set) => set.clone(),
            Err(error) => KeySet { skipped: vec![error.clone()], ..KeySet::default() },
        };
        for part in &self.retired {
            let Some(loaded) = part.last() else { continue };
            match loaded {
                Ok(retired) => set.retire(retired, &part.place.setting),
                // The keys of the others are used; the event says which did not load.
                Err(error) => set.skipped.push(error),
            }
        }
        set.is_late = once(&self.signing).chain(&self.retired).any(Part::is_late);
        match signing {
            Err(error) if set.withdrawn.is_empty() => Err(error),
            _ => Ok(set),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::keyring::handle::Refetched;
    use crate::keys::algorithm::Algorithm;
    use crate::keys::signing_key::SigningKey;
    use crate::rotation::KeyRotation;
    use crate::rotation::source::load_permits::{LoadPermit, LoadPermits};

    #[derive(Clone)]
    enum Fake {
        Holds(Box<KeySet>),
        Fails,
        Hangs,
        /// Hangs, and so does its thread, which can't be dropped.
        Blocks,
        /// Answers to each load in turn, after this time.
        Turns(Arc<Mutex<VecDeque<(Duration, KeySet)>>>),
    }
    use Fake::{Blocks, Fails, Hangs, Holds, Turns};

    impl KeySource for Fake {
        fn describe(&self) -> String {
            "a fake".to_owned()
        }

        async fn load(&self) -> Result<KeySet, KeyError> {
            match self {
                Holds(set) => Ok(KeySet::clone(set)),
                Fails => Err(KeyError::unavailable("it can't be read")),
                Hangs => pending().await,
                Blocks => {
                    std::mem::forget(LoadPermit::current());
                    pending().await
                }
                Turns(turns) => {
                    let (time, set) = turns.lock().unwrap().pop_front().unwrap();
                    sleep(time).await;
                    Ok(set)
                }
            }
        }
    }

    fn key(name: &str) -> SigningKey {
        SigningKey::from_secret(Algorithm::HS256, format!("{name:-<64}")).unwrap().with_kid(name)
    }

    /// Of two loads, of which the second finds what the first one left running.
    #[tokio::test(start_paused = true)]
    async fn no_place_keeps_the_keys_and_withdrawals_of_another_from_counting() {
        let signs = || Holds(KeySet::signing(key("new")).into());
        let retired = || Holds(KeySet::signing(key("old")).withdrawing("leaked").into());
        let verifies = Holds(KeySet::verifying([key("new").into()]).into());
        // The place that signs and the retired one; whether there is a signing key, the retired keys, the withdrawn ones, and how
        // many places are reported.
        for (why, signing, other, expected) in [
            ("both load", signs(), retired(), Some((true, 1, "leaked", 0))),
            ("a retired place fails", signs(), Fails, Some((true, 0, "", 1))),
            ("a retired place hangs", signs(), Hangs, Some((true, 0, "", 1))),
            ("a retired place blocks", signs(), Blocks, Some((true, 0, "", 1))),
            ("the signing place fails", Fails, retired(), Some((false, 1, "leaked", 1))),
            ("the signing place hangs", Hangs, retired(), Some((false, 1, "leaked", 1))),
            ("the signing place blocks", Blocks, retired(), Some((false, 1, "leaked", 1))),
            ("the signing place only verifies", verifies.clone(), retired(), Some((false, 1, "leaked", 1))),
            ("nothing is withdrawn", Fails, Holds(KeySet::signing(key("old")).into()), None),
            ("nothing is withdrawn, and none signs", verifies, Hangs, None),
        ] {
            let own =
                OwnKeys::new(Place::new("`key`", signing), vec![Place::new("`retired_keys[0]`", other)]);
            let permits = LoadPermits::default();
            for load in ["first", "second"] {
                let begun = Instant::now();
                let permit = permits.try_acquire().expect("no part holds the permit of the whole");
                let loaded = permit.scope(own.load()).await;
                assert!(begun.elapsed() < Duration::from_secs(15), "{why}");
                let found = loaded.as_ref().ok().map(|set| {
                    (set.signing.is_some(), set.verifying.len(), set.withdrawn.join(" "), set.skipped.len())
                });
                let expected = expected.map(|(signs, retired, withdrawn, reported)| {
                    (signs, retired, withdrawn.to_owned(), reported)
                });
                assert_eq!(found, expected, "{why}, {load} load: {loaded:?}");
                let errors = loaded.map_or_else(|error| vec![error], |set| set.skipped);
                for error in errors.iter().map(ToString::to_string) {
                    assert!(error.contains("`key`") || error.contains("`retired_keys[0]`"), "{why}: {error}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_place_delays_no_other_and_counts_once_it_has_answered() {
        let turns = |times: [u64; 3], sets: [KeySet; 3]| {
            Turns(Arc::new(Mutex::new(times.map(Duration::from_secs).into_iter().zip(sets).collect())))
        };
        let sets = |kids: [&str; 3]| kids.map(|kid| KeySet::signing(key(kid)));
        let withdraws = |[first, second, third]: [KeySet; 3]| {
            [first, second.withdrawing("leaked"), third.withdrawing("leaked")]
        };
        let (quick, slow) = ([0, 0, 0], [0, 8, 30]);
        for (why, signing, retired, expected) in [
            (
                "a retired place is late",
                turns(quick, withdraws(sets(["new"; 3]))),
                turns(slow, sets(["r1", "r2", "r3"])),
                ["new r1 ", "new r1 leaked", "new r2 leaked"],
            ),
            (
                "the signing place is late",
                turns(slow, sets(["s1", "s2", "s3"])),
                turns(quick, withdraws(sets(["old"; 3]))),
                ["s1 old ", "s1 old leaked", "s2 old leaked"],
            ),
        ] {
            let own =
                OwnKeys::new(Place::new("`key`", signing), vec![Place::new("`retired_keys[0]`", retired)]);
            for expected in expected {
                let begun = Instant::now();
                let set = own.load().await.unwrap();
                assert!(begun.elapsed() < Duration::from_secs(2), "{why}");
                assert!(set.skipped.is_empty(), "{why}: {:?}", set.skipped);
                let retired: Vec<_> = set.verifying.iter().map(|key| key.kid()).collect();
                assert_eq!(set.is_late, !expected.ends_with(' '), "{why}: all but the start's");
                let signs = set.signing.as_ref().unwrap().kid();
                let found = format!("{signs} {} {}", retired.join(" "), set.withdrawn.join(" "));
                assert_eq!(found, expected, "{why}");
                sleep(Duration::from_secs(10)).await;
            }
        }
    }

    /// A late place may have the key, so a sign-out or a refresh under an unknown one is a 503 and no verdict.
    #[tokio::test(start_paused = true)]
    async fn a_reload_with_a_late_place_has_not_read_every_key() {
        for (late, expected) in [(0, None), (8, Some(Refetched::Unreachable))] {
            let turns = |times: [u64; 2]| {
                let answers = times.map(|secs| (Duration::from_secs(secs), KeySet::signing(key("new"))));
                Turns(Arc::new(Mutex::new(answers.into())))
            };
            let own = OwnKeys::new(
                Place::new("`key`", turns([0, late])),
                vec![Place::new("`retired_keys[0]`", turns([0, 0]))],
            );
            let rotation = KeyRotation::new(own).reload_every(Duration::from_secs(3_600));
            let keys = rotation.start().await.unwrap();
            keys.refetch_own().unwrap().await;
            sleep(Duration::from_secs(2)).await;
            // The answer to the next request within the cooldown.
            let answer = match keys.refetch_own() {
                Some(refetching) => Some(refetching.await),
                None => None,
            };
            assert_eq!(answer, expected, "{late} s");
        }
    }
}
