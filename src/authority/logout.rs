//! An issuer ends sessions.

use super::Authority;
use crate::refusal::Refusal;
use crate::store::{Revocation, SessionId, StoreError, SubjectId};
use crate::telemetry::Event;
use crate::token::logout::{Logout, LogoutRules};

impl<C: Send + Sync + 'static> Authority<C> {
    /// Verifies a logout token, once more where its issuer was asked for newer keys.
    pub(crate) async fn verify_logout(&self, token: &[u8], rules: &LogoutRules) -> Result<Logout, Refusal> {
        let verify = || Logout::verify(token, &self.0.keys.load(), &self.0.policy, rules, self.now());
        self.refetching(token, verify).await
    }

    /// Ends the session that it names, and every session that its subject began by then if it means them. Returns how many
    /// revocations were recorded: they are [reported](Self::report_revoked) when all is done, because an observer may block.
    pub(crate) async fn end_sessions_of(&self, logout: &Logout) -> (usize, Result<(), StoreError>) {
        let issuer = logout.issuer.as_deref();
        let subject = logout.subject.as_deref().map(|subject| SubjectId::new(issuer, subject));
        let retention = self.retention_of_issuer(issuer).of(subject, logout.issued_at);
        let session = logout.sid.as_ref().map(|sid| Revocation::Session(SessionId::new(issuer, sid)));
        let instant = logout.issued_at;
        let subject = subject.filter(|_| logout.ends_subject);
        let subject = subject.map(|subject| Revocation::SubjectBefore { subject, instant, except: None });
        let mut recorded = 0;
        for revocation in session.into_iter().chain(subject) {
            if let Err(error) = self.record_revocation(revocation, retention).await {
                return (recorded, Err(error));
            }
            recorded += 1;
        }
        (recorded, Ok(()))
    }

    pub(crate) fn report_revoked(&self, recorded: usize) {
        (0..recorded).for_each(|_| self.reporter().emit(&Event::Revoked));
    }
}
