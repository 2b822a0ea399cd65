//! [`Renewal`]: what the application says of a renewal.

use serde::Serialize;

use super::claims::Claims;
use super::scope;
use crate::jose::json;
use crate::refusal::{Reason, Refusal};

/// What a renewer answers: the claims of the next access token, or a refusal. See
/// [`AuthorityBuilder::renew_with`](crate::AuthorityBuilder::renew_with). A handler gives one to
/// [`Authority::reissue_with`](crate::Authority::reissue_with).
#[derive(Debug)]
#[must_use = "it is the answer of a renewer"]
pub struct Renewal(Answer);

#[derive(Debug)]
enum Answer {
    Refuse(&'static str),
    Issue {
        claims: Option<Result<String, serde_json::Error>>,
        scope: Option<String>,
        audience: Option<Vec<String>>,
    },
}

/// What a successor has less than its predecessor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Narrowed {
    /// Lists of scopes, each with spaces between them: only what all of them name is left.
    pub(super) scopes: Vec<String>,
    /// As JSON text; `None`: the same.
    pub(super) audience: Option<String>,
}

impl Renewal {
    /// The next token has the claims of this one; in a pair, those that were granted at sign-in.
    pub fn keep() -> Self {
        Self(Answer::Issue { claims: None, scope: None, audience: None })
    }

    /// There is no next token: a blocked account, for instance. A refresh is answered `invalid_grant`, with this reason in the
    /// description; a token that is renewed in responses is left to expire. The session is not ended: end it with
    /// [`Authority::revoke_subject`](crate::Authority::revoke_subject) if it should not go on later.
    pub fn refuse(reason: &'static str) -> Self {
        Self(Answer::Refuse(reason))
    }

    /// The next access token of a pair has these private claims in place of those that were granted, for this one time. They
    /// must serialise to a JSON object, without names that the authority writes itself.
    ///
    /// Only for pairs ([`RenewalRequest::is_refresh`](crate::RenewalRequest::is_refresh)). A token that is renewed in responses
    /// keeps its claims as text, so that a claims store can't plant others: for one, this answer counts as a failure.
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

    /// The next token names only those of its audiences that are named here. This never adds one. If none is left that this
    /// authority accepts, there is no next token.
    pub fn audience(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if let Answer::Issue { audience, .. } = &mut self.0 {
            *audience = Some(names.into_iter().map(Into::into).collect());
        }
        self
    }

    /// The scopes and audiences that a successor of a token with these claims has left, after this and another answer.
    pub(crate) fn narrow(&self, other: Option<&Self>, claims: &Claims) -> Result<Narrowed, Reason> {
        let mut narrowed = Narrowed::default();
        for answer in [Some(self), other].into_iter().flatten() {
            let (scope, audience) = match &answer.0 {
                Answer::Refuse(_) => return Err(Reason::Declined),
                Answer::Issue { claims: Some(_), .. } => return Err(Reason::RenewerUnavailable),
                Answer::Issue { scope, audience, .. } => (scope, audience),
            };
            let text = claims.text();
            narrowed.scopes.extend(scope.clone().filter(|left| scope::reduced(text, left) != **text));
            if let (Some(left), Some(named)) = (audience, narrowed.audience.as_deref().or(claims.audience()))
            {
                narrowed.audience = Some(narrowed_audience(named, left).ok_or(Reason::Declined)?);
            }
        }
        Ok(narrowed)
    }

    /// Whether the access token of a pair may name this audience.
    pub(crate) fn leaves(&self, audience: Option<&str>) -> bool {
        match (&self.0, audience) {
            (Answer::Issue { audience: Some(left), .. }, Some(name)) => left.iter().any(|left| left == name),
            _ => true,
        }
    }

    /// The private claims of the next token, of these that were granted.
    pub(crate) fn apply(&self, granted: &str) -> Result<String, Refusal> {
        let (claims, names) = match &self.0 {
            Answer::Refuse(reason) => return Err(Refusal::new(Reason::Declined).with_hint(*reason)),
            Answer::Issue { claims, scope, .. } => (claims, scope),
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

/// Those of the audiences that are to be left; `None` where that is none.
fn narrowed_audience(named: &str, left: &[String]) -> Option<String> {
    let is_left = |name: &str| left.iter().any(|left| left == name);
    if let Some(single) = json::string(named) {
        return is_left(&single).then(|| named.to_owned());
    }
    let names = json::strings(named)?;
    let kept: Vec<&str> = names.iter().filter(|(_, name)| is_left(name)).map(|(text, _)| *text).collect();
    (!kept.is_empty()).then(|| format!("[{}]", kept.join(",")))
}
