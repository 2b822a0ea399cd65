//! [`KeyRotation`]: keeps keys up to date from their sources.
//!
//! It does the input and output for keys, and decides when one begins to sign and when it retires. It sees no token, no request and
//! no store of claims. What it learns it writes into `keyring`, where others read it.
//!
//! It offers [`KeyRotation`] and [`source`]; to `settings` also [`source::read_file`].

mod elapsed;
pub(crate) mod load;
mod manager;
mod refetch;
mod reports;
pub mod source;
mod state;
mod teller;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::keyring::erased_source::ErasedSource;
use crate::keyring::event::{KeyEvent, KeyObserver};
use crate::keyring::handle::Keys;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::rotation::elapsed::MonotonicClock;
use crate::rotation::load::LOAD_DEADLINE;
use crate::rotation::manager::Manager;
use crate::rotation::manager::Settings;
use crate::rotation::manager::Withdrawals;
use crate::rotation::source::KeySource;
use crate::rotation::state::Timing;
use crate::time::{Clock, clamped};

/// Whoever sends tokens with an unknown `kid` sets the pace of the refetches: not faster than this.
const SHORTEST_COOLDOWN: Duration = Duration::from_secs(1);

/// Keeps a ring up to date from key sources.
///
/// A new key verifies as soon as it is loaded, and signs after the [activation delay](Self::activation_delay). The
/// key that it replaces still verifies for the [overlap](Self::overlap), and tokens under it are renewed with the new
/// key. A key that its source lists as withdrawn is removed at once, also for requests in flight. A source that can't
/// be read changes nothing.
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
/// It does not protect against a source that somebody else can write to: whoever sets the key can sign any token.
#[must_use = "a rotation does nothing until `start`"]
pub struct KeyRotation {
    /// `None`: there are no own keys.
    own: Option<Arc<dyn ErasedSource>>,
    trusted: Vec<Trusted>,
    activation_delay: Duration,
    reload_every: Duration,
    overlap: Duration,
    stale_for: Duration,
    cooldown: Duration,
    is_every_issuer_required: bool,
    has_late_parts: bool,
    withdrawn: Withdrawals,
    clock: Option<Arc<dyn Clock>>,
    observe: Option<Arc<KeyObserver>>,
}

/// A foreign issuer and where its keys come from.
struct Trusted {
    issuer: TrustedIssuer,
    source: Arc<dyn ErasedSource>,
}

impl KeyRotation {
    /// A rotation of the own keys, from this source.
    pub fn new(own: impl KeySource) -> Self {
        Self::of(Some(Arc::new(own)))
    }

    /// Begins without own keys, for a service that only verifies the tokens of the issuers that it
    /// [`trust`](Self::trust)s. Its [`Authority`](crate::Authority) issues and renews nothing.
    ///
    /// ```no_run
    /// # #[cfg(feature = "jwks")]
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_reissue::Authority;
    /// use tower_reissue::keys::{JwksUrl, KeyRotation};
    ///
    /// let issuer = "https://login.example";
    /// let keys = KeyRotation::verify_only().trust(issuer, JwksUrl::discover(issuer)?).start().await?;
    /// let authority = Authority::builder(keys).audience("orders").build()?;
    /// # Ok(()) }
    /// ```
    ///
    /// Delay and overlap have no effect: they are about own keys.
    pub fn verify_only() -> Self {
        Self::of(None)
    }

    fn of(own: Option<Arc<dyn ErasedSource>>) -> Self {
        Self {
            own,
            trusted: Vec::new(),
            activation_delay: Duration::ZERO,
            reload_every: Duration::from_secs(10),
            overlap: Duration::from_secs(3600),
            stale_for: Duration::from_secs(24 * 3600),
            cooldown: Duration::from_secs(30),
            is_every_issuer_required: false,
            has_late_parts: false,
            withdrawn: Withdrawals::default(),
            clock: None,
            observe: None,
        }
    }

    /// Admits the tokens of another issuer: those whose `iss` is exactly `issuer`, under a key of this source. A
    /// [`TrustedIssuer`] in place of the name states what its tokens must be like, or names many tenants. They
    /// are never signed again. A private key in the source is only used to verify.
    pub fn trust(mut self, issuer: impl Into<TrustedIssuer>, source: impl KeySource) -> Self {
        self.trusted.push(Trusted { issuer: issuer.into(), source: Arc::new(source) });
        self
    }

    /// Makes [`start`](Self::start) fail if the keys of a trusted issuer can't be loaded, so that a wrong URL or issuer
    /// name stops a deployment. Default: the failure is reported as [`LoadFailed`](crate::keys::KeyEvent::LoadFailed), to
    /// [`on_event`](Self::on_event) and with the feature `tracing` to the log, and the service starts.
    ///
    /// Costs: the service can't start while an issuer is down. An issuer that publishes an empty set has answered.
    pub fn require_trusted_issuers(mut self) -> Self {
        self.is_every_issuer_required = true;
        self
    }

