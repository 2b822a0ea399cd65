//! A token arrives: admitted, refused, or exchanged.

use std::pin::Pin;

use super::renew::Unrecorded;
use super::{Authority, SignedSuccessor, VerifiedToken};
use crate::keys::Refetching;
use crate::store::Standing;
use crate::telemetry::{Event, NotReissued};
use crate::token::bearer::Credential;
use crate::token::decision::{Decision, Evidence};
use crate::token::refusal::{Reason, Refusal};
use crate::{NumericDate, RequestHead};

/// What becomes of a token's arrival. Two words, for every request's is handed on several times; what few come to is boxed.
pub(crate) type Arrival<C> = Result<Admission<C>, Box<Detour<C>>>;

/// What becomes of it once the store has answered.
pub(crate) type Verdict<C> = Result<Admission<C>, Refused>;

/// What becomes of a token that is not admitted at once.
pub(crate) enum Detour<C> {
    Refused(Refused),
    /// The store has to be waited for.
    Pending(Pin<Box<dyn Future<Output = Verdict<C>> + Send>>),
    /// No key of its issuer answers to the token's `kid`, and the issuer can be asked for newer ones: let it arrive again
    /// after that.
    UnknownKey {
        refetching: Refetching,
        refusal: Refusal,
    },
}

pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) successor: Option<SignedSuccessor>,
}

/// A token at the door: what its verdict is made of, but for its standing.
struct Caller<C> {
    token: VerifiedToken<C>,
    /// Whether it proved what the token's `cnf` demands.
    confirmed: bool,
    /// Whether the response can carry a successor back to where the token was.
    answerable: bool,
    now: NumericDate,
}

/// The evidence of an admission, carried to the response, where it is judged again.
pub(crate) struct Admission<C> {
    pub(crate) token: VerifiedToken<C>,
    pub(crate) at: NumericDate,
}

impl Refused {
    pub(crate) fn with(refusal: Refusal) -> Self {
        Self { refusal, successor: None }
    }

    fn exchanged(successor: SignedSuccessor) -> Self {
        Self { refusal: Refusal::new(Reason::ExpiredInGrace), successor: Some(successor) }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::with(Refusal::new(reason))
    }
}

impl<C> From<Refused> for Box<Detour<C>> {
    fn from(refused: Refused) -> Self {
        Box::new(Detour::Refused(refused))
    }
}

impl<C> From<Reason> for Box<Detour<C>> {
    fn from(reason: Reason) -> Self {
        Refused::from(reason).into()
    }
}

