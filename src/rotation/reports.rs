//! [`Reports`]: limits the events that one source can cause.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::keyring::event::KeyReport;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::rotation::state::IssuerKeys;

/// How many events of one kind a source can cause at once, and how long it takes until it can cause another.
const AT_ONCE: u32 = 8;
const EVERY: Duration = Duration::from_secs(60);

/// Each kind has a limit of its own, so that many events of one kind never hide the first of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Replaced,
    EmptyKeySet,
    Skipped,
    LoadFailed(KeyErrorKind),
}

/// What one source caused to be reported. An issuer can publish another set at each load, and a file can be replaced at each
/// load: neither fills the log. What is not reported is counted all the same.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// When [`AT_ONCE`] events of the kind are allowed again. There is one entry for each kind that has occurred.
    full_at: Vec<(Kind, Instant)>,
    /// The errors of the last set's skipped keys that were reported.
    skipped: HashSet<String>,
    /// Whether the issuer's set is empty, and this is not reported yet.
    is_empty_unreported: bool,
}

impl Reports {
    /// The same limits for a source that replaces this one. What it skips is news.
    pub(super) fn of_another_source(self) -> Self {
        Self { full_at: self.full_at, ..Self::default() }
    }

    /// Whether a change of the source's keys may be reported now.
    pub(super) fn may_report_ring(&mut self) -> bool {
        self.may_report(Kind::Replaced)
    }

    /// The failure of a load, if it may be reported now.
    pub(super) fn load_failed(&mut self, source: &Arc<str>, error: KeyError) -> Option<KeyReport> {
        let kind = Kind::LoadFailed(error.kind());
        let report = KeyReport::LoadFailed { source: source.clone(), error };
        report.count();
        self.may_report(kind).then_some(report)
    }

    /// The report that the issuer publishes no key, once each time. If it is not allowed now, a later answer gives it.
    pub(super) fn issuer_keys(
        &mut self,
        keys: IssuerKeys,
        source: &Arc<str>,
        issuer: &str,
    ) -> Option<KeyReport> {
        let report = KeyReport::EmptyKeySet { source: source.clone(), issuer: issuer.into() };
        match keys {
            IssuerKeys::Held => self.is_empty_unreported = false,
            IssuerKeys::StillEmpty => {}
            IssuerKeys::Emptied => {
                report.count();
                self.is_empty_unreported = true;
            }
        }
        let is_reported = self.is_empty_unreported && self.may_report(Kind::EmptyKeySet);
        self.is_empty_unreported &= !is_reported;
        is_reported.then_some(report)
    }

    /// The errors of a set's skipped keys that were not reported yet, as far as they may be reported now. The last of them says
    /// how many others there are; those are reported later if they last.
    pub(super) fn skipped(&mut self, source: &Arc<str>, errors: &[KeyError]) -> Vec<KeyReport> {
        let texts: HashSet<_> = errors.iter().map(ToString::to_string).collect();
        self.skipped.retain(|text| texts.contains(text));
        let mut new: Vec<_> =
            errors.iter().filter(|error| !self.skipped.contains(&error.to_string())).cloned().collect();
        let allowed = new.iter().take_while(|_| self.may_report(Kind::Skipped)).count();
        let others = new.len() - allowed;
        new.truncate(allowed);
        self.skipped.extend(new.iter().map(ToString::to_string));
        if others > 0
            && let Some(last) = new.pop()
        {
            let message = format!("{others} other keys of this source are not used either");
            new.push(KeyError::new(last.kind(), message).because(last));
        }
        let report = |error| KeyReport::Skipped { source: source.clone(), error };
        new.into_iter().map(report).inspect(KeyReport::count).collect()
    }

