//! [`KeyRotation`]: keys that are kept up to date from their sources.

mod load;
mod manager;
mod pace;
mod refetch;
pub mod source;
mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::keyring::handle::Keys;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::rotation::manager::Manager;
use crate::rotation::manager::Settings;
use crate::rotation::pace::SteadyClock;
use crate::rotation::source::KeySource;
use crate::rotation::source::erased::ErasedSource;
use crate::rotation::state::Timing;
use crate::telemetry::{Event, Observer};
use crate::time::{Clock, clamped};

/// Whoever sends tokens with an unknown `kid` sets the pace of the refetches: not faster than this.
const SHORTEST_COOLDOWN: Duration = Duration::from_secs(1);

/// Keeps a ring up to date from where its keys come from.
///
/// A new key verifies from the moment it is seen, and signs after the [activation delay](Self::activation_delay). The one
/// it replaces verifies on for the [overlap](Self::overlap), and tokens under it are renewed with the new one. A key that
/// its source lists as withdrawn is out at once, requests in flight included. A source that can't be read changes nothing.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_reissue::Authority;
/// use tower_reissue::keys::{Algorithm, DirectorySource, KeyFormat, KeyRotation};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// // A mounted Secret: `current.pem` signs, every other file is a retired key.
/// let keys = DirectorySource::new("/etc/orders/keys", "current.pem", KeyFormat::pem(Algorithm::EdDSA));
/// let keys = KeyRotation::new(keys).activation_delay(Duration::from_secs(180)).start().await?;
///
/// let authority = Authority::builder(keys)
///     .issuer("https://login.example")
///     .audience("orders")
///     .max_session_lifetime(Duration::from_secs(12 * 3600))
///     .build()?;
/// # Ok(()) }
/// ```
///
/// It does not protect against a source that somebody else can write to: whoever sets the key signs in whomever they
/// like.
#[must_use = "a rotation does nothing until `start`"]
pub struct KeyRotation {
    own: Arc<dyn ErasedSource>,
    trusted: Vec<Trusted>,
    activation_delay: Duration,
    reload_every: Duration,
    overlap: Duration,
    stale_for: Duration,
    cooldown: Duration,
    clock: Option<Arc<dyn Clock>>,
    observe: Option<Arc<Observer>>,
}

/// A foreign issuer and where its keys come from.
struct Trusted {
    issuer: String,
    source: Arc<dyn ErasedSource>,
}

impl KeyRotation {
    /// Begins with the source of the own keys.
    pub fn new(own: impl KeySource) -> Self {
        Self {
            own: Arc::new(own),
            trusted: Vec::new(),
            activation_delay: Duration::ZERO,
            reload_every: Duration::from_secs(10),
            overlap: Duration::from_secs(3600),
            stale_for: Duration::from_secs(24 * 3600),
            cooldown: Duration::from_secs(30),
            clock: None,
            observe: None,
        }
    }

    /// Admits the tokens of another issuer: those whose `iss` is exactly this, under a key of this source. They are never
    /// re-signed. A private key among them verifies, no more.
    pub fn trust(mut self, issuer: impl Into<String>, source: impl KeySource) -> Self {
        self.trusted.push(Trusted { issuer: issuer.into(), source: Arc::new(source) });
        self
    }

    /// How long a new key only verifies before it signs. Default 0.
    ///
    /// Several nodes see a new key at different moments. With at least the time in between (the reload interval, and what
    /// Kubernetes takes to carry a Secret to every node, a minute or two: three minutes in all), no node signs with a key
    /// that another does not know yet, and a replaced key verifies on until the last node has let go of it. Where others
    /// fetch a [`JwksEndpoint`](crate::JwksEndpoint), add its `max_age`.
    ///
    /// A process that starts signs with what it finds at once, and so does the successor of a withdrawn signing key. A bare
    /// secret that is changed in a plain file is seen by running processes one reload interval later than by one that
    /// starts.
    pub fn activation_delay(mut self, delay: Duration) -> Self {
        self.activation_delay = delay;
        self
    }

