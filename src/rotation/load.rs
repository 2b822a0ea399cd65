//! [`Loader`]: the loads of one source, whatever its code does: hang, or panic.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::keyring::erased_source::ErasedSource;
use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;
use crate::rotation::source::turn::Turn;
use crate::rotation::source::turn::Turns;

/// A source that takes longer has failed.
pub(super) const LOAD_DEADLINE: Duration = Duration::from_secs(15);

pub(super) struct Loader {
    source: Arc<dyn ErasedSource>,
    turns: Turns,
    /// When the last load began.
    begun: Mutex<Instant>,
}

/// What a load brought. The next one does not begin before this is dropped: of two, the later one counts.
pub(super) struct Loaded {
    pub(super) set: Result<KeySet, KeyError>,
    pub(super) _turn: Option<Turn>,
}

impl Loader {
    pub(super) fn new(source: Arc<dyn ErasedSource>) -> Self {
        Self { source, turns: Turns::default(), begun: Mutex::new(Instant::now()) }
    }

    pub(super) fn describe(&self) -> String {
        self.source.describe()
    }

    /// Loads at once; `None` while another load is under way that may yet answer.
    pub(super) async fn load_now(&self) -> Option<Loaded> {
        match self.turns.try_next() {
            Some(turn) => Some(self.load_in(turn).await),
            None if self.hangs_for() > LOAD_DEADLINE => Some(self.hanging()),
            None => None,
        }
    }

    /// Loads when the load under way has ended.
    pub(super) async fn load_next(&self) -> Loaded {
        match timeout(LOAD_DEADLINE, self.turns.next()).await {
            Ok(Some(turn)) => self.load_in(turn).await,
            _ => self.hanging(),
        }
    }

    async fn load_in(&self, turn: Turn) -> Loaded {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // In a task of its own, which ends when this is dropped: a panic is its own, and so is what can't be broken off.
        let mut task = JoinSet::new();
        let load = self.source.clone().load();
        task.spawn(turn.clone().during(load));
        let set = match timeout(LOAD_DEADLINE, task.join_next()).await {
            Ok(Some(Ok(set))) => set,
            // What it says may be of a key, and is not for the log.
            Ok(Some(Err(error))) if error.is_panic() => {
                Err(KeyError::unavailable("the source panicked; its message went to standard error"))
            }
            Ok(_) => Err(KeyError::unavailable("the load was broken off")),
            Err(_) => Err(KeyError::unavailable(format!("no answer within {} s", LOAD_DEADLINE.as_secs()))),
        };
        Loaded { set, _turn: Some(turn) }
    }

    fn hanging(&self) -> Loaded {
        let error = format!(
            "the load that began {} s ago hangs, and can't be broken off; no other begins before it ends",
            self.hangs_for().as_secs()
        );
        Loaded { set: Err(KeyError::unavailable(error)), _turn: None }
    }

    fn hangs_for(&self) -> Duration {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe().fmt(f)
    }
}
