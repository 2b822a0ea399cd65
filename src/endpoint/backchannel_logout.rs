//! [`BackchannelLogoutEndpoint`]: an OpenID provider ends its users' sessions here.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Response, StatusCode, request};
use http_body::Body;
use quick_cache::unsync::Cache;

use super::parameters::Parameters;
use super::post::serve_post;
use super::reply::{OAuthError, empty};
use crate::authority::{Authority, PrivateClaims, detached};
use crate::caught::{Caught, caught};
use crate::error::ConfigError;
use crate::server::FixedBody;
use crate::time::NumericDate;
use crate::token::identity::TokenId;
use crate::token::logout::{Logout, LogoutRules};

type BoxError = Box<dyn StdError + Send + Sync>;
type Ending = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
/// The tokens that were used, and those in use: `false`.
type Used = Mutex<Cache<TokenId, bool>>;
type OnLogout = dyn Fn(LogoutToken) -> Ending + Send + Sync;

/// Ends sessions when a trusted issuer says so, by OpenID Connect Back-Channel Logout 1.0.
///
/// The issuer `POST`s a logout token as the form parameter `logout_token`. It must be signed by a trusted issuer's key, be
/// meant for one of this service's client ids, and pass every check of §2.6; any other is answered 400. What it ends, for
/// tokens of that issuer:
///
/// * with `sid`, the session of that name, if the issuer's access tokens hold the same `sid`. If they hold none, call
///   [`by_subject`](Self::by_subject): the answer is a 200 that ends nothing otherwise;
/// * with `sub` alone, every session that the subject began up to the token's `iat`.
///
/// Sessions that this service began itself, after its users signed in at the issuer, have other names: end those in
/// [`on_logout`](Self::on_logout).
///
/// The answer is 200 once the store has recorded it. If the store, the issuer's keys or `on_logout` fails, it is 503, and the
/// issuer may send the token again. A token that was used is refused, in each process for itself (the last 10,000 are
/// remembered). In another process it is taken until [`max_age`](Self::max_age) after its `iat`, and ends nothing that its first
/// use did not end: no session that the subject began later, and no session of another name.
///
/// A client id is not bound to an issuer. If several issuers are trusted, each may send tokens for every client id given here, also
/// where the id is another service's at that issuer. Such a token ends sessions of its own issuer alone, never those of another,
/// but it also runs [`on_logout`](Self::on_logout), which must look at [`LogoutToken::issuer`]. If two issuers gave the same client
/// id to different services, mount one endpoint for each issuer, over an authority that trusts only this one.
///
/// Mount it outside the layer: the issuer has no access token.
///
/// ```
/// # use std::time::Duration;
/// # use tower_reissue::keys::{Algorithm, KeyRing, SigningKey};
/// use tower_reissue::{Authority, BackchannelLogoutEndpoint, MemoryStore};
///
/// # let jwks = [SigningKey::generate(Algorithm::ES256)?.verifying_key()];
/// let authority = Authority::builder(KeyRing::verify_only().trust("https://login.example", jwks)?)
///     .audience("https://orders.example")
///     .max_session_lifetime(Duration::from_secs(12 * 3600))
///     .store(MemoryStore::new())
///     .build()?;
/// let endpoint = BackchannelLogoutEndpoint::new(authority, ["orders-web"])?;
/// let app: axum::Router = axum::Router::new().route_service("/backchannel-logout", endpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
#[doc = in_hyper!("BackchannelLogoutEndpoint")]
#[must_use = "an endpoint does nothing until it is mounted"]
pub struct BackchannelLogoutEndpoint<C = PrivateClaims> {
    authority: Authority<C>,
    rules: Arc<LogoutRules>,
    on_logout: Option<Arc<OnLogout>>,
    used: Arc<Used>,
}

