//! A token arrives: admitted, refused, or exchanged.

use std::pin::Pin;

use super::renew::{Capacity, Unrecorded};
use super::{Authority, SignedSuccessor, VerifiedToken};
use crate::keys::Refetching;
use crate::store::Standing;
use crate::telemetry::{Event, NotReissued};
use crate::token::bearer::Credential;
use crate::token::decision::{Decision, Evidence};
use crate::token::refusal::{Reason, Refusal};
use crate::{NumericDate, PrivateClaims, RequestHead};

/// What becomes of a token as it arrives. An admission is 16 bytes, the rest is boxed: every request's is handed up through
/// several calls.
pub(crate) type Arrival<C> = Result<Admission<C>, Box<NotAdmitted<C>>>;

const _: () = assert!(size_of::<Arrival<PrivateClaims>>() <= 16);

/// What became of it once all was waited for.
pub(crate) type Settled<C> = Result<Admission<C>, Refused>;

/// A token that is not admitted, or not yet.
pub(crate) enum NotAdmitted<C> {
    Refused(Refused),
    /// Something has to be waited for: the store's word, an exchange that is recorded, a session that is ended.
    Pending(Pin<Box<dyn Future<Output = Settled<C>> + Send>>),
    /// No key that is held answers to it, and its issuer is asked for newer ones: let it arrive again after that.
    Refetching {
        refetching: Refetching,
        refusal: Refusal,
    },
}

pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) exchanged: Option<Exchanged>,
}

/// What an expired token was exchanged for, and when.
pub(crate) struct Exchanged {
    pub(crate) successor: SignedSuccessor,
    pub(crate) at: NumericDate,
}

/// How a token came, for as long as it is judged.
#[derive(Clone, Copy)]
struct Presentation {
    /// Whether the sender proved what the token's `cnf` demands; true where it demands nothing.
    confirmed: bool,
    now: NumericDate,
}

/// A token and when it was admitted, kept for the response: is a successor due by then?
pub(crate) struct Admission<C> {
    pub(crate) token: VerifiedToken<C>,
    pub(crate) at: NumericDate,
}

impl<C> NotAdmitted<C> {
    pub(crate) fn refused(refused: impl Into<Refused>) -> Box<Self> {
        Box::new(Self::Refused(refused.into()))
    }
}

