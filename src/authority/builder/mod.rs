//! [`AuthorityBuilder`]: every option of an authority.

mod build;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Confirm, Predicate, PrivateClaims, VerifiedToken, View};
use crate::keyring::handle::Keys;
use crate::request::head::RequestHead;
use crate::store::{ClaimsStore, ErasedStore};
use crate::telemetry::{Event, Observer};
use crate::time::{Clock, SystemClock, clamped};
use crate::token::policy::Policy;

pub(super) use build::check_issuer;

/// Names that an authority writes itself.
pub(super) const RESERVED: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"];

/// Builds an [`Authority`](super::Authority). Issuer, audience and session limit have no default: each must be given, or its absence said.
#[must_use = "a builder does nothing until `build`"]
pub struct AuthorityBuilder<C = PrivateClaims> {
    options: Options,
    view: View<C>,
    renew_if: Option<Arc<Predicate<C>>>,
}

/// What does not depend on how private claims are read.
struct Options {
    keys: Keys,
    issuer: Choice,
    audience: Choice,
    accepted_audiences: Vec<String>,
    max_session_lifetime: Option<Option<u64>>,
    grace: Option<u64>,
    in_flight: Option<u64>,
    policy: Policy,
    clock: Box<dyn Clock>,
    store: Option<Arc<dyn ErasedStore>>,
    store_deadline: Duration,
    cache_bytes: u64,
    confirm: Option<Arc<Confirm>>,
    observe: Option<Arc<Observer>>,
    /// A predicate over other claims was given before the claims' type.
    lost_predicate: bool,
}

/// A name, or the word that there is none.
enum Choice {
    Unsaid,
    Without,
    Is(String),
    /// A name, and that there is none: which was meant, nobody can say.
    Both,
}

impl Choice {
    fn name(&mut self, name: String) {
        *self = if matches!(self, Self::Without | Self::Both) { Self::Both } else { Self::Is(name) };
    }

    fn without(&mut self) {
        *self = if matches!(self, Self::Is(_) | Self::Both) { Self::Both } else { Self::Without };
    }
}

impl AuthorityBuilder<PrivateClaims> {
    pub(super) fn new(keys: Keys) -> Self {
        let options = Options {
            keys,
            issuer: Choice::Unsaid,
            audience: Choice::Unsaid,
            accepted_audiences: Vec::new(),
            max_session_lifetime: None,
            grace: None,
            in_flight: None,
            policy: Policy {
                issuer: None,
                audiences: Vec::new(),
                legacy_audiences: Vec::new(),
                access_types: Vec::new(),
                access_claim: None,
                required_claims: Vec::new(),
                session_start_claim: "session_start".to_owned(),
                session_starts_at_auth_time: false,
                max_token_bytes: 8 * 1024,
                max_added_head_bytes: 3 * 1024,
                ignore_confirmation: false,
                longest_without_iat: None,
                lifetime: 600,
                leeway: 0,
                grace: 60,
                future_tolerance: 5,
                max_session_lifetime: None,
                old_horizons: Vec::new(),
                max_sessions: 100,
                in_flight: 60,
                jitter_percent: 10,
                admit_in_grace: false,
                reuse_ends_session: false,
                admit_after_store_loss: false,
            },
            clock: Box::new(SystemClock),
            store: None,
            store_deadline: Duration::from_secs(1),
            cache_bytes: 64 << 20,
            confirm: None,
            observe: None,
            lost_predicate: false,
        };
        Self { options, view: PrivateClaims::view, renew_if: None }
    }

    /// Reads the private claims as `T`, so that handlers get `T` and a token whose claims are none is refused.
    ///
    /// `T` is a read-only view: a successor is made from the token's own text, so claims that `T` does not know
    /// survive. It must not deny unknown fields, for the registered claims are among them. Default:
    /// [`PrivateClaims`], which reads nothing until asked.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_reissue::{Algorithm, Authority, Login, SigningKey};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Role {
    ///     role: String,
    /// }
    ///
    /// # async fn roles() -> Result<(), Box<dyn std::error::Error>> {
    /// let authority = Authority::builder(SigningKey::generate(Algorithm::EdDSA)?)
    ///     .issuer("https://login.example")
    ///     .audience("orders")
    ///     .max_session_lifetime(Duration::from_secs(12 * 3600))
    ///     .private_claims::<Role>()
    ///     .build()?;
    /// let token = authority.issue(Login::new("alice").claims(&Role { role: "admin".into() })).await?;
    /// // Handlers take a `VerifiedToken<Role>` out of the request's extensions.
    /// assert_eq!(authority.admit(token.as_str()).await?.claims().role, "admin");
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(roles()).unwrap();
    /// ```
    ///
    /// Call it before [`renew_if`](AuthorityBuilder::renew_if), which sees `T`: the other order is refused at build.
    pub fn private_claims<T: DeserializeOwned + Send + Sync + 'static>(self) -> AuthorityBuilder<T> {
        let lost_predicate = self.renew_if.is_some();
        AuthorityBuilder {
            options: Options { lost_predicate, ..self.options },
            view: |text| serde_json::from_str(text),
            renew_if: None,
        }
    }
}