impl<C: Send + Sync + 'static> BackchannelLogoutEndpoint<C> {
    /// How many used tokens are remembered.
    const REMEMBERED: usize = 10_000;

    /// An endpoint for the client ids under which this service is registered at its issuers. Each counts for every trusted issuer.
    ///
    /// # Errors
    /// If there is no client id or a blank one, or the authority has no store.
    pub fn new(
        authority: Authority<C>,
        client_ids: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let clients: Vec<String> = client_ids.into_iter().map(Into::into).collect();
        if clients.is_empty() || clients.iter().any(|client| client.trim().is_empty()) {
            return Err(ConfigError::new(
                "a back-channel logout endpoint needs this service's client ids: without them, another client's tokens would do",
            ));
        }
        if !authority.can_revoke() {
            return Err(ConfigError::new(
                "a back-channel logout endpoint needs a store: give the authority's builder a `store`",
            ));
        }
        Ok(Self {
            authority,
            rules: Arc::new(LogoutRules {
                clients,
                allow_missing_type: false,
                max_age: LogoutRules::DEFAULT_MAX_AGE,
                by_subject: false,
            }),
            on_logout: None,
            used: Arc::new(Mutex::new(Cache::new(Self::REMEMBERED))),
        })
    }

    /// Takes logout tokens without `typ` too, which older issuers send. Default: `typ` must be `logout+jwt` (§2.4).
    ///
    /// Costs: only `events` then tells a logout token from another one, and such a token is admitted as an access token
    /// where its `aud` is an accepted audience.
    pub fn allow_missing_type(mut self) -> Self {
        Arc::make_mut(&mut self.rules).allow_missing_type = true;
        self
    }

    /// How long after its `iat` a logout token is taken, in whole seconds, whatever its `exp` says. Default 2 min, which the
    /// standard recommends (§4); at most 5 min. The issuer's leeway is added.
    ///
    /// Longer helps if the issuer sends a token again later than that. It costs time in which somebody who saw the token can send
    /// it to another process.
    ///
    /// # Errors
    /// If it is below 1 s or above 5 min. A store keeps a revocation for longer than 5 min; later, a token could end another
    /// session of the same `sid`.
    pub fn max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        let longest = Duration::from_secs(LogoutRules::LONGEST_MAX_AGE);
        if !(Duration::from_secs(1)..=longest).contains(&max_age) {
            return Err(ConfigError::new(format!(
                "`max_age` of logout tokens is {max_age:?}: it must be 1 s to 5 min, because a later replay could end a new session \
                 of the same `sid`",
            )));
        }
        Arc::make_mut(&mut self.rules).max_age = max_age.as_secs();
        Ok(self)
    }

    /// Ends the subject's sessions also where the logout token names one session, if it has a `sub`: every session that the
    /// subject began up to the token's `iat`, and the named one. Default: only the named one.
    ///
    /// For issuers whose access tokens lack the `sid` of their logout tokens, such as Auth0. It costs the subject's other
    /// sessions: who signs out on one device is signed out on all. If only some of your issuers need it, mount a second endpoint
    /// for them.
    pub fn by_subject(mut self) -> Self {
        Arc::make_mut(&mut self.rules).by_subject = true;
        self
    }

    /// Runs `end` for each logout token, after the issuer's own session was ended in the store: end the sessions that this
    /// service began for that user, with [`Authority::revoke_subject_before`] and the token's
    /// [`issued_at`](LogoutToken::issued_at). Compare its [`issuer`](LogoutToken::issuer) first: two issuers may use the same
    /// `sub` for different users. If it fails or panics the answer is 503, and it runs again when the issuer sends the token
    /// again. It runs to its end if the issuer hangs up, and nothing bounds its time. Until it ends, the token is answered 503,
    /// and what was revoked is not reported as an [`Event`](crate::Event).
    pub fn on_logout<F>(mut self, end: impl Fn(LogoutToken) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.on_logout = Some(Arc::new(move |token| Box::pin(end(token))));
        self
    }

    async fn post<B>(&self, parts: &request::Parts, body: B) -> Response<FixedBody>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let logged_out = match Parameters::read(&parts.headers, body).await {
            Ok(parameters) => match parameters.get("logout_token") {
                Some(token) => self.log_out(token).await,
                None => Err(OAuthError::invalid_request("the parameter logout_token is missing")),
            },
            Err(error) => Err(error),
        };
        logged_out.map_or_else(OAuthError::into_response, |()| empty(StatusCode::OK))
    }

    async fn log_out(&self, token: &str) -> Result<(), OAuthError> {
        let logout =
            self.authority.verify_logout(token.as_bytes(), &self.rules).await.map_err(|refusal| {
                self.authority.report_refusal(&refusal);
                match refusal.status() {
                    StatusCode::SERVICE_UNAVAILABLE => {
                        OAuthError::unavailable("the keys of the issuer can't be loaded")
                    }
                    _ => OAuthError::invalid_request(
                        "this is not a logout token of a trusted issuer for this client",
                    ),
                }
            })?;
        // Noted at once, so that two requests with one token do not both run the hook.
        let in_use = InUse::begin(&self.used, logout.id)?;
        // Completes even if the issuer hangs up: few send a token again.
        let this = self.clone();
        let ended = detached(async move {
            let (recorded, revoked) = this.authority.end_sessions_of(&logout).await;
            let _report = ReportRevoked { authority: &this.authority, recorded };
            // Dropped before the report, so that the token can come again while an observer blocks.
            let in_use = in_use;
            revoked.map_err(|_| OAuthError::unavailable("the sessions may still be live: try again"))?;
            if let Some(end) = &this.on_logout {
                this.ended_by(&**end, LogoutToken(logout)).await.map_err(|()| {
                    OAuthError::unavailable("the service's own sessions may still be live: try again")
                })?;
            }
            in_use.end();
            Ok(())
        });
        ended
            .await
            .unwrap_or_else(|| Err(OAuthError::unavailable("the sessions may still be live: try again")))
    }

    async fn ended_by(&self, end: &OnLogout, token: LogoutToken) -> Result<(), ()> {
        let panicked = || self.authority.reporter().panicked("on_logout");
        let ending = caught(|| end(token)).ok_or_else(panicked)?;
        Caught::new(ending).await.ok_or_else(panicked)?.map_err(drop)
    }
}