impl<C> Caller<C> {
    fn admitted(self) -> Admission<C> {
        Admission { token: self.token, at: self.now }
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Judges a token outside the layer, as the layer would on a request without proof of possession: for a message
    /// on a socket, a queue, a protocol of your own. It reissues nothing.
    ///
    /// A token of a trusted issuer whose `kid` is unknown waits as in the layer, for a second at most, while the
    /// issuer is asked for its keys; an issuer that can't be asked is a
    /// [`KeysUnavailable`](crate::Reason::KeysUnavailable).
    ///
    /// # Errors
    /// The [`Refusal`]; a token within the grace is refused as expired, whatever
    /// [`admit_in_grace`](super::AuthorityBuilder::admit_in_grace) says.
    pub async fn admit(&self, token: &str) -> Result<VerifiedToken<C>, Refusal> {
        let verdict = async {
            let (token, now) = self.verify_refetching(token.as_bytes()).await?;
            let caller = Caller { token, confirmed: false, answerable: false, now };
            let mut decision = self.judge(&caller.token, caller.confirmed, Standing::Live, now);
            if let Some(store) =
                self.0.store.clone().filter(|_| self.asks_store(&caller.token, &decision, now))
            {
                decision = match self.ask(store.standing(caller.token.presented(now))).await {
                    Ok(standing) => self.judge_recorded(&caller, standing).await,
                    Err(_) => Decision::Refuse(unanswered(decision)),
                };
            }
            match decision {
                Decision::Admit => Ok(caller.token),
                Decision::Grace => Err(Refusal::new(Reason::Expired)),
                Decision::Refuse(reason) => Err(Refusal::new(reason)),
            }
        };
        verdict.await.inspect_err(|refusal| self.report_refusal(refusal))
    }

    #[inline(always)]
    pub(crate) fn arrive(&self, credential: &Credential<'_>, head: &RequestHead<'_>) -> Arrival<C> {
        let now = self.now();
        let token = match self.remembered(&credential.bytes) {
            Some(token) => token,
            None => self.first_sight(credential, now)?,
        };
        let confirmed = token
            .verified()
            .claims()
            .confirmation()
            .is_none_or(|cnf| self.0.hooks.confirm.as_ref().is_some_and(|confirm| confirm(head, cnf)));
        let decision = self.judge(&token, confirmed, Standing::Live, now);
        let caller =
            |token| Caller { token, confirmed, answerable: credential.source.takes_successors(), now };
        let Some(store) = &self.0.store else {
            return match decision {
                Decision::Admit => Ok(Admission { token, at: now }),
                Decision::Refuse(reason) => Err(reason.into()),
                Decision::Grace => self.exchange_derived(caller(token)),
            };
        };
        if let Decision::Refuse(reason) = &decision
            && !self.asks_store(&token, &decision, now)
        {
            return Err(reason.clone().into());
        }
        // The epoch is read before the store is asked: a revocation in between leaves a memo that no epoch matches.
        let epoch = store.epoch();
        if decision == Decision::Admit && epoch.is_some_and(|epoch| token.was_live(epoch, now)) {
            return Ok(Admission { token, at: now });
        }
        let presented = token.presented(now);
        let known = store.standing_now(&presented);
        match (known, decision) {
            (Some(Standing::Live), Decision::Admit) => {
                if let Some(epoch) = epoch {
                    token.remember_live(epoch, now);
                }
                Ok(Admission { token, at: now })
            }
            (Some(Standing::Live), Decision::Refuse(reason)) => Err(reason.into()),
            (known, decision) => {
                let (authority, store, caller) = (self.clone(), store.clone(), caller(token));
                Err(Box::new(Detour::Pending(Box::pin(async move {
                    let standing = match known {
                        Some(standing) => standing,
                        None => match authority.ask(store.standing(presented)).await {
                            Ok(standing) => standing,
                            Err(_) => return Err(unanswered(decision).into()),
                        },
                    };
                    authority.settle_recorded(caller, standing).await
                }))))
            }
        }
    }

    /// Whether the store has a word in it: what is refused in the best of standings needs none. But of a token that is
    /// good but for its age, it is still told whether it was superseded long ago.
    fn asks_store(&self, token: &VerifiedToken<C>, decision: &Decision, now: NumericDate) -> bool {
        match decision {
            Decision::Admit | Decision::Grace => true,
            Decision::Refuse(Reason::Expired) => self.0.policy.may_be_recorded(token.verified(), now),
            Decision::Refuse(_) => false,
        }
    }

    /// The keys are asked anew each time: after a wait, one may have been withdrawn.
    #[inline(always)]
    fn judge(
        &self,
        token: &VerifiedToken<C>,
        confirmed: bool,
        standing: Standing,
        now: NumericDate,
    ) -> Decision {
        let key_held = token.is_held(&self.0.keys);
        self.0.policy.decide(&Evidence { token: token.verified(), key_held, confirmed, standing, now })
    }

    /// The same once the store has spoken: reuse is reported, and where the policy ends the session for it, the session is
    /// over before anybody is answered.
    async fn judge_recorded(&self, caller: &Caller<C>, standing: Standing) -> Decision {
        if let Standing::Superseded { generations } = standing {
            self.emit(Event::Reused { generations });
        }
        match self.judge(&caller.token, caller.confirmed, standing, caller.now) {
            Decision::Refuse(Reason::Reused) if self.revoke_session(&caller.token).await.is_err() => {
                Decision::Refuse(Reason::StoreUnavailable)
            }
            decision => decision,
        }
    }

    /// Without a store there is nothing to wait for.
    #[inline(never)]
    fn exchange_derived(&self, caller: Caller<C>) -> Arrival<C> {
        let derived =
            self.may_renew(&caller.token).and_then(|()| self.derived(&caller.token, caller.now).cloned());
        match derived {
            Ok(_) if self.0.policy.admit_in_grace => Ok(caller.admitted()),
            Ok(_) if !caller.answerable => Err(Reason::Expired.into()),
            derived => {
                let signed = derived.and_then(|successor| self.sign_successor(&successor, &caller.token));
                Err(self.exchange(signed).into())
            }
        }
    }

    async fn settle_recorded(self, caller: Caller<C>, standing: Standing) -> Verdict<C> {
        match self.judge_recorded(&caller, standing).await {
            Decision::Admit => Ok(caller.admitted()),
            Decision::Refuse(reason) => Err(reason.into()),
            // An exchange whose yield nobody receives would spend the successor and promise what is not there.
            Decision::Grace if !caller.answerable => match self.may_renew(&caller.token) {
                Ok(()) if self.0.policy.admit_in_grace => Ok(caller.admitted()),
                _ => Err(Reason::Expired.into()),
            },
            Decision::Grace => self.exchange_recorded(caller).await,
        }
    }

    /// Rule 9 with a store: what can't be recorded is a 503, for the token may still be good for an exchange.
    async fn exchange_recorded(&self, caller: Caller<C>) -> Verdict<C> {
        let recorded = match self.may_renew(&caller.token) {
            Ok(()) => self.record(&caller.token, caller.now).await,
            Err(why) => Err(why.into()),
        };
        let refused = match recorded {
            Ok(_) if self.0.policy.admit_in_grace => return Ok(caller.admitted()),
            Ok(successor) => self.exchange(self.sign_successor(&successor, &caller.token)),
            Err(Unrecorded::Not(why)) => self.exchange(Err(why)),
            Err(Unrecorded::Revoked) => Reason::Revoked.into(),
            Err(Unrecorded::Outage) => Reason::StoreUnavailable.into(),
            // Superseded since it was asked about.
            Err(Unrecorded::Reused { generations }) => {
                let standing = Standing::Superseded { generations };
                match self.judge_recorded(&caller, standing).await {
                    Decision::Refuse(reason) => reason.into(),
                    _ => Reason::Expired.into(),
                }
            }
        };
        Err(refused)
    }

    /// The answer to a token within the grace.
    fn exchange(&self, signed: Result<SignedSuccessor, NotReissued>) -> Refused {
        match signed {
            Ok(successor) => Refused::exchanged(successor),
            Err(NotReissued::KeyWithdrawn) => Reason::UnknownKey.into(),
            Err(why) => {
                self.report_not_reissued(why);
                Reason::Expired.into()
            }
        }
    }
}

/// What a token is refused with when the store could not be asked: with what speaks against it anyhow, if anything does.
fn unanswered(decision: Decision) -> Reason {
    match decision {
        Decision::Refuse(reason) => reason,
        _ => Reason::StoreUnavailable,
    }
}