    /// How long a new key only verifies before it signs. Default 0.
    ///
    /// Nodes load a new key at different moments. The delay should be at least the time between the first and the
    /// last: the reload interval, and what Kubernetes needs to update a Secret on every node, a minute or two; three
    /// minutes in all. Then no node signs with a key that another does not know, and a replaced key verifies until
    /// the last node has stopped using it. If others fetch a [`JwksEndpoint`](crate::JwksEndpoint), add its
    /// `max_age`.
    ///
    /// A process that starts signs at once with the key it finds, and so does the successor of a withdrawn signing
    /// key. If a bare secret changes in a plain file, running processes use it one reload interval later than a
    /// process that starts.
    pub fn activation_delay(mut self, delay: Duration) -> Self {
        self.activation_delay = delay;
        self
    }

    /// How often the sources are read. Default 10 s. A source whose response stays fresh for longer, by HTTP caching
    /// headers, is read only when it is stale, at least once a day. A trusted issuer's source that fails is read
    /// again after 1 s (or this interval, if that is shorter), then after twice as long each time, at most a minute.
    pub fn reload_every(mut self, interval: Duration) -> Self {
        self.reload_every = interval;
        self
    }

    /// How long a replaced key still verifies. Default 1 h, counted from one reload interval after its successor
    /// began to sign here, because other nodes may have signed with the old key until then.
    ///
    /// The authority's builder refuses an overlap shorter than a token's lifetime and grace. If nodes load a change
    /// further apart than a reload interval, add that time. [Withdraw](crate::keys::Keys::withdraw) a compromised
    /// key: if it is only replaced, it is accepted for this long.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// How long a foreign issuer's keys stay in use after its source began to fail. Default 24 h. Then they are
    /// dropped ([`Replaced`](crate::keys::KeyEvent::Replaced)), and the issuer's tokens are answered 503 until its
    /// keys can be fetched. Only this process remembers the keys: one that starts during the outage has none of that
    /// issuer.
    ///
    /// Costs: meanwhile a key that the issuer withdrew is still accepted.
    pub fn stale_for(mut self, time: Duration) -> Self {
        self.stale_for = time;
        self
    }

    /// How long after a token with an unknown `kid` caused its issuer's source to be read, further such tokens do
    /// not. The same applies to the own source and tokens that [sign out](crate::Authority::sign_out). Default 30 s,
    /// at least 1 s.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// A part of the own source may answer so late that it counts at the next reload.
    #[cfg(feature = "settings")]
    pub(crate) fn with_late_parts(mut self) -> Self {
        self.has_late_parts = true;
        self
    }

    /// Withdraws keys of these names before any is loaded, whoever owns them. `place` says where they are listed, for the event about
    /// a name that no key has.
    #[cfg(feature = "settings")]
    pub(crate) fn withdrawing(mut self, place: &str, names: Vec<String>) -> Self {
        self.withdrawn = Withdrawals { place: place.into(), names };
        self
    }

    /// The clock. Default: a monotonic clock that starts with the rotation, so that changes of the system's clock
    /// have no effect. In tests, use the authority's clock.
    ///
    /// If a clock of your own jumps ahead, keys sign and retire as if the time had passed.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Calls `observe` with the [`KeyEvent`]s about these keys: loaded, replaced, failed, skipped. The authority's
    /// [`on_event`](crate::AuthorityBuilder::on_event) does not get them: set both. If it panics, the rotation
    /// continues.
    ///
    /// Nothing waits for it, except for the start: the events of the start are reported before [`start`](Self::start)
    /// returns. Each later one is reported after the fact, in the order of the facts, on a thread that is made for it and ends
    /// when no event waits. So `observe` may block, withdraw keys, and spawn tasks on the rotation's runtime. Of more than 256
    /// events that wait for it the oldest are dropped ([`Unreported`](KeyEvent::Unreported)). Events still reach it after the
    /// last clone of the [`Keys`] is dropped, but not after the process ends.
    pub fn on_event(mut self, observe: impl Fn(&KeyEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observe = Some(Arc::new(observe));
        self
    }

    /// Loads every source once, logs the fingerprints, and keeps the ring up to date in a task on the current tokio
    /// runtime, until the last clone of the [`Keys`] is dropped.
    ///
    /// Durations longer than ten years count as ten years.
    ///
    /// If a foreign issuer's keys can't be loaded, because it is down or its URL is wrong, this is reported as an event
    /// and the issuer is asked again in the background. Until then the layer answers its tokens 503. With
    /// [`require_trusted_issuers`](Self::require_trusted_issuers) it is an error.
    ///
    /// # Errors
    /// If the own source can't be loaded or holds no signing key, the reload interval is 0, a trusted issuer has
    /// no name or an option that can't be right, or two of them can mean the same `iss`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<Keys, KeyError> {
        self.check()?;
        let timing = self.timing();
        let settings = Settings {
            timing,
            reload_every: clamped(self.reload_every),
            cooldown: clamped(self.cooldown).max(SHORTEST_COOLDOWN),
            is_every_issuer_required: self.is_every_issuer_required,
            withdrawn: self.withdrawn,
            clock: self.clock.unwrap_or_else(|| Arc::new(MonotonicClock::start())),
        };
        Manager::start(self.own, self.trusted, settings, self.observe).await
    }

