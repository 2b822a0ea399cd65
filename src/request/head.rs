//! [`RequestHead`]: the part of a request that credential sources, confirmations and refusals get.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, Version, header, request};

/// The head of a request, without its body.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// The head of `request`.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    pub(crate) fn of_parts(parts: &'a request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
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

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions that outer layers set, such as the peer's certificate.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Whether it asks for a WebSocket: an HTTP/1.1 upgrade (RFC 6455 §4.1) or an extended CONNECT (RFC 8441 §4).
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

    /// Whether it is a CORS preflight, as the Fetch standard defines it.
    pub(crate) fn is_preflight(&self) -> bool {
        *self.method == Method::OPTIONS
            && self.headers.contains_key(header::ORIGIN)
            && self.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Whether it is a gRPC request: a POST over HTTP/2 with gRPC's content type (gRPC over HTTP/2, "Requests"). The content type
    /// alone does not suffice, because anybody can write it.
    pub(crate) fn is_grpc(&self) -> bool {
        self.version == Version::HTTP_2 && self.is_post_of("application/grpc", "+;")
    }

    /// Whether it is a gRPC-Web request, over any version of HTTP.
    pub(crate) fn is_grpc_web(&self) -> bool {
        self.is_post_of("application/grpc-web", "+-;")
    }

    /// Whether it is a POST with exactly this content type, or with it followed by one of these characters.
    fn is_post_of(&self, content_type: &str, followed_by: &str) -> bool {
        let value = self.headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
        *self.method == Method::POST
            && value.split_at_checked(content_type.len()).is_some_and(|(kind, rest)| {
                kind.eq_ignore_ascii_case(content_type.as_bytes())
                    && rest.first().is_none_or(|next| followed_by.as_bytes().contains(next))
            })
    }

    pub(crate) fn has_origin(&self) -> bool {
        self.headers.contains_key(header::ORIGIN)
    }

    /// Whether a script on another origin reads the response: the request has an `Origin`. Browsers also send it with a same-origin
    /// POST, which `Sec-Fetch-Site` distinguishes.
    #[inline]
    pub(crate) fn is_cross_origin(&self, has_origin: bool) -> bool {
        has_origin && self.headers.get("sec-fetch-site").is_none_or(|site| site != "same-origin")
    }
}

/// Headers hold credentials, so they are left out.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").field("method", self.method).field("path", &self.uri.path()).finish()
    }
}
