//! [`ResponseBody`]: the inner body, or the bytes of a refusal.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

type BoxError = Box<dyn StdError + Send + Sync>;

pin_project! {
    /// The body of a response of [`Reissue`](crate::Reissue). The inner service's body passes unchanged, with the same frames
    /// and the same size hint.
    pub struct ResponseBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

// Not http-body-util's `Either`: both of its bodies have one `Data`, and the inner service chooses its own.
pin_project! {
    #[project = KindProj]
    enum Kind<R> {
        Inner { #[pin] body: R },
        Fixed { #[pin] body: Full<Bytes> },
    }
}

impl<R> ResponseBody<R> {
    pub(super) fn inner(body: R) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(super) fn fixed(bytes: Bytes) -> Self {
        Self { kind: Kind::Fixed { body: Full::new(bytes) } }
    }
}

impl<R> Body for ResponseBody<R>
where
    R: Body,
    R::Data: From<Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = R::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx).map_err(Into::into),
            KindProj::Fixed { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?.map_data(R::Data::from))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Fixed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Fixed { body } => body.size_hint(),
        }
    }
}

/// Empty, without `R: Default`. Layers that answer requests themselves need it.
impl<R> Default for ResponseBody<R> {
    fn default() -> Self {
        Self::fixed(Bytes::new())
    }
}

impl<R> fmt::Debug for ResponseBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

/// A body that consists of bytes: the body of refusals and of the endpoints.
// Not `Full` itself: a new major version of its crate would then be one of this crate.
#[derive(Clone, Debug, Default)]
pub struct FixedBody(Full<Bytes>);

impl FixedBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(Full::new(bytes))
    }
}

impl Body for FixedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
