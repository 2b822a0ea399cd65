//! What the SQL and Redis stores don't record yet: the horizon, which is this process's own there, and the session that a
//! revocation of a subject spares.

use std::sync::{Mutex, PoisonError};

use super::{
    ClaimsStore, Horizon, Page, Retention, SessionId, SessionPage, SessionRecord, StoreError, StoreHorizon,
    SubjectId,
};
use crate::NumericDate;

#[derive(Default)]
pub(super) struct UnsharedHorizon(Mutex<Option<StoreHorizon>>);

impl UnsharedHorizon {
    pub(super) fn settle(&self, need: Horizon) -> StoreHorizon {
        let mut horizon = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        horizon.get_or_insert_with(|| StoreHorizon::new(need)).clone()
    }

    pub(super) fn raise(&self, to: Horizon, now: NumericDate) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(horizon) => _ = horizon.raise(to, now),
            none => *none = Some(StoreHorizon::new(to)),
        }
    }

    pub(super) fn kept_until(&self, retention: &Retention) -> NumericDate {
        let horizon = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        retention.kept_until(retention.now, horizon.as_ref().map(|horizon| horizon.current))
    }
}

/// The subject's recorded sessions up to an instant, but one: they are to end one by one.
pub(super) async fn others<S: ClaimsStore>(
    store: &S,
    (subject, instant, except): (SubjectId, NumericDate, SessionId),
    now: NumericDate,
) -> Result<Vec<SessionId>, StoreError> {
    let (mut others, mut page) = (Vec::new(), Page::default());
    loop {
        let SessionPage { sessions, next } = store.sessions(subject, now, page).await?;
        let meant = sessions.iter().filter(|s| s.session != except && s.session_start <= instant);
        others.extend(meant.map(|record| record.session));
        let Some(next) = next else { return Ok(others) };
        page = page.after(next);
    }
}

/// A page of a listing that was read whole.
pub(super) fn page_of(mut listed: Vec<SessionRecord>, page: Page) -> SessionPage {
    listed.sort_by_key(|record| std::cmp::Reverse(record.cursor()));
    listed.retain(|record| page.after.is_none_or(|after| record.cursor() < after));
    let next = (listed.len() > page.limit).then(|| listed.get(page.limit - 1).map(SessionRecord::cursor));
    listed.truncate(page.limit);
    SessionPage::new(listed, next.flatten())
}
