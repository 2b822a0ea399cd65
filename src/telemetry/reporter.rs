//! [`Reporter`]: reports the events of one authority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, ReissueKind, record};
use crate::caught::{caught, record_panic};
use crate::request::credential::Source;
use crate::time::NumericDate;
use crate::token::not_reissued::NotReissued;

/// Receives events.
pub(crate) type Observer = dyn Fn(&Event<'_>) + Send + Sync;

/// Writes events to the log and the counters, and tells the application's observer.
pub(crate) struct Reporter {
    observer: Option<Arc<Observer>>,
    /// Whether a successor that is too long was reported.
    reported_size: AtomicBool,
}

impl Reporter {
    pub(crate) fn new(observer: Option<Arc<Observer>>) -> Self {
        Self { observer, reported_size: AtomicBool::new(false) }
    }

    /// Records an event and tells the observer. Call it after the fact, so that neither can change it.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        record(event);
        self.tell_observer(event);
    }

    /// Tells only the observer, for an event that is recorded already.
    pub(crate) fn tell_observer(&self, event: &Event<'_>) {
        if let Some(observe) = &self.observer
            && caught(|| observe(event)).is_none()
        {
            record_panic("on_event");
        }
    }

    pub(crate) fn reissued(&self, how: ReissueKind, expires_at: NumericDate) {
        self.emit(&Event::Reissued { how, expires_at });
    }

    pub(crate) fn not_reissued(&self, why: NotReissued) {
        // If a minter makes its tokens too long, every request reports this, so the log has only the first at WARN.
        let repeated = why.is_about_size() && self.reported_size.swap(true, Ordering::Relaxed);
        self.emit(&Event::NotReissued { why, repeated });
    }

    pub(crate) fn insecure_cookies(&self, sources: &[Source]) {
        for cookie in sources.iter().filter_map(Source::as_cookie).filter(|cookie| cookie.is_insecure()) {
            self.emit(&Event::InsecureCookie { name: cookie.name() });
        }
    }

    pub(crate) fn panicked(&self, hook: &'static str) {
        self.emit(&Event::HookPanicked { hook });
    }

    /// Calls code of the application. If it panics, this reports an event and returns `None`.
    pub(crate) fn ask_hook<T>(&self, hook: &'static str, ask: impl FnOnce() -> T) -> Option<T> {
        let answer = caught(ask);
        if answer.is_none() {
            self.panicked(hook);
        }
        answer
    }
}
