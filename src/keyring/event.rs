//! [`KeyEvent`]: what happened to keys.

use std::fmt;
use std::sync::Arc;

use crate::caught::{caught, record_panic};
use crate::keyring::ring::KeyRing;
use crate::keys::error::KeyError;
use crate::log::{Clipped, ERROR, KEYS, NAME};

/// Something about keys that an operator may want to count or read.
///
/// A [`KeyRotation`](crate::keys::KeyRotation) reports its events to its own
/// [`on_event`](crate::keys::KeyRotation::on_event). An authority whose keys no rotation manages reports them as
/// [`Event::Keys`](crate::Event::Keys). As text an event is one line of at most 2 KiB, without secrets.
///
/// What a source answers does not decide how many events there are. A rotation reports events of one kind of one source 8
/// at once and then one a minute; for `LoadFailed` each [kind of error](KeyError::kind) is a kind. The counters of
/// the feature `metrics` count those that are not reported too, except for `Skipped`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum KeyEvent<'a> {
    /// The keys at the start.
    #[non_exhaustive]
    Loaded {
        /// The ring; its [`fingerprints`](KeyRing::fingerprints) tell whether two processes hold the same keys.
        ring: &'a KeyRing,
    },
    /// The ring was replaced, by a [`KeyRotation`](crate::keys::KeyRotation) or by a call: a key was added, began to
    /// sign, or was removed. If sources change it more often than it is reported, a later event has the ring of then.
    #[non_exhaustive]
    Replaced {
        /// The ring from now on.
        ring: &'a KeyRing,
    },
    /// A key source could not be loaded. The own source's last keys stay in use; a trusted issuer's stay in use until
    /// [`stale_for`](crate::keys::KeyRotation::stale_for) is over.
    #[non_exhaustive]
    LoadFailed {
        /// Which, as [`KeySource::describe`](crate::keys::KeySource::describe) names it.
        source: &'a str,
        /// Why.
        error: &'a KeyError,
    },
    /// A trusted issuer now publishes an empty key set. None of its tokens is admitted until it publishes a key.
    /// Reported once each time.
    #[non_exhaustive]
    EmptyKeySet {
        /// Which source.
        source: &'a str,
        /// The issuer.
        issuer: &'a str,
    },
    /// One key of a source did not load, or may not be used. The source's other keys are used. Reported once for as long
    /// as it lasts. The last of several says how many others there are, if they are more than are reported at once: they
    /// are reported later, one a minute.
    #[non_exhaustive]
    Skipped {
        /// Which source.
        source: &'a str,
        /// Which key, and why.
        error: &'a KeyError,
    },
    /// Events were dropped, because an observer or a `tracing` subscriber took longer than it took for more than 256
    /// others to happen. The oldest are dropped.
    #[non_exhaustive]
    Unreported {
        /// How many.
        count: u64,
    },
    /// Tokens are signed with a generated key that is not stored. They become invalid when this process ends, and no
    /// other process admits them. The authority that signs with it reports this.
    #[non_exhaustive]
    Ephemeral {
        /// Its `kid`.
        kid: &'a str,
    },
}

/// Receives events about keys.
pub(crate) type KeyObserver = dyn Fn(&KeyEvent<'_>) + Send + Sync;

/// A [`KeyEvent`] of a rotation. It owns what it says, so that it can be reported later.
#[derive(Debug)]
pub(crate) enum KeyReport {
    Loaded { ring: Arc<KeyRing> },
    Replaced { ring: Arc<KeyRing> },
    LoadFailed { source: Arc<str>, error: KeyError },
    EmptyKeySet { source: Arc<str>, issuer: Arc<str> },
    Skipped { source: Arc<str>, error: KeyError },
    Unreported { count: u64 },
}

impl KeyReport {
    pub(crate) fn as_event(&self) -> KeyEvent<'_> {
        match self {
            Self::Loaded { ring } => KeyEvent::Loaded { ring },
            Self::Replaced { ring } => KeyEvent::Replaced { ring },
            Self::LoadFailed { source, error } => KeyEvent::LoadFailed { source, error },
            Self::EmptyKeySet { source, issuer } => KeyEvent::EmptyKeySet { source, issuer },
            Self::Skipped { source, error } => KeyEvent::Skipped { source, error },
            Self::Unreported { count } => KeyEvent::Unreported { count: *count },
        }
    }

    /// Counts it, also if it is not reported.
    pub(crate) fn count(&self) {
        self.as_event().count();
    }

    /// Logs it and tells the observer. It is counted already. Call it after the fact.
    pub(crate) fn tell(&self, observer: Option<&KeyObserver>) {
        let event = self.as_event();
        event.log();
        if let Some(observe) = observer
            && caught(|| observe(&event)).is_none()
        {
            record_panic("on_event");
        }
    }
}

