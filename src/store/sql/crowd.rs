//! Keeps the limit on one subject's sessions.

use super::backend::{Backend, on};
use super::change::{Cause, Step};
use super::record::Crowd;
use super::{Inner, SqlStore, secs};
use crate::store::chain;
use crate::store::cutoff::Cutoff;
use crate::store::{
    Presented, Retention, Revocation, Rotated, Rotation, SessionId, StoreError, SubjectId, SubjectLimit,
};
use crate::time::NumericDate;

/// Sessions ended at most in favour of one that was opened. One is enough, unless the limit was lowered or several sign-ins left
/// one too many.
const DISPLACED_AT_ONCE: i64 = 64;

/// A session that was put on record.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    /// Of its row, if it had none before. A row can precede the sign-in: one that names revoked tokens.
    pub(super) new: Option<i64>,
}

impl SqlStore {
    /// Keeps the limit on a subject's sessions after one was opened, and returns what became of that one. If the limit on
    /// remembered sessions is reached by sessions that began later, its record is removed again.
    ///
    /// Only sessions that were opened before this one end: of them the oldest, until this one and `live - 1` others are left. Two
    /// sign-ins at once both find both records; if each ended the other, nobody would be signed in. What is over the limit after
    /// that ends with the next sign-in.
    ///
    /// However many sign in at once, `live` are left: the one opened last, which nobody ends, and the `live - 1` newest of the
    /// others. A sign-in ends one of these only if it finds `live - 1` newer ones that were opened before it. There are fewer, because
    /// the one opened last is not among them.
    pub(super) async fn make_way(&self, rotation: &Rotation, opened: Opened) -> Result<Rotated, StoreError> {
        let Presented { session, subject, session_start, now, .. } = rotation.presented;
        let Some((subject, retention)) = subject.zip(rotation.retention) else {
            return Ok(Rotated::Recorded);
        };
        let Some(limit) = retention.limit else { return Ok(Rotated::Recorded) };
        let inner = &*self.0;
        let crowd = inner.persist(|| inner.crowd(subject, Some(session), limit, now)).await?;
        if let Some(Crowd { forgettable: Some(_), oldest: Some(oldest), .. }) = crowd.first()
            && let Some(stamp) = opened.new
            && session_start <= *oldest
            && inner.persist(|| inner.undo(session, stamp)).await?
        {
            return Ok(chain::predated(rotation.supersedes, *oldest));
        }
        for cursor in crowd.iter().filter_map(|row| row.displaced) {
            let retention = retention.of(Some(subject), cursor.session_start);
            self.end(Revocation::Session(cursor.session), &retention).await?;
        }
        match self.forget(subject, &crowd, &retention).await? {
            Some(instant) if session_start <= instant => Ok(chain::predated(rotation.supersedes, instant)),
            _ => Ok(Rotated::Recorded),
        }
    }

    /// Forgets the subject's oldest sessions when the record of one that ended was added.
    pub(super) async fn make_room(
        &self,
        subject: SubjectId,
        retention: &Retention,
    ) -> Result<(), StoreError> {
        let Some(limit) = retention.limit else { return Ok(()) };
        let inner = &*self.0;
        let crowd = inner.persist(|| inner.crowd(subject, None, limit, retention.now)).await?;
        self.forget(subject, &crowd, retention).await.map(drop)
    }

    /// The instant up to which they were forgotten.
    async fn forget(
        &self,
        subject: SubjectId,
        crowd: &[Crowd],
        retention: &Retention,
    ) -> Result<Option<NumericDate>, StoreError> {
        let Some((instant, known)) = crowd.first().and_then(|row| row.forgettable) else { return Ok(None) };
        let revocation = Revocation::SubjectBefore { subject, instant, except: None };
        let until = self
            .change(Cause::Revocation(revocation, retention), None, |found, _| {
                let until = found.kept_until(retention).max(known);
                found.cut_off_subject(Cutoff::new(instant, None, until), retention.now);
                Ok(Step::Save(until))
            })
            .await?;
        // The cutoff takes their place.
        let inner = &*self.0;
        inner.persist(|| inner.forget(subject, instant, until)).await?;
        Ok(Some(instant))
    }
}

impl Inner {
    async fn crowd(
        &self,
        subject: SubjectId,
        opened: Option<SessionId>,
        limit: SubjectLimit,
        now: NumericDate,
    ) -> Result<Vec<Crowd>, sqlx::Error> {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let statement = &self.statements.crowd;
        let question = self.identity.ask(statement);
        on!(&self.backend, read, connection => question.rows(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(&subject.as_bytes()[..])
                .bind(opened.as_ref().map(|opened| &opened.as_bytes()[..]))
                .bind(secs(now))
                .bind(DISPLACED_AT_ONCE)
                .bind(number(limit.live.saturating_sub(1)))
                .bind(number(limit.remembered))
                .fetch_all(connection)
                .await,
        ))
    }

    /// One that was revoked meanwhile is kept longer than the cutoff, and stays.
    async fn forget(
        &self,
        subject: SubjectId,
        instant: NumericDate,
        until: NumericDate,
    ) -> Result<(), sqlx::Error> {
        on!(&self.backend, write, connection => sqlx::query(&self.statements.forget)
            .bind(self.identity.store())
            .bind(&subject.as_bytes()[..])
            .bind(secs(instant))
            .bind(secs(until))
            .execute(connection)
            .await
            .map(drop))
    }

    /// Returns false if the session has changed since it was made.
    pub(super) async fn undo(&self, session: SessionId, stamp: i64) -> Result<bool, sqlx::Error> {
        on!(&self.backend, write, connection => sqlx::query(&self.statements.undo)
            .bind(self.identity.store())
            .bind(&session.as_bytes()[..])
            .bind(stamp)
            .execute(connection)
            .await
            .map(|done| done.rows_affected() > 0))
    }
}
