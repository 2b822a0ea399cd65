//! [`Policy`]: the configured numbers and names that verdicts depend on.

use std::sync::Arc;

use super::horizon::{Horizon, MAX_AHEAD, StoreHorizon, furthest_ahead};
use super::kind::{Sliding, TokenKind};
use crate::time::NumericDate;

/// The lifetime of new tokens, and of new refresh tokens, where none is configured.
pub(crate) const DEFAULT_LIFETIME: u64 = 600;
pub(crate) const DEFAULT_REFRESH_LIFETIME: u64 = 7 * 24 * 3600;

/// All fields are checked when the authority is built. After that a policy never changes, because `Verified` holds dates that were
/// computed from it. [`Terms`](super::terms::Terms) hold what differs for a trusted issuer.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The own issuer; `None` if the caller chose `without_issuer()`.
    pub(crate) issuer: Option<Arc<str>>,
    /// Accepted audiences, the primary one first; empty if the caller chose `without_audience()`.
    pub(crate) audiences: Vec<String>,
    /// The audiences among them that a successor replaces by the primary one.
    pub(crate) legacy_audiences: Vec<String>,
    /// Accepted `typ` values. `issue` writes the first. If it is empty, absent, `JWT` and `at+jwt` are accepted.
    pub(crate) access_types: Vec<String>,
    /// A claim that must hold this string.
    pub(crate) access_claim: Option<(String, String)>,
    pub(crate) required_claims: Vec<String>,
    pub(crate) session_start_claim: String,
    pub(crate) session_starts_at_auth_time: bool,
    pub(crate) max_token_bytes: usize,
    /// The most bytes that a layer adds to a response head for a successor, in all fields.
    pub(crate) max_added_head_bytes: usize,
    pub(crate) ignore_confirmation: bool,
    /// The longest life, in seconds, of tokens without `iat`. `None` refuses them.
    pub(crate) longest_without_iat: Option<u64>,
    /// The lifetime of new tokens. This and all durations below are in seconds.
    pub(crate) lifetime: u64,
    /// Clock tolerance past `exp` for admission.
    pub(crate) leeway: u64,
    /// How long after `exp` an expired token can be exchanged.
    pub(crate) grace: u64,
    /// Tolerance for `iat` and `nbf` in the future.
    pub(crate) future_tolerance: u64,
    /// `None` if the caller chose `unbounded_sessions()`.
    pub(crate) max_session_lifetime: Option<u64>,
    /// The longest life, `exp - iat`, of a token. Only without own keys; with them the session limit bounds it.
    pub(crate) max_token_lifetime: Option<u64>,
    /// The limits of sessions that began before the store's horizon was raised, because older revocations were kept for the old
    /// horizon only.
    pub(crate) old_horizons: Vec<OldHorizon>,
    /// The most live sessions of one subject that the store records.
    pub(crate) max_sessions: usize,
    /// How long past `exp` and leeway a response may still carry a successor.
    pub(crate) in_flight: u64,
    /// The most that jitter shrinks the renewal window by, in percent.
    pub(crate) jitter_percent: u64,
    /// Whether a request with a token within its grace reaches the handler.
    pub(crate) admit_in_grace: bool,
    /// Whether a reused token ends its session.
    pub(crate) reuse_ends_session: bool,
    /// Whether sessions that began before the store lost its records are admitted.
    pub(crate) admit_after_store_loss: bool,
    /// `None` if there are no refresh tokens.
    pub(crate) refresh: Option<RefreshPolicy>,
}

/// The policy for refresh tokens.
#[derive(Clone, Debug)]
pub(crate) struct RefreshPolicy {
    /// Names the refresh endpoint. No access token may have it.
    pub(crate) audience: String,
    /// The lifetime of new refresh tokens, in seconds.
    pub(crate) lifetime: u64,
    /// How long after a rotation the superseded token still gets its successor, in seconds.
    pub(crate) reuse_window: u64,
    /// Whether the access tokens of pairs are renewed in responses too.
    pub(crate) sliding_access: bool,
}

/// A limit, in seconds, for sessions that began at or before an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldHorizon {
    begun_by: NumericDate,
    secs: u64,
}

/// The longest grace and leeway that a policy can have, in seconds.
pub(crate) const MAX_GRACE: u64 = 300;

/// Tombstones and records are kept this much longer than they matter, because clocks differ. In seconds.
pub(crate) const SKEW_MARGIN: u64 = 300;

impl Policy {
    pub(crate) fn primary_audience(&self) -> Option<&str> {
        self.audiences.first().map(String::as_str)
    }

