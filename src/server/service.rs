//! [`Reissue`]: the service in front of the service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::body::ResponseBody;

use super::future::{RequestContext, ResponseFuture, SuspendedRequest};
use super::refusal::refusal_response;
use super::reply::ReplyChannel;
use super::shared::Shared;
use crate::authority::{NotAdmitted, PrivateClaims};
use crate::request::head::RequestHead;

/// A service that admits, refuses and reissues. Made by [`ReissueLayer`](crate::ReissueLayer).
pub struct Reissue<S, C = PrivateClaims> {
    inner: S,
    shared: Arc<Shared<C>>,
}

impl<S, C> Reissue<S, C> {
    pub(super) fn new(inner: S, shared: Arc<Shared<C>>) -> Self {
        Self { inner, shared }
    }

    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service. A request that you send to it directly is not checked.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The wrapped service, without the layer.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R, C> Service<Request<B>> for Reissue<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: Send + Sync + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S, B, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    // A token seen before is to be admitted within one function of the user's crate, so that the request, a few hundred bytes,
    // is copied neither into a call nor out of one. Whatever is asked on the way, down to `Policy::decide`, says `#[inline]`, or
    // `always` where the compiler was seen to decline; what few requests come to says `never`.
    // `cargo bench --bench instructions` fails where a path grew by 5 %.
    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let head = RequestHead::of(&request);
        if self.shared.settings.pass_preflight && head.is_preflight() {
            return self.run_anonymous(request);
        }
        let (arrival, channel) = self.shared.arrive(&head);
        match arrival {
            Ok(admission) => {
                self.shared.show(&admission, &mut request);
                let context =
                    RequestContext { shared: Arc::clone(&self.shared), admission: Some(admission), channel };
                ResponseFuture::running(self.inner.call(request), context)
            }
            Err(not_admitted) => self.refuse_or_suspend(*not_admitted, request, channel),
        }
    }
}

impl<S: Clone, C: Send + Sync + 'static> Reissue<S, C> {
    /// What becomes of a request whose token is not admitted at once.
    #[inline(never)]
    fn refuse_or_suspend<B, R>(
        &mut self,
        not_admitted: NotAdmitted<C>,
        request: Request<B>,
        channel: ReplyChannel,
    ) -> ResponseFuture<S::Future, S, B, R, C>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        match not_admitted {
            NotAdmitted::Anonymous => self.run_anonymous(request),
            NotAdmitted::Refused(refused) => {
                let response = refusal_response(&self.shared, &RequestHead::of(&request), refused, channel);
                self.release();
                ResponseFuture::refused(response)
            }
            NotAdmitted::Pending(settling) => {
                ResponseFuture::arriving(settling, self.suspend(request, channel))
            }
            // Nobody has verified this token: it must not hold what others wait for.
            NotAdmitted::Refetching { refetching, .. } => {
                self.release();
                let suspended = SuspendedRequest { is_ready: false, ..self.suspend(request, channel) };
                ResponseFuture::refetching(refetching, suspended)
            }
        }
    }

    /// The handler runs without a token.
    #[inline(never)]
    fn run_anonymous<B, R>(&mut self, mut request: Request<B>) -> ResponseFuture<S::Future, S, B, R, C>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        self.shared.show_anonymous(&mut request);
        let (shared, channel) = (Arc::clone(&self.shared), ReplyChannel::Nowhere);
        ResponseFuture::running(self.inner.call(request), RequestContext { shared, admission: None, channel })
    }

    /// The service that reported ready waits with its request; a fresh clone takes its place.
    fn suspend<B>(&mut self, request: Request<B>, channel: ReplyChannel) -> SuspendedRequest<S, B, C> {
        let fresh = self.inner.clone();
        let service = mem::replace(&mut self.inner, fresh);
        SuspendedRequest { service, is_ready: true, request, shared: Arc::clone(&self.shared), channel }
    }

    /// Gives back what `poll_ready` reserved, a permit of a concurrency limit for instance: it would starve the
    /// next request otherwise.
    fn release(&mut self) {
        self.inner = self.inner.clone();
    }
}

impl<S: Clone, C> Clone for Reissue<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Reissue<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reissue").field("inner", &self.inner).finish_non_exhaustive()
    }
}
