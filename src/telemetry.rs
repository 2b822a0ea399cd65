//! Events: reported to an observer, as `tracing` records (feature `tracing`), and as counters (feature `metrics`).
//!
//! An event is reported after the fact and changes nothing. An observer, a subscriber or a recorder that panics is
//! caught. One that blocks delays the request or the call that caused the event; events of a key rotation are reported
//! on a thread of their own.
//!
//! No event holds a token, a claim's value or a key. A refusal names the token's `kid`, escaped and cut. No log line
//! is longer than 2 KiB, whatever a token, a key set or an error holds.

#[cfg(feature = "tracing")]
mod log;
mod reporter;

use std::error::Error;

pub(crate) use reporter::{Observer, Reporter};

use crate::caught::{caught, record_panic};
use crate::keyring::event::KeyEvent;
use crate::keyring::ring::KeyRing;
use crate::refusal::Refusal;
use crate::store::StoreError;
use crate::time::NumericDate;
use crate::token::not_reissued::NotReissued;

/// An event that an operator may want to count or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A session was begun.
    #[non_exhaustive]
    Issued {
        /// The token's `exp`.
        expires_at: NumericDate,
    },
    /// A request was refused.
    #[non_exhaustive]
    Refused {
        /// Why, and the `kid` that the token named.
        refusal: &'a Refusal,
        /// The ring now, which may be newer than the one the token was checked against. Its kids show whether two
        /// processes hold different keys.
        ring: &'a KeyRing,
    },
    /// A successor was sent.
    #[non_exhaustive]
    Reissued {
        /// How it came about.
        how: ReissueKind,
        /// Its `exp`.
        expires_at: NumericDate,
    },
    /// A successor was due and is not sent. The response is otherwise unchanged.
    #[non_exhaustive]
    NotReissued {
        /// Why.
        why: NotReissued,
        /// Whether an earlier event of this authority was about a successor that is too large. The log has the first
        /// at WARN and the others at DEBUG.
        repeated: bool,
    },
    /// A token that was superseded two or more generations ago came back.
    #[non_exhaustive]
    Reused {
        /// How many generations ago.
        generations: u32,
    },
    /// A refresh token was used again after its [reuse window](crate::RefreshTokens::reuse_window): it was copied, or a client
    /// keeps old ones. Its session has ended, or the store failed to end it, which is an event of its own.
    #[non_exhaustive]
    RefreshTokenReused {
        /// How many generations ago it was superseded; 0 if that was so long ago that the store has forgotten it.
        generations: u32,
    },
    /// The tokens of a refresh could not be made. The refresh token can be used again.
    #[non_exhaustive]
    RefreshFailed {
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// The renewer of [`renew_with`](crate::AuthorityBuilder::renew_with) failed.
    #[non_exhaustive]
    RenewerFailed {
        /// Its error. `None` if it did not answer in time.
        error: Option<&'a (dyn Error + 'static)>,
    },
    /// A revocation was recorded.
    Revoked,
    /// The store failed.
    #[non_exhaustive]
    StoreFailed {
        /// How.
        error: &'a StoreError,
    },
    /// Something about the keys of this authority. Those that a [`KeyRotation`](crate::keys::KeyRotation) manages are
    /// reported to its own [`on_event`](crate::keys::KeyRotation::on_event), except for an ephemeral one.
    Keys(KeyEvent<'a>),
    /// Code of the application panicked; its message went to standard error. Its answer counts as no, so a request is
    /// refused or not renewed. A store that panics has failed, which is reported as well. For an observer, a
    /// listener to a store's feed, or a store method that answers at once, nothing but this event follows.
    #[non_exhaustive]
    HookPanicked {
        /// Which: the name of the option or the trait.
        hook: &'static str,
    },
    /// A layer or an endpoint reads a cookie without `Secure`
    /// ([`Cookie::insecure_for_development`](crate::Cookie::insecure_for_development)): anybody on the network path
    /// can read and set it.
    #[non_exhaustive]
    InsecureCookie {
        /// The cookie's name.
        name: &'a str,
    },
}

/// How a successor came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReissueKind {
    /// With the response to an admitted request.
    Renewed,
    /// In exchange for a token that arrived expired.
    Exchanged,
    /// For a refresh token.
    Refreshed,
}

impl ReissueKind {
    /// A fixed name for counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Exchanged => "exchanged",
            Self::Refreshed => "refreshed",
        }
    }
}

/// Writes an event to the log and the counters, as far as they are compiled in.
fn record(event: &Event<'_>) {
    match event {
        Event::Keys(event) => return event.record(),
        Event::HookPanicked { hook } => return record_panic(hook),
        _ => {}
    }
    caught(|| {
        #[cfg(feature = "tracing")]
        log::log(event);
        #[cfg(feature = "metrics")]
        count(event);
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        let _ = event;
    });
}

/// Logs that a route requires the token of a layer that does not guard it. Without a layer there is no observer to tell.
pub(crate) fn record_no_layer(claims: &'static str, remedy: &'static str, repeated: bool) {
    caught(|| {
        #[cfg(feature = "tracing")]
        log::no_layer(claims, remedy, repeated);
        #[cfg(not(feature = "tracing"))]
        let _ = (claims, remedy, repeated);
    });
}

#[cfg(feature = "metrics")]
fn count(event: &Event<'_>) {
    use metrics::counter;
    match event {
        Event::Issued { .. } => counter!("tower_reissue_issued_total").increment(1),
        Event::Refused { refusal, .. } => {
            counter!("tower_reissue_refused_total", "reason" => refusal.reason().label()).increment(1);
        }
        Event::Reissued { how, .. } => {
            counter!("tower_reissue_reissued_total", "how" => how.label()).increment(1);
        }
        Event::NotReissued { why, .. } => {
            counter!("tower_reissue_not_reissued_total", "why" => why.label()).increment(1);
        }
        Event::Reused { .. } => counter!("tower_reissue_reused_total").increment(1),
        Event::RefreshTokenReused { .. } => {
            counter!("tower_reissue_refresh_token_reused_total").increment(1);
        }
        Event::RefreshFailed { .. } => counter!("tower_reissue_refresh_failed_total").increment(1),
        Event::RenewerFailed { .. } => counter!("tower_reissue_renewer_failed_total").increment(1),
        Event::Revoked => counter!("tower_reissue_revoked_total").increment(1),
        Event::StoreFailed { .. } => counter!("tower_reissue_store_failed_total").increment(1),
        Event::Keys(_) | Event::HookPanicked { .. } | Event::InsecureCookie { .. } => {}
    }
}
