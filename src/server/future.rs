//! [`ResponseFuture`]: one request's way from its arrival to its response, told in states.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::ResponseBody;
use super::deliver::{REISSUE_REPLAY, Way, capacity, deliver, may_carry};
use super::response::refusal_response;
use super::shared::Shared;
use crate::authority::{Admission, NotAdmitted, Refused, Renewal, SignedSuccessor, Verdict, still_unknown};
use crate::keys::{Refetched, Refetching};
use crate::telemetry::ReissueKind;
use crate::{NumericDate, RequestHead};

pin_project! {
    /// The response to come.
    pub struct ResponseFuture<F, S, B, R, C> {
        #[pin]
        state: State<F, S, B, R, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, S, B, R, C> {
        // The token's issuer is asked for newer keys, for nobody knows the one that the token names. Nothing is verified
        // yet, so what the inner service had reserved was given back.
        Refetching { refetching: Refetching, parked: Option<Parked<S, B, C>> },
        // The store is waited for; the inner service has already reported ready.
        Arriving { settling: BoxFuture<Verdict<C>>, parked: Option<Parked<S, B, C>> },
        // The request is admitted; where it gave its place back, it waits for another and arrives anew.
        Admitted { admitted: Option<(Parked<S, B, C>, Admission<C>)> },
        // The handler is running; whether a successor is due is judged after it. A preflight has no token.
        Running { #[pin] response: F, visit: Option<Visit<C>> },
        // The response is in hand; the successor is being recorded.
        Recording {
            successor: BoxFuture<Option<SignedSuccessor>>,
            response: Option<Response<R>>,
            visit: Visit<C>,
        },
        Refused { response: Option<Response<Bytes>> },
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that waits for its verdict beside the service that it goes to.
pub(super) struct Parked<S, B, C> {
    pub(super) service: S,
    /// Whether the service has reported ready for it.
    pub(super) is_ready: bool,
    pub(super) request: Request<B>,
    pub(super) shared: Arc<Shared<C>>,
    pub(super) way: Way,
}

/// What an admitted request's response is judged with.
pub(super) struct Visit<C> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) admission: Admission<C>,
    pub(super) way: Way,
}

impl<F, S, B, R, C> ResponseFuture<F, S, B, R, C> {
    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(super) fn running(response: F, visit: Option<Visit<C>>) -> Self {
        Self { state: State::Running { response, visit } }
    }

    pub(super) fn refetching(refetching: Refetching, parked: Parked<S, B, C>) -> Self {
        Self { state: State::Refetching { refetching, parked: Some(parked) } }
    }

    pub(super) fn arriving(settling: BoxFuture<Verdict<C>>, parked: Parked<S, B, C>) -> Self {
        Self { state: State::Arriving { settling, parked: Some(parked) } }
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
                StateProj::Refetching { refetching, parked } => {
                    let refetched = ready!(refetching.as_mut().poll(cx));
                    parked.take().expect(POLLED_AGAIN).arrive_again(refetched)
                }
                StateProj::Arriving { settling, parked } => {
                    let settled = ready!(settling.as_mut().poll(cx));
                    parked.take().expect(POLLED_AGAIN).proceed(settled)
                }
                StateProj::Admitted { admitted } => {
                    let (parked, _) = admitted.as_mut().expect(POLLED_AGAIN);
                    let waits = !parked.is_ready;
                    if waits {
                        ready!(parked.service.poll_ready(cx))?;
                    }
                    let (parked, admission) = admitted.take().expect(POLLED_AGAIN);
                    match waits {
                        // However long that took: the token may have expired, its key or its session be gone.
                        true => Parked { is_ready: true, ..parked }.arrive_again(Refetched::Current),
                        false => parked.run(admission),
                    }
                }
                StateProj::Running { response, visit } => {
                    let mut response = ready!(response.poll(cx))?;
                    // That a request may be sent again is never the inner service's to say: it ran.
                    if !response.headers().is_empty() {
                        remove_replay(response.headers_mut());
                    }
                    // Looked at where it lies: it is moved only where something is due.
                    let Some(now) = visit.as_ref().and_then(|visit| visit.due(&response)) else {
                        return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                    };
                    let visit = visit.take().expect("it was just asked");
                    match visit.renew(now) {
                        Renewal::Decided(successor) => {
                            return Poll::Ready(Ok(finish(response, successor, &visit)));
                        }
                        Renewal::Pending(successor) => {
                            State::Recording { successor, response: Some(response), visit }
                        }
                    }
                }
                StateProj::Recording { successor, response, visit } => {
                    let successor = ready!(successor.as_mut().poll(cx));
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(finish(response, successor, visit)));
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

/// As every future may, this one panics when it is polled after it was done.
const POLLED_AGAIN: &str = "polled after completion";

impl<S, B, R, C> Parked<S, B, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Send + Sync + 'static,
{
    /// Nobody is asked for a key again: a token whose key is unknown now is refused.
    fn arrive_again(self, refetched: Refetched) -> State<S::Future, S, B, R, C> {
        match self.shared.arrive(&RequestHead::of(&self.request)).0.map_err(|not_admitted| *not_admitted) {
            Ok(admission) => self.admitted(admission),
            Err(NotAdmitted::Refused(refused)) => self.refused(refused),
            Err(NotAdmitted::Pending(settling)) => State::Arriving { settling, parked: Some(self) },
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
        let response = refusal_response(&self.shared, &head, refused, self.way);
        State::Refused { response: Some(response) }
    }

    fn run(self, admission: Admission<C>) -> State<S::Future, S, B, R, C> {
        let Self { mut service, mut request, shared, way, .. } = self;
        shared.show(&admission, &mut request);
        State::Running { response: service.call(request), visit: Some(Visit { shared, admission, way }) }
    }
}

impl<C: Send + Sync + 'static> Visit<C> {
    /// The instant of the response, where a successor is due then and this response can carry one.
    #[inline(always)]
    fn due<R>(&self, response: &Response<R>) -> Option<NumericDate> {
        let now = self.shared.authority.due(&self.admission)?;
        may_carry(response, self.way, &self.shared).then_some(now)
    }

    /// The successor that is due, if it is not too long for the response.
    fn renew(&self, now: NumericDate) -> Renewal {
        match capacity(self.way, &self.shared) {
            Some(capacity) => self.shared.authority.renew(&self.admission.token, now, capacity),
            None => Renewal::Decided(None),
        }
    }
}

fn finish<R, C: Send + Sync + 'static>(
    mut response: Response<R>,
    successor: Option<SignedSuccessor>,
    visit: &Visit<C>,
) -> Response<ResponseBody<R>> {
    if let Some(successor) = successor {
        let Visit { shared, admission, way } = visit;
        deliver(response.headers_mut(), &successor, ReissueKind::Renewed, admission.at, *way, shared);
    }
    response.map(ResponseBody::inner)
}

#[inline(never)]
fn remove_replay(headers: &mut HeaderMap) {
    // A walk, as in `bearer::from_authorization`.
    if headers.keys().any(|name| *name == REISSUE_REPLAY) {
        headers.remove(&REISSUE_REPLAY);
    }
}

impl<F, S, B, R, C> fmt::Debug for ResponseFuture<F, S, B, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