/// Reports the revocations when all is done, because an observer may block; also if the hook panics, or ends with the runtime.
struct ReportRevoked<'a, C: Send + Sync + 'static> {
    authority: &'a Authority<C>,
    recorded: usize,
}

impl<C: Send + Sync + 'static> Drop for ReportRevoked<'_, C> {
    fn drop(&mut self) {
        self.authority.report_revoked(self.recorded);
    }
}

/// The note that a logout token is in use. A token that ended nothing may come again, so the note goes when this is dropped,
/// also by a panic or with the runtime.
struct InUse {
    used: Arc<Used>,
    id: TokenId,
}

impl InUse {
    fn begin(used: &Arc<Used>, id: TokenId) -> Result<Self, OAuthError> {
        let mut all = lock(used);
        match all.get(&id) {
            Some(true) => Err(OAuthError::invalid_request("the logout token was used before")),
            Some(false) => Err(OAuthError::unavailable("the logout token is being used: try again")),
            None => {
                all.insert(id, false);
                Ok(Self { used: Arc::clone(used), id })
            }
        }
    }

    fn end(self) {
        lock(&self.used).insert(self.id, true);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut all = lock(&self.used);
        if all.get(&self.id) == Some(&false) {
            all.remove(&self.id);
        }
    }
}

fn lock(used: &Used) -> MutexGuard<'_, Cache<TokenId, bool>> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A logout token that holds.
#[derive(Clone)]
pub struct LogoutToken(Logout);

impl LogoutToken {
    /// `iss`, the issuer that ends the session.
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// `sub`, whose session it is, if the token says so.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// `sid`, the name that the issuer gave the session, if only one ends.
    pub fn session_id(&self) -> Option<&str> {
        self.0.sid.as_deref()
    }

    /// `iat`: no session that began later is meant.
    pub fn issued_at(&self) -> NumericDate {
        self.0.issued_at
    }
}

/// Whose session it is, is somebody's data.
impl fmt::Debug for LogoutToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogoutToken").field("issued_at", &self.0.issued_at).finish_non_exhaustive()
    }
}

serve_post!(BackchannelLogoutEndpoint);

impl<C> Clone for BackchannelLogoutEndpoint<C> {
    fn clone(&self) -> Self {
        Self {
            authority: self.authority.clone(),
            rules: Arc::clone(&self.rules),
            on_logout: self.on_logout.clone(),
            used: Arc::clone(&self.used),
        }
    }
}

impl<C> fmt::Debug for BackchannelLogoutEndpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackchannelLogoutEndpoint").field("rules", &self.rules).finish_non_exhaustive()
    }
}
