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

/// What became of a token's arrival, or the future that will tell.
pub(crate) enum Arrival<C> {
    Decided(Verdict<C>),
    /// The store has to be waited for.
    Pending(Pin<Box<dyn Future<Output = Verdict<C>> + Send>>),
    /// No key of its issuer answers to the token's `kid`, and the issuer can be asked for newer ones: let it arrive again
    /// after that.
    UnknownKey {
        refetching: Refetching,
        refusal: Box<Refusal>,
    },
}

/// Two words, for every request's is returned through several calls; refusals are rare, and boxed.
pub(crate) enum Verdict<C> {
    Admit(Admission<C>),
    Refuse(Box<Refused>),
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

impl<C> Arrival<C> {
    pub(crate) fn refuse(reason: Reason) -> Self {
        Self::Decided(Verdict::refuse(reason))
    }
}

impl<C> Verdict<C> {
    fn refuse(reason: Reason) -> Self {
        Self::refused(Refusal::new(reason))
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::Refuse(Box::new(Refused { refusal, successor: None }))
    }

    fn exchanged(successor: SignedSuccessor) -> Self {
        let refusal = Refusal::new(Reason::ExpiredInGrace);
        Self::Refuse(Box::new(Refused { refusal, successor: Some(successor) }))
    }
}

impl<C> Caller<C> {
    fn admitted(self) -> Verdict<C> {
        Verdict::Admit(Admission { token: self.token, at: self.now })
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
            let (token, now) = self.verify_refetching(token).await?;
            let caller = Caller { token, confirmed: false, answerable: false, now };
            let mut decision = self.judge(&caller, Standing::Live);
            if let Some(store) = self.0.store.clone().filter(|_| self.asks_store(&caller, &decision)) {
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

    pub(crate) fn arrive(&self, credential: &Credential<'_>, head: &RequestHead<'_>) -> Arrival<C> {
        let now = self.now();
        let token = match self.remembered(&credential.bytes) {
            Some(token) => token,
            None => match self.first_sight(credential, now) {
                Ok(token) => token,
                Err(unverified) => return unverified,
            },
        };
        let confirmed = token
            .verified()
            .claims()
            .confirmation()
            .is_some_and(|cnf| self.0.hooks.confirm.as_ref().is_some_and(|confirm| confirm(head, cnf)));
        let answerable = credential.source.takes_successors();
        let caller = Caller { token, confirmed, answerable, now };
        let decision = self.judge(&caller, Standing::Live);
        let Some(store) = &self.0.store else {
            return Arrival::Decided(match decision {
                Decision::Admit => caller.admitted(),
                Decision::Refuse(reason) => Verdict::refuse(reason),
                Decision::Grace => self.exchange_derived(caller),
            });
        };
        if let Decision::Refuse(reason) = &decision
            && !self.asks_store(&caller, &decision)
        {
            return Arrival::Decided(Verdict::refuse(reason.clone()));
        }
        // The epoch is read before the store is asked: a revocation in between leaves a memo that no epoch matches.
        let epoch = store.epoch();
        if decision == Decision::Admit && epoch.is_some_and(|epoch| caller.token.was_live(epoch, now)) {
            return Arrival::Decided(caller.admitted());
        }
        let presented = caller.token.presented(now);
        let known = store.standing_now(&presented);
        match (known, decision) {
            (Some(Standing::Live), Decision::Admit) => {
                if let Some(epoch) = epoch {
                    caller.token.remember_live(epoch, now);
                }
                Arrival::Decided(caller.admitted())
            }
            (Some(Standing::Live), Decision::Refuse(reason)) => Arrival::Decided(Verdict::refuse(reason)),
            (known, decision) => {
                let (authority, store) = (self.clone(), store.clone());
                Arrival::Pending(Box::pin(async move {
                    let standing = match known {
                        Some(standing) => standing,
                        None => match authority.ask(store.standing(presented)).await {
                            Ok(standing) => standing,
                            Err(_) => return Verdict::refuse(unanswered(decision)),
                        },
                    };
                    authority.settle_recorded(caller, standing).await
                }))
            }
        }
    }

    /// Whether the store has a word in it: what is refused in the best of standings needs none. But of a token that is
    /// good but for its age, it is still told whether it was superseded long ago.
    fn asks_store(&self, caller: &Caller<C>, decision: &Decision) -> bool {
        match decision {
            Decision::Admit | Decision::Grace => true,
            Decision::Refuse(Reason::Expired) => {
                self.0.policy.may_be_recorded(caller.token.verified(), caller.now)
            }
            Decision::Refuse(_) => false,
        }
    }

    /// The keys are asked anew each time: after a wait, one may have been withdrawn.
    #[inline(always)]
    fn judge(&self, caller: &Caller<C>, standing: Standing) -> Decision {
        self.0.policy.decide(&Evidence {
            token: caller.token.verified(),
            key_held: caller.token.is_held(&self.0.keys),
            confirmed: caller.confirmed,
            standing,
            now: caller.now,
        })
    }

    /// The same once the store has spoken: reuse is reported, and where the policy ends the session for it, the session is
    /// over before anybody is answered.
    async fn judge_recorded(&self, caller: &Caller<C>, standing: Standing) -> Decision {
        if let Standing::Superseded { generations } = standing {
            self.emit(Event::Reused { generations });
        }
        match self.judge(caller, standing) {
            Decision::Refuse(Reason::Reused) if self.revoke_session(&caller.token).await.is_err() => {
                Decision::Refuse(Reason::StoreUnavailable)
            }
            decision => decision,
        }
    }

    /// Without a store there is nothing to wait for.
    #[inline(never)]
    fn exchange_derived(&self, caller: Caller<C>) -> Verdict<C> {
        let derived =
            self.may_renew(&caller.token).and_then(|()| self.derived(&caller.token, caller.now).cloned());
        match derived {
            Ok(_) if self.0.policy.admit_in_grace => caller.admitted(),
            Ok(_) if !caller.answerable => Verdict::refuse(Reason::Expired),
            derived => {
                self.exchange(derived.and_then(|successor| self.sign_successor(&successor, &caller.token)))
            }
        }
    }

    async fn settle_recorded(self, caller: Caller<C>, standing: Standing) -> Verdict<C> {
        match self.judge_recorded(&caller, standing).await {
            Decision::Admit => caller.admitted(),
            Decision::Refuse(reason) => Verdict::refuse(reason),
            // An exchange whose yield nobody receives would spend the successor and promise what is not there.
            Decision::Grace if !caller.answerable => match self.may_renew(&caller.token) {
                Ok(()) if self.0.policy.admit_in_grace => caller.admitted(),
                _ => Verdict::refuse(Reason::Expired),
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
        match recorded {
            Ok(_) if self.0.policy.admit_in_grace => caller.admitted(),
            Ok(successor) => self.exchange(self.sign_successor(&successor, &caller.token)),
            Err(Unrecorded::Not(why)) => self.exchange(Err(why)),
            Err(Unrecorded::Revoked) => Verdict::refuse(Reason::Revoked),
            Err(Unrecorded::Outage) => Verdict::refuse(Reason::StoreUnavailable),
            // Superseded since it was asked about.
            Err(Unrecorded::Reused { generations }) => {
                let standing = Standing::Superseded { generations };
                Verdict::refuse(match self.judge_recorded(&caller, standing).await {
                    Decision::Refuse(reason) => reason,
                    _ => Reason::Expired,
                })
            }
        }
    }

    /// The answer to a token within the grace.
    fn exchange(&self, signed: Result<SignedSuccessor, NotReissued>) -> Verdict<C> {
        match signed {
            Ok(successor) => Verdict::exchanged(successor),
            Err(NotReissued::KeyWithdrawn) => Verdict::refuse(Reason::UnknownKey),
            Err(why) => {
                self.report_not_reissued(why);
                Verdict::refuse(Reason::Expired)
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
