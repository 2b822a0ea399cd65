//! What an authority accepts and promises: the numbers and names that a verdict is made of.

use std::sync::Arc;

use super::horizon::{Horizon, MAX_TOLERANCE, StoreHorizon, furthest_ahead};
use super::kind::TokenKind;
use crate::time::NumericDate;

/// Every field is checked when the authority is built; past that point a policy can't be wrong, and it never changes:
/// `Verified` keeps dates that were made from it. What differs for a trusted issuer, [`Terms`](super::terms::Terms) tell.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The own issuer; `None` if the caller chose `without_issuer()`.
    pub(crate) issuer: Option<Arc<str>>,
    /// Accepted audiences, the primary one first; empty if the caller chose `without_audience()`.
    pub(crate) audiences: Vec<String>,
    /// Those of `audiences` that a successor moves to the primary one.
    pub(crate) legacy_audiences: Vec<String>,
    /// Accepted `typ` values; the first is the one `issue` writes. Empty: absent, `JWT` or `at+jwt`.
    pub(crate) access_types: Vec<String>,
    /// A claim that must hold this string.
    pub(crate) access_claim: Option<(String, String)>,
    pub(crate) required_claims: Vec<String>,
    pub(crate) session_start_claim: String,
    pub(crate) session_starts_at_auth_time: bool,
    pub(crate) max_token_bytes: usize,
    /// The most that a successor adds to a response head, its field's name and the fields beside it included.
    pub(crate) max_added_head_bytes: usize,
    pub(crate) ignore_confirmation: bool,
    /// The longest life, in seconds, that their minter gives tokens without `iat`; `None`: they are refused.
    pub(crate) longest_without_iat: Option<u64>,
    /// Of new tokens, in seconds, as all that follow.
    pub(crate) lifetime: u64,
    /// Clock tolerance past `exp` for admission.
    pub(crate) leeway: u64,
    /// How long after `exp` an expired token can be exchanged.
    pub(crate) grace: u64,
    /// Tolerance for `iat` and `nbf` in the future.
    pub(crate) future_tolerance: u64,
    /// `None` if the caller chose `unbounded_sessions()`.
    pub(crate) max_session_lifetime: Option<u64>,
    /// The longest life, `exp - iat`, of a token; only where there are no own keys, whose sessions bound it.
    pub(crate) max_token_lifetime: Option<u64>,
    /// Sessions that end earlier: revocations made before the store's horizon was raised were kept for the old one only.
    pub(crate) old_horizons: Vec<OldHorizon>,
    /// The most sessions of one subject that are live and on record.
    pub(crate) max_sessions: usize,
    /// How long past `exp + λ` a handler's response may still carry a successor.
    pub(crate) in_flight: u64,
    /// The most that jitter takes from the renewal window, in percent.
    pub(crate) jitter_percent: u64,
    /// A token that arrives within the grace reaches the handler.
    pub(crate) admit_in_grace: bool,
    /// A token superseded two or more generations ago ends its session.
    pub(crate) reuse_ends_session: bool,
    /// Sessions begun before the store lost its records are admitted.
    pub(crate) admit_after_store_loss: bool,
    /// `None`: there are no refresh tokens.
    pub(crate) refresh: Option<RefreshPolicy>,
}

/// What holds of refresh tokens alone.
#[derive(Clone, Debug)]
pub(crate) struct RefreshPolicy {
    /// The refresh endpoint; no access token names it.
    pub(crate) audience: String,
    /// Of new refresh tokens, in seconds.
    pub(crate) lifetime: u64,
    /// How long after a rotation the rotated token is answered with its successor, in seconds.
    pub(crate) reuse_window: u64,
}

/// Sessions begun at or before an instant end this many seconds after their start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldHorizon {
    begun_by: NumericDate,
    secs: u64,
}

/// The longest grace and leeway that a policy can have, in seconds.
pub(crate) const MAX_GRACE: u64 = 300;

