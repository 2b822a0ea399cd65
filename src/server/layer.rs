//! [`ReissueLayer`]: the layer that guards a service.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use super::challenge::{Challenge, RefusalResponse};
use super::deliver::is_reserved;
use super::service::Reissue;
use super::settings::Settings;
use super::shared::Shared;
use crate::authority::{Authority, PrivateClaims};
use crate::error::ConfigError;
use crate::request::credential::Source;
use crate::request::cross_site::AllowedOrigins;

/// Validates and reissues tokens in front of any HTTP service: axum, hyper, tonic, or your own.
///
/// Handlers find the [`VerifiedToken`](crate::VerifiedToken) in the request's extensions.
///
/// On axum, `Router::layer` and `route_layer` guard the routes that were added before the call: **a route that is
/// added after it is not guarded**. With `route_layer` an unknown path is answered 404; with `layer` it is answered
/// 401 without a token.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ReissueLayer<C = PrivateClaims>(Arc<Shared<C>>);

impl<C: Send + Sync + 'static> ReissueLayer<C> {
    /// A layer that reads `Authorization: Bearer` and sends successors in `Refreshed-API-Token`.
    pub fn new(authority: Authority<C>) -> Self {
        let settings = Settings {
            sources: vec![Source::authorization()],
            header: HeaderName::from_static("refreshed-api-token"),
            optional: false,
            pass_preflight: false,
            inserts_token: true,
            refusals: Arc::new(Challenge::default()),
            origins: AllowedOrigins::default(),
        };
        Self(Arc::new(Shared { authority, settings }))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut Arc::make_mut(&mut self.0).settings);
        self
    }

    /// Where to look for a token, in this order. Only the first source that holds anything is read, and the successor
    /// goes back to the same place. Default: [`Source::authorization`] alone.
    pub fn read_from(self, sources: impl IntoIterator<Item = Source>) -> Self {
        let sources: Vec<_> = sources.into_iter().collect();
        self.0.authority.reporter().insecure_cookies(&sources);
        self.with(|settings| settings.sources = sources)
    }

    /// Lets pages of this origin, for example `https://app.example`, open a WebSocket with a token in a cookie. Call
    /// it again to allow several. Default: only pages of the same origin, which browsers mark with `Sec-Fetch-Site:
    /// same-origin`.
    ///
    /// A browser lets any page open a WebSocket to any host and sends the cookie with it. So such an upgrade is
    /// refused with 403 ([`Reason::CrossSite`](crate::Reason::CrossSite)) unless the browser says where it comes
    /// from. **Chrome sends no `Sec-Fetch-Site` with a WebSocket**, and no browser did before 2023: allow the origin
    /// of this service's own pages too. The own origin is not taken from `Host`, because a proxy may have changed it.
    ///
    /// Not affected are tokens in `Authorization`, and cookies that a [`Source::custom`] reads. A client other than a
    /// browser can send an allowed `Origin`.
    ///
    /// # Errors
    /// If this is not an origin: a scheme, a host, and a port if it is not the scheme's default.
    pub fn allow_origin(self, origin: &str) -> Result<Self, ConfigError> {
        let mut allowed = Ok(());
        let layer = self.with(|settings| allowed = settings.origins.allow(origin));
        allowed.map(|()| layer)
    }

    /// The response header that carries a successor. Default `Refreshed-API-Token`.
    ///
    /// # Errors
    /// If the header has a meaning of its own to the layer, a cache or a client, as `Cache-Control` has.
    pub fn deliver_in(self, header: HeaderName) -> Result<Self, ConfigError> {
        if is_reserved(&header) {
            return Err(ConfigError::new(format!(
                "a successor can't be delivered in `{header}`, which has another meaning: choose a name of your own, \
                 or keep `Refreshed-API-Token`"
            )));
        }
        Ok(self.with(|settings| settings.header = header))
    }

    /// Lets a request without a credential through to the handler, which then finds no token, not even one of a layer further out.
    /// A request with a bad credential is still refused. Default: a request without a credential is refused.
    ///
    /// Costs: a proxy that removes a credential makes its sender anonymous without an error. Some proxies drop a header that they
    /// consider malformed or too long; [the manual](crate::manual::operating) names their settings.
    ///
    /// With axum, a handler behind such a layer takes `Option<VerifiedToken>`. One that takes `VerifiedToken` answers an
    /// anonymous request as the layer refuses: 401 with its challenge. `Result<VerifiedToken, VerifiedTokenRejection>` keeps
    /// that refusal for the handler. On other frameworks, look for a [`VerifiedToken`](crate::VerifiedToken) in the request's
    /// extensions.
    ///
    /// Use one router each for routes that must, may and must not read a token. The last has no layer, so that a bad credential
    /// does not prevent a sign-in.
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use axum::{Router, routing::get};
    /// use tower_reissue::{Authority, ReissueLayer, VerifiedToken};
    ///
    /// async fn account(token: VerifiedToken) -> String {
    ///     format!("Account of {}", token.subject().unwrap_or_default())
    /// }
    ///
    /// async fn shop(token: Option<VerifiedToken>) -> &'static str {
    ///     if token.is_some() { "Welcome back" } else { "Welcome" }
    /// }
    ///
    /// fn routes(authority: Authority) -> Router {
    ///     let layer = ReissueLayer::new(authority);
    ///     let must = Router::new().route("/account", get(account)).route_layer(layer.clone());
    ///     let may = Router::new().route("/shop", get(shop)).route_layer(layer.optional());
    ///     let must_not = Router::new().route("/health", get(async || "ok"));
    ///     must.merge(may).merge(must_not)
    /// }
    /// # let _ = routes;
    /// # }
    /// ```
    pub fn optional(self) -> Self {
        self.with(|settings| settings.optional = true)
    }

    /// Passes CORS preflights (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) to the handler without a
    /// token. Default: they are refused like any request without a token.
    ///
    /// Costs: a handler that answers `OPTIONS` is reachable without a token. Prefer a CORS layer outside this one. A
    /// [`RequireScope`](crate::RequireScope) further in refuses a preflight, as it does any request without a token.
    pub fn pass_preflight(self) -> Self {
        self.with(|settings| settings.pass_preflight = true)
    }

    /// Does not put the [`VerifiedToken`](crate::VerifiedToken) into the request's extensions. Default: it does. For
    /// a service whose handlers do not use the token; it saves the time and memory of an extension.
    pub fn without_extension(self) -> Self {
        self.with(|settings| settings.inserts_token = false)
    }

    /// Answers refusals with `response`. Default: a [`Challenge`] with the realm `api`; [`Challenge::new`] sets
    /// another realm. The layer still adds a successor to the response.
    pub fn refuse_with(self, response: impl RefusalResponse) -> Self {
        self.with(|settings| settings.refusals = Arc::new(response))
    }
}

impl<S, C> Layer<S> for ReissueLayer<C> {
    type Service = Reissue<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Reissue::new(inner, Arc::clone(&self.0))
    }
}

impl<C> Clone for ReissueLayer<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for ReissueLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { authority, settings } = &*self.0;
        f.debug_struct("ReissueLayer")
            .field("authority", authority)
            .field("sources", &settings.sources)
            .field("header", &settings.header)
            .finish_non_exhaustive()
    }
}
