//! The inner body passes frame for frame.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::{ReissueLayer, ResponseBody};

use crate::kit::{request, stateless};
use crate::support::*;

/// A body that plays back what it was given and hints as it was told. It has no `Default`.
struct Played {
    frames: VecDeque<Result<Frame<Bytes>, Torn>>,
    hint: SizeHint,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Torn(u8);

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "torn at {}", self.0)
    }
}

impl std::error::Error for Torn {}

impl Body for Played {
    type Data = Bytes;
    type Error = Torn;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Torn>>> {
        Poll::Ready(self.frames.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// The body, seen through the layer while its response gains a successor.
async fn seen(body: Played) -> ResponseBody<Played> {
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let inner = service_fn(move |_: Request<()>| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let layer = ReissueLayer::new(stateless(500).0);
    layer.layer(inner).oneshot(request(&mint(&claims()))).await.unwrap().into_body()
}

#[tokio::test]
async fn frames_and_trailers_pass_in_order() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"one"))),
        Ok(Frame::data(Bytes::new())),
        Ok(Frame::data(Bytes::from_static(b"two"))),
        Ok(Frame::trailers(trailers.clone())),
    ];
    let mut body = seen(Played { frames: frames.into(), hint: SizeHint::default() }).await;
    for data in ["one", "", "two"] {
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), data);
    }
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn the_size_hint_is_the_inner_bodys() {
    let mut between = SizeHint::new();
    between.set_lower(3);
    between.set_upper(9);
    for hint in [SizeHint::new(), SizeHint::with_exact(6), between] {
        let body = seen(Played { frames: VecDeque::new(), hint }).await;
        assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (hint.lower(), hint.upper()));
        assert!(body.is_end_stream(), "an empty body says so at once");
    }
}

#[tokio::test]
async fn an_inner_bodys_error_arrives_boxed_and_intact() {
    let frames = [Ok(Frame::data(Bytes::from_static(b"one"))), Err(Torn(7))];
    let mut body = seen(Played { frames: frames.into(), hint: SizeHint::default() }).await;
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<Torn>(), Some(&Torn(7)));
}

#[test]
fn the_default_body_is_empty_whatever_the_inner_one() {
    let body = ResponseBody::<Played>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
}

#[tokio::test]
async fn a_refusals_body_knows_its_size_and_its_end() {
    let inner =
        service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
    let response = ReissueLayer::new(stateless(0).0).layer(inner).oneshot(request("x")).await.unwrap();
    let mut body = response.into_body();
    let length = body.size_hint().exact().expect("an exact size");
    assert!(!body.is_end_stream() && length > 0);
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data.len() as u64, length);
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}