impl<C: Send + Sync + 'static> AuthorityBuilder<C> {
    /// The issuer that own tokens name in `iss`, compared exactly (RFC 8725 §3.8). Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.options.issuer.name(issuer.into());
        self
    }

    /// Own tokens carry no `iss`, or one that is not looked at.
    ///
    /// Costs: a token of any issuer that shares the key is taken for an own one.
    pub fn without_issuer(mut self) -> Self {
        self.options.issuer.without();
        self
    }

    /// The audience that names this service; new tokens carry it (RFC 7519 §4.1.3). Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.options.audience.name(audience.into());
        self
    }

    /// One more audience that is accepted; a successor keeps it.
    pub fn also_accept_audience(mut self, audience: impl Into<String>) -> Self {
        self.options.accepted_audiences.push(audience.into());
        self
    }

    /// One more audience that is accepted; a successor names the primary one in its place.
    pub fn legacy_audience(mut self, audience: impl Into<String>) -> Self {
        let audience = audience.into();
        self.options.policy.legacy_audiences.push(audience.clone());
        self.options.accepted_audiences.push(audience);
        self
    }

    /// Tokens carry no `aud`, or one that is not looked at.
    ///
    /// Costs: a token meant for another service under the same key opens this one.
    pub fn without_audience(mut self) -> Self {
        self.options.audience.without();
        self
    }

    /// The longest a session may live from its first token on, whatever is reissued. Required.
    ///
    /// It is what ends a stolen token's use where nothing is revoked (RFC 9700 §4.14.2). Rounded down to whole seconds.
    pub fn max_session_lifetime(mut self, limit: Duration) -> Self {
        self.options.max_session_lifetime = Some(Some(limit.as_secs()));
        self
    }

    /// The lifetime L of new tokens. Default 600 s. Rounded down to whole seconds.
    ///
    /// Longer means that a stolen token works longer without being renewed.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.options.policy.lifetime = lifetime.as_secs();
        self
    }

    /// How long past `exp` a token is still admitted, for clocks that differ. Default 0, at most 60 s. Whole seconds, rounded
    /// down.
    ///
    /// Every second is a second more for a stolen token (RFC 7519 §4.1.4).
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.options.policy.leeway = leeway.as_secs();
        self
    }

    /// How long past `exp` a token that arrives expired may be exchanged for its successor. Default 60 s, or as much as
    /// a shorter lifetime allows; at most 300 s, never less than the leeway; counted from `exp`, never added to the
    /// leeway. The time before the renewal window must be longer, or a successor could be dead on arrival.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = Some(grace.as_secs());
        self
    }

    /// How far in the future `iat` and `nbf` may lie, for an issuer whose clock is ahead. Default 5 s, at most 60 s. Whole seconds, rounded
    /// down.
    ///
    /// A session signed in within seconds of its subject's revocation is dated ahead by so much at most. Under 1 s its
    /// first token waits for the next second.
    pub fn future_tolerance(mut self, tolerance: Duration) -> Self {
        self.options.policy.future_tolerance = tolerance.as_secs();
        self
    }

    /// Admits tokens without `iat`, as Langflow's and most hand-written minters' are. Default: they are refused. Seconds, rounded up; at least
    /// 1 s, ten years at most.
    ///
    /// `longest` is the longest life that any minter of such tokens gives them: of this service's own, and of each trusted
    /// issuer's. Such a token is read as issued `longest` before its `exp` (or when its session-start claim says, if that is
    /// later), so never later than it was. Its session begins then, unless the session-start claim says otherwise. Its
    /// successors carry an `iat`. An `iat` that is present is judged as ever. Give every node on one store the same `longest`.
    ///
    /// What it costs:
    ///
    /// * Where `longest` is shorter than the truth, a revocation of a subject's sessions misses tokens that were minted
    ///   before it: they are admitted again. A minter that rounds `exp` up needs a second more.
    /// * Where `longest` exceeds a token's true life by *d*, its session ends *d* earlier than the limit would have it, and
    ///   for *d* after such a revocation newly minted tokens are refused as well.
    /// * A token whose `exp` is further ahead than `longest` and the [tolerance](Self::future_tolerance) is refused: its
    ///   life is longer than you said. Only a freshly minted one shows it, so that is no protection; watch for it.
    pub fn accept_without_iat(mut self, longest: Duration) -> Self {
        let secs = longest.as_secs().saturating_add((longest.subsec_nanos() > 0).into());
        self.options.policy.longest_without_iat = Some(secs);
        self
    }

    /// How long past `exp` and leeway the response of a handler that is still running may carry a successor.
    /// Default, and least: the grace or 60 s, whichever is longer. More than 300 s needs a store and a
    /// [`max_session_lifetime`](Self::max_session_lifetime), which bounds how long the store keeps each token's record;
    /// [`Duration::MAX`] then means however long the handler took.
    pub fn in_flight_allowance(mut self, allowance: Duration) -> Self {
        self.options.in_flight = Some(allowance.as_secs());
        self
    }

    /// The most that the per-token jitter may take from the renewal window, in percent. Default 10, at most 50;
    /// 0 makes every token of one age renewable at the same instant.
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.options.policy.jitter_percent = percent.into();
        self
    }

    /// Accepts only access tokens of this header `typ`, and writes it (RFC 8725 §3.11). May be repeated; the first
    /// is written. Default: absent, `JWT` and `at+jwt` are accepted and `JWT` is written.
    pub fn access_type(mut self, typ: impl Into<String>) -> Self {
        self.options.policy.access_types.push(typ.into());
        self
    }

    /// Accepts only tokens whose claim `name` is the string `value`, and writes it: what tells an access token from
    /// a refresh or ID token under the same key.
    pub fn access_claim(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.policy.access_claim = Some((name.into(), value.into()));
        self
    }

    /// Refuses a token without this claim, or where it is `null`. May be repeated.
    pub fn require_claim(mut self, name: impl Into<String>) -> Self {
        self.options.policy.required_claims.push(name.into());
        self
    }

    /// The claim that tells when the session began. Default `session_start`.
    pub fn session_start_claim(mut self, name: impl Into<String>) -> Self {
        self.options.policy.session_start_claim = name.into();
        self
    }

    /// Where a token has no session-start claim, its `auth_time` (OpenID Connect Core §2) is the session's start.
    /// Otherwise `iat` is.
    pub fn session_starts_at_auth_time(mut self) -> Self {
        self.options.policy.session_starts_at_auth_time = true;
        self
    }

    /// The longest credential looked at, in bytes. Default 8192; 512 to 65536.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.options.policy.max_token_bytes = bytes;
        self
    }

    /// The most bytes that a layer adds to one response head for a successor, all fields together: their names, the
    /// cookie's attributes, `Cache-Control`, what is exposed to scripts and, where an expired token is exchanged, the default
    /// challenge. What a [`refuse_with`](crate::ReissueLayer::refuse_with) of your own adds is not counted. Default 3072; 1024
    /// to 65536. 512 of them are kept for all but the token, more where a header's name or a cookie's domain and path are
    /// long.
    ///
    /// A proxy holds a response head in a buffer of fixed size, nginx by default in 4 KiB, and answers 502 where it does not
    /// fit, after the handler ran. So a successor that needs more is not sent ([`NotReissued::HeadTooLarge`]), and
    /// [`issue`](super::Authority::issue) refuses a token whose successor would. Raise it together with the proxies'
    /// buffers: [the manual](crate::manual::operating) names their settings.
    ///
    /// [`NotReissued::HeadTooLarge`]: crate::NotReissued::HeadTooLarge
    pub fn max_added_head_bytes(mut self, bytes: usize) -> Self {
        self.options.policy.max_added_head_bytes = bytes;
        self
    }

    /// Where "now" comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Box::new(clock);
        self
    }

    /// The claims store. Without one nothing can be revoked, and a successor is derived from its predecessor.
    ///
    /// It keeps revocations for one [`Horizon`](crate::store::Horizon), for all authorities on it: the first sets what it
    /// needs, and one that needs more does not build. See [the manual](crate::manual::operating).
    ///
    /// A store that has to be waited for needs a Tokio runtime with its time driver on: the deadline is armed there, and
    /// without one the call panics. [`MemoryStore`](crate::MemoryStore) never has to be waited for.
    pub fn store(mut self, store: impl ClaimsStore) -> Self {
        self.options.store = Some(Arc::new(store));
        self
    }

    /// The most sessions of one subject that are live and recorded. Default 100; of more, the oldest ends.
    ///
    /// It keeps one user, or one service account, from filling the store for all. The store remembers ten times as many
    /// with those that ended; of more, those that began at or before the oldest are revoked in one.
    pub fn max_sessions_per_subject(mut self, sessions: usize) -> Self {
        self.options.policy.max_sessions = sessions;
        self
    }

    /// How long one call of the store may take before it counts as an outage. Default 1 s, ten years at most; 0 is refused.
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.options.store_deadline = clamped(deadline);
        self
    }

    /// How many bytes the memory of verified tokens may take. Default 64 MiB, some 30,000 tokens; 0 verifies every
    /// request's token anew.
    ///
    /// What is remembered is the proof, never a verdict: time, standing and keys are judged on every request.
    pub fn token_cache_bytes(mut self, bytes: u64) -> Self {
        self.options.cache_bytes = bytes;
        self
    }

    /// Admits sessions that began before the store lost its records, instead of refusing them.
    ///
    /// Costs: a session that was revoked before the loss is live again.
    pub fn admit_after_store_loss(mut self) -> Self {
        self.options.policy.admit_after_store_loss = true;
        self
    }

    /// A token that was superseded two or more generations ago ends its session when it arrives (RFC 9700
    /// §4.14.2). Default: it is reported, and not renewed.
    pub fn end_session_on_reuse(mut self) -> Self {
        self.options.policy.reuse_ends_session = true;
        self
    }

    /// Lets a request whose token arrives within the grace through to the handler. Default: it is answered 401
    /// with the successor, and the handler never runs.
    ///
    /// Costs: the grace becomes leeway, for every token that has not been superseded twice.
    pub fn admit_in_grace(mut self) -> Self {
        self.options.policy.admit_in_grace = true;
        self
    }

    /// Renews only tokens that `predicate` likes; the others live out their time. Default: all.
    ///
    /// It is asked again once a store has recorded a successor: a later refusal wins. One that panics renews nothing.
    pub fn renew_if(mut self, predicate: impl Fn(&VerifiedToken<C>) -> bool + Send + Sync + 'static) -> Self {
        self.renew_if = Some(Arc::new(predicate));
        self
    }

    /// Admits a token with `cnf` (RFC 7800) where `confirm` finds the sender's proof in the request. It is given
    /// the JSON text of `cnf`. Default: such a token is refused, since as a plain bearer token its binding is lost.
    /// A `confirm` that panics confirms nothing.
    pub fn confirm_with(
        mut self,
        confirm: impl Fn(&RequestHead<'_>, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.options.confirm = Some(Arc::new(confirm));
        self
    }

    /// Calls `observe` with every [`Event`], on the thread it happens on and after the fact: keep it short. One that panics
    /// changes nothing.
    ///
    /// Events about keys that a [`KeyRotation`](crate::keys::KeyRotation) keeps go to its own
    /// [`on_event`](crate::keys::KeyRotation::on_event): give both an observer.
    pub fn on_event(mut self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.options.observe = Some(Arc::new(observe));
        self
    }

    /// Options that give up a protection. Each says which.
    pub fn dangerous(self) -> DangerousBuilder<C> {
        DangerousBuilder(self)
    }
}

impl<C> fmt::Debug for AuthorityBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityBuilder")
            .field("keys", &self.options.keys)
            .field("policy", &self.options.policy)
            .finish_non_exhaustive()
    }
}

/// Options that give up a protection; made by [`AuthorityBuilder::dangerous`].
#[must_use = "a builder does nothing until `build`"]
#[derive(Debug)]
pub struct DangerousBuilder<C>(AuthorityBuilder<C>);

impl<C: Send + Sync + 'static> DangerousBuilder<C> {
    /// Sessions without a limit: a token that is renewed in time lives for ever, in a thief's hands too.
    ///
    /// With a store it also means that revocations are kept for ever, those of the other authorities on it too, since nothing
    /// bounds what they must outlive.
    pub fn unbounded_sessions(mut self) -> AuthorityBuilder<C> {
        self.0.options.max_session_lifetime = Some(None);
        self.0
    }

    /// Admits a token with `cnf` as if it were a plain bearer token: whoever steals it can use it, which its issuer
    /// meant to prevent (RFC 9449 §6).
    pub fn ignore_cnf(mut self) -> AuthorityBuilder<C> {
        self.0.options.policy.ignore_confirmation = true;
        self.0
    }
}
