//! Changes one session's row in one step, however many callers want to change it.

use super::backend::{Backend, on};
use super::failure::failed;
use super::notification::Notification;
use super::record::{Advanced, ancestor_bytes, horizon_column, revoked_token_bytes};
use super::session::{CutoffRow, Found, Session};
use super::statements::Statement;
use super::tries::Tries;
use super::{Inner, SqlStore, random, secs};
use crate::store::{Retention, Revocation, Rotation, SessionId, StoreError, SubjectId};
use crate::time::NumericDate;

/// How many seconds, by the server's clock, what was read may be used: a process that was suspended reads again.
const HOLDS: u64 = 60;

/// The purpose of a change, which decides the row that is written.
#[derive(Clone, Copy)]
pub(super) enum Cause<'a> {
    /// Nothing is written if a cutoff changed meanwhile: the subject's, or everybody's.
    Rotation(&'a Rotation),
    /// Where the database can notify, the statement that records it also notifies.
    Revocation(Revocation, &'a Retention),
}

/// The decision on what was found.
pub(super) enum Step<T> {
    Done(T),
    Save(T),
}

/// The row that is written.
#[derive(Clone, Copy)]
enum Target {
    Session(SessionId),
    Subject(SubjectId),
    Everybody,
}

impl SqlStore {
    /// Reads the row, calls `decide`, and writes what it decided if nothing changed since the read. Otherwise retries. `advanced`:
    /// the outcome if the statement that reads first makes the successor the head itself.
    pub(super) async fn change<T: Clone>(
        &self,
        cause: Cause<'_>,
        advanced: Option<T>,
        mut decide: impl FnMut(&mut Found, i64) -> Result<Step<T>, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let inner = &*self.0;
        let target = cause.target();
        let mut tries = Tries::new(inner.backend.connections().1);
        let mut first = None;
        // Written by us, but the answer was lost with the connection.
        let mut maybe_written: Option<(i64, T)> = None;
        if let (Some(outcome), Some((statement, rotation))) = (advanced, inner.advancing(cause)) {
            let stamp = random().map_err(failed)?.cast_signed();
            match inner.advance(statement, rotation, stamp).await {
                Ok(Advanced { is_advanced: true, found }) => {
                    if inner.lost_horizon(found.horizon).is_some() {
                        self.restore_horizon(cause.now()).await?;
                    }
                    self.purge_at_times(cause.now());
                    return Ok(outcome);
                }
                Ok(Advanced { found, .. }) => first = Some(found),
                Err(error) => {
                    tries.failed(error)?;
                    maybe_written = Some((stamp, outcome));
                }
            }
        }
        loop {
            let found = match first.take() {
                Some(found) => Ok(found),
                None => inner.find_for(cause).await,
            };
            let mut found = match found {
                Ok(found) => found,
                Err(error) => {
                    tries.failed(error)?;
                    continue;
                }
            };
            if inner.lost_horizon(found.horizon).is_some() {
                self.restore_horizon(cause.now()).await?;
                tries.lost()?;
                continue;
            }
            match maybe_written.take() {
                Some((stamp, outcome)) if target.stamp(&found) == Some(stamp) => return Ok(outcome),
                _ => {}
            }
            // Dated before `decide` runs: that adds this revocation to `found`, which would change its date.
            let told = match cause {
                Cause::Revocation(revocation, retention) => Some(found.dated(revocation, retention)),
                Cause::Rotation(_) => None,
            };
            // Random, so that a row that was removed and made anew never passes for the one that was read.
            let stamp = random().map_err(failed)?.cast_signed();
            let outcome = match decide(&mut found, stamp)? {
                Step::Done(outcome) => return Ok(outcome),
                Step::Save(outcome) => outcome,
            };
            let save = |notification| inner.save(cause, &found, stamp, notification);
            let saved = match told {
                Some(revocation) => inner.record_and_notify(&revocation, save).await,
                None => save(None).await,
            };
            match saved {
                Ok(true) => {
                    self.purge_at_times(cause.now());
                    return Ok(outcome);
                }
                Ok(false) => tries.lost()?,
                Err(error) => {
                    tries.failed(error)?;
                    maybe_written = Some((stamp, outcome));
                }
            }
        }
    }
}

impl Cause<'_> {
    fn target(self) -> Target {
        match self {
            Self::Rotation(rotation) => Target::Session(rotation.presented.session),
            Self::Revocation(Revocation::Session(session) | Revocation::Token { session, .. }, _) => {
                Target::Session(session)
            }
            Self::Revocation(Revocation::SubjectBefore { subject, .. }, _) => Target::Subject(subject),
            Self::Revocation(Revocation::AllBefore { .. }, _) => Target::Everybody,
        }
    }

    /// Whose cutoff is read.
    fn subject(self) -> Option<SubjectId> {
        match self {
            Self::Rotation(rotation) => rotation.presented.subject,
            Self::Revocation(Revocation::SubjectBefore { subject, .. }, _) => Some(subject),
            Self::Revocation(..) => None,
        }
    }

    fn now(self) -> NumericDate {
        match self {
            Self::Rotation(rotation) => rotation.presented.now,
            Self::Revocation(_, retention) => retention.now,
        }
    }
}

impl Target {
    fn stamp(self, found: &Found) -> Option<i64> {
        match self {
            Self::Session(_) => found.stamp,
            Self::Subject(_) => found.subject.stamp,
            Self::Everybody => found.everybody.stamp,
        }
    }
}

impl Inner {
    async fn find_for(&self, cause: Cause<'_>) -> Result<Found, sqlx::Error> {
        let (statement, session) = match cause.target() {
            Target::Session(session) => (&self.statements.find, Some(session)),
            Target::Subject(_) | Target::Everybody => (&self.statements.find_without_claims, None),
        };
        self.find(statement, session, cause.subject()).await
    }

