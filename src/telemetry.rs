//! What happens, told in one place: to an observer, as `tracing` records (feature `tracing`), as counters (feature
//! `metrics`).
//!
//! No event holds a token, a claim or a key. A refusal names the token's `kid`, escaped and cut.

use std::fmt;

use crate::NumericDate;
use crate::keys::{KeyError, KeyRing};
use crate::store::StoreError;
#[cfg(feature = "tracing")]
use crate::token::refusal::Reason;
use crate::token::refusal::Refusal;

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
        /// The ring at this moment, which may be newer than the one it was held against: its kids tell whether two
        /// processes hold different keys.
        ring: &'a KeyRing,
    },
    /// A successor goes out.
    #[non_exhaustive]
    Reissued {
        /// On which way.
        how: Occasion,
        /// Its `exp`.
        expires_at: NumericDate,
    },
    /// A successor was due and does not go out. The response is not harmed.
    #[non_exhaustive]
    NotReissued {
        /// Why.
        why: NotReissued,
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
    /// The ring was replaced, by a [`KeyRotation`](crate::keys::KeyRotation) or by hand: a key came, began to sign, or went.
    #[non_exhaustive]
    KeysReplaced {
        /// The ring from now on.
        ring: &'a KeyRing,
    },
    /// A source of keys could not be loaded. What the own source gave before serves on; what a trusted issuer's gave, until
    /// [`stale_for`](crate::keys::KeyRotation::stale_for) is over.
    #[non_exhaustive]
    KeysFailed {
        /// Which, as [`KeySource::describe`](crate::keys::KeySource::describe) names it.
        source: &'a str,
        /// Why.
        error: &'a KeyError,
    },
    /// A trusted issuer publishes no key any more: it has taken them all back, and none of its tokens is admitted until it
    /// publishes one. Told once each time.
    #[non_exhaustive]
    KeysTakenBack {
        /// Which source.
        source: &'a str,
        /// The issuer.
        issuer: &'a str,
    },
    /// One key of a source did not load, or may not be used; the others serve.
    #[non_exhaustive]
    KeySkipped {
        /// Which source.
        source: &'a str,
        /// Which key, and why.
        error: &'a KeyError,
    },
    /// Tokens are signed with a key that was generated and is kept nowhere: they die with this process, and no other
    /// admits them.
    #[non_exhaustive]
    EphemeralKey {
        /// Its `kid`.
        kid: &'a str,
    },
}

/// How a successor came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occasion {
    /// With the response to an admitted request.
    Renewed,
    /// In exchange for a token that arrived expired.
    Exchanged,
}

/// Why a successor that was due does not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReissued {
    /// The predicate declined.
    Declined,
    /// It would not outlive its predecessor: the ceiling is near, or the handler took too long.
    Outlived,
    /// The key that signed the predecessor has left the ring.
    KeyWithdrawn,
    /// The session was revoked.
    Revoked,
    /// The store does not know this token to lead to the session's head, or it is late.
    Unknown,
    /// The store's head could not have come from this token; it is never signed.
    StrangeHead,
    /// The store did not record it.
    StoreFailed,
    /// The key could not sign.
    SigningFailed,
    /// It would be longer than this service accepts.
    TooLong,
    /// As a cookie it would be longer than browsers keep.
    CookieTooLong,
}

impl Occasion {
    /// A fixed name for counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Exchanged => "exchanged",
        }
    }
}

impl NotReissued {
    /// A fixed name for counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::Outlived => "outlived",
            Self::KeyWithdrawn => "key_withdrawn",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::StrangeHead => "strange_head",
            Self::StoreFailed => "store_failed",
            Self::SigningFailed => "signing_failed",
            Self::TooLong => "too_long",
            Self::CookieTooLong => "cookie_too_long",
        }
    }
}

impl fmt::Display for NotReissued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Hands an event to whatever this build records with.
pub(crate) fn record(event: &Event<'_>) {
    #[cfg(feature = "tracing")]
    trace(event);
    #[cfg(feature = "metrics")]
    count(event);
    #[cfg(not(any(feature = "tracing", feature = "metrics")))]
    let _ = event;
}

