//! [`Authority`]: keys, policy, clock and store in one handle. The layer, the login handler and the endpoints share one.
//!
//! It has the clock, the keys and the store: it drives the protocols of `token`, waits, and signs. It decides nothing and builds no
//! response.
//!
//! What it offers to `server` and `endpoint`, besides its public methods:
//!
//! * [`Authority::arrive`]: judges a request's credential, to an [`Admission`] or a [`NotAdmitted`].
//! * [`Authority::due`] and [`Authority::renew`]: the successor at the response. [`Authority::replacement`]: the one that a
//!   handler chose.
//! * [`Authority::refresh_for`], [`Authority::sign_out_bytes`], [`Authority::verify_logout`], [`Authority::end_sessions_of`] and
//!   [`Authority::admit_unconfirmed`]: what an endpoint's request asks for.
//! * [`Authority::policy`]: sizes and dates. [`Authority::reporter`]: events.

mod admission;
mod arrive;
mod builder;
mod cache;
mod detached;
mod issue;
mod issued;
mod logout;
mod mint;
mod pair;
mod private_claims;
mod prove;
mod refresh;
mod reissue;
mod renew;
mod renewer;
mod revoke;
mod sign;
mod signed_successor;
mod verified_token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use admission::{Admission, Arrived, NotAdmitted, Refused, Verdict};
pub use builder::{AuthorityBuilder, DangerousBuilder, RefreshTokens};
use cache::TokenCache;
pub(crate) use detached::detached;
pub use issue::Login;
pub use issued::{IssueError, IssuedToken};
pub use pair::TokenPair;
pub use private_claims::PrivateClaims;
pub(crate) use prove::still_unknown;
pub use refresh::{Refresh, RefreshError};
pub(crate) use renew::DueSuccessor;
pub use renewer::RenewalRequest;
use renewer::Renewer;
use revoke::RetiredSignOuts;
pub use revoke::SignOutError;
pub(crate) use signed_successor::SignedSuccessor;
pub use verified_token::VerifiedToken;

use crate::caught::{NoAnswer, answer_within};
use crate::error::ConfigError;
use crate::keyring::event::KeyEvent;
use crate::keyring::handle::IntoKeys;
use crate::keyring::handle::Keys;
use crate::keyring::ring::KeyRing;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::refusal::Refusal;
use crate::request::head::RequestHead;
use crate::rotation::source::KeySource;
use crate::store::{ErasedStore, Presented, Standing, StoreError, StoreErrorKind};
use crate::telemetry::{Event, Reporter};
use crate::time::Clock;
use crate::time::NumericDate;
use crate::token::decision;
use crate::token::policy::Policy;

/// Issues, verifies, reissues and revokes tokens. Clones share one state.
///
/// `C` is the type that handlers read private claims as.
///
/// ```
/// use std::time::Duration;
/// use tower_reissue::keys::{Algorithm, SigningKey};
/// use tower_reissue::{Authority, Login};
///
/// # async fn sign_in() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = Authority::builder(SigningKey::generate(Algorithm::EdDSA)?)
///     .issuer("https://login.example")
///     .audience("orders")
///     .max_session_lifetime(Duration::from_secs(12 * 3600))
///     .build()?;
/// let token = authority.issue(Login::new("alice")).await?;
/// assert_eq!(authority.admit(token.as_str()).await?.subject(), Some("alice"));
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sign_in()).unwrap();
/// ```
pub struct Authority<C = PrivateClaims>(Arc<Inner<C>>);

struct Inner<C> {
    policy: Policy,
    keys: Keys,
    cache: Option<TokenCache<C>>,
    clock: Box<dyn Clock>,
    store: Option<Arc<dyn ErasedStore>>,
    store_deadline: Duration,
    renewer_deadline: Duration,
    hooks: Hooks<C>,
    reporter: Reporter,
    view: View<C>,
    retired_sign_outs: RetiredSignOuts,
}

/// Reads the private claims from the claims text.
type View<C> = fn(&Arc<str>) -> Result<C, serde_json::Error>;

