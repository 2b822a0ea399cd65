//! [`AuthorityBuilder`]: every option of an authority.

mod build;
mod refresh_tokens;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::renewer::{self, Renewer};
use super::{Confirm, Predicate, PrivateClaims, RenewalRequest, VerifiedToken, View};
use crate::keyring::handle::Keys;
use crate::request::head::RequestHead;
use crate::store::{ClaimsStore, ErasedStore};
use crate::telemetry::{Event, Observer};
use crate::time::{Clock, SystemClock, clamped};
use crate::token::claims::{ACCESS_CLAIMS, CLIENT_ID, SLIDING};
use crate::token::policy::{DEFAULT_LIFETIME, Policy};
use crate::token::renewal::Renewal;

pub(super) use build::{check_issuer, unfit_signing_key};
pub use refresh_tokens::RefreshTokens;

/// Names that an authority writes itself.
pub(super) const RESERVED: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"];

/// Names that an authority writes itself into the tokens of a pair.
pub(super) const PAIR_CLAIMS: [&str; 3] = [SLIDING, ACCESS_CLAIMS, CLIENT_ID];

/// Builds an [`Authority`](super::Authority). Issuer, audience and session limit have no default: set each, or call
/// the method that does without it. Durations are rounded down to whole seconds unless an option says otherwise. A
/// value that is out of bounds is an error of [`build`](Self::build).
///
/// An authority on keys that only verify ([`KeyRotation::verify_only`](crate::keys::KeyRotation::verify_only),
/// [`KeyRing::verify_only`](crate::keys::KeyRing::verify_only)) needs only an audience. There the options about
/// issuing and renewing are errors at build.
#[must_use = "a builder does nothing until `build`"]
pub struct AuthorityBuilder<C = PrivateClaims> {
    options: Options,
    view: View<C>,
    renew_if: Option<Arc<Predicate<C>>>,
}

/// The options that do not depend on the type of private claims.
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
    renewer: Option<Arc<Renewer>>,
    renewer_deadline: Duration,
    cache_bytes: u64,
    confirm: Option<Arc<Confirm>>,
    observe: Option<Arc<Observer>>,
    /// `renew_if` was called before `private_claims`, which changed the claims' type.
    lost_predicate: bool,
    /// The first option that was set and only applies to tokens which this service issues or renews.
    issuing: Option<&'static str>,
}

impl Options {
    fn issuing(&mut self, option: &'static str) {
        self.issuing.get_or_insert(option);
    }
}

/// A name that must be set or expressly left out.
enum Choice {
    Unset,
    Without,
    Name(String),
    /// Both options were called, which is an error.
    Both,
}

impl Choice {
    fn name(&mut self, name: String) {
        *self = if matches!(self, Self::Without | Self::Both) { Self::Both } else { Self::Name(name) };
    }

    fn without(&mut self) {
        *self = if matches!(self, Self::Name(_) | Self::Both) { Self::Both } else { Self::Without };
    }
}

