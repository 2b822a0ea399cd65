//! Events: reported to an observer, as `tracing` records (feature `tracing`), and as counters (feature `metrics`).
//!
//! An event is reported after the fact and changes nothing. An observer, a subscriber or a recorder that panics is
//! caught.
//!
//! No event holds a token, a claim's value or a key. A refusal names the token's `kid`, escaped and cut. No log line
//! is longer than 2 KiB, whatever a token, a key set or an error holds.

#[cfg(feature = "tracing")]
mod log;

use crate::caught::caught;
use crate::keyring::ring::KeyRing;
use crate::keys::error::KeyError;
use crate::refusal::Refusal;
use crate::store::StoreError;
use crate::time::NumericDate;
use crate::token::reissue::NotReissued;

/// Something an operator may want to count or read.
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
    /// A successor goes out.
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
    /// A revocation was recorded.
    Revoked,
    /// The store failed.
    #[non_exhaustive]
    StoreFailed {
        /// How.
        error: &'a StoreError,
    },
    /// The keys at the start.
    #[non_exhaustive]
    KeysLoaded {
        /// The ring; its [`fingerprints`](KeyRing::fingerprints) tell whether two processes hold the same keys.
        ring: &'a KeyRing,
    },
    /// The ring was replaced, by a [`KeyRotation`](crate::keys::KeyRotation) or by a call: a key was added, began to
    /// sign, or was removed.
    #[non_exhaustive]
    KeysReplaced {
        /// The ring from now on.
        ring: &'a KeyRing,
    },
    /// A key source could not be loaded. The own source's last keys stay in use; a trusted issuer's stay in use until
    /// [`stale_for`](crate::keys::KeyRotation::stale_for) is over.
    #[non_exhaustive]
    KeysFailed {
        /// Which, as [`KeySource::describe`](crate::keys::KeySource::describe) names it.
        source: &'a str,
        /// Why.
        error: &'a KeyError,
    },
    /// A trusted issuer now publishes an empty key set. None of its tokens is admitted until it publishes a key.
    /// Reported once each time.
    #[non_exhaustive]
    KeysTakenBack {
        /// Which source.
        source: &'a str,
        /// The issuer.
        issuer: &'a str,
    },
    /// One key of a source did not load, or may not be used. The source's other keys are used.
    #[non_exhaustive]
    KeySkipped {
        /// Which source.
        source: &'a str,
        /// Which key, and why.
        error: &'a KeyError,
    },
    /// Code of the application panicked; its message went to standard error. Its answer counts as no, so a request is
    /// refused or not renewed. For an observer, a listener to a store's feed, or a store method that answers at once,
    /// nothing but this event follows.
    #[non_exhaustive]
    HookPanicked {
        /// Which: the name of the option that it was given with.
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
    /// Tokens are signed with a generated key that is not stored. They become invalid when this process ends, and no
    /// other process admits them.
    #[non_exhaustive]
    EphemeralKey {
        /// Its `kid`.
        kid: &'a str,
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
}

impl ReissueKind {
    /// A fixed name for counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Exchanged => "exchanged",
        }
    }
}

/// Who is told of events.
pub(crate) type Observer = dyn Fn(&Event<'_>) + Send + Sync;

/// Records an event and tells the observer. Call it once what it tells of is done.
pub(crate) fn tell(event: &Event<'_>, observer: Option<&Observer>) {
    record(event);
    observe(event, observer);
}

/// Tells the observer alone of an event that is on record already.
pub(crate) fn observe(event: &Event<'_>, observer: Option<&Observer>) {
    if let Some(observe) = observer
        && caught(|| observe(event)).is_none()
    {
        record(&Event::HookPanicked { hook: "on_event" });
    }
}

/// Hands an event to whatever this build records with.
pub(crate) fn record(event: &Event<'_>) {
    caught(|| {
        #[cfg(feature = "tracing")]
        log::log(event);
        #[cfg(feature = "metrics")]
        count(event);
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        let _ = event;
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
        Event::Revoked => counter!("tower_reissue_revoked_total").increment(1),
        Event::StoreFailed { .. } => counter!("tower_reissue_store_failed_total").increment(1),
        Event::KeysReplaced { .. } => counter!("tower_reissue_keys_replaced_total").increment(1),
        Event::KeysFailed { .. } => counter!("tower_reissue_keys_failed_total").increment(1),
        Event::KeysTakenBack { .. } => counter!("tower_reissue_keys_taken_back_total").increment(1),
        Event::KeySkipped { .. } => counter!("tower_reissue_key_skipped_total").increment(1),
        Event::HookPanicked { hook } => {
            counter!("tower_reissue_hook_panicked_total", "hook" => *hook).increment(1);
        }
        Event::KeysLoaded { .. } | Event::EphemeralKey { .. } | Event::InsecureCookie { .. } => {}
    }
}
