//! [`RefreshTokens`]: what refresh tokens are like.

use std::time::Duration;

use crate::token::policy::RefreshPolicy;

/// What the refresh tokens of an authority are like. See
/// [`AuthorityBuilder::refresh_tokens`](crate::AuthorityBuilder::refresh_tokens).
///
/// Durations are rounded down to whole seconds. A value that is out of bounds is an error of
/// [`build`](crate::AuthorityBuilder::build).
#[derive(Clone, Debug)]
#[must_use = "give it to `AuthorityBuilder::refresh_tokens`"]
pub struct RefreshTokens(RefreshPolicy);

impl RefreshTokens {
    /// Refresh tokens for the endpoint that `audience` names, usually its URL. They carry it in `aud`, so that software that
    /// looks at no `typ` does not take one for an access token. No service may accept this audience in an access token: one
    /// of the authority's own audiences is an error.
    pub fn new(audience: impl Into<String>) -> Self {
        Self(RefreshPolicy { audience: audience.into(), lifetime: 7 * 24 * 3600 })
    }

    /// The lifetime of a refresh token, which is the session's idle timeout: each refresh begins it anew, and the session
    /// limit ends it. Default 7 days; at least the lifetime of access tokens, at most ten years.
    ///
    /// Costs: a longer lifetime lets a session that nobody uses be taken up again later, also by a thief. A replaced key has
    /// to verify for as long: the [`overlap`](crate::keys::KeyRotation::overlap) of a rotation is at least this.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.0.lifetime = lifetime.as_secs();
        self
    }

    pub(super) fn into_policy(self) -> RefreshPolicy {
        self.0
    }
}
