//! [`Connector`]: connects to the host, directly or through a proxy's tunnel.

use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::keys::error::{KeyError, KeyErrorKind};

/// Which proxy to use.
pub(super) enum Proxy {
    /// The one that the environment names.
    Environment,
    At(Arc<Matcher>),
    None,
}

impl Proxy {
    pub(super) fn at(url: &str) -> Result<Self, KeyError> {
        let refused =
            |why: &str| KeyError::new(KeyErrorKind::Unavailable, format!("the URL of a proxy: {why}"));
        let uri: Uri =
            url.parse().map_err(|error: http::uri::InvalidUri| refused("it can't be read").because(error))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(refused("it is not `http://host:port`; proxies by TLS or SOCKS are not supported"));
        }
        Ok(Self::At(Arc::new(Matcher::builder().all(url.to_owned()).build())))
    }
}

#[derive(Clone)]
pub(super) struct Connector {
    direct: HttpConnector,
    /// `None`: no proxy.
    matcher: Option<Arc<Matcher>>,
    /// Whether loopback addresses are reached directly, because the environment named the proxy.
    spares_loopback: bool,
}

impl Connector {
    pub(super) fn new(proxy: &Proxy, timeout: Duration) -> Self {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(timeout));
        let matcher = match proxy {
            Proxy::Environment => Some(Arc::new(Matcher::from_env())),
            Proxy::At(matcher) => Some(Arc::clone(matcher)),
            Proxy::None => None,
        };
        Self { direct, matcher, spares_loopback: matches!(proxy, Proxy::Environment) }
    }

    fn tunnel_to(&self, uri: &Uri) -> Result<Option<Tunnel<HttpConnector>>, BoxError> {
        if uri.scheme() != Some(&Scheme::HTTPS) || (self.spares_loopback && is_loopback(uri)) {
            return Ok(None);
        }
        let Some(proxy) = self.matcher.as_ref().and_then(|matcher| matcher.intercept(uri)) else {
            return Ok(None);
        };
        if proxy.uri().scheme() != Some(&Scheme::HTTP) {
            return Err(
                "the environment names a proxy that is not `http://host:port`; others are not supported"
                    .into(),
            );
        }
        let tunnel = Tunnel::new(proxy.uri().clone(), self.direct.clone());
        Ok(Some(match proxy.basic_auth() {
            Some(auth) => tunnel.with_auth(auth.clone()),
            None => tunnel,
        }))
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self.tunnel_to(&uri) {
            Ok(None) => {
                let connecting = self.direct.call(uri);
                Box::pin(async move { Ok(connecting.await?) })
            }
            Ok(Some(mut tunnel)) => {
                let connecting = tunnel.call(uri);
                Box::pin(async move { Ok(connecting.await?) })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

/// Whether the host is a loopback address.
pub(super) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}
