//! Ends sessions: one, a subject's, all, and those of a subject that are too many.

use futures_util::future::join_all;

use super::script::{self, Call, Reply};
use super::state::{Field as _, name, sessions};
use super::{AT_ONCE, ATTEMPTS, Shared, state};
use crate::crypto;
use crate::store::feed::message;
use crate::store::{Retention, Revocation, SessionId, StoreError, StoreErrorKind, SubjectId, TokenId};
use crate::time::NumericDate;

impl Shared {
    /// Makes a revocation, kept by the horizon on record. Where its slot has lost its own copy, it was kept by what this
    /// process knew, so it is made again once that is restored. It comes first: it holds whatever can't be restored.
    async fn revoke_by(
        &self,
        retention: &Retention,
        revocation: impl Fn([String; 5]) -> Result<Call, StoreError>,
    ) -> Result<Vec<String>, StoreError> {
        for _ in 0..ATTEMPTS {
            let made = self.record(&revocation(self.retaining(retention))?).await?;
            if !made.has_lost {
                return Ok(made.texts);
            }
            self.restore(retention.now).await?;
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    /// Ends a session, or revokes one token of it. The instant up to which its subject's sessions were forgotten in its
    /// favour.
    pub(super) async fn end(
        &self,
        session: SessionId,
        token: Option<TokenId>,
        retention: &Retention,
    ) -> Result<Option<NumericDate>, StoreError> {
        let answer = self.revoke_record(session, token, retention, false).await?;
        self.remember_ended(session, &answer, retention).await
    }

    /// Ends a session that is on its subject's list. If it is another subject's, the entry is removed instead.
    async fn end_listed(
        &self,
        subject: SubjectId,
        (session, start): (SessionId, NumericDate),
        retention: &Retention,
    ) -> Result<Option<NumericDate>, StoreError> {
        let retention = retention.of(Some(subject), start);
        let answer = self.revoke_record(session, None, &retention, true).await?;
        if answer.first().is_some_and(|answer| answer == "another") {
            self.unlist(&subject, session).await;
        }
        self.remember_ended(session, &answer, &retention).await
    }

    async fn revoke_record(
        &self,
        session: SessionId,
        token: Option<TokenId>,
        retention: &Retention,
        is_listed: bool,
    ) -> Result<Vec<String>, StoreError> {
        let revocation = match token {
            Some(token) => Revocation::Token { session, token },
            None => Revocation::Session(session),
        };
        let args = [
            retention.subject.map(|subject| subject.to_string()).unwrap_or_default(),
            token.map(|token| token.to_string()).unwrap_or_default(),
            self.keys.channel(),
            message::write(&revocation),
            name(session),
            u8::from(is_listed).to_string(),
        ];
        let revoke = |retaining: [String; 5]| {
            let args = retaining.into_iter().chain(args.clone());
            Ok(Call::new(&script::REVOKE, self.keys.change_slot(&session), args))
        };
        self.revoke_by(retention, revoke).await
    }

    async fn remember_ended(
        &self,
        session: SessionId,
        answer: &[String],
        retention: &Retention,
    ) -> Result<Option<NumericDate>, StoreError> {
        if let [_, subject, latest_start, until] = answer
            && let Some(subject) = message::id(subject).map(SubjectId::from_bytes)
        {
            let ended = [name(session), latest_start.clone(), until.clone()];
            // The session has ended, whatever comes of this: how many are remembered bounds what they take.
            return Ok(self.remember(&subject, Some(ended), retention).await.unwrap_or_default());
        }
        Ok(None)
    }

    /// Ends every session of the subject begun up to an instant, but one. If the instant is not in the past, the
    /// recorded sessions that begin later are ended one by one.
    pub(super) async fn end_all_of(
        &self,
        subject: &SubjectId,
        instant: NumericDate,
        except: Option<SessionId>,
        retention: &Retention,
    ) -> Result<(), StoreError> {
        let keys = [self.keys.subject(subject), self.keys.subject_birth(subject), self.keys.listed(subject)];
        let revoke = |retaining: [String; 5]| {
            let args = [
                instant.to_string(),
                except.map(name).unwrap_or_default(),
                self.keys.channel(),
                message::write_at(&Revocation::SubjectBefore { subject: *subject, instant, except }, "@"),
                call_name()?,
            ];
            Ok(Call::new(&script::REVOKE_SUBJECT, keys.clone(), retaining.into_iter().chain(args)))
        };
        let answer = self.revoke_by(retention, revoke).await?;
        for some in sessions(&answer)?.chunks(AT_ONCE) {
            let ended = some.iter().map(|&listed| self.end_listed(*subject, listed, retention));
            join_all(ended).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        Ok(())
    }

    /// Ends every session begun up to an instant, slot by slot. It is published with the last slot. If the instant is
    /// not in the past, the recorded sessions that begin later are ended one by one.
    pub(super) async fn end_all(
        &self,
        instant: NumericDate,
        retention: &Retention,
    ) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let replies = self.end_slots(instant, retention).await?;
            if replies.iter().any(|reply| reply.has_lost) {
                self.restore(retention.now).await?;
                continue;
            }
            let mut later = Vec::new();
            for reply in replies {
                later.extend(sessions(&reply.texts)?);
            }
            for some in later.chunks(AT_ONCE) {
                let ended = some
                    .iter()
                    .map(async |&(session, start)| self.end(session, None, &retention.of(None, start)).await);
                join_all(ended).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            }
            return Ok(());
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    /// In every slot, also where others can't be reached.
    async fn end_slots(&self, instant: NumericDate, retention: &Retention) -> Result<Vec<Reply>, StoreError> {
        let message = message::write_at(&Revocation::AllBefore { instant }, "@");
        let name = call_name()?;
        let in_slot = |slot: [String; 2], channel: String| {
            let args = [instant.to_string(), channel, message.clone(), name.clone()];
            Call::new(&script::REVOKE_ALL, slot, self.retaining(retention).into_iter().chain(args))
        };
        let mut slots = self.keys.slots().collect::<Vec<_>>();
        let Some(last) = slots.pop() else { return Ok(Vec::new()) };
        let mut calls = slots.into_iter().map(|slot| in_slot(slot, String::new())).collect::<Vec<_>>();
        let others = self.in_slots(&calls).await;
        let published = in_slot(last, self.keys.channel());
        let last = published.run(&self.link).await;
        calls.push(published);
        let mut replies = others?;
        replies.push(last?);
        self.note_losses(&replies);
        self.hold_all(&calls).await?;
        Ok(replies)
    }

    /// Notes at its subject a session that has `ended`, with the latest start of its tokens and until when it is kept. Of
    /// more than are remembered the oldest give way to a cutoff, whose instant is the answer.
    pub(super) async fn remember(
        &self,
        subject: &SubjectId,
        ended: Option<[String; 3]>,
        retention: &Retention,
    ) -> Result<Option<NumericDate>, StoreError> {
        let Some(limit) = retention.limit else { return Ok(None) };
        // Its instant is the script's.
        let cutoff =
            Revocation::SubjectBefore { subject: *subject, instant: NumericDate::default(), except: None };
        let args =
            [limit.remembered.max(1).to_string(), self.keys.channel(), message::write_at(&cutoff, "@")];
        let args = self.retaining(retention).into_iter().chain(args).chain(ended.into_iter().flatten());
        let call = Call::new(&script::ENDED, self.keys.subject_slot(subject), args);
        let answer = self.run(&call).await?;
        let [instant, until, forgotten @ ..] = &*answer else { return Err(state::corrupt()) };
        let Some(forgotten_until) = instant.instant_or_nothing()? else { return Ok(None) };
        if self.hold(&call).await.is_err() {
            // The cutoff may be lost: their own records stay.
            return Ok(Some(forgotten_until));
        }
        for some in forgotten.chunks(AT_ONCE) {
            let removed = some.iter().map(async |session| {
                let args = [subject.to_string(), instant.clone(), until.clone()];
                let forget = Call::new(&script::FORGET, [self.keys.session(&state::name_of(session)?)], args);
                forget.run(&self.link).await
            });
            // What stays is revoked twice, until it expires.
            join_all(removed).await;
        }
        Ok(Some(forgotten_until))
    }

    /// Ends the subject's oldest sessions, which are too many, and answers as [`end`](Self::end) does. The next listing tries
    /// again what fails.
    pub(super) async fn end_excess(
        &self,
        subject: SubjectId,
        excess: &[(SessionId, NumericDate)],
        retention: &Retention,
    ) -> Option<NumericDate> {
        let ended = excess.iter().map(|&listed| self.end_listed(subject, listed, retention));
        join_all(ended).await.into_iter().filter_map(Result::ok).flatten().max()
    }

    /// What a script needs to know to keep a revocation.
    fn retaining(&self, retention: &Retention) -> [String; 5] {
        let Retention { now, session_start, tolerance, margin, .. } = retention;
        [
            now.to_string(),
            self.horizon.text(),
            session_start.to_string(),
            tolerance.to_string(),
            margin.to_string(),
        ]
    }
}

/// Names a call whose instant follows from what is recorded, so that it is known where it arrives again: after a broken
/// connection, and on the connection that waits for replicas.
fn call_name() -> Result<String, StoreError> {
    let random = crypto::random::<8>().map_err(|_| {
        StoreError::with_source(StoreErrorKind::Unavailable, "the system's source of randomness failed")
    })?;
    Ok(u64::from_be_bytes(random).to_string())
}
