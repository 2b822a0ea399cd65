//! [`ResponseFuture`]: a request from its arrival to its response, as states.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::ResponseBody;
use super::control::{Replacement, mark};
use super::deferred::{Deferred, merge, remove_replay, take_deferred};
use super::deliver::{deliver, may_carry, put};
use super::refusal::refusal_response;
use super::reply::ReplyChannel;
use super::shared::Shared;
use crate::authority::{
    Admission, DueSuccessor, NotAdmitted, Refused, SignedSuccessor, Verdict, still_unknown,
};
use crate::keyring::handle::Refetched;
use crate::keyring::handle::Refetching;
use crate::refusal::Reason;
use crate::request::head::RequestHead;
use crate::telemetry::ReissueKind;
use crate::time::NumericDate;

pin_project! {
    /// The future of a [`Reissue`](crate::Reissue)'s response.
    pub struct ResponseFuture<F, S, B, R, C> {
        #[pin]
        state: State<F, S, B, R, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, S, B, R, C> {
        // The keys of the token's issuer are loaded again, because the token's key is unknown. The token is not verified yet, so
        // what the inner service had reserved was released.
        Refetching { refetching: Refetching, suspended: Option<SuspendedRequest<S, B, C>> },
        // Waiting for the store. The inner service has already reported ready.
        Arriving { settling: BoxFuture<Verdict<C>>, suspended: Option<SuspendedRequest<S, B, C>> },
        // The request is admitted. If its reservation was released, it waits for the service and is judged again.
        Admitted { admitted: Option<(SuspendedRequest<S, B, C>, Admission<C>)> },
        // The handler is running. Whether a successor is due is judged at its response.
        Running { #[pin] response: F, context: Option<RequestContext<C>> },
        // The handler has answered. The successor is being recorded.
        Recording {
            successor: BoxFuture<Option<SignedSuccessor>>,
            response: Option<Response<R>>,
            context: RequestContext<C>,
        },
        // A deferred refusal is ready. The successor that it carries is being recorded.
        Refusing { response: BoxFuture<Response<Bytes>> },
        Refused { response: Option<Response<Bytes>> },
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that waits for its verdict, and the service that is to run it.
pub(super) struct SuspendedRequest<S, B, C> {
    pub(super) service: S,
    /// Whether the service has reported ready for this request.
    pub(super) is_ready: bool,
    pub(super) request: Request<B>,
    pub(super) shared: Arc<Shared<C>>,
    pub(super) channel: ReplyChannel,
}

/// What is needed at the response of a request that reached the handler.
pub(super) struct RequestContext<C> {
    pub(super) shared: Arc<Shared<C>>,
    /// `None` for an anonymous request.
    pub(super) admission: Option<Admission<C>>,
    pub(super) channel: ReplyChannel,
}

impl<F, S, B, R, C> ResponseFuture<F, S, B, R, C> {
    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(super) fn running(response: F, context: RequestContext<C>) -> Self {
        Self { state: State::Running { response, context: Some(context) } }
    }

    pub(super) fn refetching(refetching: Refetching, suspended: SuspendedRequest<S, B, C>) -> Self {
        Self { state: State::Refetching { refetching, suspended: Some(suspended) } }
    }

    pub(super) fn arriving(settling: BoxFuture<Verdict<C>>, suspended: SuspendedRequest<S, B, C>) -> Self {
        Self { state: State::Arriving { settling, suspended: Some(suspended) } }
    }
}

impl<S, B, R, C> Future for ResponseFuture<S::Future, S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Send + Sync + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Refetching { refetching, suspended } => {
                    let refetched = ready!(refetching.as_mut().poll(cx));
                    suspended.take().expect(POLLED_AGAIN).arrive_again(refetched)
                }
                StateProj::Arriving { settling, suspended } => {
                    let settled = ready!(settling.as_mut().poll(cx));
                    suspended.take().expect(POLLED_AGAIN).proceed(settled)
                }
                StateProj::Admitted { admitted } => {
                    let (suspended, _) = admitted.as_mut().expect(POLLED_AGAIN);
                    let waits = !suspended.is_ready;
                    if waits {
                        ready!(suspended.service.poll_ready(cx))?;
                    }
                    let (suspended, admission) = admitted.take().expect(POLLED_AGAIN);
                    match waits {
                        // During the wait the token may have expired, or its key or session been withdrawn.
                        true => {
                            SuspendedRequest { is_ready: true, ..suspended }.arrive_again(Refetched::Current)
                        }
                        false => suspended.run(admission),
                    }
                }
                StateProj::Running { response, context } => {
                    let mut response = ready!(response.poll(cx))?;
                    if !response.headers().is_empty()
                        && remove_replay(response.headers_mut())
                        && let Some(deferred) = heed(context, &mut response)
                    {
                        let context = context.take().expect(POLLED_AGAIN);
                        // Only the headers and extensions are taken, so that usual responses are moved just once.
                        let headers = mem::take(response.headers_mut());
                        context.answer(headers, mem::take(response.extensions_mut()), &deferred)
                    } else {
                        // Checked by reference, so that the response is moved only if a successor is due.
                        let Some(now) = context.as_ref().and_then(|context| context.due(&response)) else {
                            return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                        };
                        let context = context.take().expect("it was just used");
                        match context.renew(now, 0) {
                            DueSuccessor::Decided(successor) => {
                                return Poll::Ready(Ok(finish(response, successor, &context)));
                            }
                            DueSuccessor::Pending(successor) => {
                                State::Recording { successor, response: Some(response), context }
                            }
                        }
                    }
                }
                StateProj::Recording { successor, response, context } => {
                    let successor = ready!(successor.as_mut().poll(cx));
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(finish(response, successor, context)));
                }
                StateProj::Refusing { response } => {
                    let response = Some(ready!(response.as_mut().poll(cx)));
                    State::Refused { response }
                }
                StateProj::Refused { response } => {
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
            };
            state.set(next);
        }
    }
}