    /// How often the sources are read. Default 10 s. A source whose answer stays fresh for longer, as HTTP caching headers
    /// say, is asked only when that is over, or a day has gone. A trusted issuer's source that fails is asked again after
    /// 1 s (this interval, where it is shorter), then after twice as long each time, a minute at most.
    pub fn reload_every(mut self, interval: Duration) -> Self {
        self.reload_every = interval;
        self
    }

    /// How long a replaced key verifies on. Default 1 h, counted from one reload interval after its successor began to sign
    /// here, for other nodes may have signed with it until then.
    ///
    /// The authority's builder refuses one that is shorter than a token's lifetime and grace. Where nodes see a change
    /// further apart than a reload interval, add that time. A compromised key must be
    /// [withdrawn](crate::keys::Keys::withdraw): replaced, it is accepted for this long.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// How long a foreign issuer's keys serve on after its source began to fail. Then they are dropped
    /// ([`KeysReplaced`](crate::Event::KeysReplaced)), and its tokens are answered 503 for as long as it can't be asked.
    /// Default 24 h. It is remembered by the process alone: one that starts during the outage has no keys of the issuer.
    ///
    /// Meanwhile a key that the issuer withdrew is still accepted.
    pub fn stale_for(mut self, time: Duration) -> Self {
        self.stale_for = time;
        self
    }

    /// A token with an unknown `kid` makes its issuer's source be asked again; then, for this long, further ones of that issuer
    /// do not. So does one that is to [sign out](crate::Authority::sign_out), with the own source. Default 30 s, at least 1 s.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Where "now" comes from. Default: the time that passes from the start on, whatever the system's clock is set to
    /// meanwhile. In tests, give it the authority's.
    ///
    /// A clock of your own is believed when it jumps ahead: keys sign and retire as if the time had passed.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Calls `observe` with every [`Event`] about these keys: loaded, replaced, failed, skipped. The authority's
    /// [`on_event`](crate::AuthorityBuilder::on_event) is not told of them: give both an observer. Where it panics the
    /// rotation goes on.
    pub fn on_event(mut self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.observe = Some(Arc::new(observe));
        self
    }

    /// Loads every source once, logs the fingerprints, and keeps the ring up to date on a task of the present tokio
    /// runtime until the last clone of the [`Keys`] is dropped.
    ///
    /// Times longer than ten years are ten years.
    ///
    /// A foreign issuer that can't be reached is told as an event and asked again in the background. Until then the layer
    /// answers its tokens 503.
    ///
    /// # Errors
    /// When the own source can't be loaded or holds no key that signs, when the reload interval is 0, or a trusted issuer
    /// has no name or is named twice.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<Keys, KeyError> {
        let refuse = |message| Err(KeyError::new(KeyErrorKind::Ring, message));
        if self.reload_every.is_zero() {
            return refuse("the reload interval is 0: 10 s is the default".to_owned());
        }
        for (at, Trusted { issuer, .. }) in self.trusted.iter().enumerate() {
            if issuer.is_empty() {
                return refuse("a trusted issuer needs a name, the `iss` of its tokens".to_owned());
            }
            if self.trusted.iter().take(at).any(|other| other.issuer == *issuer) {
                return refuse(format!("the issuer {issuer:?} is trusted twice: give it one source"));
            }
        }
        let timing = self.timing();
        let settings = Settings {
            timing,
            reload_every: clamped(self.reload_every),
            cooldown: clamped(self.cooldown).max(SHORTEST_COOLDOWN),
            clock: self.clock.unwrap_or_else(|| Arc::new(SteadyClock::start())),
            observe: self.observe,
        };
        Manager::start(self.own, self.trusted, settings).await
    }

    fn timing(&self) -> Timing {
        let activation_delay = whole_seconds(self.activation_delay);
        Timing {
            activation_delay,
            // Whoever sets a delay says how far apart the nodes are.
            spread: whole_seconds(self.reload_every).max(activation_delay),
            overlap: whole_seconds(self.overlap),
            stale_for: whole_seconds(self.stale_for),
        }
    }
}

