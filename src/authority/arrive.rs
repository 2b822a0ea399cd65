//! A token arrives: admitted, refused, or exchanged.

use std::pin::Pin;

use super::renew::Unrecorded;
use super::{Authority, SignedSuccessor, VerifiedToken, presented};
use crate::keys::Refetching;
use crate::store::{Revocation, Standing, StoreError};
use crate::telemetry::{Event, NotReissued, Occasion};
use crate::token::decision::{Decision, Evidence};
use crate::token::refusal::{Reason, Refusal};
use crate::{NumericDate, RequestHead};

/// What became of a token's arrival, or the future that will tell.
pub(crate) enum Arrival<C> {
    Decided(Verdict<C>),
    /// The store has to be waited for.
    Pending(Pin<Box<dyn Future<Output = Verdict<C>> + Send>>),
    /// No key answers to the token's `kid`, and the issuers can be asked for newer ones: let it arrive again after that.
    UnknownKey {
        refetching: Refetching,
        refusal: Refusal,
    },
}

pub(crate) enum Verdict<C> {
    Admit(Admission<C>),
    Refuse { refusal: Refusal, successor: Option<SignedSuccessor> },
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
        Self::Refuse { refusal: Refusal::new(reason), successor: None }
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Judges a token outside the layer, as the layer would on a request without proof of possession: for a message
    /// on a socket, a queue, a protocol of your own. It reissues nothing.
    ///
    /// # Errors
    /// The [`Refusal`]; a token within the grace is refused as expired, whatever
    /// [`admit_in_grace`](super::AuthorityBuilder::admit_in_grace) says.
    pub async fn admit(&self, token: &str) -> Result<VerifiedToken<C>, Refusal> {
        let token = self.verify(token)?;
        let now = self.now();
        let mut decision = self.judge(&token, false, Standing::Live, now);
        if let (Decision::Admit, Some(store)) = (&decision, &self.0.store) {
            let standing = self
                .ask(store.clone().standing(presented(token.verified(), now)))
                .await
                .map_err(|_| Refusal::new(Reason::StoreUnavailable))?;
            decision = self.judge(&token, false, standing, now);
        }
        match decision {
            Decision::Admit => Ok(token),
            Decision::Grace => Err(Refusal::new(Reason::Expired)),
            Decision::Refuse(reason) => Err(Refusal::new(reason)),
        }
    }

    pub(crate) fn arrive(&self, token: &str, head: &RequestHead<'_>) -> Arrival<C> {
        let token = match self.verify(token) {
            Ok(token) => token,
            Err(refusal) => {
                let refetching =
                    (*refusal.reason() == Reason::UnknownKey).then(|| self.0.keys.refetch()).flatten();
                return match refetching {
                    Some(refetching) => Arrival::UnknownKey { refetching, refusal },
                    None => Arrival::Decided(Verdict::Refuse { refusal, successor: None }),
                };
            }
        };
        let confirmed = token
            .verified()
            .claims()
            .confirmation()
            .is_some_and(|cnf| self.0.hooks.confirm.as_ref().is_some_and(|confirm| confirm(head, cnf)));
        let now = self.now();
        // What is refused in the best of standings needs no store.
        let decision = self.judge(&token, confirmed, Standing::Live, now);
        if let Decision::Refuse(reason) = decision {
            return Arrival::refuse(reason);
        }
        let Some(store) = &self.0.store else {
            return Arrival::Decided(match decision {
                Decision::Grace => self.exchange_derived(token, now),
                _ => Verdict::Admit(Admission { token, at: now }),
            });
        };
        let presented = presented(token.verified(), now);
        match store.standing_now(&presented) {
            Some(Standing::Live) if decision == Decision::Admit => {
                Arrival::Decided(Verdict::Admit(Admission { token, at: now }))
            }
            known => {
                let authority = self.clone();
                let store = store.clone();
                Arrival::Pending(Box::pin(async move {
                    let standing = match known {
                        Some(standing) => standing,
                        None => match authority.ask(store.standing(presented)).await {
                            Ok(standing) => standing,
                            Err(error) => return authority.outage(&error),
                        },
                    };
                    authority.settle(token, confirmed, standing, now).await
                }))
            }
        }
    }