impl KeyEvent<'_> {
    /// Writes it to the log and the counters, as far as they are compiled in.
    pub(crate) fn record(&self) {
        self.log();
        self.count();
    }

    fn log(&self) {
        #[cfg(feature = "tracing")]
        caught(|| self.write_to_log());
    }

    fn count(&self) {
        #[cfg(feature = "metrics")]
        caught(|| self.add_to_counters());
    }

    #[cfg(feature = "tracing")]
    fn write_to_log(&self) {
        use crate::log::{clipped, log};
        match self {
            Self::Loaded { ring } => {
                for fingerprints in ring.fingerprints().lines(KEYS) {
                    log!(INFO, fingerprints = %fingerprints, "keys loaded");
                }
            }
            Self::Replaced { ring } => {
                for fingerprints in ring.fingerprints().lines(KEYS) {
                    log!(INFO, fingerprints = %fingerprints, "keys replaced");
                }
                if ring.signing_key().is_none() {
                    log!(ERROR, "there is no signing key: no token can be issued or renewed");
                }
            }
            Self::LoadFailed { source, error } => {
                let (source, error) = (clipped(source, NAME), Clipped(error, ERROR));
                log!(ERROR, source, %error, "keys could not be loaded; the last ones, if any, stay in use");
            }
            Self::EmptyKeySet { source, issuer } => {
                let (source, issuer) = (clipped(source, NAME), clipped(issuer, NAME));
                log!(
                    ERROR,
                    source,
                    issuer,
                    "the issuer now publishes an empty key set; none of its tokens is admitted"
                );
            }
            Self::Skipped { source, error } => {
                let (source, error) = (clipped(source, NAME), Clipped(error, ERROR));
                log!(WARN, source, %error, "a key is not used");
            }
            Self::Unreported { count } => {
                log!(
                    WARN,
                    count,
                    "events about keys were dropped: an observer or a subscriber takes too long"
                );
            }
            Self::Ephemeral { kid } => {
                let kid = clipped(kid, NAME);
                log!(
                    WARN,
                    kid,
                    "the signing key is generated and not stored: its tokens become invalid with this process"
                );
            }
        }
    }

    #[cfg(feature = "metrics")]
    fn add_to_counters(&self) {
        use metrics::counter;
        match self {
            Self::Replaced { .. } => counter!("tower_reissue_keys_replaced_total").increment(1),
            Self::LoadFailed { .. } => counter!("tower_reissue_keys_load_failed_total").increment(1),
            Self::EmptyKeySet { .. } => counter!("tower_reissue_empty_key_set_total").increment(1),
            Self::Skipped { .. } => counter!("tower_reissue_key_skipped_total").increment(1),
            Self::Unreported { count } => {
                counter!("tower_reissue_key_events_dropped_total").increment(*count)
            }
            Self::Loaded { .. } | Self::Ephemeral { .. } => {}
        }
    }
}

impl fmt::Display for KeyEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { ring } => write!(f, "keys loaded: {}", ring.fingerprint_summary(KEYS)),
            Self::Replaced { ring } => write!(f, "keys replaced: {}", ring.fingerprint_summary(KEYS)),
            Self::LoadFailed { source, error } => {
                write!(
                    f,
                    "the keys of {} could not be loaded: {}",
                    Clipped(source, NAME),
                    Clipped(error, ERROR)
                )
            }
            Self::EmptyKeySet { source, issuer } => {
                let (source, issuer) = (Clipped(source, NAME), Clipped(issuer, NAME));
                write!(
                    f,
                    "{issuer} now publishes an empty key set at {source}; none of its tokens is admitted"
                )
            }
            Self::Skipped { source, error } => {
                write!(f, "a key of {} is not used: {}", Clipped(source, NAME), Clipped(error, ERROR))
            }
            Self::Unreported { count } => {
                write!(
                    f,
                    "{count} events about keys were dropped: an observer or a subscriber takes too long"
                )
            }
            Self::Ephemeral { kid } => {
                let kid = Clipped(kid, NAME);
                write!(
                    f,
                    "the signing key {kid} is generated and not stored: its tokens become invalid with this process"
                )
            }
        }
    }
}
