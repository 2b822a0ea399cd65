//! Drives the arrival protocol: it gets the answers that the protocol asks for, and waits for them.

use futures_util::FutureExt;

use super::{Admission, Arrived, Authority, NotAdmitted, Refused, Verdict, VerifiedToken};
use crate::refusal::{Reason, Refusal};
use crate::request::credential::Credential;
use crate::request::head::RequestHead;
use crate::store::Standing;
use crate::time::NumericDate;
use crate::token::arrival::{Arrival, Facts, Next, StoreState};
use crate::token::capacity::Capacity;
use crate::token::policy::Policy;
use crate::token::reissue::{NoSuccessor, Reissuing};

impl<C: Send + Sync + 'static> Authority<C> {
    /// Judges a token outside the layer: for a message from a queue, on a socket, or in a protocol of your own. It
    /// judges as the layer does for a request without proof of possession. It reissues nothing.
    ///
    /// If the token's issuer is trusted and its `kid` is unknown, the call waits up to a second while the issuer's
    /// keys are fetched, as in the layer. If they can't be fetched, the reason is
    /// [`KeysUnavailable`](crate::Reason::KeysUnavailable).
    ///
    /// # Errors
    /// The [`Refusal`]. A token within the grace is refused as expired, also under
    /// [`admit_in_grace`](super::AuthorityBuilder::admit_in_grace).
    pub async fn admit(&self, token: &str) -> Result<VerifiedToken<C>, Refusal> {
        let admitted = self.admit_if(token, |token| token.verified().claims().confirmation().is_none()).await;
        admitted.inspect_err(|refusal| self.report_refusal(refusal))
    }

    /// The same, but without a check of `cnf`, for callers that check the proof of possession themselves. It reports no refusal.
    pub(crate) async fn admit_unconfirmed(&self, token: &str) -> Result<VerifiedToken<C>, Refusal> {
        self.admit_if(token, |_| true).await
    }

    async fn admit_if(
        &self,
        token: &str,
        confirmed: impl Fn(&VerifiedToken<C>) -> bool,
    ) -> Result<VerifiedToken<C>, Refusal> {
        let (token, now) = self.verify_refetching(token.as_bytes()).await?;
        let arrival = Arrival { now, confirmed: confirmed(&token), may_exchange: false };
        Ok(self.admit_message(token, arrival).await?.token)
    }

    /// Judges an admitted token again, by the current time and the store. The sender's proof counts as given.
    pub(super) async fn admit_again(&self, token: &VerifiedToken<C>) -> Result<NumericDate, Refusal> {
        let arrival = Arrival { now: self.now(), confirmed: true, may_exchange: false };
        Ok(self.admit_message(token.clone(), arrival).await?.at)
    }

    async fn admit_message(
        &self,
        token: VerifiedToken<C>,
        arrival: Arrival,
    ) -> Result<Admission<C>, Refusal> {
        let store = if self.can_revoke() { StoreState::NotAsked } else { StoreState::Absent };
        let next = self.0.policy.arrive(arrival, self.facts(&token), store);
        self.settle(token, arrival, next, None, None).await.map_err(|refused| refused.refusal)
    }

    /// `capacity` says how long a successor the response can carry. It is called only if that matters.
    #[inline(always)]
    pub(crate) fn arrive(
        &self,
        credential: &Credential<'_>,
        head: &RequestHead<'_>,
        capacity: impl Fn() -> Option<Capacity>,
    ) -> Arrived<C> {
        let now = self.now();
        let token = match self.remembered(&credential.bytes) {
            Some(token) => token,
            None => self.first_sight(credential, now)?,
        };
        let confirmed = token.verified().claims().confirmation().is_none_or(|cnf| self.confirms(head, cnf));
        let arrival = Arrival { now, confirmed, may_exchange: true };
        // The epoch is read before the store is asked. If a revocation comes in between, the remembered epoch matches no more.
        let (store, epoch) = match &self.0.store {
            None => (StoreState::Absent, None),
            Some(store) => match store.epoch() {
                Some(epoch) if token.was_live(epoch, now) => (StoreState::SeenLive, Some(epoch)),
                epoch => (StoreState::NotAsked, epoch),
            },
        };
        match self.0.policy.arrive(arrival, self.facts(&token), store) {
            Next::Admit => Ok(Admission { token, at: now }),
            next => self.not_admitted_yet(token, arrival, next, epoch, capacity),
        }
    }

    /// Asks the store if it answers at once. Everything that needs waiting becomes a future.
    #[inline(always)]
    fn not_admitted_yet(
        &self,
        token: VerifiedToken<C>,
        arrival: Arrival,
        next: Next,
        epoch: Option<u64>,
        capacity: impl Fn() -> Option<Capacity>,
    ) -> Arrived<C> {
        let now = arrival.now;
        let (mut known, mut reply) = (None, None);
        if let (Next::AskStore { .. }, Some(store)) = (&next, &self.0.store) {
            known = store.standing_now(&token.presented(now));
            if known == Some(Standing::Live)
                && self.0.policy.standing(arrival, self.facts(&token), known) == Next::Admit
            {
                if let Some(epoch) = epoch {
                    token.remember_live(epoch, now);
                }
                return Ok(Admission { token, at: now });
            }
        }
        if matches!(next, Next::Exchange | Next::AskStore { may_exchange: true }) {
            reply = capacity();
        }
        self.await_verdict(token, arrival, next, known, reply)
    }

    #[inline(never)]
    fn await_verdict(
        &self,
        token: VerifiedToken<C>,
        arrival: Arrival,
        next: Next,
        known: Option<Standing>,
        capacity: Option<Capacity>,
    ) -> Arrived<C> {
        let authority = self.clone();
        let settling = async move { authority.settle(token, arrival, next, known, capacity).await };
        if self.can_revoke() {
            return Err(Box::new(NotAdmitted::Pending(Box::pin(settling))));
        }
        // Without a store nothing has to wait, so the future is polled once and not boxed.
        match settling.now_or_never() {
            Some(verdict) => verdict.map_err(NotAdmitted::refused),
            None => Err(NotAdmitted::refused(Reason::StoreUnavailable)),
        }
    }

    /// Drives the protocol to its verdict. `known` is the store's answer, if it was asked already.
    async fn settle(
        &self,
        token: VerifiedToken<C>,
        arrival: Arrival,
        mut next: Next,
        mut known: Option<Standing>,
        capacity: Option<Capacity>,
    ) -> Verdict<C> {
        let (policy, now, kind) = (&self.0.policy, arrival.now, token.verified().kind());
        let (mut successor, mut reused) = (None, None);
        let verdict = loop {
            next = match next {
                Next::AskStore { .. } => {
                    let answer = match known.take() {
                        None => self.standing(token.presented(now)).await,
                        known => known,
                    };
                    reused = policy.reported_reuse(token.verified(), answer, now);
                    policy.standing(arrival, self.facts(&token), answer)
                }
                Next::EndSession => {
                    let ended = self.end_reused(token.verified(), reused.take()).await;
                    policy.session_ended(ended.is_ok())
                }
                Next::Exchange => {
                    let reissue = Reissuing::in_grace(policy, now, capacity, self.records_successor(&token));
                    let made = self.drive_reissue(&token, reissue).await;
                    if let Err(NoSuccessor::Reused { generations }) = made {
                        reused = Some(generations);
                    }
                    let made = made.map(|signed| successor = signed);
                    policy.exchanged(arrival, self.facts(&token), made)
                }
                Next::Admit => break Ok(Admission { token, at: now }),
                Next::Refuse(refusal) => {
                    break Err(Policy::settle(refusal, token.verified(), now).into());
                }
                Next::Exchanged => {
                    let refusal = Policy::settle(Reason::ExpiredInGrace.into(), token.verified(), now);
                    break Err(Refused { refusal, successor, at: now });
                }
                Next::NotExchanged(why, reason) => {
                    self.reporter().not_reissued(why);
                    break Err(Policy::settle(reason.into(), token.verified(), now).into());
                }
            };
        };
        self.report_reused(kind, reused);
        verdict
    }

    /// The facts at this moment. During a wait the key may have been withdrawn.
    #[inline(always)]
    fn facts<'a>(&self, token: &'a VerifiedToken<C>) -> Facts<'a> {
        Facts { token: token.verified(), key_held: token.is_held(&self.0.keys) }
    }

    /// Whether the sender proved what `cnf` requires. A `confirm_with` that panics counts as no.
    #[inline(never)]
    pub(super) fn confirms(&self, head: &RequestHead<'_>, cnf: &str) -> bool {
        let Some(confirm) = &self.0.hooks.confirm else { return false };
        self.reporter().ask_hook("confirm_with", || confirm(head, cnf)).unwrap_or(false)
    }
}