    fn judge(
        &self,
        token: &VerifiedToken<C>,
        confirmed: bool,
        standing: Standing,
        now: NumericDate,
    ) -> Decision {
        let token = token.verified();
        let key_held = self.0.keys.load().holds(token.key());
        self.0.policy.decide(&Evidence { token, key_held, confirmed, standing, now })
    }

    async fn settle(
        self,
        token: VerifiedToken<C>,
        confirmed: bool,
        standing: Standing,
        now: NumericDate,
    ) -> Verdict<C> {
        if let Standing::Superseded { generations } = standing {
            self.emit(Event::Reused { generations });
        }
        match self.judge(&token, confirmed, standing, now) {
            Decision::Admit => Verdict::Admit(Admission { token, at: now }),
            Decision::Grace => self.exchange_recorded(token, now).await,
            Decision::Refuse(Reason::Reused) => self.end_reused_session(&token, now).await,
            Decision::Refuse(reason) => Verdict::refuse(reason),
        }
    }

    /// Rule 9 without a store.
    fn exchange_derived(&self, token: VerifiedToken<C>, now: NumericDate) -> Verdict<C> {
        let successor = match self.may_renew(&token) {
            Ok(()) => self.0.policy.derive(token.verified(), now).ok_or(NotReissued::Outlived),
            Err(why) => Err(why),
        };
        if self.0.hooks.admit_in_grace && successor.is_ok() {
            return Verdict::Admit(Admission { token, at: now });
        }
        match successor.and_then(|successor| self.sign_successor(&successor, token.verified())) {
            Ok(successor) => self.exchanged(successor),
            Err(why) => {
                self.emit(Event::NotReissued { why });
                Verdict::refuse(Reason::Expired)
            }
        }
    }

    /// Rule 9 with a store: what can't be recorded is a 503, for the token may still be good for an exchange.
    async fn exchange_recorded(self, token: VerifiedToken<C>, now: NumericDate) -> Verdict<C> {
        let signed = match self.record(&token, now).await {
            Ok(_) if self.0.hooks.admit_in_grace => return Verdict::Admit(Admission { token, at: now }),
            Ok(successor) => self.sign_successor(&successor, token.verified()),
            Err(Unrecorded::Not(why)) => Err(why),
            Err(Unrecorded::Revoked) => return Verdict::refuse(Reason::Revoked),
            Err(Unrecorded::Outage(error)) => return self.outage(&error),
            Err(Unrecorded::Reused { generations }) => {
                self.emit(Event::Reused { generations });
                return match self.judge(&token, true, Standing::Superseded { generations }, now) {
                    Decision::Refuse(Reason::Reused) => self.end_reused_session(&token, now).await,
                    _ => Verdict::refuse(Reason::Expired),
                };
            }
        };
        match signed {
            Ok(successor) => self.exchanged(successor),
            Err(why) => {
                self.emit(Event::NotReissued { why });
                Verdict::refuse(Reason::Expired)
            }
        }
    }

    fn exchanged(&self, successor: SignedSuccessor) -> Verdict<C> {
        self.emit(Event::Reissued { how: Occasion::Exchanged, expires_at: successor.exp });
        Verdict::Refuse { refusal: Refusal::new(Reason::ExpiredInGrace), successor: Some(successor) }
    }

    /// The policy says that reuse ends the session: it is over before the refusal is sent.
    async fn end_reused_session(&self, token: &VerifiedToken<C>, now: NumericDate) -> Verdict<C> {
        let Some(store) = self.0.store.clone() else { return Verdict::refuse(Reason::Reused) };
        let until = self.0.policy.session_matters_until(token.session_start());
        match self.ask(store.revoke(Revocation::Session(token.session()), now, until)).await {
            Ok(()) => {
                self.emit(Event::Revoked);
                Verdict::refuse(Reason::Reused)
            }
            Err(error) => self.outage(&error),
        }
    }

    fn outage(&self, error: &StoreError) -> Verdict<C> {
        self.emit(Event::StoreFailed { error });
        Verdict::refuse(Reason::StoreUnavailable)
    }
}