    fn may_report(&mut self, kind: Kind) -> bool {
        let now = Instant::now();
        let known = self.full_at.iter().position(|(of, _)| *of == kind);
        let at = known.unwrap_or_else(|| {
            self.full_at.push((kind, now));
            self.full_at.len() - 1
        });
        let Some((_, full_at)) = self.full_at.get_mut(at) else { return false };
        let next = (*full_at).max(now) + EVERY;
        let is_allowed = next <= now + EVERY * AT_ONCE;
        if is_allowed {
            *full_at = next;
        }
        is_allowed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn source() -> Arc<str> {
        "a source".into()
    }

    fn error(kind: KeyErrorKind, message: impl ToString) -> KeyError {
        KeyError::new(kind, message.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn eight_of_a_kind_are_reported_at_once_and_then_one_a_minute() {
        let mut reports = Reports::default();
        let mut failed = |kind| reports.load_failed(&source(), error(kind, "x")).is_some();
        let mut reported = Vec::new();
        for second in 0..=600 {
            if failed(KeyErrorKind::Malformed) {
                reported.push(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(reported, [0, 1, 2, 3, 4, 5, 6, 7, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600]);
        // Another kind is not hidden.
        assert!(failed(KeyErrorKind::Unavailable));
        assert!(reports.may_report_ring());
        assert_eq!(reports.skipped(&source(), &[error(KeyErrorKind::Weak, "y")]).len(), 1);
        let emptied =
            |reports: &mut Reports| reports.issuer_keys(IssuerKeys::Emptied, &source(), "i").is_some();
        assert!(emptied(&mut reports));
        tokio::time::advance(EVERY * AT_ONCE).await;
        assert_eq!((0..20).filter(|_| emptied(&mut reports)).count(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_set_that_was_not_reported_is_reported_later_unless_it_has_keys_again() {
        for (last, reported) in [(IssuerKeys::Emptied, true), (IssuerKeys::Held, false)] {
            let mut reports = Reports::default();
            let mut answer = |keys| reports.issuer_keys(keys, &source(), "i").is_some();
            for nth in 0..9 {
                assert!(!answer(IssuerKeys::Held));
                assert_eq!(answer(IssuerKeys::Emptied), nth < 8);
            }
            assert!(!answer(last));
            tokio::time::advance(EVERY).await;
            assert_eq!(answer(if reported { IssuerKeys::StillEmpty } else { IssuerKeys::Held }), reported);
            assert!(!answer(IssuerKeys::StillEmpty));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn skipped_keys_are_reported_once_and_those_beyond_the_limit_by_their_number() {
        let mut reports = Reports::default();
        let mut skipped = |errors: &[KeyError]| -> Vec<String> {
            let reports = reports.skipped(&source(), errors);
            reports.iter().map(|report| report.as_event().to_string()).collect()
        };
        let broken = |from: usize, to: usize| -> Vec<_> {
            (from..to).map(|n| error(KeyErrorKind::Unsupported, format!("number {n}"))).collect()
        };
        assert_eq!(skipped(&broken(0, 2)).len(), 2);
        assert_eq!(skipped(&broken(0, 2)).len(), 0);
        // What was mended and breaks again is news.
        assert_eq!(skipped(&[]).len(), 0);
        assert_eq!(skipped(&broken(1, 2)).len(), 1);
        let told = skipped(&broken(1, 100));
        assert_eq!(told.len(), 5);
        assert!(told.last().unwrap().contains("93 other keys"), "{told:?}");
        assert!(told.last().unwrap().contains("number 6"), "{told:?}");
        // What is not reported now is reported later, if it is still so, and each by its name.
        let others = broken(200, 203);
        assert_eq!(skipped(&others).len(), 0);
        for (named, left) in
            [("number 200", "2 other keys"), ("number 201", "1 other keys"), ("number 202", "")]
        {
            tokio::time::advance(EVERY).await;
            let told = skipped(&others);
            assert!(told.len() == 1 && told[0].contains(named) && told[0].contains(left), "{told:?}");
        }
        tokio::time::advance(EVERY * AT_ONCE).await;
        assert_eq!(skipped(&others).len(), 0);
    }
}