    pub(super) async fn find(
        &self,
        statement: &Statement,
        session: Option<SessionId>,
        subject: Option<SubjectId>,
    ) -> Result<Found, sqlx::Error> {
        let question = self.identity.ask(statement);
        on!(&self.backend, read, connection => question.row(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(session.as_ref().map(|session| &session.as_bytes()[..]))
                .bind(subject.as_ref().map(|subject| &subject.as_bytes()[..]))
                .fetch_all(connection)
                .await,
        ))
    }

    /// The statement that may do the whole rotation, if there is one.
    fn advancing<'a>(&'a self, cause: Cause<'a>) -> Option<(&'a Statement, &'a Rotation)> {
        match cause {
            Cause::Rotation(rotation) if rotation.supersedes => {
                self.statements.advance.as_ref().map(|statement| (statement, rotation))
            }
            _ => None,
        }
    }

    async fn advance(
        &self,
        statement: &Statement,
        rotation: &Rotation,
        stamp: i64,
    ) -> Result<Advanced, sqlx::Error> {
        let Rotation { presented, successor, claims, until, .. } = rotation;
        let question = self.identity.ask(statement);
        on!(&self.backend, write, connection => question.row(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(&presented.session.as_bytes()[..])
                .bind(presented.subject.as_ref().map(|subject| &subject.as_bytes()[..]))
                .bind(&presented.token.as_bytes()[..])
                .bind(&successor.as_bytes()[..])
                .bind(&**claims)
                .bind(secs(*until))
                .bind(secs(presented.now))
                .bind(stamp)
                .bind(secs(presented.session_start))
                .fetch_all(connection)
                .await,
        ))
    }

    /// Returns false if something has changed since it was read, or the store is another one.
    async fn save(
        &self,
        cause: Cause<'_>,
        found: &Found,
        stamp: i64,
        notification: Option<Notification>,
    ) -> Result<bool, sqlx::Error> {
        match cause.target() {
            Target::Session(session) => self.save_session(session, cause, found, stamp, notification).await,
            Target::Subject(subject) => {
                self.save_cutoff(&subject.as_bytes()[..], &found.subject, found, stamp, notification).await
            }
            Target::Everybody => self.save_cutoff(&[], &found.everybody, found, stamp, notification).await,
        }
    }

    async fn save_session(
        &self,
        session: SessionId,
        cause: Cause<'_>,
        found: &Found,
        stamp: i64,
        notification: Option<Notification>,
    ) -> Result<bool, sqlx::Error> {
        let Session { chain, is_unattested, revoked_until, revoked_tokens, latest_start, is_opened, .. } =
            &found.session;
        let chain = chain.as_ref();
        let subject = found.session.subject();
        let head = chain.map(|chain| &chain.head.as_bytes()[..]);
        let generation = chain.map(|chain| i64::try_from(chain.generation).unwrap_or(i64::MAX));
        let asked = cause.subject();
        let statement = match &notification {
            Some(_) => &self.statements.save_and_tell,
            None => &self.statements.save,
        };
        let question = self.identity.ask(statement);
        on!(&self.backend, write, connection => {
            let query = sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(&session.as_bytes()[..])
                .bind(subject.as_ref().map(|subject| &subject.as_bytes()[..]))
                .bind(found.session.start().map(secs))
                .bind(head)
                .bind(chain.map(|chain| secs(chain.head_until)))
                .bind(generation)
                .bind(chain.map(|chain| secs(chain.until)))
                .bind(chain.map(|chain| secs(chain.renewed)))
                .bind(chain.map(|chain| ancestor_bytes(&chain.ancestors)))
                .bind(chain.map(|chain| &*chain.claims))
                .bind(secs(*revoked_until))
                .bind(revoked_token_bytes(revoked_tokens))
                .bind(secs(found.session.kept_until()))
                .bind(stamp)
                .bind(i64::from(*is_unattested))
                .bind(latest_start.map(secs))
                .bind(found.horizon.map(horizon_column))
                .bind(secs(found.clock.after(HOLDS)))
                .bind(secs(found.created_at))
                .bind(asked.as_ref().map(|subject| &subject.as_bytes()[..]))
                .bind(found.subject.stamp)
                .bind(found.everybody.stamp)
                .bind(found.stamp)
                .bind(*is_opened);
            let query = match notification {
                Some(Notification { channel, message }) => query.bind(channel).bind(message),
                None => query,
            };
            // Reads all rows: the server reports a failed commit after them.
            question.has_written(query.fetch_all(connection).await)
        })
    }

    async fn save_cutoff(
        &self,
        subject: &[u8],
        row: &CutoffRow,
        found: &Found,
        stamp: i64,
        notification: Option<Notification>,
    ) -> Result<bool, sqlx::Error> {
        let Some(cutoff) = row.cutoff else { return Ok(true) };
        let statement = match &notification {
            Some(_) => &self.statements.save_cutoff_and_tell,
            None => &self.statements.save_cutoff,
        };
        let question = self.identity.ask(statement);
        on!(&self.backend, write, connection => {
            let query = sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(subject)
                .bind(secs(cutoff.instant))
                .bind(cutoff.except.as_ref().map(|session| &session.as_bytes()[..]))
                .bind(cutoff.floor.map(secs))
                .bind(secs(cutoff.until))
                .bind(stamp)
                .bind(found.horizon.map(horizon_column))
                .bind(secs(found.clock.after(HOLDS)))
                .bind(row.stamp);
            let query = match notification {
                Some(Notification { channel, message }) => query.bind(channel).bind(message),
                None => query,
            };
            question.has_written(query.fetch_all(connection).await)
        })
    }
}
