//! [`Teller`]: reports events about keys on a thread of its own.
//!
//! An observer and a `tracing` subscriber are code of the application and may block. No load, withdrawal or request waits for
//! them. The thread is not one of the runtime's: those may be few, and the sources' files are read on them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::Handle;

use crate::caught::caught;
use crate::keyring::event::{KeyObserver, KeyReport};

/// How many events wait while one is reported. Of more the oldest are dropped: the newest has the ring that is in use.
const MAX_WAITING: usize = 256;

pub(super) struct Teller {
    observe: Option<Arc<KeyObserver>>,
    /// An observer can spawn tasks on it.
    runtime: Handle,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many were dropped before those that wait.
    dropped: u64,
    /// Whether a thread reports them. It ends when none waits.
    has_thread: bool,
}

struct Waiting {
    report: KeyReport,
    /// The subscriber of the thread on which it happened, which may not be the global one.
    #[cfg(feature = "tracing")]
    subscriber: tracing::Dispatch,
}

impl Teller {
    pub(super) fn new(observe: Option<Arc<KeyObserver>>, runtime: Handle) -> Self {
        Self { observe, runtime, queue: Mutex::default() }
    }

    /// Reports an event on this thread.
    pub(super) fn tell_at_once(&self, report: &KeyReport) {
        report.tell(self.observe.as_deref());
    }

    /// Appends an event. [`wake`](Self::wake) has it reported.
    pub(super) fn push(&self, report: KeyReport) {
        if self.observe.is_none() && cfg!(not(feature = "tracing")) {
            return;
        }
        let mut queue = self.queue();
        if queue.waiting.len() == MAX_WAITING {
            drop(queue.waiting.pop_front());
            queue.dropped += 1;
            KeyReport::Unreported { count: 1 }.count();
        }
        queue.waiting.push_back(Waiting {
            report,
            #[cfg(feature = "tracing")]
            subscriber: tracing::dispatcher::get_default(Clone::clone),
        });
    }

    /// Starts the thread if an event waits and no thread runs.
    pub(super) fn wake(self: &Arc<Self>) {
        {
            let mut queue = self.queue();
            if queue.has_thread || queue.waiting.is_empty() {
                return;
            }
            queue.has_thread = true;
        }
        let this = self.clone();
        let thread = thread::Builder::new().name("tower-reissue-events".to_owned());
        if thread.spawn(move || this.tell_waiting()).is_err() {
            // The system has no thread left. The next event tries again.
            self.queue().has_thread = false;
        }
    }

    fn tell_waiting(&self) {
        let _entered = self.runtime.enter();
        while let Some((next, dropped)) = self.next() {
            // An error of the application may panic when it is dropped.
            caught(|| self.tell_next(next, dropped));
        }
    }

    fn tell_next(&self, next: Waiting, dropped: u64) {
        #[cfg(feature = "tracing")]
        let _subscriber = tracing::dispatcher::set_default(&next.subscriber);
        if dropped > 0 {
            self.tell_at_once(&KeyReport::Unreported { count: dropped });
        }
        self.tell_at_once(&next.report);
    }

    /// The next event, and how many were dropped before it.
    fn next(&self) -> Option<(Waiting, u64)> {
        let mut queue = self.queue();
        let next = queue.waiting.pop_front();
        queue.has_thread = next.is_some();
        Some((next?, std::mem::take(&mut queue.dropped)))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;
    use std::sync::mpsc;

    use super::*;
    use crate::keyring::event::KeyEvent;
    use crate::keys::error::KeyError;

    /// An error that panics when it is dropped.
    #[derive(Debug)]
    struct Bomb;

    impl fmt::Display for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an error")
        }
    }

    impl Error for Bomb {}

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("when it is dropped");
        }
    }

    #[tokio::test]
    async fn an_error_that_panics_when_it_is_dropped_ends_no_reporting() {
        let (told, hears) = mpsc::channel();
        let observe = move |event: &KeyEvent<'_>| drop(told.send(event.to_string()));
        let teller = Arc::new(Teller::new(Some(Arc::new(observe)), Handle::current()));
        for n in 0..3 {
            let error = KeyError::unavailable(format!("failure {n}")).because(Bomb);
            teller.push(KeyReport::LoadFailed { source: "a source".into(), error });
            teller.wake();
            let heard = hears.recv_timeout(std::time::Duration::from_secs(20));
            assert!(heard.is_ok_and(|text| text.contains(&format!("failure {n}"))), "{n}");
        }
    }
}