type Predicate<C> = dyn Fn(&VerifiedToken<C>) -> bool + Send + Sync;
type Confirm = dyn Fn(&RequestHead<'_>, &str) -> bool + Send + Sync;

struct Hooks<C> {
    renew_if: Option<Arc<Predicate<C>>>,
    confirm: Option<Arc<Confirm>>,
    renewer: Option<Arc<Renewer>>,
}

impl Authority<PrivateClaims> {
    /// Builds an authority on these keys: [`Keys`] that a rotation keeps up to date, a [`KeyRing`], or a single
    /// [`SigningKey`](crate::keys::SigningKey).
    ///
    /// Keys that only verify ([`KeyRotation::verify_only`](crate::keys::KeyRotation::verify_only),
    /// [`KeyRing::verify_only`]) make an authority that admits the tokens of trusted issuers, and issues and renews nothing.
    ///
    /// A key source is none of these: a [`KeyRotation`](crate::keys::KeyRotation) reads it. The compiler's message
    /// says how.
    ///
    /// ```compile_fail,E0277
    /// # use tower_reissue::Authority;
    /// # use tower_reissue::keys::{Algorithm, FileSource, KeyFormat};
    /// let _ = Authority::builder(FileSource::new("key.pem", KeyFormat::pem(Algorithm::EdDSA)));
    /// ```
    pub fn builder(keys: impl IntoKeys) -> AuthorityBuilder<PrivateClaims> {
        AuthorityBuilder::new(keys.into_keys())
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Replaces the ring, for every new request and for requests in flight. A key that is not in the new ring admits
    /// and renews nothing from then on. To keep verifying with old keys, add them to the new ring with
    /// [`KeyRing::retiring`].
    ///
    /// # Errors
    /// If the ring trusts this authority's own issuer as a foreign one, if the signing key's JWK has a member `issuer` that is
    /// another one, or if a [`KeyRotation`](crate::keys::KeyRotation) manages the ring and would overwrite the new one.
    /// The old ring then stays in use.
    pub fn replace_keys(&self, keys: impl Into<KeyRing>) -> Result<(), ConfigError> {
        let keys = keys.into();
        if self.0.keys.is_managed() {
            return Err(ConfigError::new(
                "a `KeyRotation` manages these keys: put another key into its source, or call `withdraw_key`",
            ));
        }
        if keys.is_verify_only() != self.verifies_only() {
            return Err(ConfigError::new(
                "one ring has own keys and the other only verifies: that can't change after the authority is built",
            ));
        }
        builder::check_issuer(|iss| keys.trusted(iss).is_some(), &self.0.policy)?;
        keys.check_issuer(self.0.policy.issuer.as_deref()).map_err(builder::unfit_signing_key)?;
        self.0.keys.replace(keys);
        self.reporter().emit(&Event::Keys(KeyEvent::Replaced { ring: &self.0.keys.current() }));
        Ok(())
    }

    /// Trusts another issuer from now on, under keys that the [`KeyRotation`](crate::keys::KeyRotation) of this authority's
    /// keys reads from this source, as [`KeyRotation::trust`](crate::keys::KeyRotation::trust) does at the start. `issuer` is a
    /// name, or a [`TrustedIssuer`] that states what its tokens must be like.
    ///
    /// Call it for issuers of a list that you keep: no token causes an issuer to be trusted. It returns after the source
    /// answered or failed for the first time. A source that fails is reported as an event and read again in the background;
    /// until then the layer answers the issuer's tokens 503. The issuer stays trusted if the future is dropped meanwhile.
    ///
    /// If an issuer of this name or template is trusted already, it is replaced: a longer list of tenants, say. The new
    /// options are in force at once, and its keys stay in use until the new source has answered, or failed for
    /// [`stale_for`](crate::keys::KeyRotation::stale_for).
    ///
    /// # Errors
    /// If it is this authority's own issuer, a trusted issuer of another name can mean the same `iss`, one of the issuer's
    /// options can't be right, or no rotation manages the keys.
    pub async fn trust_issuer(
        &self,
        issuer: impl Into<TrustedIssuer>,
        source: impl KeySource,
    ) -> Result<(), KeyError> {
        let issuer = issuer.into();
        if self.0.policy.issuer.as_deref().is_some_and(|own| issuer.names(own)) {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                format!("{:?} is the own issuer, so it can't be a foreign one", issuer.name()),
            ));
        }
        self.0.keys.trust(issuer, Arc::new(source))?.await;
        Ok(())
    }

    /// Stops trusting an issuer, by its name or template. Its tokens are refused at once, also those of requests in flight:
    /// such a request gets no successor, and no further step of it is admitted. Returns whether it was trusted.
    ///
    /// Its sessions are not revoked in the store: if it is trusted again, its unexpired tokens are admitted again.
    pub fn distrust_issuer(&self, issuer: &str) -> bool {
        let is_removed = self.0.keys.distrust(issuer);
        if is_removed && !self.0.keys.is_managed() {
            self.reporter().emit(&Event::Keys(KeyEvent::Replaced { ring: &self.0.keys.current() }));
        }
        is_removed
    }

    /// Removes a compromised key at once, as [`Keys::withdraw`] does. Returns whether the ring held it.
    pub fn withdraw_key(&self, kid: &str) -> bool {
        let held = self.0.keys.withdraw(kid);
        if held && !self.0.keys.is_managed() {
            // Only the observer: `Keys::withdraw` has recorded it, because it can be called without an authority.
            self.reporter().tell_observer(&Event::Keys(KeyEvent::Replaced { ring: &self.0.keys.current() }));
        }
        held
    }

    /// Whether there is a store, so that sessions are recorded and can be revoked.
    pub fn can_revoke(&self) -> bool {
        self.0.store.is_some()
    }

    /// Whether it has no own keys, so that all its sessions are other issuers'.
    pub(crate) fn verifies_only(&self) -> bool {
        self.0.keys.is_verify_only()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.0.reporter
    }

    fn now(&self) -> NumericDate {
        self.0.clock.now()
    }

    /// The store's answer about a token. `None` if it failed, which is reported.
    async fn standing(&self, presented: Presented) -> Option<Standing> {
        let store = self.0.store.clone()?;
        self.ask(store.standing(presented)).await.ok()
    }

    /// Waits for the store, up to the deadline, and reports a failure.
    async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>> + Unpin,
    ) -> Result<T, StoreError> {
        let answered = answer_within(self.0.store_deadline, answer).await.unwrap_or_else(|none| {
            Err(match none {
                // An outage.
                NoAnswer::Panicked => {
                    self.reporter().panicked("store");
                    StoreError::with_source(StoreErrorKind::Unavailable, "it panicked")
                }
                NoAnswer::Late => StoreError::new(StoreErrorKind::Timeout),
            })
        });
        answered.inspect_err(|error| self.reporter().emit(&Event::StoreFailed { error }))
    }

    /// Reports the keys at the start, so that the keys of two processes can be compared.
    fn report_keys(&self) {
        let ring = self.0.keys.load();
        if !self.0.keys.is_managed() {
            self.reporter().emit(&Event::Keys(KeyEvent::Loaded { ring: &ring }));
        }
        if let Some(key) = ring.signing_key().filter(|key| key.is_ephemeral()) {
            self.reporter().emit(&Event::Keys(KeyEvent::Ephemeral { kid: key.kid() }));
        }
    }

    /// Reports a refusal with the ring, so that one line of the log shows the token's `kid` and the keys held.
    pub(crate) fn report_refusal(&self, refusal: &Refusal) {
        self.reporter().emit(&Event::Refused { refusal, ring: &self.0.keys.load() });
    }

    /// Whether the response to a refusal removes a cookie with this value.
    pub(crate) fn removes_cookie(&self, refusal: &Refusal, credential: Option<&[u8]>) -> bool {
        decision::removes_cookie(refusal, credential, self.now())
    }

    /// How long a browser keeps the cookie of a token. `at` is an instant in the past, so that a clock that stepped back since does
    /// not make it longer.
    pub(crate) fn cookie_max_age(&self, exp: NumericDate, at: NumericDate) -> u64 {
        self.policy().cookie_max_age(exp, self.now().max(at))
    }
}

/// The authority's keys. They are shared: a replacement is visible in both.
impl<C> From<&Authority<C>> for Keys {
    fn from(authority: &Authority<C>) -> Self {
        authority.0.keys.clone()
    }
}

impl<C> From<Authority<C>> for Keys {
    fn from(authority: Authority<C>) -> Self {
        Self::from(&authority)
    }
}

impl<C> IntoKeys for &Authority<C> {
    fn into_keys(self) -> Keys {
        self.into()
    }
}

impl<C> IntoKeys for Authority<C> {
    fn into_keys(self) -> Keys {
        self.into()
    }
}

impl<C> Clone for Authority<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Authority<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("keys", &*self.0.keys.load())
            .field("policy", &self.0.policy)
            .field("has_store", &self.0.store.is_some())
            .finish_non_exhaustive()
    }
}
