//! [`Loader`]: loads one source, and survives that its code hangs or panics.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::caught::{caught, count_panic, record_panic};
use crate::keyring::erased_source::ErasedSource;
use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;
use crate::rotation::source::load_permits::LoadPermit;
use crate::rotation::source::load_permits::LoadPermits;

/// What a panic of a source is recorded under.
const HOOK: &str = "KeySource";

/// A load that takes longer has failed.
pub(super) const LOAD_DEADLINE: Duration = Duration::from_secs(15);
/// The same for a source that is a part of another, which then still has time to answer with its other parts.
#[cfg(feature = "settings")]
const PART_DEADLINE: Duration = Duration::from_secs(14);

pub(crate) struct Loader {
    source: Arc<dyn ErasedSource>,
    deadline: Duration,
    /// How it describes itself. It is asked once, because it is code of the application.
    description: Arc<str>,
    permits: LoadPermits,
    /// When the last load began.
    started: Mutex<Instant>,
}

/// The result of a load. The next load does not begin before this is dropped, so that results are applied in order.
pub(super) struct Loaded {
    pub(super) set: Result<KeySet, KeyError>,
    pub(super) _permit: Option<LoadPermit>,
}

impl Loader {
    pub(super) fn new(source: Arc<dyn ErasedSource>) -> Self {
        Self::within(LOAD_DEADLINE, source)
    }

    /// A source that is a part of another.
    #[cfg(feature = "settings")]
    pub(crate) fn of_part(source: Arc<dyn ErasedSource>) -> Self {
        Self::within(PART_DEADLINE, source)
    }

    fn within(deadline: Duration, source: Arc<dyn ErasedSource>) -> Self {
        let description = caught(|| source.describe()).unwrap_or_else(|| {
            record_panic(HOOK);
            "a source whose `describe` panicked".to_owned()
        });
        let (permits, started) = (LoadPermits::default(), Mutex::new(Instant::now()));
        Self { source, deadline, description: description.into(), permits, started }
    }

    pub(crate) fn description(&self) -> &Arc<str> {
        &self.description
    }

    /// Loads at once; `None` while another load is running that has not timed out.
    pub(super) async fn load_now(&self) -> Option<Loaded> {
        match self.permits.try_acquire() {
            Some(permit) => Some(self.load_with(permit).await),
            None if self.hangs_for() > self.deadline => Some(self.hanging()),
            None => None,
        }
    }

    /// Loads after the running load, if there is one.
    pub(super) async fn load_next(&self) -> Loaded {
        match timeout(self.deadline, self.permits.acquire()).await {
            Ok(Some(permit)) => self.load_with(permit).await,
            _ => self.hanging(),
        }
    }

    /// Loads a part at once. It has a permit of its own, so a part that blocks its thread does not stop the others.
    #[cfg(feature = "settings")]
    pub(crate) async fn load_part(&self) -> Result<KeySet, KeyError> {
        match self.permits.try_acquire() {
            Some(permit) => self.load_with(permit).await.set,
            // The whole has one load at a time, so this one has timed out.
            None => self.hanging().set,
        }
    }

    async fn load_with(&self, permit: LoadPermit) -> Loaded {
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // A task of its own contains a panic, and ends when this is dropped.
        let mut task = JoinSet::new();
        let load = self.source.clone().load();
        task.spawn(permit.clone().scope(load));
        let set = match timeout(self.deadline, task.join_next()).await {
            Ok(Some(Ok(set))) => set,
            // The panic's message may hold a key, so it is not logged.
            Ok(Some(Err(error))) if error.is_panic() => {
                // Not logged here, because a load does not wait for a subscriber: its failure is reported.
                count_panic(HOOK);
                Err(KeyError::unavailable("the source panicked; its message went to standard error"))
            }
            Ok(_) => Err(KeyError::unavailable("the load was cancelled")),
            Err(_) => Err(KeyError::unavailable(format!("no answer within {} s", self.deadline.as_secs()))),
        };
        Loaded { set, _permit: Some(permit) }
    }

    fn hanging(&self) -> Loaded {
        // The text holds no time, because a fault that lasts is recognised by its text.
        let error = "an earlier load hangs and can't be cancelled; no other one begins before it ends";
        Loaded { set: Err(KeyError::unavailable(error)), _permit: None }
    }

    fn hangs_for(&self) -> Duration {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.description.fmt(f)
    }
}

#[cfg(all(test, feature = "metrics"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;
    use crate::keyring::erased_source::Loading;

    /// Collects the counters that are incremented.
    #[derive(Default)]
    struct Counters(Mutex<Vec<String>>);

    impl Recorder for Counters {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels = key.labels().map(|label| format!(" {}", label.value()));
            self.0.lock().unwrap().push(key.name().to_owned() + &labels.collect::<String>());
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    struct Panics;

    impl ErasedSource for Panics {
        fn describe(&self) -> String {
            panic!("a description")
        }

        fn load(self: Arc<Self>) -> Loading {
            Box::pin(async { panic!("a load") })
        }
    }

    #[test]
    fn a_source_that_panics_is_counted_as_a_hook_and_fails_its_load() {
        let counters = Counters::default();
        metrics::with_local_recorder(&counters, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let loader = Loader::new(Arc::new(Panics));
            let loaded = runtime.block_on(loader.load_next());
            assert!(loaded.set.unwrap_err().to_string().contains("the source panicked"));
            assert_eq!(&**loader.description(), "a source whose `describe` panicked");
        });
        let counted = counters.0.into_inner().unwrap();
        assert_eq!(counted, ["tower_reissue_hook_panicked_total KeySource"; 2]);
    }
}
