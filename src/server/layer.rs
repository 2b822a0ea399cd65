//! [`ReissueLayer`]: what is put in front of a service.

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

/// Puts strict validation and safe reissue in front of any HTTP service: axum, hyper, tonic, or your own.
///
/// Handlers find the [`VerifiedToken`](crate::VerifiedToken) in the request's extensions.
///
/// On axum, `Router::layer` and `route_layer` guard the routes that are there already: **a route that is added after them
/// stands open**. `route_layer` leaves unknown paths their 404, where `layer` answers them with 401 too.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ReissueLayer<C = PrivateClaims>(Arc<Shared<C>>);

impl<C: Send + Sync + 'static> ReissueLayer<C> {
    /// A layer that reads `Authorization: Bearer` and delivers in `Refreshed-API-Token`.
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

    /// The places that are looked at for a token, in this order. The first that holds anything is the only one
    /// read, and its successor goes back to the same place. Default: [`Source::authorization`] alone.
    pub fn read_from(self, sources: impl IntoIterator<Item = Source>) -> Self {
        let sources: Vec<_> = sources.into_iter().collect();
        self.0.authority.report_insecure_cookies(&sources);
        self.with(|settings| settings.sources = sources)
    }

    /// Lets pages of this origin, `https://app.example` say, open a WebSocket with a token in a cookie. May be repeated.
    /// Default: pages of the own origin alone, as `Sec-Fetch-Site: same-origin` tells.
    ///
    /// A browser lets any page open a WebSocket to any host and sends the cookie along, so such an upgrade is refused with
    /// 403 ([`Reason::CrossSite`](crate::Reason::CrossSite)) unless the browser says where it comes from. **Chrome sends no
    /// `Sec-Fetch-Site` with a WebSocket**, nor does any browser of before 2023: allow the origin of this service's own pages too.
    /// It is not taken from `Host`, which a proxy may have changed. A client that is no browser sends an allowed `Origin`, or
    /// its token in `Authorization`, which this does not concern. Nor does it concern a cookie that [`Source::custom`] reads.
    ///
    /// # Errors
    /// When this is not an origin: scheme, host, and a port that is not the scheme's own.
    pub fn allow_origin(self, origin: &str) -> Result<Self, ConfigError> {
        let mut allowed = Ok(());
        let layer = self.with(|settings| allowed = settings.origins.allow(origin));
        allowed.map(|()| layer)
    }

    /// The response header that carries a successor. Default `Refreshed-API-Token`.
    pub fn deliver_in(self, header: HeaderName) -> Self {
        self.with(|settings| settings.header = header)
    }

    /// Lets CORS preflights through without a token: `OPTIONS` with `Origin` and `Access-Control-Request-Method`.
    /// Default: they are refused like any request.
    ///
    /// Costs: a handler that answers `OPTIONS` is reachable without claims. Better put the CORS layer outside.
    pub fn pass_preflight(self) -> Self {
        self.with(|settings| settings.pass_preflight = true)
    }

    /// Keeps the [`VerifiedToken`](crate::VerifiedToken) from the handlers: it is not put into the request's extensions.
    /// Default: it is. For a service that asks only whether, never who; it spares the memory and the time of an extension.
    pub fn without_extension(self) -> Self {
        self.with(|settings| settings.shows_token = false)
    }

    /// Answers refusals with `response`. Default: a [`Challenge`] with the realm `api`; for another realm,
    /// [`Challenge::new`]. A successor is still added to what it returns.
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