impl Refused {
    fn exchanged(successor: SignedSuccessor, at: NumericDate) -> Self {
        let exchanged = Some(Exchanged { successor, at });
        Self { refusal: Refusal::new(Reason::ExpiredInGrace), exchanged }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, exchanged: None }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason).into()
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
            let confirmed = token.verified().claims().confirmation().is_none();
            let how = Presentation { confirmed, now };
            let decision = match (self.judge(&token, how, Standing::Live), self.0.store.clone()) {
                (Decision::Refuse(reason), _) if self.is_final(&token, &reason, now) => {
                    Decision::Refuse(reason)
                }
                (decision, None) => decision,
                (decision, Some(store)) => match self.ask(store.standing(token.presented(now))).await {
                    Ok(standing) => self.judge_recorded(&token, how, standing).await,
                    Err(_) => Decision::Refuse(unanswered(decision)),
                },
            };
            match decision {
                Decision::Admit => Ok(token),
                Decision::Grace => Err(Refusal::not_exchanged()),
                Decision::Refuse(reason) => Err(Refusal::new(reason)),
            }
        };
        verdict.await.inspect_err(|refusal| self.report_refusal(refusal))
    }

    /// `capacity` says what the response can carry back to where the token was; it is asked only where that matters.
    #[inline(always)]
    pub(crate) fn arrive(
        &self,
        credential: &Credential<'_>,
        head: &RequestHead<'_>,
        capacity: impl Fn() -> Option<Capacity>,
    ) -> Arrival<C> {
        let now = self.now();
        let token = match self.remembered(&credential.bytes) {
            Some(token) => token,
            None => self.first_sight(credential, now)?,
        };
        let confirmed = token.verified().claims().confirmation().is_none_or(|cnf| self.confirms(head, cnf));
        let how = Presentation { confirmed, now };
        // The epoch is read before the store is asked: a revocation in between leaves a memo that no epoch matches.
        let epoch = self.0.store.as_ref().and_then(|store| store.epoch());
        let decision = self.judge(&token, how, Standing::Live);
        let Some(store) = &self.0.store else {
            return match decision {
                Decision::Admit => Ok(Admission { token, at: now }),
                Decision::Refuse(reason) => Err(NotAdmitted::refused(reason)),
                Decision::Grace => self.exchange_derived(token, now, capacity()),
            };
        };
        let decision = match decision {
            Decision::Refuse(reason) if self.is_final(&token, &reason, now) => {
                return Err(NotAdmitted::refused(reason));
            }
            decision => decision,
        };
        if decision == Decision::Admit && epoch.is_some_and(|epoch| token.was_live(epoch, now)) {
            return Ok(Admission { token, at: now });
        }
        let presented = token.presented(now);
        let known = store.standing_now(&presented);
        let decision = match known {
            Some(standing @ Standing::Live) => self.judge(&token, how, standing),
            _ => decision,
        };
        match (known, decision) {
            (Some(Standing::Live), Decision::Admit) => {
                if let Some(epoch) = epoch {
                    token.remember_live(epoch, now);
                }
                Ok(Admission { token, at: now })
            }
            (Some(Standing::Live), Decision::Refuse(reason)) => Err(NotAdmitted::refused(reason)),
            (known, decision) => {
                // The store's word makes no exchange of what was none without it.
                let capacity = if decision == Decision::Grace { capacity() } else { None };
                let (authority, store) = (self.clone(), store.clone());
                let settling = async move {
                    let standing = match known {
                        Some(standing) => standing,
                        None => match authority.ask(store.standing(presented)).await {
                            Ok(standing) => standing,
                            Err(_) => return Err(unanswered(decision).into()),
                        },
                    };
                    authority.settle_recorded(token, how, capacity, standing).await
                };
                Err(Box::new(NotAdmitted::Pending(Box::pin(settling))))
            }
        }
    }

    /// Whether the sender proved what `cnf` demands. A confirmation that panics proves nothing.
    #[inline(never)]
    fn confirms(&self, head: &RequestHead<'_>, cnf: &str) -> bool {
        let Some(confirm) = &self.0.hooks.confirm else { return false };
        self.ask_hook("confirm_with", || confirm(head, cnf)).unwrap_or(false)
    }

    /// Whether this refusal is final without asking the store. An expired token that may be on record is not: the store still
    /// tells whether it was superseded long ago.
    fn is_final(&self, token: &VerifiedToken<C>, reason: &Reason, now: NumericDate) -> bool {
        *reason != Reason::Expired || !self.0.policy.may_be_recorded(token.verified(), now)
    }

    /// The keys are asked anew each time: while something else was asked or waited for, one may have been withdrawn.
    #[inline(always)]
    fn judge(&self, token: &VerifiedToken<C>, how: Presentation, standing: Standing) -> Decision {
        self.0.policy.decide(&Evidence {
            token: token.verified(),
            key_held: token.is_held(&self.0.keys),
            confirmed: how.confirmed,
            standing,
            now: how.now,
        })
    }

    /// The same once the store has spoken: reuse is reported, and where the policy ends the session for it, the session is
    /// over before anybody is answered.
    async fn judge_recorded(
        &self,
        token: &VerifiedToken<C>,
        how: Presentation,
        standing: Standing,
    ) -> Decision {
        let decision = match self.judge(token, how, standing) {
            Decision::Refuse(Reason::Reused) if self.revoke_session(token).await.is_err() => {
                Decision::Refuse(Reason::StoreUnavailable)
            }
            decision => decision,
        };
        // Told last: an observer that panics changes nothing.
        if let Standing::Superseded { generations } = standing {
            self.emit(Event::Reused { generations });
        }
        decision
    }

    /// Within the grace and without a store: the successor is derived and signed on the spot.
    #[inline(never)]
    fn exchange_derived(
        &self,
        token: VerifiedToken<C>,
        now: NumericDate,
        capacity: Option<Capacity>,
    ) -> Arrival<C> {
        let derived = self.may_renew(&token).and_then(|()| self.derived(&token, now));
        let signed = match (derived, capacity) {
            (Ok(_), _) if self.0.policy.admit_in_grace => return Ok(Admission { token, at: now }),
            (Ok(_), None) => return Err(NotAdmitted::refused(Refusal::not_exchanged())),
            (Ok(successor), Some(capacity)) => self.sign_successor(successor, &token, capacity),
            (Err(why), _) => Err(why),
        };
        Err(NotAdmitted::refused(self.answer_in_grace(signed, now)))
    }

    async fn settle_recorded(
        self,
        token: VerifiedToken<C>,
        how: Presentation,
        capacity: Option<Capacity>,
        standing: Standing,
    ) -> Settled<C> {
        match self.judge_recorded(&token, how, standing).await {
            Decision::Admit => Ok(Admission { token, at: how.now }),
            Decision::Refuse(reason) => Err(reason.into()),
            Decision::Grace => self.exchange_recorded(token, how, capacity).await,
        }
    }

    /// Rule 9 with a store: what can't be recorded is a 503, for the token may still be good for an exchange.
    async fn exchange_recorded(
        &self,
        token: VerifiedToken<C>,
        how: Presentation,
        capacity: Option<Capacity>,
    ) -> Settled<C> {
        let admit_in_grace = self.0.policy.admit_in_grace;
        if let Err(why) = self.may_renew(&token) {
            return Err(self.answer_in_grace(Err(why), how.now));
        }
        // An exchange whose yield nobody receives would spend the successor and promise what is not there.
        let Some(capacity) = capacity else {
            return match admit_in_grace {
                true => Ok(Admission { token, at: how.now }),
                false => Err(Refusal::not_exchanged().into()),
            };
        };
        Err(match self.record(&token, how.now, capacity).await {
            Ok(_) if admit_in_grace => return Ok(Admission { token, at: how.now }),
            Ok(successor) => {
                let signed = self.sign_successor(&successor, &token, capacity);
                self.answer_in_grace(signed, how.now)
            }
            // Reported at the response.
            Err(Unrecorded::Not(why)) if admit_in_grace && why.is_about_size() => {
                return Ok(Admission { token, at: how.now });
            }
            Err(Unrecorded::Not(why)) => self.answer_in_grace(Err(why), how.now),
            Err(Unrecorded::Revoked) => Reason::Revoked.into(),
            Err(Unrecorded::Outage) => Reason::StoreUnavailable.into(),
            // Superseded since it was asked about.
            Err(Unrecorded::Reused { generations }) => {
                let standing = Standing::Superseded { generations };
                match self.judge_recorded(&token, how, standing).await {
                    Decision::Refuse(reason) => reason.into(),
                    _ => Reason::Expired.into(),
                }
            }
        })
    }

    /// The answer to a token within the grace.
    fn answer_in_grace(&self, signed: Result<SignedSuccessor, NotReissued>, now: NumericDate) -> Refused {
        match signed {
            Ok(successor) => Refused::exchanged(successor, now),
            Err(NotReissued::KeyWithdrawn) => Reason::UnknownKey.into(),
            Err(why) => {
                self.report_not_reissued(why);
                Refusal::not_exchanged().into()
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