/// The panic message for a poll after completion, as futures may panic then.
const POLLED_AGAIN: &str = "polled after completion";

impl<S, B, R, C> SuspendedRequest<S, B, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Send + Sync + 'static,
{
    /// Judges the request again. Keys are not loaded a second time: a token whose key is still unknown is refused.
    fn arrive_again(mut self, refetched: Refetched) -> State<S::Future, S, B, R, C> {
        // A custom source may return another credential this time, so the channel is set again.
        let (arrived, channel) = self.shared.arrive(&RequestHead::of(&self.request));
        self.channel = channel;
        match arrived.map_err(|not_admitted| *not_admitted) {
            Ok(admission) => self.admitted(admission),
            Err(NotAdmitted::Refused(refused)) => self.refused(refused),
            // Only if a custom source found a credential the first time and none now.
            Err(NotAdmitted::Anonymous) => self.refused(Reason::NoCredential.into()),
            Err(NotAdmitted::Pending(settling)) => State::Arriving { settling, suspended: Some(self) },
            Err(NotAdmitted::Refetching { refusal, .. }) => {
                self.refused(still_unknown(refusal, refetched).into())
            }
        }
    }

    fn proceed(self, settled: Verdict<C>) -> State<S::Future, S, B, R, C> {
        match settled {
            Ok(admission) => self.admitted(admission),
            Err(refused) => self.refused(refused),
        }
    }

    fn admitted(self, admission: Admission<C>) -> State<S::Future, S, B, R, C> {
        State::Admitted { admitted: Some((self, admission)) }
    }

    fn refused(self, refused: Refused) -> State<S::Future, S, B, R, C> {
        let head = RequestHead::of(&self.request);
        let response = refusal_response(&self.shared, &head, refused, self.channel);
        State::Refused { response: Some(response) }
    }

    fn run(self, admission: Admission<C>) -> State<S::Future, S, B, R, C> {
        let Self { mut service, mut request, shared, channel, .. } = self;
        shared.insert_token(&admission, &mut request);
        State::Running {
            response: service.call(request),
            context: Some(RequestContext { shared, admission: Some(admission), channel }),
        }
    }
}

