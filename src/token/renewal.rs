//! [`Renewal`]: what the application says of a renewal.

use serde::Serialize;

use super::scope;
use crate::refusal::{Reason, Refusal};

/// What a renewer answers: the claims of the next access token, or a refusal. See
/// [`AuthorityBuilder::renew_with`](crate::AuthorityBuilder::renew_with).
#[derive(Debug)]
#[must_use = "it is the answer of a renewer"]
pub struct Renewal(Answer);

#[derive(Debug)]
enum Answer {
    Refuse(&'static str),
    Issue { claims: Option<Result<String, serde_json::Error>>, scope: Option<String> },
}

impl Renewal {
    /// The next token has the claims that were granted at sign-in.
    pub fn keep() -> Self {
        Self(Answer::Issue { claims: None, scope: None })
    }

    /// There is no next token: a blocked account, for instance. The client is answered `invalid_grant`, with this reason in
    /// the description. The session is not ended; end it with [`Authority::revoke_subject`](crate::Authority::revoke_subject)
    /// if it should not go on later.
    pub fn refuse(reason: &'static str) -> Self {
        Self(Answer::Refuse(reason))
    }

    /// The next token has these private claims in place of those that were granted, for this one time. They must serialise
    /// to a JSON object, without names that the authority writes itself.
    pub fn claims(mut self, private: &impl Serialize) -> Self {
        if let Answer::Issue { claims, .. } = &mut self.0 {
            *claims = Some(serde_json::to_string(private));
        }
        self
    }

    /// The next token has only those of its scopes that are named here, with spaces between them. This never adds one.
    pub fn scope(mut self, names: impl Into<String>) -> Self {
        if let Answer::Issue { scope, .. } = &mut self.0 {
            *scope = Some(names.into());
        }
        self
    }

    /// The private claims of the next token, of these that were granted.
    pub(crate) fn apply(&self, granted: &str) -> Result<String, Refusal> {
        let (claims, names) = match &self.0 {
            Answer::Refuse(reason) => return Err(Refusal::new(Reason::Declined).with_hint(*reason)),
            Answer::Issue { claims, scope } => (claims, scope),
        };
        let claims = match claims {
            None => granted,
            Some(Ok(claims)) => claims,
            Some(Err(_)) => return Err(Refusal::new(Reason::RenewerUnavailable)),
        };
        Ok(match names {
            None => claims.to_owned(),
            Some(names) => scope::reduced(claims, names),
        })
    }

    /// The private claims that take the place of the granted ones; the authority checks them before they are applied.
    pub(crate) fn replaced(&self) -> Option<&str> {
        match &self.0 {
            Answer::Issue { claims: Some(Ok(claims)), .. } => Some(claims),
            _ => None,
        }
    }
}
