//! One session's row changed in one step, however many want to.

use std::future::Future;

use super::backend::{Backend, on};
use super::failure::{failed, is_passing};
use super::record::{ancestor_bytes, revoked_token_bytes};
use super::session::{Found, Session};
use super::statements::Statement;
use super::telling::Telling;
use super::{Inner, SqlStore, random, secs};
use crate::NumericDate;
use crate::store::{Presented, Revocation, SessionId, StoreError, StoreErrorKind, SubjectId};

/// A row that changes under so many tries in a row is not contention any more.
const TRIES: u32 = 64;

/// What a change is for.
#[derive(Clone, Copy)]
pub(super) enum Cause<'a> {
    /// Nothing is written where this was revoked meanwhile as its subject's.
    Rotation(&'a Presented),
    /// Told, where the database tells, by the statement that records it.
    Revocation(&'a Revocation),
}

/// What `decide` made of a session.
pub(super) enum Step<T> {
    Done(T),
    Save(T),
}

impl SqlStore {
    /// Reads the session, lets `decide` change it, and writes it if it is still as it was read; else again.
    pub(super) async fn change<T: Clone>(
        &self,
        session: SessionId,
        cause: Cause<'_>,
        now: NumericDate,
        mut decide: impl FnMut(&mut Found) -> Result<Step<T>, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let inner = &*self.0;
        let subject = cause.heeded().and_then(|presented| presented.subject);
        let mut tries = Tries::new(inner.backend.connections().1);
        // Written by us, but the answer was lost with the connection.
        let mut maybe_written: Option<(i64, T)> = None;
        loop {
            let mut found = match inner.find(&inner.statements.find, session, subject).await {
                Ok(found) => found,
                Err(error) => {
                    tries.failed(error)?;
                    continue;
                }
            };
            match maybe_written.take() {
                Some((stamp, outcome)) if found.stamp == Some(stamp) => return Ok(outcome),
                _ => {}
            }
            let outcome = match decide(&mut found)? {
                Step::Done(outcome) => return Ok(outcome),
                Step::Save(outcome) => outcome,
            };
            // Random, so that a row that was removed and made anew never passes for the one that was read.
            let stamp = random().map_err(failed)?.cast_signed();
            let save = |telling| inner.save(session, &found, cause, stamp, telling);
            let saved = match cause {
                Cause::Rotation(_) => save(None).await,
                Cause::Revocation(revocation) => inner.record_and_tell(revocation, save).await,
            };
            match saved {
                Ok(true) => {
                    self.purge_at_times(now);
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

impl<'a> Cause<'a> {
    fn heeded(self) -> Option<&'a Presented> {
        match self {
            Self::Rotation(presented) => Some(presented),
            Self::Revocation(_) => None,
        }
    }
}

impl Inner {
    /// Repeats a call that may be made twice for as long as its failure passes.
    pub(super) async fn persist<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let mut tries = Tries::new(self.backend.connections().1);
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => tries.failed(error)?,
            }
        }
    }

    pub(super) async fn find(
        &self,
        statement: &Statement,
        session: SessionId,
        subject: Option<SubjectId>,
    ) -> Result<Found, sqlx::Error> {
        let subject = subject.as_ref().map(|subject| &subject.as_bytes()[..]);
        let question = self.identity.ask(statement);
        on!(&self.backend, read, connection => question.row(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(&session.as_bytes()[..])
                .bind(subject)
                .fetch_all(connection)
                .await,
        ))
    }

    /// False where the row is not the one that was found any more, or not in the same store, or the subject was revoked.
    async fn save(
        &self,
        session: SessionId,
        found: &Found,
        cause: Cause<'_>,
        stamp: i64,
        telling: Option<Telling>,
    ) -> Result<bool, sqlx::Error> {
        let Session { chain, is_orphan, revoked_until, revoked_tokens } = &found.session;
        let chain = chain.as_ref();
        let subject = chain.and_then(|chain| chain.subject.as_ref()).map(|subject| &subject.as_bytes()[..]);
        let head = chain.map(|chain| &chain.head.as_bytes()[..]);
        let generation = chain.map(|chain| i64::try_from(chain.generation).unwrap_or(i64::MAX));
        let ancestors = chain.map(|chain| ancestor_bytes(&chain.ancestors));
        let heeded = cause.heeded();
        let heeded_subject = heeded.and_then(|presented| presented.subject.as_ref());
        let (now, start) = heeded.map_or((0, 0), |heeded| (secs(heeded.now), secs(heeded.session_start)));
        let statement = match &telling {
            Some(_) => &self.statements.save_and_tell,
            None => &self.statements.save,
        };
        let question = self.identity.ask(statement);
        on!(&self.backend, write, connection => {
            let query = sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(&session.as_bytes()[..])
                .bind(subject)
                .bind(chain.map(|chain| secs(chain.session_start)))
                .bind(head)
                .bind(chain.map(|chain| secs(chain.head_until)))
                .bind(generation)
                .bind(chain.map(|chain| secs(chain.until)))
                .bind(chain.map(|chain| secs(chain.renewed)))
                .bind(ancestors)
                .bind(chain.map(|chain| &*chain.claims))
                .bind(secs(*revoked_until))
                .bind(revoked_token_bytes(revoked_tokens))
                .bind(secs(found.session.expires()))
                .bind(stamp)
                .bind(i64::from(*is_orphan))
                .bind(secs(found.born))
                .bind(found.stamp)
                .bind(heeded_subject.map(|subject| &subject.as_bytes()[..]))
                .bind(now)
                .bind(start);
            let query = match telling {
                Some(Telling { channel, message }) => query.bind(channel).bind(message),
                None => query,
            };
            // To its end: a commit that fails is told behind the rows.
            question.has_written(query.fetch_all(connection).await)
        })
    }
}

/// How often a call may yet be tried again.
struct Tries {
    lost: u32,
    broken: u32,
}

impl Tries {
    /// Every connection of the pool may have died with the server.
    fn new(connections: u32) -> Self {
        Self { lost: TRIES, broken: connections + 1 }
    }

    fn lost(&mut self) -> Result<(), StoreError> {
        self.lost = self.lost.checked_sub(1).ok_or_else(|| {
            StoreError::with_source(
                StoreErrorKind::Unavailable,
                "the row changed under every try to write it",
            )
        })?;
        Ok(())
    }

    fn failed(&mut self, error: sqlx::Error) -> Result<(), StoreError> {
        match self.broken.checked_sub(1) {
            Some(left) if is_passing(&error) => {
                self.broken = left;
                Ok(())
            }
            _ => Err(failed(error)),
        }
    }
}
