//! The store's horizon, in the store's own row.

use super::backend::{Backend, on};
use super::record::{HorizonRow, horizon_column, raise_bytes};
use super::tries::Tries;
use super::{Inner, SqlStore, secs};
use crate::store::{Horizon, Raise, StoreError, StoreErrorKind, StoreHorizon};
use crate::time::Clock as _;
use crate::time::NumericDate;
use crate::time::SystemClock;

/// The instant of a raise that is under way.
///
/// A raise is recorded first, and dated after that: by then every revocation reads the new horizon, so that sessions begun
/// later are safe. Until it is dated, all sessions end at the old horizon. A process that ends in between leaves that to
/// whoever opens the store next.
const UNDER_WAY: NumericDate = NumericDate::MAX;

impl SqlStore {
    /// Sets it, if nobody has yet, and puts it back if it was lost.
    pub(super) async fn settle_horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        let need = self.0.known.need(need);
        self.update_horizon(SystemClock.now(), |found| found.is_none().then(|| StoreHorizon::new(need))).await
    }

    /// Reads it, if there is one, and dates a raise that was interrupted.
    pub(super) async fn read_horizon(&self) -> Result<(), StoreError> {
        match self.0.persist(|| self.0.horizon_row()).await?.horizon {
            Some(_) => self.update_horizon(SystemClock.now(), |_| None).await.map(drop),
            None => Ok(()),
        }
    }

    pub(super) async fn raise_horizon_to(
        &self,
        to: Horizon,
        now: NumericDate,
    ) -> Result<StoreHorizon, StoreError> {
        self.update_horizon(now, |found| raised(found, to)).await
    }

    /// Puts back a horizon that was lost, with everything else that an older backup did not have.
    pub(super) async fn restore_horizon(&self, now: NumericDate) -> Result<(), StoreError> {
        self.update_horizon(now, |_| None).await.map(drop)
    }

    /// Reads it, and writes what `change` makes of it, until there is nothing to change.
    ///
    /// If this process knows a larger one, that was lost, and somebody who needs less may have come since: what they revoked
    /// may be forgotten already. So it is raised, and the store's records count from now on.
    async fn update_horizon(
        &self,
        now: NumericDate,
        change: impl Fn(Option<&StoreHorizon>) -> Option<StoreHorizon>,
    ) -> Result<StoreHorizon, StoreError> {
        let inner = &*self.0;
        let mut tries = Tries::new(inner.backend.connections().1);
        loop {
            let HorizonRow { clock, horizon } = inner.persist(|| inner.horizon_row()).await?;
            let (found, at) = (horizon.as_ref(), now.max(clock));
            let lost = inner.lost_horizon(found.map(|found| found.current));
            let put_back = || lost.and_then(|lost| raised(found, lost));
            let new = found.and_then(|found| dated(found, at)).or_else(put_back).or_else(|| change(found));
            let new = match new {
                Some(new) => new,
                None => {
                    let found = horizon.ok_or(StoreErrorKind::Corrupt)?;
                    inner.known.learn(&found);
                    return Ok(found);
                }
            };
            // Whether it was written, and by whom, shows when it is read again.
            let born = lost.map_or(NumericDate::default(), |_| at.after(1));
            match inner.set_horizon(found, &new, born).await {
                Ok(()) => tries.lost()?,
                Err(error) => tries.failed(error)?,
            }
        }
    }
}

/// Raised to this; `None` if it is not smaller.
fn raised(horizon: Option<&StoreHorizon>, to: Horizon) -> Option<StoreHorizon> {
    let Some(horizon) = horizon else { return Some(StoreHorizon::new(to)) };
    let mut raised = horizon.clone();
    raised.raise(to, UNDER_WAY).then_some(raised)
}

/// With its raises dated; `None` if they are dated already.
fn dated(horizon: &StoreHorizon, at: NumericDate) -> Option<StoreHorizon> {
    let is_under_way = |raise: &Raise| raise.at == UNDER_WAY;
    if !horizon.raises.iter().any(is_under_way) {
        return None;
    }
    let dated = |raise: &Raise| if is_under_way(raise) { Raise { at, ..*raise } } else { *raise };
    Some(StoreHorizon::with_raises(horizon.current, horizon.raises.iter().map(dated)))
}

impl Inner {
    /// The horizon that this process knows, if the one on record is smaller.
    pub(super) fn lost_horizon(&self, found: Option<Horizon>) -> Option<Horizon> {
        self.known.current().filter(|known| found.is_none_or(|found| found < *known))
    }

    pub(super) async fn horizon_row(&self) -> Result<HorizonRow, sqlx::Error> {
        let statement = &self.statements.horizon;
        let question = self.identity.ask(statement);
        on!(&self.backend, read, connection => question.row(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .fetch_all(connection)
                .await,
        ))
    }

    /// `born`: the earliest instant from which the store's records may count. By the clock of the statement it may be later: it may
    /// have waited.
    async fn set_horizon(
        &self,
        found: Option<&StoreHorizon>,
        new: &StoreHorizon,
        born: NumericDate,
    ) -> Result<(), sqlx::Error> {
        let column = |horizon: &StoreHorizon| horizon_column(horizon.current);
        let raises =
            |horizon: &StoreHorizon| (!horizon.raises.is_empty()).then(|| raise_bytes(&horizon.raises));
        let statement = &self.statements.set_horizon;
        let question = self.identity.ask(statement);
        on!(&self.backend, write, connection => question.has_written(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(column(new))
                .bind(raises(new))
                .bind(found.map(column))
                .bind(found.and_then(raises))
                .bind(secs(born))
                .fetch_all(connection)
                .await,
        ))
        .map(drop)
    }
}
