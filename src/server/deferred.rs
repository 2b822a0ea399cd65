//! [`Deferred`]: a refusal that is made inside the layer, of a request that the layer let through.
//!
//! Extractors and requirements judge where a route is known, and the layer further out has the configured
//! [`RefusalResponse`], the observer and the successor. So the response of such a refusal carries it to the layer, which answers
//! in its place. Where no layer is further out, the response is a whole refusal as it is.

use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Response, request};

use super::challenge::{Challenge, RefusalResponse};
use super::deliver::{REISSUE_REPLAY, uncache};
use super::refusal::sealed;
use crate::refusal::Refusal;
use crate::request::head::RequestHead;

/// A refusal with the head of the request that it refuses: the handler's side has taken the request by then.
pub(crate) struct Deferred {
    refusal: Refusal,
    head: request::Parts,
    panicked: Option<&'static str>,
}

impl Deferred {
    pub(crate) fn new(refusal: Refusal, head: request::Parts) -> Self {
        Self { refusal, head, panicked: None }
    }

    /// The hook that panicked over the request, for the layer to report.
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

    /// The default response, marked for a layer to replace it.
    // Marked in a header that the layer looks for anyhow: other responses then cost nothing.
    pub(crate) fn into_response(self) -> Response<Bytes> {
        let response = Challenge::default().respond(&self.refusal, &self.head());
        let mut response = sealed(response, self.refusal.clone());
        response.headers_mut().insert(&REISSUE_REPLAY, HeaderValue::from_static("deferred"));
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The head holds a credential, so it is left out.
impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deferred").field(&self.refusal).finish()
    }
}

// From here on nothing is generic: what is compiled into the user's crate may change what is inlined on the way of a response
// that holds no refusal.

/// Removes what an inner service says of replay, which is never its to say: it ran. Whether it said something.
#[inline(never)]
pub(super) fn remove_replay(headers: &mut HeaderMap) -> bool {
    // A walk, as in `credential::from_authorization`.
    headers.keys().any(|name| *name == REISSUE_REPLAY) && headers.remove(&REISSUE_REPLAY).is_some()
}

/// The refusal that a response carries, if it does.
#[inline(never)]
pub(super) fn take_deferred(extensions: &mut Extensions) -> Option<Arc<Deferred>> {
    extensions.remove()
}

/// The response to a deferred refusal, with what layers in between added to the marked one: CORS headers, a request id. What they
/// said of its body, which is another now, and to caches is left out.
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
    headers.extend(mem::take(&mut parts.headers));
    extensions.extend(mem::take(&mut parts.extensions));
    (parts.headers, parts.extensions) = (headers, extensions);
    Response::from_parts(parts, body)
}
