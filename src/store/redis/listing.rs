//! Lists a subject's sessions, page by page.

use futures_util::future::join_all;
use redis::cmd;

use super::failure::failure;
use super::script::{self, Call};
use super::state::{Field as _, corrupt, name, name_of, sessions};
use super::{AT_ONCE, Shared};
use crate::store::cutoff::Cutoff;
use crate::store::feed::message;
use crate::store::{Page, SessionCursor, SessionId, SessionPage, SessionRecord, StoreError, SubjectId};
use crate::time::NumericDate;

/// The cutoffs hold for every session of a page, and each session's own slot was not asked for them.
struct Snapshot {
    cutoffs: Vec<Cutoff>,
    /// There is a list of version 1.
    has_old: bool,
    found: Vec<SessionCursor>,
}

impl Shared {
    pub(super) async fn page(
        &self,
        subject: &SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        let limit = page.limit.clamp(1, 1_000);
        let page = Page { limit: limit + 1, ..page };
        let mut snapshot = self.snapshot(subject, now, page).await?;
        if snapshot.has_old && page.after.is_none() {
            self.adopt(subject, now).await?;
            snapshot = self.snapshot(subject, now, page).await?;
        }
        let Snapshot { cutoffs, mut found, .. } = snapshot;
        let follows = found.len() > limit;
        found.truncate(limit);
        let mut records = Vec::new();
        for some in found.chunks(AT_ONCE) {
            for record in join_all(some.iter().map(|place| self.recorded(place.session, subject, now))).await
            {
                let is_listed = |record: &SessionRecord| {
                    let cut_off = |cutoff: &Cutoff| cutoff.revokes(record.session, record.session_start, now);
                    !cutoffs.iter().any(cut_off)
                };
                records.extend(record?.map(|(record, _)| record).filter(is_listed));
            }
        }
        Ok(SessionPage::new(records, found.last().copied().filter(|_| follows)))
    }

    async fn snapshot(
        &self,
        subject: &SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<Snapshot, StoreError> {
        let keys = &self.keys;
        let places = [
            keys.subject(subject),
            keys.subject_birth(subject),
            keys.listed(subject),
            keys.old_list(subject),
        ];
        let after = page.after.map(|after| [after.session_start.to_string(), name(after.session)]);
        let args = [now.to_string(), self.horizon.text(), page.limit.to_string()];
        let args = args.into_iter().chain(after.into_iter().flatten());
        let answer = self.run(&Call::new(&script::LIST, places, args)).await?;
        let [instant, except, floor, all, has_old, found @ ..] = &*answer else { return Err(corrupt()) };
        let mut cutoffs = Vec::new();
        // What is over, the script left out.
        if let Some(instant) = instant.instant_or_nothing()? {
            let except = if except.is_empty() { None } else { Some(name_of(except)?) };
            let floor = floor.instant_or_nothing()?;
            cutoffs.push(Cutoff { floor, ..Cutoff::new(instant, except, NumericDate::MAX) });
        }
        let all = all.instant_or_nothing()?;
        cutoffs.extend(all.map(|instant| Cutoff::new(instant, None, NumericDate::MAX)));
        let found = sessions(found)?.into_iter();
        let found = found.map(|(session, session_start)| SessionCursor { session_start, session }).collect();
        Ok(Snapshot { cutoffs, has_old: has_old == "1", found })
    }

    /// A session of the subject as it is recorded and live, and until when.
    async fn recorded(
        &self,
        session: SessionId,
        subject: &SubjectId,
        now: NumericDate,
    ) -> Result<Option<(SessionRecord, NumericDate)>, StoreError> {
        let mut read = cmd("HMGET");
        read.arg(self.keys.session(&session)).arg(&["v", "x", "p", "u", "s", "r", "c"]);
        let reply = self.link.ask(&read).await.map_err(failure)?;
        let reply: Vec<Option<String>> = redis::from_redis_value(reply).map_err(|_| corrupt())?;
        let Ok([version, revoked, whose, until, start, renewed, claims]) = <[_; 7]>::try_from(reply) else {
            return Err(corrupt());
        };
        match version.as_deref() {
            // Listed and not recorded yet, or expired.
            None => return Ok(None),
            Some("1" | "2") if revoked.is_some() => return Ok(None),
            Some("1" | "2") => {}
            Some(_) => return Err(corrupt()),
        }
        let at = |text: Option<String>| text.ok_or_else(corrupt).and_then(|text| text.instant());
        let (until, start, renewed) = (at(until)?, at(start)?, at(renewed)?);
        if until <= now || whose.as_deref() != Some(&*subject.to_string()) {
            return Ok(None);
        }
        Ok(Some((SessionRecord::new(session, start, renewed, claims.ok_or_else(corrupt)?), until)))
    }

    /// Lists anew what version 1 listed, by an order that has no pages.
    async fn adopt(&self, subject: &SubjectId, now: NumericDate) -> Result<(), StoreError> {
        let old = self.keys.old_list(subject);
        loop {
            let mut read = cmd("ZRANGE");
            read.arg(&old).arg(0).arg(AT_ONCE - 1);
            let names = script::texts(self.link.ask(&read).await.map_err(failure)?)?;
            if names.is_empty() {
                return Ok(());
            }
            let adopted = names.iter().map(async |name| {
                let session = message::id(name).map(SessionId::from_bytes).ok_or_else(corrupt)?;
                if let Some((record, until)) = self.recorded(session, subject, now).await? {
                    let place = (session, record.session_start);
                    self.run(&self.ask_to_list(subject, place, now, until, None)).await?;
                }
                Ok(())
            });
            join_all(adopted).await.into_iter().collect::<Result<Vec<()>, StoreError>>()?;
            let mut remove = cmd("ZREM");
            remove.arg(&old).arg(&names);
            self.link.ask(&remove).await.map_err(failure)?;
        }
    }
}
