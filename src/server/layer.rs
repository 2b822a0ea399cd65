//! [`ReissueLayer`]: guards a service.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use super::challenge::{Challenge, RefusalResponse};
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
            pass_preflight: false,
            shows_token: true,
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
        self.0.authority.report_insecure_cookies(&sources);
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
    pub fn deliver_in(self, header: HeaderName) -> Self {
        self.with(|settings| settings.header = header)
    }

    /// Passes CORS preflights (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) to the handler without a
    /// token. Default: they are refused like any request without a token.
    ///
    /// Costs: a handler that answers `OPTIONS` is reachable without a token. Prefer a CORS layer outside this one.
    pub fn pass_preflight(self) -> Self {
        self.with(|settings| settings.pass_preflight = true)
    }

    /// Does not put the [`VerifiedToken`](crate::VerifiedToken) into the request's extensions. Default: it does. For
    /// a service whose handlers do not use the token; it saves the time and memory of an extension.
    pub fn without_extension(self) -> Self {
        self.with(|settings| settings.shows_token = false)
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
