//! [`Deferred`]: a refusal by an extractor or a requirement, inside the layer.
//!
//! Extractors and requirements know the route. The layer further out has the configured [`RefusalResponse`], the observer and the
//! successor. So the refusal travels to the layer in the extensions of its response, and the layer replaces that response. Without
//! a layer further out, the response is a complete refusal by itself.

use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Response, request};

use super::challenge::{Challenge, RefusalResponse};
use super::control::{REISSUE_REPLAY, mark};
use super::deliver::uncache;
use super::refusal::completed;
use crate::refusal::Refusal;
use crate::request::head::RequestHead;

/// A refusal, and the head of the refused request, which the layer no longer has.
pub(crate) struct Deferred {
    refusal: Refusal,
    head: request::Parts,
    panicked: Option<&'static str>,
}

impl Deferred {
    pub(crate) fn new(refusal: Refusal, head: request::Parts) -> Self {
        Self { refusal, head, panicked: None }
    }

    /// Adds the hook that panicked, for the layer to report.
    pub(super) fn after_panic(self, panicked: Option<&'static str>) -> Self {
        Self { panicked, ..self }
    }

    pub(super) fn panicked(&self) -> Option<&'static str> {
        self.panicked
    }

    pub(crate) fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead::of_parts(&self.head)
    }

    /// The default response, marked so that a layer replaces it.
    pub(crate) fn into_response(self) -> Response<Bytes> {
        let response = Challenge::default().respond(&self.refusal, &self.head());
        let mut response = completed(response, self.refusal.clone());
        mark(response.headers_mut());
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Without the head, which holds a credential.
impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deferred").field(&self.refusal).finish()
    }
}

// The functions below are not generic. In the user's crate they could change what is inlined for responses without a refusal.

/// Removes an inner service's replay header, which would be wrong because the service ran. Returns whether there was one.
#[inline(never)]
pub(super) fn remove_replay(headers: &mut HeaderMap) -> bool {
    // A loop in place of a lookup, as in `credential::from_authorization`.
    headers.keys().any(|name| *name == REISSUE_REPLAY) && headers.remove(&REISSUE_REPLAY).is_some()
}

/// The deferred refusal of a response, if it has one.
#[inline(never)]
pub(super) fn take_deferred(extensions: &mut Extensions) -> Option<Arc<Deferred>> {
    extensions.remove()
}

/// Headers whose values add up: lists, and `Set-Cookie`. Of a cookie that is set twice, browsers keep the last, which is the
/// refusal's. Two values of any other header would contradict each other (`Access-Control-Allow-Origin`), or the refusal's is about
/// its own body (`Content-Security-Policy`).
const COMBINED: [&str; 12] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "allow",
    "clear-site-data",
    "link",
    "server-timing",
    "set-cookie",
    "timing-allow-origin",
    "vary",
    "via",
    "warning",
];

/// The response to a deferred refusal, with the headers and extensions that layers in between added to the marked one: CORS
/// headers or a request id, for example. What they set for its body, which is replaced, and for caches is removed. If the refusal
/// sets a header that is there, both values are sent if it is one of [`COMBINED`], and otherwise only the refusal's.
#[inline(never)]
pub(super) fn merge(
    mut headers: HeaderMap,
    mut extensions: Extensions,
    refusal: Response<Bytes>,
) -> Response<Bytes> {
    const LEFT_OUT: [&str; 18] = [
        "accept-ranges",
        "content-digest",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "digest",
        "etag",
        "grpc-message",
        "grpc-status",
        "last-modified",
        "repr-digest",
        "trailer",
        "transfer-encoding",
        "www-authenticate",
    ];
    for name in LEFT_OUT {
        headers.remove(name);
    }
    uncache(&mut headers);
    let (mut parts, body) = refusal.into_parts();
    let own = mem::take(&mut parts.headers);
    for name in own.keys().filter(|name| !COMBINED.contains(&name.as_str())) {
        headers.remove(name);
    }
    for (name, value) in &own {
        headers.append(name, value.clone());
    }
    extensions.extend(mem::take(&mut parts.extensions));
    (parts.headers, parts.extensions) = (headers, extensions);
    Response::from_parts(parts, body)
}
