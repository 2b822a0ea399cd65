//! The head of a request: what a credential source, a confirmation or a refusal may look at.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, header};

/// The head of the request at hand, without its body.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// The head of `request`.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The target.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What earlier layers left: the peer's certificate, say.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Asks for a WebSocket: an HTTP/1.1 upgrade (RFC 6455 §4.1) or an extended CONNECT (RFC 8441 §4).
    pub(crate) fn is_websocket_upgrade(&self) -> bool {
        if *self.method == Method::CONNECT {
            return self.headers.contains_key(header::SEC_WEBSOCKET_VERSION);
        }
        *self.method == Method::GET
            && self
                .headers
                .get_all(header::UPGRADE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
    }

    /// A CORS preflight as the Fetch standard sends it.
    pub(crate) fn is_preflight(&self) -> bool {
        *self.method == Method::OPTIONS
            && self.headers.contains_key(header::ORIGIN)
            && self.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// `application/grpc` exactly, or followed by `+` or `;`: grpc-web has its own framing and is not it.
    pub(crate) fn is_grpc(&self) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        self.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).is_some_and(|value| {
            value.split_at_checked(GRPC.len()).is_some_and(|(kind, rest)| {
                kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
            })
        })
    }

    /// A browser's script on another origin reads the response. `Origin` alone also comes with a same-origin
    /// POST, which `Sec-Fetch-Site` tells apart.
    #[inline]
    pub(crate) fn is_cross_origin(&self) -> bool {
        // A walk, not a look-up: see `bearer::from_authorization`.
        self.headers.keys().any(|name| name == header::ORIGIN)
            && self.headers.get("sec-fetch-site").is_none_or(|site| site != "same-origin")
    }
}

/// Headers hold credentials, so they are left out.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").field("method", self.method).field("path", &self.uri.path()).finish()
    }
}