impl AuthorityBuilder<PrivateClaims> {
    pub(super) fn new(keys: Keys) -> Self {
        let options = Options {
            keys,
            issuer: Choice::Unset,
            audience: Choice::Unset,
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
                lifetime: DEFAULT_LIFETIME,
                leeway: 0,
                grace: 60,
                future_tolerance: 5,
                max_session_lifetime: None,
                max_token_lifetime: None,
                old_horizons: Vec::new(),
                max_sessions: 100,
                in_flight: 60,
                jitter_percent: 10,
                admit_in_grace: false,
                reuse_ends_session: false,
                admit_after_store_loss: false,
                refresh: None,
            },
            clock: Box::new(SystemClock),
            store: None,
            store_deadline: Duration::from_secs(1),
            renewer: None,
            renewer_deadline: Duration::from_secs(5),
            cache_bytes: 64 << 20,
            confirm: None,
            observe: None,
            lost_predicate: false,
            issuing: None,
        };
        Self { options, view: PrivateClaims::view, renew_if: None }
    }

    /// Reads the private claims as `T`: handlers get a `T`, and a token whose claims can't be read as one is refused.
    ///
    /// `T` is a read-only view. A successor is made from its predecessor's own text, so it keeps claims that `T` does
    /// not know. `T` must not deny unknown fields, because the registered claims are among them. Default:
    /// [`PrivateClaims`], which reads a claim when a handler asks for it.
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
    /// Call it before [`renew_if`](AuthorityBuilder::renew_if), whose predicate takes `T`. The other order is an
    /// error at build.
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
    /// The issuer that this service's own tokens name in `iss`. It is compared exactly (RFC 8725 §3.8). Required,
    /// unless you call [`without_issuer`](Self::without_issuer).
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.options.issuing("issuer");
        self.options.issuer.name(issuer.into());
        self
    }

    /// Own tokens carry no `iss`, and one that is there is not checked.
    ///
    /// Costs: a token of any other issuer that uses the same key counts as an own one.
    pub fn without_issuer(mut self) -> Self {
        self.options.issuing("without_issuer");
        self.options.issuer.without();
        self
    }

    /// The audience that names this service. New tokens carry it in `aud` (RFC 7519 §4.1.3), and a token that arrives
    /// must name it or another accepted audience. Required, unless you call
    /// [`without_audience`](Self::without_audience).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.options.audience.name(audience.into());
        self
    }

    /// Accepts one more audience. A successor keeps it.
    pub fn also_accept_audience(mut self, audience: impl Into<String>) -> Self {
        self.options.accepted_audiences.push(audience.into());
        self
    }

    /// Accepts one more audience, which is being phased out: a successor names the primary audience in its place.
    pub fn legacy_audience(mut self, audience: impl Into<String>) -> Self {
        self.options.issuing("legacy_audience");
        let audience = audience.into();
        self.options.policy.legacy_audiences.push(audience.clone());
        self.options.accepted_audiences.push(audience);
        self
    }

    /// New tokens carry no `aud`, and one that is there is not checked.
    ///
    /// Costs: a token that was meant for another service under the same key is accepted here.
    pub fn without_audience(mut self) -> Self {
        self.options.audience.without();
        self
    }

    /// The longest a session may live, counted from its first token, however often it is renewed. Required, unless
    /// the keys only verify: tokens of trusted issuers are then bounded by their own `exp`.
    ///
    /// Where nothing is revoked, this is what ends the use of a stolen token (RFC 9700 §4.14.2). A session whose
    /// token is not renewed ends earlier: after the [`lifetime`](Self::lifetime) and the [`grace`](Self::grace), the
    /// idle timeout.
    pub fn max_session_lifetime(mut self, limit: Duration) -> Self {
        self.options.max_session_lifetime = Some(Some(limit.as_secs()));
        self
    }

    /// Refuses a token whose life, `exp - iat`, is longer. Default: no bound; one second to ten years. Only for keys
    /// that verify: this service's own tokens are bounded by [`max_session_lifetime`](Self::max_session_lifetime).
    ///
    /// Required together with a [`store`](Self::store), because a revocation is kept for as long as a token that
    /// exists at that time can still be admitted. Set the longest life that the trusted issuers give their access
    /// tokens.
    ///
    /// Costs: a larger value makes the store keep each revocation longer.
    pub fn max_token_lifetime(mut self, longest: Duration) -> Self {
        self.options.policy.max_token_lifetime = Some(longest.as_secs());
        self
    }

    /// The lifetime of new tokens, `exp - iat`. Default 600 s; 2 s to a year.
    ///
    /// A longer lifetime means that a stolen token works longer without being renewed. Lifetime and grace together
    /// are the session's idle timeout.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.options.issuing("lifetime");
        self.options.policy.lifetime = lifetime.as_secs();
        self
    }

    /// How long past `exp` a token is still admitted, for clocks that differ. Default 0, at most 60 s.
    ///
    /// Costs: a stolen token works that much longer (RFC 7519 §4.1.4).
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.options.policy.leeway = leeway.as_secs();
        self
    }

    /// How long past `exp` a token that arrives expired may be exchanged for its successor. Default 60 s, or less if
    /// a shorter lifetime allows only that; at most 300 s, and at least the leeway. It counts from `exp` and is never
    /// added to the leeway.
    ///
    /// The grace must be shorter than the part of a token's life before its renewal window. Otherwise a successor
    /// could be expired when it is sent.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.issuing("grace");
        self.options.grace = Some(grace.as_secs());
        self
    }

    /// How far in the future `iat` and `nbf` may lie, for an issuer whose clock is ahead. Default 5 s, at most 60 s.
    ///
    /// It also bounds how far ahead [`issue`](super::Authority::issue) may date a session that begins within seconds
    /// of a revocation of its subject. With less than 1 s such a sign-in has to wait for the next second.
    ///
    /// Give all authorities on one store the same tolerance. A revocation reaches as far ahead as its revoker tolerates, so
    /// after one by an authority with a larger tolerance, a sign-in through this one may have to wait for up to the
    /// difference.
    pub fn future_tolerance(mut self, tolerance: Duration) -> Self {
        self.options.policy.future_tolerance = tolerance.as_secs();
        self
    }

    /// Admits tokens without `iat`, as Langflow and many hand-written minters make them. Default: they are refused.
    /// `longest` is in seconds, rounded up; 1 s to ten years.
    ///
    /// `longest` is the longest life that any minter of such tokens gives them: this service's own minters and each
    /// trusted issuer's. Such a token counts as issued `longest` before its `exp`, or at its session start if that
    /// claim is later; never later than it really was. Its session begins then, unless the session-start claim says
    /// otherwise. Its successors carry an `iat`. An `iat` that is present is judged as always. Set the same `longest`
    /// on every node: successors and session starts follow from it.
    ///
    /// It applies to every trusted issuer, unless its [`TrustedIssuer`](crate::keys::TrustedIssuer) sets its own
    /// [`accept_without_iat`](crate::keys::TrustedIssuer::accept_without_iat). If only one issuer writes no `iat`, set it on that
    /// one alone: then tokens without `iat` of all others are refused.
    ///
    /// Costs:
    ///
    /// * If `longest` is too short, a revocation of a subject's sessions misses tokens that were minted before it:
    ///   they are admitted again. A minter that rounds `exp` up needs a second more.
    /// * If `longest` exceeds a token's true life by *d*, its session ends *d* earlier than the session limit says,
    ///   and for *d* after such a revocation newly minted tokens are refused too. So they are for *d* after a durable
    ///   store was created or lost its records ([how to add one](crate::manual::coming_from_jsonwebtoken#to-a-store)).
    /// * A token whose `exp` is further ahead than `longest` and the [tolerance](Self::future_tolerance) is refused,
    ///   because its life is longer than you said. Only a freshly minted token shows this, so it protects nothing;
    ///   watch for it.
    pub fn accept_without_iat(mut self, longest: Duration) -> Self {
        let secs = longest.as_secs().saturating_add((longest.subsec_nanos() > 0).into());
        self.options.policy.longest_without_iat = Some(secs);
        self
    }

    /// How long past `exp` and leeway the response of a request that was admitted in time may still carry a
    /// successor. Default, and lower bound: the grace or 60 s, whichever is longer. More than 300 s needs a store and
    /// a [`max_session_lifetime`](Self::max_session_lifetime), which bounds how long the store keeps each token's
    /// record. [`Duration::MAX`] then means no limit.
    pub fn in_flight_allowance(mut self, allowance: Duration) -> Self {
        self.options.issuing("in_flight_allowance");
        self.options.in_flight = Some(allowance.as_secs());
        self
    }

    /// The largest part of the renewal window, in percent, that the per-token jitter may take away. Default 10, at
    /// most 50. With 0 all tokens of one age become renewable at the same instant.
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.options.issuing("jitter_percent");
        self.options.policy.jitter_percent = percent.into();
        self
    }

    /// Accepts only access tokens with this `typ` in the header, and writes it (RFC 8725 §3.11). Call it again to
    /// accept several; the first is written. Default: `JWT`, `at+jwt` and an absent `typ` are accepted, and `JWT` is
    /// written.
    pub fn access_type(mut self, typ: impl Into<String>) -> Self {
        self.options.policy.access_types.push(typ.into());
        self
    }

    /// Accepts only tokens whose claim `name` is the string `value`, and writes it into new ones. Use it to tell
    /// access tokens from refresh or ID tokens under the same key. Default: no such claim.
    pub fn access_claim(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.policy.access_claim = Some((name.into(), value.into()));
        self
    }

    /// Refuses a token that lacks this claim or in which it is `null`. Call it again to require several. Default:
    /// none.
    pub fn require_claim(mut self, name: impl Into<String>) -> Self {
        self.options.policy.required_claims.push(name.into());
        self
    }

    /// The claim that holds the instant at which the session began. Default `session_start`.
    pub fn session_start_claim(mut self, name: impl Into<String>) -> Self {
        self.options.policy.session_start_claim = name.into();
        self
    }

    /// Takes `auth_time` (OpenID Connect Core §2) as the session's start if a token has no session-start claim.
    /// Default: `iat` is taken. It applies to trusted issuers too, except those with
    /// [`TrustedIssuer::session_starts_at_iat`](crate::keys::TrustedIssuer::session_starts_at_iat).
    pub fn session_starts_at_auth_time(mut self) -> Self {
        self.options.policy.session_starts_at_auth_time = true;
        self
    }

    /// Issues refresh tokens: [`issue_pair`](super::Authority::issue_pair) begins a session with a short access token and a
    /// refresh token. Default: there are none, and access tokens are renewed in responses.
    ///
    /// Needs a [`store`](Self::store), because only its record shows that a refresh token was used twice. Together with
    /// [`without_audience`](Self::without_audience) it needs an [`access_claim`](Self::access_claim), which is `refresh` in a
    /// refresh token, so that software that checks neither `typ` nor `aud` can tell the two apart.
    pub fn refresh_tokens(mut self, refresh_tokens: RefreshTokens) -> Self {
        self.options.issuing("refresh_tokens");
        self.options.policy.refresh = Some(refresh_tokens.into_policy());
        self
    }

    /// The longest credential that is accepted, in bytes. Default 8192; 512 to 65536.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.options.policy.max_token_bytes = bytes;
        self
    }

    /// The most bytes that a layer adds to one response head for a successor. All fields count, with their names: the
    /// successor, the cookie's attributes, `Cache-Control`, `Access-Control-Expose-Headers` and, in an exchange, the
    /// default challenge. What a [`refuse_with`](crate::ReissueLayer::refuse_with) of your own adds does not count.
    /// Default 3072; 1024 to 65536. Of these, 512 are reserved for everything but the token, and more if a header's
    /// name or a cookie's domain and path are long.
    ///
    /// A proxy reads a response head into a buffer of fixed size (nginx: 4 KiB by default). If the head does not fit,
    /// the client gets a 502, although the handler ran. So a successor that needs more is not sent
    /// ([`NotReissued::HeadTooLarge`]), and [`issue`](super::Authority::issue) refuses a token whose successor would
    /// need more. Raise this bound together with the proxies' buffers: [the manual](crate::manual::operating) names
    /// their settings.
    ///
    /// [`NotReissued::HeadTooLarge`]: crate::NotReissued::HeadTooLarge
    pub fn max_added_head_bytes(mut self, bytes: usize) -> Self {
        self.options.issuing("max_added_head_bytes");
        self.options.policy.max_added_head_bytes = bytes;
        self
    }

    /// The clock. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Box::new(clock);
        self
    }

    /// The claims store. Default: none. Without a store nothing can be revoked, and a successor is derived from its
    /// predecessor.
    ///
    /// A store keeps revocations for one [`Horizon`](crate::store::Horizon), for all authorities on it. The first
    /// authority sets it to what it needs. An authority that needs more does not build; see [the
    /// manual](crate::manual::operating).
    ///
    /// A store that has to be waited for needs a Tokio runtime with its time driver enabled, for the deadline;
    /// without one the call panics. [`MemoryStore`](crate::MemoryStore) never has to be waited for.
    pub fn store(mut self, store: impl ClaimsStore) -> Self {
        self.options.store = Some(Arc::new(store));
        self
    }

    /// The most live sessions of one subject that the store records. Default 100. A further sign-in ends the oldest of
    /// the others, and so does the first renewal of a token minted elsewhere. The session just opened does not end,
    /// even if it is the oldest by its start. Of parallel sign-ins more may be left, until the next one.
    ///
    /// This keeps one user, or one service account, from filling the store for everybody. The store remembers ten
    /// times as many sessions, with those that ended. If there are more, all sessions that began no later than the
    /// oldest are revoked in one record. While it remembers that many, a session that began no later than the oldest is not
    /// recorded: a token of it that was minted elsewhere is admitted and not renewed ([`Revoked`](crate::NotReissued::Revoked)).
    pub fn max_sessions_per_subject(mut self, sessions: usize) -> Self {
        self.options.issuing("max_sessions_per_subject");
        self.options.policy.max_sessions = sessions;
        self
    }

    /// How long one call to the store may take before it counts as an outage. Default 1 s, more than 0, at most ten
    /// years. It is not rounded.
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.options.store_deadline = clamped(deadline);
        self
    }

    /// The size of the cache of verified tokens, in bytes. Default 64 MiB, enough for some 30,000 tokens. 0 turns the
    /// cache off: each request's token is verified anew.
    ///
    /// The cache holds proofs that a signature was good, never verdicts. Time, standing and keys are checked for
    /// every request.
    pub fn token_cache_bytes(mut self, bytes: u64) -> Self {
        self.options.cache_bytes = bytes;
        self
    }

    /// Admits sessions that began before the store lost its records. Default: they are refused.
    ///
    /// Costs: a session that was revoked before the loss is live again.
    pub fn admit_after_store_loss(mut self) -> Self {
        self.options.policy.admit_after_store_loss = true;
        self
    }

    /// Ends a session when one of its tokens arrives that was superseded two or more generations ago (RFC 9700
    /// §4.14.2). Default: this is reported, and the token is not renewed. Needs a store.
    pub fn end_session_on_reuse(mut self) -> Self {
        self.options.issuing("end_session_on_reuse");
        self.options.policy.reuse_ends_session = true;
        self
    }

    /// Admits a request whose token arrives within the grace. Default: it is answered 401 with the successor, and the
    /// handler does not run.
    ///
    /// Costs: the grace acts as leeway, for every token that was not superseded two or more generations ago.
    pub fn admit_in_grace(mut self) -> Self {
        self.options.issuing("admit_in_grace");
        self.options.policy.admit_in_grace = true;
        self
    }

    /// Renews only tokens for which `predicate` returns true. The others expire. Default: all are renewed.
    ///
    /// With a store the predicate is called again after the successor was recorded; if it returns false then, the
    /// successor is not sent. A predicate that panics counts as false.
    pub fn renew_if(mut self, predicate: impl Fn(&VerifiedToken<C>) -> bool + Send + Sync + 'static) -> Self {
        self.options.issuing("renew_if");
        self.renew_if = Some(Arc::new(predicate));
        self
    }

    /// Asks `renewer` at each refresh and at each renewal what the next token holds: the same claims ([`Renewal::keep`]), fewer
    /// scopes or audiences, for a pair other private claims, or nothing at all, for an account that was blocked. Default: the
    /// same claims.
    ///
    /// It is asked once, before the store records anything, after [`renew_if`](Self::renew_if). If it fails, panics or takes
    /// longer than the [`renewer_deadline`](Self::renewer_deadline), a refresh or an exchange in the grace is answered 503, the
    /// token is not spent, and a response goes out without a successor. Of parallel requests with one token each asks, and the
    /// first successor on record is the one that all get. Where the renewer leaves less by then than that one has, a request gets
    /// none ([`NotReissued::AlreadyReissued`](crate::NotReissued::AlreadyReissued)), and is refused in the grace.
    ///
    /// Needs a [`store`](Self::store): without one every node derives the same successor.
    ///
    /// Costs: a response in whose renewal window the renewer is asked waits for its answer.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use serde_json::json;
    /// # use tower_reissue::{Algorithm, Authority, MemoryStore, RefreshTokens, SigningKey};
    /// use tower_reissue::{Renewal, RenewalRequest};
    /// # struct Account { is_blocked: bool, role: String }
    /// # async fn account(_: Option<&str>) -> Result<Account, std::io::Error> { unimplemented!() }
    /// # let builder = Authority::builder(SigningKey::generate(Algorithm::EdDSA)?);
    ///
    /// let builder = builder
    ///     .refresh_tokens(RefreshTokens::new("https://login.example/refresh"))
    ///     .renew_with(|request: RenewalRequest| async move {
    ///         let account = account(request.subject()).await?;
    ///         Ok(match account.is_blocked {
    ///             true => Renewal::refuse("the account is blocked"),
    ///             false => Renewal::keep().claims(&json!({ "role": account.role })),
    ///         })
    ///     });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Renewal::keep`]: crate::Renewal::keep
    pub fn renew_with<F, R>(mut self, renewer: F) -> Self
    where
        F: Fn(RenewalRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Renewal, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.options.issuing("renew_with");
        self.options.renewer = Some(renewer::erase(renewer));
        self
    }

    /// How long the renewer of [`renew_with`](Self::renew_with) may take before it counts as failed. Default 5 s, more
    /// than 0, at most ten years. It is not rounded.
    pub fn renewer_deadline(mut self, deadline: Duration) -> Self {
        self.options.issuing("renewer_deadline");
        self.options.renewer_deadline = clamped(deadline);
        self
    }

    /// Admits a token with `cnf` (RFC 7800) if `confirm` returns true, that is, if it finds the sender's proof in the
    /// request. It gets the JSON text of `cnf`. Default: a token with `cnf` is refused, because as a plain bearer
    /// token it would lose its binding. A `confirm` that panics counts as false.
    pub fn confirm_with(
        mut self,
        confirm: impl Fn(&RequestHead<'_>, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.options.confirm = Some(Arc::new(confirm));
        self
    }

    /// Calls `observe` with every [`Event`], after the fact and on the thread on which it happens: keep it short. If
    /// it panics, nothing else changes.
    ///
    /// If it blocks, the request or the call that caused the event waits, after it was decided and what it revokes was
    /// recorded. No lock is held, so no other request waits for it. But the thread is one of the runtime's, and every task
    /// that only this thread can run waits too: on a current-thread runtime all requests. The same holds for a `tracing`
    /// subscriber. To do something slow, send the event to a task.
    ///
    /// Events about keys that a [`KeyRotation`](crate::keys::KeyRotation) manages go to the rotation's own
    /// [`on_event`](crate::keys::KeyRotation::on_event): set both.
    pub fn on_event(mut self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.options.observe = Some(Arc::new(observe));
        self
    }

    /// Options that give up a protection. The documentation of each says which one.
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

/// Options that give up a protection. Made by [`AuthorityBuilder::dangerous`].
#[must_use = "a builder does nothing until `build`"]
#[derive(Debug)]
pub struct DangerousBuilder<C>(AuthorityBuilder<C>);

impl<C: Send + Sync + 'static> DangerousBuilder<C> {
    /// Sessions without a limit. A token that is renewed in time lives for ever, also a stolen one.
    ///
    /// With a store, revocations are then kept for ever, also those of the other authorities on it, because nothing
    /// bounds how long they matter.
    pub fn unbounded_sessions(mut self) -> AuthorityBuilder<C> {
        self.0.options.max_session_lifetime = Some(None);
        self.0
    }

    /// Admits a token with `cnf` as if it were a plain bearer token. Whoever steals it can use it, which its issuer
    /// meant to prevent (RFC 9449 §6).
    pub fn ignore_cnf(mut self) -> AuthorityBuilder<C> {
        self.0.options.policy.ignore_confirmation = true;
        self.0
    }
}