    /// Checks the options. Those of the trusted issuers are checked when they are added.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        if self.reload_every.is_zero() {
            let message = "`reload_every` is 0: it must be longer, and 10 s is the default";
            return Err(KeyError::new(KeyErrorKind::Ring, message));
        }
        Ok(())
    }

    fn timing(&self) -> Timing {
        let activation_delay = whole_seconds(self.activation_delay);
        // A load that is late may be running when a place changes, so only the next one finds the change, and it counts at the
        // reload after.
        let late = if self.has_late_parts {
            whole_seconds(self.reload_every).saturating_add(2 * LOAD_DEADLINE.as_secs())
        } else {
            0
        };
        Timing {
            activation_delay,
            // Whoever sets a delay says how far apart the nodes are.
            spread: whole_seconds(self.reload_every).saturating_add(late).max(activation_delay),
            overlap: whole_seconds(self.overlap),
            stale_for: whole_seconds(self.stale_for),
        }
    }
}

/// Rounded up to whole seconds; at most ten years.
fn whole_seconds(time: Duration) -> u64 {
    let time = clamped(time);
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trusted")
            .field("issuer", &self.issuer.name())
            .field("source", &self.source.describe())
            .finish()
    }
}

impl fmt::Debug for KeyRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRotation")
            .field("own", &self.own.as_ref().map(|own| own.describe()))
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
        #[cfg(feature = "settings")]
        for (delay, spread) in [(0, 50), (120, 120)] {
            let rotation = rotation().with_late_parts().activation_delay(Duration::from_secs(delay));
            assert_eq!(rotation.timing().spread, spread, "{delay}");
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

    /// Holds no keys that could be read.
    struct Down;

    impl KeySource for Down {
        fn describe(&self) -> String {
            "down".to_owned()
        }

        async fn load(&self) -> Result<KeySet, KeyError> {
            Err(KeyError::unavailable("it answered 404, not 200"))
        }
    }

    #[tokio::test]
    async fn a_start_that_requires_its_issuers_fails_without_their_keys() {
        let up = || KeySet::verifying([key("f").into()]);
        let both = || rotation().trust("https://up.example", up()).trust("https://down.example", Down);
        assert!(both().start().await.is_ok());
        let error = both().require_trusted_issuers().start().await.unwrap_err();
        assert_eq!(error.to_string(), "https://down.example: keys unavailable: it answered 404, not 200");
        let all_up = rotation().trust("https://up.example", up()).require_trusted_issuers();
        assert!(all_up.start().await.is_ok());
        let empty = rotation().trust("https://empty.example", KeySet::default()).require_trusted_issuers();
        assert!(empty.start().await.is_ok());
    }

    #[cfg(feature = "settings")]
    #[tokio::test]
    async fn of_the_names_withdrawn_from_the_start_those_that_no_key_has_are_reported() {
        use std::sync::Mutex;

        for (start, expected) in [(rotation(), "own, x"), (KeyRotation::verify_only(), "x")] {
            let told = Arc::new(Mutex::new(Vec::new()));
            let hears = told.clone();
            let foreign = KeySet::verifying([key("leaked").into(), key("x").into()]);
            let start = start.trust("https://a.example", foreign);
            let start = start.withdrawing("a list", vec!["leaked".to_owned(), "misspelt".to_owned()]);
            let start = start.on_event(move |event| hears.lock().unwrap().push(event.to_string()));
            let keys = start.start().await.unwrap();
            assert_eq!(keys.current().kids().collect::<Vec<_>>().join(", "), expected);
            let told = told.lock().unwrap();
            let skipped: Vec<_> = told.iter().filter(|told| told.contains("a list")).collect();
            assert!(matches!(&skipped[..], [told] if told.contains("\"misspelt\"")), "{told:?}");
        }
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