    pub(crate) fn is_legacy_audience(&self, name: &str) -> bool {
        self.legacy_audiences.iter().any(|legacy| legacy == name)
    }

    /// The `typ` of a token that begins a session.
    pub(crate) fn issued_type(&self) -> &str {
        self.access_types.first().map_or("JWT", String::as_str)
    }

    /// How a token with this claim `sliding` is renewed.
    pub(super) fn sliding(&self, claim: Option<&str>) -> Sliding {
        match claim {
            claim if claim == Sliding::Never.claim() => Sliding::Never,
            claim if claim == Sliding::InPair.claim() => self.of_pairs(),
            _ => Sliding::Alone,
        }
    }

    /// How the access tokens of pairs are renewed.
    pub(crate) fn of_pairs(&self) -> Sliding {
        match &self.refresh {
            Some(RefreshPolicy { sliding_access: true, .. }) => Sliding::InPair,
            _ => Sliding::Never,
        }
    }

    /// The life of new tokens of this kind, in seconds.
    pub(crate) fn lifetime_of(&self, kind: TokenKind) -> u64 {
        match (kind, &self.refresh) {
            (TokenKind::Refresh, Some(refresh)) => refresh.lifetime,
            _ => self.lifetime,
        }
    }

    /// The renewal window of a token of `lifetime` seconds, before jitter.
    pub(crate) fn renewal_window(&self, lifetime: u64) -> u64 {
        let l = lifetime.min(self.lifetime);
        (l / 5).max(30).min(l / 2)
    }

    /// When the renewal window opens, before jitter. `Verified` keeps it.
    pub(crate) fn window_opens(&self, iat: NumericDate, exp: NumericDate) -> NumericDate {
        exp.before(self.renewal_window(exp.since(iat)))
    }

    /// How long a browser keeps the cookie of a token, in seconds: as long as the token can be exchanged.
    pub(crate) fn cookie_max_age(&self, exp: NumericDate, now: NumericDate) -> u64 {
        exp.after(self.grace).since(now)
    }

    /// The limits, in seconds, of a session that began before the store's horizon was raised.
    pub(super) fn old_limits(&self, session_start: NumericDate) -> impl Iterator<Item = u64> {
        self.old_horizons.iter().filter(move |old| session_start <= old.begun_by).map(|old| old.secs)
    }

    /// What this authority needs of its store: the longest time after a session's start at which one of its tokens is of
    /// use here.
    ///
    /// After the session's end no token is of use, so an in-flight allowance counts only up to the session limit. A token without
    /// `iat` can be signed out until its `exp` even if the limit is shorter, because another authority may still admit it; that
    /// is at most `longest_without_iat` after its session start. Without a limit for the sessions of foreign issuers, a token
    /// that exists at a revocation ends at most `max_token_lifetime` later.
    pub(crate) fn horizon(&self) -> Horizon {
        match self.max_session_lifetime.or(self.max_token_lifetime) {
            Some(limit) => {
                let window = self.grace.max(self.leeway).max(self.in_flight.min(limit));
                let longest = limit.max(self.longest_without_iat.unwrap_or(0));
                Horizon::Secs(longest.saturating_add(window))
            }
            None => Horizon::Unbounded,
        }
    }

    /// Limits the sessions for which the store's older revocations are not kept long enough.
    ///
    /// It suffices to read the raises when the authority is built. An authority that needs more than a horizon is built after the
    /// raise, and one that needs no more ends its sessions within that horizon anyway.
    pub(crate) fn heed(&mut self, store: &StoreHorizon) {
        let old = store.raises_below(self.horizon());
        let old = old.map(|raise| OldHorizon { begun_by: raise.at.after(MAX_AHEAD), secs: raise.from });
        self.old_horizons = old.collect();
    }

    /// The instant that "every session up to now" covers. It includes sessions from nodes whose clocks are ahead of this one.
    ///
    /// Ideally it would be now plus the tolerance. But a session that begins after it must be admitted here at once, and its `iat`
    /// may be ahead by at most the tolerance. So two seconds are left: one for sessions that begin after the instant, and one for
    /// a store's clock that is a second ahead.
    pub(crate) fn up_to(&self, now: NumericDate, tolerance: u64) -> NumericDate {
        now.after(tolerance.saturating_sub(2))
    }

    /// The start of a session that is signed in at `now`, after sessions up to an instant were revoked. `None` if the instant is
    /// further ahead than clocks within the tolerance can differ.
    pub(crate) fn begins_after(&self, revoked_until: NumericDate, now: NumericDate) -> Option<NumericDate> {
        let start = revoked_until.after(1).max(now);
        (start.since(now) <= furthest_ahead(self.future_tolerance)).then_some(start)
    }
}
