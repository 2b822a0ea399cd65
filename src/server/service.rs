//! [`Reissue`]: the service that the layer puts in front of another.

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

/// Admits or refuses requests, and adds successors to responses. Made by [`ReissueLayer`](crate::ReissueLayer).
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

    // A token that was seen before is admitted within one function of the user's crate, so that the request, a few hundred bytes,
    // is not copied into a call or out of one. All functions on this path, down to `Policy::decide`, are `#[inline]`, or
    // `inline(always)` if the compiler declined. Functions for rare cases are `inline(never)`.
    // `cargo bench --bench instructions` fails if a path grows by 5 %.
    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let head = RequestHead::of(&request);
        if self.shared.settings.pass_preflight && head.is_preflight() {
            return self.run_anonymous(request);
        }
        let (arrival, channel) = self.shared.arrive(&head);
        match arrival {
            Ok(admission) => {
                self.shared.insert_token(&admission, &mut request);
                let context =
                    RequestContext { shared: Arc::clone(&self.shared), admission: Some(admission), channel };
                ResponseFuture::running(self.inner.call(request), context)
            }
            Err(not_admitted) => self.refuse_or_suspend(*not_admitted, request, channel),
        }
    }
}

impl<S: Clone, C: Send + Sync + 'static> Reissue<S, C> {
    /// Handles a request whose token is not admitted at once.
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
            // The token is not verified, so it must not hold a reservation that others wait for.
            NotAdmitted::Refetching { refetching, .. } => {
                self.release();
                let suspended = SuspendedRequest { is_ready: false, ..self.suspend(request, channel) };
                ResponseFuture::refetching(refetching, suspended)
            }
        }
    }

    /// Runs the handler without a token.
    #[inline(never)]
    fn run_anonymous<B, R>(&mut self, mut request: Request<B>) -> ResponseFuture<S::Future, S, B, R, C>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        self.shared.insert_anonymous(&mut request);
        let (shared, channel) = (Arc::clone(&self.shared), ReplyChannel::Nowhere);
        ResponseFuture::running(self.inner.call(request), RequestContext { shared, admission: None, channel })
    }

    /// Keeps the service that reported ready with its request, and puts a clone in its place.
    fn suspend<B>(&mut self, request: Request<B>, channel: ReplyChannel) -> SuspendedRequest<S, B, C> {
        let fresh = self.inner.clone();
        let service = mem::replace(&mut self.inner, fresh);
        SuspendedRequest { service, is_ready: true, request, shared: Arc::clone(&self.shared), channel }
    }

    /// Releases what `poll_ready` reserved, for example a permit of a concurrency limit, which the next request may need.
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
