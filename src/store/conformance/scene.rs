//! One session in a scene, and the calls that every scene makes.

use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use crate::store::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionId, SessionPage,
    SessionRecord, Standing, StoreHorizon, SubjectId, TokenId,
};
use crate::time::Clock as _;
use crate::time::NumericDate;
use crate::time::SystemClock;

/// One session in a scene: whose, since when, and the instants its calls carry.
#[derive(Clone, Copy)]
pub(super) struct Login {
    pub(super) session: SessionId,
    pub(super) subject: SubjectId,
    pub(super) start: NumericDate,
    pub(super) now: NumericDate,
    pub(super) until: NumericDate,
}

impl Login {
    /// A new session of a new subject.
    pub(super) fn new() -> Self {
        // A little ahead: a store that records its birth, by whoever's clock, is older than every session here.
        let start = SystemClock.now().after(300);
        Self { session: session(), subject: subject(), start, now: start.after(60), until: start.after(3660) }
    }

    /// Another session of the same subject, begun this many seconds later.
    pub(super) fn another(&self, later: u64) -> Self {
        Self { session: session(), start: self.start.after(later), ..*self }
    }

    pub(super) fn at(&self, now: NumericDate) -> Self {
        Self { now, ..*self }
    }

    pub(super) fn presents(&self, token: TokenId) -> Presented {
        Presented::new(self.session, token, Some(self.subject), self.start, self.now)
    }

    pub(super) async fn sign_in<S: ClaimsStore>(&self, store: &S, token: TokenId) -> Rotated {
        rotate(store, Rotation::sign_in(self.presents(token), claims(token), self.until)).await
    }

    pub(super) async fn renew<S: ClaimsStore>(
        &self,
        store: &S,
        token: TokenId,
        successor: TokenId,
    ) -> Rotated {
        rotate(store, Rotation::renewal(self.presents(token), successor, claims(successor), self.until)).await
    }

    /// Signs in with the first token and renews it with each of the others in turn.
    pub(super) async fn chain<S: ClaimsStore>(&self, store: &S, tokens: &[TokenId]) {
        let mut tokens = tokens.iter().copied();
        let Some(mut head) = tokens.next() else { return };
        assert_eq!(self.sign_in(store, head).await, Rotated::Recorded, "the sign-in of a new session");
        for successor in tokens {
            assert_eq!(self.renew(store, head, successor).await, Rotated::Recorded, "the rotation of a head");
            head = successor;
        }
    }

    pub(super) async fn standing<S: ClaimsStore>(&self, store: &S, token: TokenId) -> Standing {
        standing(store, &self.presents(token)).await
    }

    /// The claims of this session's head, as [`ClaimsStore::sessions`] lists them.
    pub(super) async fn head<S: ClaimsStore>(&self, store: &S) -> Option<String> {
        self.listed(store).await.into_iter().find(|record| record.0 == self.session).map(|record| record.3)
    }

    pub(super) async fn listed<S: ClaimsStore>(
        &self,
        store: &S,
    ) -> Vec<(SessionId, NumericDate, NumericDate, String)> {
        let mut listed = Vec::new();
        let mut page = Page::default();
        loop {
            let SessionPage { sessions, next } = match store.sessions(self.subject, self.now, page).await {
                Ok(listed) => listed,
                Err(error) => panic!("sessions failed: {error} ({:?})", error.kind()),
            };
            listed.extend(sessions.into_iter().map(
                |SessionRecord { session, session_start, renewed, claims }| {
                    (session, session_start, renewed, claims.to_string())
                },
            ));
            let Some(next) = next else { break };
            assert!(page.after.is_none_or(|after| next < after), "the listing does not come to an end");
            page = page.after(next);
        }
        listed.sort();
        listed
    }
}

pub(super) async fn standing<S: ClaimsStore>(store: &S, presented: &Presented) -> Standing {
    match store.standing(presented).await {
        Ok(standing) => standing,
        Err(error) => panic!("standing failed: {error} ({:?})", error.kind()),
    }
}

pub(super) async fn rotate<S: ClaimsStore>(store: &S, rotation: Rotation) -> Rotated {
    match store.rotate(rotation).await {
        Ok(rotated) => rotated,
        Err(error) => panic!("rotate failed: {error} ({:?})", error.kind()),
    }
}

/// Revokes until an instant, or as long as the store's horizon demands.
pub(super) async fn revoke<S: ClaimsStore>(
    store: &S,
    revocation: Revocation,
    now: NumericDate,
    until: NumericDate,
) {
    let margin = match horizon(store, Horizon::Secs(1)).await.current {
        Horizon::Secs(secs) => until.since(now).saturating_sub(secs),
        Horizon::Unbounded => 0,
    };
    revoke_as(store, revocation, Retention::new(now, 0, margin)).await;
}

pub(super) async fn revoke_as<S: ClaimsStore>(store: &S, revocation: Revocation, retention: Retention) {
    if let Err(error) = store.revoke(revocation, retention).await {
        panic!("revoke failed: {error} ({:?})", error.kind());
    }
}

pub(super) async fn horizon<S: ClaimsStore>(store: &S, need: Horizon) -> StoreHorizon {
    match store.horizon(need).await {
        Ok(horizon) => horizon,
        Err(error) => panic!("horizon failed: {error} ({:?})", error.kind()),
    }
}

pub(super) fn subject_before(subject: SubjectId, instant: NumericDate) -> Revocation {
    Revocation::SubjectBefore { subject, instant, except: None }
}

/// The claims that every scene gives this token.
pub(super) fn claims(token: TokenId) -> String {
    format!("{{\"jti\":\"{token}\",\"exp\":1.0e3}}")
}

pub(super) fn head(token: TokenId) -> Rotated {
    Rotated::Superseded { head: claims(token).into() }
}

pub(super) fn token() -> TokenId {
    TokenId::from_bytes(fresh())
}

pub(super) fn tokens<const N: usize>() -> [TokenId; N] {
    std::array::from_fn(|_| token())
}

pub(super) fn session() -> SessionId {
    SessionId::from_bytes(fresh())
}

pub(super) fn subject() -> SubjectId {
    SubjectId::from_bytes(fresh())
}

/// Polls them all by turns until the last is done.
pub(super) async fn join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting = futures.into_iter().map(|future| (Box::pin(future), None)).collect::<Vec<_>>();
    poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(done) => *output = Some(done),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// 32 bytes never given before: the standard library keys each of its hashers at random.
pub(super) fn fresh() -> [u8; 32] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let keys = RandomState::new();
    let mut bytes = [0; 32];
    for (part, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&keys.hash_one((std::process::id(), count, part)).to_be_bytes());
    }
    bytes
}