#[cfg(feature = "tracing")]
fn trace(event: &Event<'_>) {
    // The crate's name, whatever its modules are called: filters name it.
    macro_rules! log {
        ($level:ident, $($told:tt)+) => { tracing::event!(target: "tower_reissue", tracing::Level::$level, $($told)+) };
    }
    match event {
        Event::Issued { expires_at } => log!(DEBUG, %expires_at, "token issued"),
        Event::Refused { refusal, ring } => {
            if refusal.reason().is_about_keys() || refusal.kid().is_some() {
                // The fingerprints last: they are read from the end of the line, whatever the token's `kid` holds.
                log!(
                    WARN,
                    reason = refusal.reason().label(),
                    kid = refusal.kid(),
                    fingerprints = %ring.fingerprints(),
                    "token refused"
                );
            } else if matches!(refusal.reason(), Reason::WrongIssuer | Reason::WrongAudience) {
                log!(WARN, reason = refusal.reason().label(), "token refused, under a good key");
            } else {
                log!(DEBUG, reason = refusal.reason().label(), "request refused");
            }
        }
        Event::Reissued { how, expires_at } => log!(DEBUG, how = how.label(), %expires_at, "token reissued"),
        Event::NotReissued { why: NotReissued::Declined } => log!(DEBUG, "token not reissued: declined"),
        Event::NotReissued { why } => log!(WARN, why = why.label(), "token not reissued"),
        Event::Reused { generations } => log!(WARN, generations, "a superseded token came back"),
        Event::Revoked => log!(INFO, "revocation recorded"),
        Event::StoreFailed { error } => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            log!(ERROR, %error, cause, "the claims store failed");
        }
        Event::KeysLoaded { ring } => log!(INFO, fingerprints = %ring.fingerprints(), "keys loaded"),
        Event::KeysReplaced { ring } => {
            log!(INFO, fingerprints = %ring.fingerprints(), "keys replaced");
            if ring.signing_key().is_none() {
                log!(ERROR, "no key signs: no token can be issued or renewed");
            }
        }
        Event::KeysFailed { source, error } => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            log!(ERROR, source, %error, cause, "keys could not be loaded; those held so far, if any, serve on");
        }
        Event::KeysTakenBack { source, issuer } => {
            log!(
                ERROR,
                source,
                issuer,
                "the issuer publishes no key any more; none of its tokens is admitted"
            );
        }
        Event::KeySkipped { source, error } => log!(WARN, source, %error, "a key was passed over"),
        Event::EphemeralKey { kid } => {
            log!(WARN, kid, "the signing key is generated and kept nowhere: tokens die with this process");
        }
    }
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
        Event::NotReissued { why } => {
            counter!("tower_reissue_not_reissued_total", "why" => why.label()).increment(1);
        }
        Event::Reused { .. } => counter!("tower_reissue_reused_total").increment(1),
        Event::Revoked => counter!("tower_reissue_revoked_total").increment(1),
        Event::StoreFailed { .. } => counter!("tower_reissue_store_failed_total").increment(1),
        Event::KeysReplaced { .. } => counter!("tower_reissue_keys_replaced_total").increment(1),
        Event::KeysFailed { .. } => counter!("tower_reissue_keys_failed_total").increment(1),
        Event::KeysTakenBack { .. } => counter!("tower_reissue_keys_taken_back_total").increment(1),
        Event::KeySkipped { .. } => counter!("tower_reissue_key_skipped_total").increment(1),
        Event::KeysLoaded { .. } | Event::EphemeralKey { .. } => {}
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span;

    use super::*;
    use crate::keys::{Fingerprints, Keys, SigningKey};
    use crate::{Algorithm, Authority};

    /// Writes what a log would have, a line each.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    struct Line<'a>(&'a mut String);

    impl Visit for Line<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let _ = write!(self.0, " {field}={value:?}");
        }
    }

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &tracing::Event<'_>) {
            let mut log = self.0.lock().expect("the log");
            let _ = write!(log, "{}", event.metadata().level());
            event.record(&mut Line(&mut log));
            log.push('\n');
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn logged(act: impl FnOnce()) -> Vec<String> {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), act);
        log.0.lock().expect("the log").lines().map(str::to_owned).collect()
    }

    fn key(name: &str) -> SigningKey {
        SigningKey::from_secret(Algorithm::HS256, format!("{name:-<64}")).expect("a secret").with_kid(name)
    }

    #[test]
    fn a_refusal_that_a_key_may_explain_warns_with_the_line_that_keys_loaded_has() {
        let ring = KeyRing::new(key("main"));
        let refuse = |refusal: Refusal| {
            let lines = logged(|| record(&Event::Refused { refusal: &refusal, ring: &ring }));
            lines.concat()
        };
        // The token's `kid` is anybody's.
        let kid = Some("signs HS256 forged fingerprints=signs HS256 forged");
        for reason in [Reason::UnknownKey, Reason::BadSignature, Reason::WrongAlgorithm] {
            for refusal in [Refusal::new(reason.clone()), Refusal::with_kid(reason.clone(), kid)] {
                let line = refuse(refusal);
                assert!(line.starts_with("WARN"), "{line}");
                assert!(line.contains(&format!("fingerprints={}", ring.fingerprints())), "{line}");
                assert_eq!(line.parse::<Fingerprints>(), Ok(ring.fingerprints()), "{line}");
            }
        }
        for reason in [Reason::WrongIssuer, Reason::WrongAudience] {
            assert!(refuse(Refusal::new(reason)).starts_with("WARN"));
        }
        assert!(refuse(Refusal::new(Reason::Expired)).starts_with("DEBUG"));
    }

    #[test]
    fn a_ring_replaced_by_hand_is_on_record_once() {
        let ring = || {
            let ring = KeyRing::new(key("main")).retiring(key("old")).expect("two names");
            ring.retiring(key("older")).expect("three names")
        };
        let keys = Keys::from(ring());
        let builder = Authority::builder(keys.clone()).issuer("i").audience("a");
        let authority = builder.ceiling(std::time::Duration::from_secs(3600)).build().expect("it is whole");
        let replaced = |act: &dyn Fn() -> bool| {
            let lines = logged(|| assert!(act()));
            let lines: Vec<_> = lines.into_iter().filter(|line| line.contains("keys replaced")).collect();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(lines.concat().parse::<Fingerprints>(), Ok(keys.current().fingerprints()));
        };
        replaced(&|| authority.withdraw_key("old"));
        replaced(&|| authority.replace_keys(ring()).is_ok());
        replaced(&|| keys.withdraw("older"));
        assert!(logged(|| assert!(!keys.withdraw("older"))).is_empty());
        let lines = logged(|| assert!(keys.withdraw("main")));
        assert!(
            lines.iter().any(|line| line.starts_with("ERROR") && line.contains("no key signs")),
            "{lines:?}"
        );
    }
}
