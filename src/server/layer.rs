//! [`ReissueLayer`]: what is put in front of a service.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use super::response::{Challenge, RefusalResponse};
use super::service::Reissue;
use crate::Cookie;
use crate::authority::{Authority, PrivateClaims};
use crate::token::bearer::Source;

/// Puts strict validation and safe reissue in front of any HTTP service: axum, hyper, tonic, or your own.
///
/// Handlers find the [`VerifiedToken`](crate::VerifiedToken) in the request's extensions.
pub struct ReissueLayer<C = PrivateClaims> {
    authority: Authority<C>,
    settings: Settings,
}

/// What one service and its response futures share.
pub(super) struct Shared<C> {
    pub(super) authority: Authority<C>,
    pub(super) settings: Settings,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) sources: Vec<Source>,
    pub(super) header: HeaderName,
    pub(super) pass_preflight: bool,
    pub(super) shows_token: bool,
    pub(super) refusals: Arc<dyn RefusalResponse>,
}

impl Settings {
    /// The cookie that this source is.
    pub(super) fn cookie(&self, source: usize) -> Option<&Cookie> {
        self.sources.get(source)?.as_cookie()
    }
}

impl<C: Send + Sync + 'static> ReissueLayer<C> {
    /// A layer that reads `Authorization: Bearer` and delivers in `Refreshed-API-Token`.
    pub fn new(authority: Authority<C>) -> Self {
        Self {
            authority,
            settings: Settings {
                sources: vec![Source::authorization()],
                header: HeaderName::from_static("refreshed-api-token"),
                pass_preflight: false,
                shows_token: true,
                refusals: Arc::new(Challenge::default()),
            },
        }
    }

    /// The places that are looked at for a token, in this order. The first that holds anything is the only one
    /// read, and its successor goes back the same way. Default: [`Source::authorization`] alone.
    pub fn read_from(mut self, sources: impl IntoIterator<Item = Source>) -> Self {
        self.settings.sources = sources.into_iter().collect();
        self
    }

    /// The response header that carries a successor. Default `Refreshed-API-Token`.
    pub fn deliver_in(mut self, header: HeaderName) -> Self {
        self.settings.header = header;
        self
    }

    /// Lets CORS preflights through without a token: `OPTIONS` with `Origin` and `Access-Control-Request-Method`.
    /// Default: they are refused like any request.
    ///
    /// Costs: a handler that answers `OPTIONS` is reachable without claims. Better put the CORS layer outside.
    pub fn pass_preflight(mut self) -> Self {
        self.settings.pass_preflight = true;
        self
    }

    /// Keeps the [`VerifiedToken`](crate::VerifiedToken) from the handlers: it is not put into the request's extensions.
    /// Default: it is. For a service that asks only whether, never who; it spares the memory and the time of an extension.
    pub fn without_extension(mut self) -> Self {
        self.settings.shows_token = false;
        self
    }

    /// Answers refusals with `response`. Default: a [`Challenge`] with the realm `api`; for another realm,
    /// [`Challenge::new`]. A successor is still added to what it returns.
    pub fn refuse_with(mut self, response: impl RefusalResponse) -> Self {
        self.settings.refusals = Arc::new(response);
        self
    }
}

impl<S, C> Layer<S> for ReissueLayer<C> {
    type Service = Reissue<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { authority, settings } = self;
        Reissue::new(inner, Arc::new(Shared { authority: authority.clone(), settings: settings.clone() }))
    }
}

impl<C> Clone for ReissueLayer<C> {
    fn clone(&self) -> Self {
        Self { authority: self.authority.clone(), settings: self.settings.clone() }
    }
}

impl<C> fmt::Debug for ReissueLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReissueLayer")
            .field("authority", &self.authority)
            .field("sources", &self.settings.sources)
            .field("header", &self.settings.header)
            .finish_non_exhaustive()
    }
}
