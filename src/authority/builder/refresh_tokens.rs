//! [`RefreshTokens`]: what refresh tokens are like.

use std::time::Duration;

use crate::token::policy::{DEFAULT_REFRESH_LIFETIME, RefreshPolicy};

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
        Self(RefreshPolicy {
            audience: audience.into(),
            lifetime: DEFAULT_REFRESH_LIFETIME,
            reuse_window: 60,
            sliding_access: false,
        })
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

    /// How long a refresh token that was used is answered once more, counted from its first use. Default 60 s, at most
    /// 300 s; 0 is strict.
    ///
    /// The first use is dated by the clock of the node that answered it. That may be behind this node's, so the
    /// [tolerance](crate::AuthorityBuilder::future_tolerance) (5 s by default) is added to every window but 0.
    ///
    /// Each refresh replaces the refresh token. A client that sends two refreshes in parallel, or loses a response, presents
    /// the old one again: within this window it gets the *same* new refresh token, and a further access token. After the
    /// window the old one counts as stolen, and the session ends (RFC 9700 §4.14.2).
    ///
    /// Costs: a thief who uses a stolen refresh token within this window and the tolerance after its owner's use goes
    /// unnoticed that time. With 0 every parallel refresh and every lost response signs the user out.
    pub fn reuse_window(mut self, window: Duration) -> Self {
        self.0.reuse_window = window.as_secs();
        self
    }

    /// Renews the access tokens of pairs in responses and in the grace, as tokens by themselves are: for a client that is active for
    /// long and refreshes after a pause. Default: they are never renewed, and the client refreshes.
    ///
    /// The renewer of [`renew_with`](crate::AuthorityBuilder::renew_with) is asked at each renewal, and is required. It can keep the
    /// claims or refuse. The store records the refresh tokens of a session only, so every node derives the same successor: an
    /// answer that narrows or replaces claims counts as failed. Tell the two cases apart with
    /// [`is_refresh`](crate::RenewalRequest::is_refresh).
    ///
    /// Costs: a stolen access token is of use for as long as the thief renews it, until the session ends or the renewer refuses, and
    /// no record shows that two of them renew it. Without this option it is of use for minutes.
    pub fn sliding_access_tokens(mut self) -> Self {
        self.0.sliding_access = true;
        self
    }

    pub(super) fn into_policy(self) -> RefreshPolicy {
        self.0
    }
}