/// Rounded up: what is told to take a time takes it, ten years at most.
fn whole_seconds(time: Duration) -> u64 {
    let time = clamped(time);
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trusted")
            .field("issuer", &self.issuer)
            .field("source", &self.source.describe())
            .finish()
    }
}

impl fmt::Debug for KeyRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRotation")
            .field("own", &self.own.describe())
            .field("trusted", &self.trusted)
            .field("activation_delay", &self.activation_delay)
            .field("reload_every", &self.reload_every)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::keyring::handle::Refetched;
    use crate::keys::Algorithm;
    use crate::keys::key_set::KeySet;
    use crate::keys::signing_key::SigningKey;
    use crate::time::LONGEST;

    fn rotation() -> KeyRotation {
        KeyRotation::new(KeySet::signing(key("own")))
    }

    fn key(name: &str) -> SigningKey {
        SigningKey::from_secret(Algorithm::HS256, format!("{name:-<64}")).unwrap().with_kid(name)
    }

    #[test]
    fn nodes_are_as_far_apart_as_the_longer_of_interval_and_delay() {
        for (interval, delay, spread) in [(10, 0, 10), (10, 10, 10), (10, 11, 11), (10, 120, 120)] {
            let rotation = rotation()
                .reload_every(Duration::from_secs(interval))
                .activation_delay(Duration::from_secs(delay));
            assert_eq!(rotation.timing().spread, spread, "{interval} {delay}");
        }
    }

    #[test]
    fn a_part_of_a_second_is_a_second_and_nothing_is_longer_than_ten_years() {
        for (time, seconds) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_secs(1), 1),
            (Duration::new(1, 1), 2),
            (LONGEST, LONGEST.as_secs()),
            (Duration::MAX, LONGEST.as_secs()),
        ] {
            assert_eq!(whole_seconds(time), seconds, "{time:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn times_without_end_start() {
        let all = rotation()
            .reload_every(Duration::MAX)
            .activation_delay(Duration::MAX)
            .overlap(Duration::MAX)
            .stale_for(Duration::MAX)
            .cooldown(Duration::MAX)
            .trust("x", KeySet::default());
        let keys = all.start().await.unwrap();
        assert_eq!(keys.overlap(), Some(LONGEST.as_secs()));
        assert!(keys.refetch("x").is_some());
    }

    /// Answers once, then never.
    #[derive(Default)]
    struct Silent(std::sync::atomic::AtomicBool);

    impl KeySource for Silent {
        fn describe(&self) -> String {
            "silent".to_owned()
        }

        async fn load(&self) -> Result<KeySet, KeyError> {
            if self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Ok(KeySet::verifying([key("f").into()]))
        }
    }

    #[test]
    fn a_request_served_outside_a_runtime_waits_for_an_issuer_all_the_same() {
        use futures_util::FutureExt as _;

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let keys = runtime.block_on(rotation().trust("x", Silent::default()).start()).unwrap();
        let (mut first, second) = (keys.refetch("x").unwrap(), keys.refetch("x").unwrap());
        let begun = std::time::Instant::now();
        let refetched = loop {
            match (&mut first).now_or_never() {
                Some(refetched) => break refetched,
                None if begun.elapsed() > Duration::from_secs(10) => panic!("it waits for ever"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(refetched, Refetched::Unreachable);
        // Nor does it matter that the runtime is gone.
        drop(runtime);
        assert_eq!(second.now_or_never(), Some(Refetched::Unreachable));
        assert!(keys.refetch("x").is_some_and(|last| last.now_or_never().is_some()));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_cooldown_the_issuers_are_asked_once_a_second() {
        let foreign = KeySet::verifying([key("f").into()]);
        let keys = rotation().cooldown(Duration::ZERO).trust("x", foreign).start().await.unwrap();
        assert_eq!(keys.refetch("x").unwrap().await, Refetched::Current);
        assert!(keys.refetch("x").is_none(), "just asked");
        tokio::time::advance(SHORTEST_COOLDOWN).await;
        assert!(keys.refetch("x").is_some());
    }
}
