//! [`BackchannelLogoutEndpoint`]: an OpenID provider ends its users' sessions here.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Response, StatusCode, request};
use http_body::Body;
use quick_cache::unsync::Cache;

use super::parameters::Parameters;
use super::post::serve_post;
use super::reply::{OAuthError, empty};
use crate::authority::{Authority, PrivateClaims};
use crate::caught::caught;
use crate::error::ConfigError;
use crate::server::FixedBody;
use crate::time::NumericDate;
use crate::token::identity::TokenId;
use crate::token::logout::{Logout, LogoutRules};

type BoxError = Box<dyn StdError + Send + Sync>;
type Ending = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type OnLogout = dyn Fn(LogoutToken) -> Ending + Send + Sync;

/// Ends sessions when a trusted issuer says so, by OpenID Connect Back-Channel Logout 1.0.
///
/// The issuer `POST`s a logout token as the form parameter `logout_token`. It must be signed by a trusted issuer's key, be
/// meant for one of this service's client ids, and pass every check of §2.6; any other is answered 400. What it ends, for
/// tokens of that issuer:
///
/// * with `sid`, the session of that name, if the issuer's access tokens hold the same `sid`;
/// * with `sub` alone, every session that the subject began up to the token's `iat`.
///
/// Sessions that this service began itself, after its users signed in at the issuer, have other names: end those in
/// [`on_logout`](Self::on_logout).
///
/// The answer is 200 once the store has recorded it. If the store, the issuer's keys or `on_logout` fails, it is 503, and the
/// issuer may send the token again. A token that was used is refused, in each process for itself (the last 10,000 are
/// remembered); elsewhere it ends nothing that began after its `iat`.
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
#[must_use = "an endpoint does nothing until it is mounted"]
pub struct BackchannelLogoutEndpoint<C = PrivateClaims> {
    authority: Authority<C>,
    rules: Arc<LogoutRules>,
    on_logout: Option<Arc<OnLogout>>,
    used: Arc<Mutex<Cache<TokenId, ()>>>,
}

impl<C: Send + Sync + 'static> BackchannelLogoutEndpoint<C> {
    /// How many used tokens are remembered.
    const REMEMBERED: usize = 10_000;

    /// An endpoint for the client ids under which this service is registered at its issuers.
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
                "a back-channel logout endpoint over a stateless authority: it could not revoke; give the builder a `store`",
            ));
        }
        Ok(Self {
            authority,
            rules: Arc::new(LogoutRules { clients, allow_missing_type: false }),
            on_logout: None,
            used: Arc::new(Mutex::new(Cache::new(Self::REMEMBERED))),
        })
    }

    /// Takes logout tokens without `typ` too, which older issuers send. Default: `typ` must be `logout+jwt` (§2.4).
    ///
    /// It costs a barrier between the kinds of tokens: only `events` then tells a logout token from another one, and such
    /// a token is admitted as an access token where its `aud` is an accepted audience.
    pub fn allow_missing_type(mut self) -> Self {
        Arc::make_mut(&mut self.rules).allow_missing_type = true;
        self
    }

    /// Runs `end` for each logout token, after the issuer's own session was ended in the store: end the sessions that this
    /// service began for that user, with [`Authority::revoke_subject_before`] and the token's
    /// [`issued_at`](LogoutToken::issued_at). If it fails or panics the answer is 503, and it runs again when the issuer
    /// sends the token again. Nothing bounds its time.
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
        let used = || self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used().get(&logout.id).is_some() {
            return Err(OAuthError::invalid_request("the logout token was used before"));
        }
        let id = logout.id;
        self.authority
            .end_sessions_of(&logout)
            .await
            .map_err(|_| OAuthError::unavailable("the sessions may still be live: try again"))?;
        if let Some(end) = &self.on_logout {
            self.ended_by(&**end, LogoutToken(logout)).await.map_err(|()| {
                OAuthError::unavailable("the service's own sessions may still be live: try again")
            })?;
        }
        // Only now: a token that ended nothing may come again.
        used().insert(id, ());
        Ok(())
    }

    async fn ended_by(&self, end: &OnLogout, token: LogoutToken) -> Result<(), ()> {
        let panicked = || self.authority.report_panic("on_logout");
        let mut ending = caught(|| end(token)).ok_or_else(panicked)?;
        let poll = |cx: &mut Context<'_>| match caught(|| ending.as_mut().poll(cx)) {
            Some(poll) => poll.map(Some),
            None => Poll::Ready(None),
        };
        match poll_fn(poll).await {
            Some(ended) => ended.map_err(drop),
            None => {
                panicked();
                Err(())
            }
        }
    }
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