/// A tombstone and a record outlive the last window in which they matter by this much, for clocks that differ.
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

    /// The life of new tokens of this kind, in seconds.
    pub(crate) fn lifetime_of(&self, kind: TokenKind) -> u64 {
        match (kind, &self.refresh) {
            (TokenKind::Refresh, Some(refresh)) => refresh.lifetime,
            _ => self.lifetime,
        }
    }

    /// w, before jitter, for a token of `lifetime` seconds.
    pub(crate) fn renewal_window(&self, lifetime: u64) -> u64 {
        let l = lifetime.min(self.lifetime);
        (l / 5).max(30).min(l / 2)
    }

    /// Where the window opens, before jitter. `Verified` keeps it.
    pub(crate) fn window_opens(&self, iat: NumericDate, exp: NumericDate) -> NumericDate {
        exp.before(self.renewal_window(exp.since(iat)))
    }

    /// The limits, in seconds, of a session that began before the store's horizon was raised.
    pub(super) fn old_limits(&self, session_start: NumericDate) -> impl Iterator<Item = u64> {
        self.old_horizons.iter().filter(move |old| session_start <= old.begun_by).map(|old| old.secs)
    }

    /// What this authority needs of its store: the longest time after a session's start at which one of its tokens is of
    /// use here.
    ///
    /// Past the session's end nothing is: an in-flight allowance counts for as much as a session at most. A token without
    /// `iat` can be signed out until its `exp` even where the limit is shorter, for another authority may still admit it:
    /// that is `longest_without_iat` after the start that it is read with. Where nothing limits the sessions of foreign
    /// issuers, a token that exists when its session is revoked ends `max_token_lifetime` later.
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

    /// Ends the sessions that the store's older revocations are not kept for.
    ///
    /// The raises are read once, when the authority is built, and that is enough: an authority that needs more than a
    /// horizon is built after it was raised, and one that needs no more ends its sessions within it anyhow.
    pub(crate) fn heed(&mut self, store: &StoreHorizon) {
        // A session may be dated ahead of the clock that began it, and that clock be ahead of the store's: by whatever
        // the node tolerates that began it.
        let ahead = MAX_TOLERANCE + furthest_ahead(MAX_TOLERANCE);
        let old = store.raises_below(self.horizon());
        self.old_horizons =
            old.map(|raise| OldHorizon { begun_by: raise.at.after(ahead), secs: raise.from }).collect();
    }

    /// The instant up to which "every session up to now" reaches: those begun on nodes whose clocks are ahead of this
    /// one's too.
    ///
    /// The tolerance would be the reach to wish for. But a session that begins after it has an `iat` no earlier than its
    /// start, and is to be admitted here at once: it may be ahead by the tolerance and no more. So two seconds are kept:
    /// one for the sessions that begin after it, and one for a store's clock that is a second further.
    pub(crate) fn up_to(&self, now: NumericDate, tolerance: u64) -> NumericDate {
        now.after(tolerance.saturating_sub(2))
    }

    /// When a session begins that is signed in at `now`, after those up to an instant were revoked. `None` where that is
    /// so far ahead that no two clocks within the tolerance explain it.
    pub(crate) fn begins_after(&self, revoked_until: NumericDate, now: NumericDate) -> Option<NumericDate> {
        let start = revoked_until.after(1).max(now);
        (start.since(now) <= furthest_ahead(self.future_tolerance)).then_some(start)
    }

    /// How long the record of a refresh token matters: while it can be presented. Past its `exp` it is refused, whatever the
    /// store says.
    pub(crate) fn refresh_token_matters_until(
        &self,
        exp: NumericDate,
        session_start: NumericDate,
    ) -> NumericDate {
        self.terms(None).admitted_until(exp, session_start).after(SKEW_MARGIN)
    }

    /// How long the record of a token matters: while it could be admitted, exchanged or still be in flight, and for a
    /// lifetime more, in which its coming back tells that it was copied: by then it may be two generations old. Past
    /// its session's end it could be none of these.
    pub(crate) fn token_matters_until(&self, exp: NumericDate, session_start: NumericDate) -> NumericDate {
        let window = self.grace.max(self.leeway.saturating_add(self.in_flight));
        exp.after(window).min(self.session_end(session_start)).after(self.lifetime + SKEW_MARGIN)
    }
}