impl<C: Send + Sync + 'static> RequestContext<C> {
    /// The time of the response, if a successor is due and this response can carry one.
    #[inline(always)]
    fn due<R>(&self, response: &Response<R>) -> Option<NumericDate> {
        let now = self.shared.authority.due(self.admission.as_ref()?)?;
        may_carry(response, self.channel, &self.shared).then_some(now)
    }

    /// The successor that is due, if it is not too long for the response, which names so many bytes of requirements.
    // `inline(always)`: `answer` calls it too.
    #[inline(always)]
    fn renew(&self, now: NumericDate, required: usize) -> DueSuccessor {
        match (&self.admission, self.shared.capacity(self.channel, required)) {
            (Some(admission), Some(capacity)) => self.shared.authority.renew(&admission.token, now, capacity),
            _ => DueSuccessor::Decided(None),
        }
    }

    /// Answers a deferred refusal as the layer answers its own. The token was admitted, so a successor may be due.
    #[cold]
    #[inline(never)]
    fn answer<F, S, B, R>(
        self,
        headers: HeaderMap,
        extensions: Extensions,
        deferred: &Deferred,
    ) -> State<F, S, B, R, C> {
        if let Some(hook) = deferred.panicked() {
            self.shared.authority.reporter().panicked(hook);
        }
        let required = deferred.refusal().required_len();
        let refused = deferred.refusal().clone().into();
        let refusal = refusal_response(&self.shared, &deferred.head(), refused, self.channel);
        let mut response = merge(headers, extensions, refusal);
        match self.due(&response).map(|now| self.renew(now, required)) {
            None => {}
            Some(DueSuccessor::Decided(successor)) => self.deliver(&mut response, successor),
            Some(DueSuccessor::Pending(successor)) => {
                let recorded = async move {
                    let successor = successor.await;
                    self.deliver(&mut response, successor);
                    response
                };
                return State::Refusing { response: Box::pin(recorded) };
            }
        }
        State::Refused { response: Some(response) }
    }

    /// Whether a token that the handler chose is for a layer further out.
    fn is_of_another(&self, Replacement(token): &Replacement) -> bool {
        !self.shared.authority.may_send(self.admission.as_ref(), token)
    }

    /// Sends the token that the handler chose.
    fn replace<R>(&self, Replacement(token): Replacement, response: &mut Response<R>) {
        let Self { shared, admission, channel } = self;
        let carries = may_carry(response, *channel, shared);
        let capacity = carries.then(|| shared.capacity(*channel, 0)).flatten();
        match shared.authority.replacement(admission.as_ref(), &token, capacity) {
            Ok((token, at)) => drop(put(response.headers_mut(), &token, at, *channel, shared)),
            Err(why) => shared.authority.reporter().not_reissued(why),
        }
    }

    #[inline(always)]
    fn deliver<T>(&self, response: &mut Response<T>, successor: Option<SignedSuccessor>) {
        let Self { shared, admission, channel } = self;
        if let (Some(successor), Some(admission)) = (successor, admission) {
            deliver(response.headers_mut(), &successor, ReissueKind::Renewed, admission.at, *channel, shared);
        }
    }
}

/// What a marked response has for the layer: the deferred refusal that is returned, or a token to send. A response with that token
/// carries no other.
#[cold]
#[inline(never)]
fn heed<R, C: Send + Sync + 'static>(
    context: &Option<RequestContext<C>>,
    response: &mut Response<R>,
) -> Option<Arc<Deferred>> {
    if let Some(context) = context {
        if response.extensions().get().is_some_and(|replacement| context.is_of_another(replacement)) {
            // This layer has removed the mark.
            mark(response.headers_mut());
        } else if let Some(replacement) = response.extensions_mut().remove() {
            context.replace(replacement, response);
        }
    }
    take_deferred(response.extensions_mut())
}

// `inline(always)`, as for `renew`: a benchmark showed a cost without it.
#[inline(always)]
fn finish<R, C: Send + Sync + 'static>(
    mut response: Response<R>,
    successor: Option<SignedSuccessor>,
    context: &RequestContext<C>,
) -> Response<ResponseBody<R>> {
    context.deliver(&mut response, successor);
    response.map(ResponseBody::inner)
}

impl<F, S, B, R, C> fmt::Debug for ResponseFuture<F, S, B, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
