//! [`MetadataEndpoint`]: tells clients where the other endpoints are.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use tower_service::Service;

use super::document::{self, cache_control};
use crate::error::ConfigError;
use crate::jose::json::quoted;
use crate::server::FixedBody;

/// Publishes the metadata of an authorisation server (RFC 8414), for `GET` and `HEAD`: the issuer's name, and where the
/// endpoints are that you mounted.
///
/// Mount it outside the layer, at `/.well-known/oauth-authorization-server`. If the issuer's URL has a path, that follows:
/// `/.well-known/oauth-authorization-server/tenant` for `https://login.example/tenant` (RFC 8414 §3).
///
/// ```
/// use tower_reissue::MetadataEndpoint;
///
/// let endpoint = MetadataEndpoint::new("https://login.example")?
///     .jwks("https://login.example/.well-known/jwks.json")?
///     .token("https://login.example/refresh")?
///     .revocation("https://login.example/revoke")?;
/// let app: axum::Router =
///     axum::Router::new().route_service("/.well-known/oauth-authorization-server", endpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
#[doc = in_hyper!("MetadataEndpoint")]
#[must_use = "an endpoint does nothing until it is mounted"]
#[derive(Clone, Debug)]
pub struct MetadataEndpoint {
    members: Vec<(&'static str, String)>,
}

impl MetadataEndpoint {
    /// The metadata of `issuer`, which must be the `iss` of its tokens byte for byte.
    ///
    /// # Errors
    /// If it is no `https` URL, or has a query or a fragment (RFC 8414 §2). `http` is allowed for a loopback host.
    pub fn new(issuer: &str) -> Result<Self, ConfigError> {
        url("issuer", issuer)?;
        if issuer.contains('?') {
            return Err(ConfigError::new(format!("the issuer {issuer:?} has a query, and may have none")));
        }
        let members = vec![
            ("issuer", quoted(issuer)),
            // Required, and empty where nobody is sent here to sign in.
            ("response_types_supported", "[]".to_owned()),
            // Left out, they would be those of a server that has an authorisation endpoint.
            ("grant_types_supported", "[]".to_owned()),
        ];
        Ok(Self { members })
    }

    /// Where a [`JwksEndpoint`](crate::JwksEndpoint) is mounted: `jwks_uri`.
    ///
    /// # Errors
    /// As for [`new`](Self::new), except that a query is allowed.
    pub fn jwks(self, at: &str) -> Result<Self, ConfigError> {
        self.with_url("jwks_uri", at)
    }

    /// Where a [`RefreshEndpoint`](crate::RefreshEndpoint) is mounted: `token_endpoint`, for the grant `refresh_token` and
    /// public clients.
    ///
    /// # Errors
    /// As for [`jwks`](Self::jwks).
    pub fn token(self, at: &str) -> Result<Self, ConfigError> {
        let this = self.with_url("token_endpoint", at)?;
        let this = this.with("grant_types_supported", r#"["refresh_token"]"#.to_owned());
        Ok(this.with("token_endpoint_auth_methods_supported", r#"["none"]"#.to_owned()))
    }

    /// Where a [`RevokeEndpoint`](crate::RevokeEndpoint) is mounted: `revocation_endpoint`. It asks for no client
    /// authentication, because the token proves itself.
    ///
    /// # Errors
    /// As for [`jwks`](Self::jwks).
    pub fn revocation(self, at: &str) -> Result<Self, ConfigError> {
        let this = self.with_url("revocation_endpoint", at)?;
        Ok(this.with("revocation_endpoint_auth_methods_supported", r#"["none"]"#.to_owned()))
    }

    /// Where an [`IntrospectionEndpoint`](crate::IntrospectionEndpoint) is mounted: `introspection_endpoint`.
    ///
    /// # Errors
    /// As for [`jwks`](Self::jwks).
    pub fn introspection(self, at: &str) -> Result<Self, ConfigError> {
        self.with_url("introspection_endpoint", at)
    }

    /// The scopes that tokens may hold: `scopes_supported`.
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let scopes: Vec<String> = scopes.into_iter().map(|scope| quoted(scope.as_ref())).collect();
        self.with("scopes_supported", format!("[{}]", scopes.join(",")))
    }

    fn with_url(self, name: &'static str, at: &str) -> Result<Self, ConfigError> {
        url(name, at)?;
        Ok(self.with(name, quoted(at)))
    }

    /// The last value of a name counts.
    fn with(mut self, name: &'static str, value: String) -> Self {
        self.members.retain(|(known, _)| *known != name);
        self.members.push((name, value));
        self
    }

    fn document(&self) -> Bytes {
        let members: Vec<String> =
            self.members.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
        format!("{{{}}}", members.join(",")).into()
    }
}

fn url(name: &str, text: &str) -> Result<(), ConfigError> {
    let refuse = |why: &str| Err(ConfigError::new(format!("{name}: {text:?} {why}")));
    if text.contains('#') {
        return refuse("has a fragment, and may have none");
    }
    let Ok(uri) = text.parse::<Uri>() else { return refuse("is no URL") };
    match (uri.scheme(), uri.host()) {
        (Some(scheme), Some(_)) if *scheme == Scheme::HTTPS => Ok(()),
        (Some(scheme), Some("localhost" | "127.0.0.1" | "[::1]")) if *scheme == Scheme::HTTP => Ok(()),
        (Some(_), Some(_)) => refuse("is not https, so an attacker on the network could redirect clients"),
        _ => refuse("is not an absolute URL, as in https://login.example/revoke"),
    }
}

impl<B> Service<Request<B>> for MetadataEndpoint {
    type Response = Response<FixedBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<FixedBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = (request.method(), request.headers());
        let may_be_kept = cache_control(Duration::from_secs(300));
        ready(Ok(document::respond(asked, "application/json", &may_be_kept, self.document())))
    }
}
