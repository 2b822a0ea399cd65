//! Requests, an observer that remembers, and stores that answer as they are told.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{
    Horizon, MemoryStore, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionPage, Standing,
    StoreError, StoreErrorKind, StoreHorizon, SubjectId,
};
use tower_reissue::{
    Authority, ClaimsStore, Event, KeyEvent, ManualClock, NumericDate, ReissueLayer, ResponseBody,
    VerifiedToken,
};

use crate::support::*;

pub const HEADER: &str = "refreshed-api-token";

pub type Answer = Response<ResponseBody<Full<Bytes>>>;
pub type Handled = Result<Response<Full<Bytes>>, Infallible>;

pub fn request(token: &str) -> Request<()> {
    Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap()
}

pub fn bare() -> Request<()> {
    Request::new(())
}

pub fn ok() -> Response<Full<Bytes>> {
    Response::new(Full::from("handled"))
}

/// A handler that answers 200.
pub async fn handler(_: Request<()>) -> Handled {
    Ok(ok())
}

/// One request through a layer whose handler gives `response`.
pub async fn through(layer: &ReissueLayer, request: Request<()>, response: Response<Full<Bytes>>) -> Answer {
    let response = Arc::new(Mutex::new(Some(response)));
    let service = service_fn(move |_: Request<()>| {
        let response = response.lock().unwrap().take().expect("one call");
        async move { Ok::<_, Infallible>(response) }
    });
    layer.layer(service).oneshot(request).await.unwrap()
}

/// One request with this token through a plain layer over `authority`.
pub async fn present(authority: &Authority, token: &str) -> Answer {
    through(&ReissueLayer::new(authority.clone()), request(token), ok()).await
}

pub fn successor<R>(response: &Response<R>) -> Option<String> {
    let mut values = response.headers().get_all(HEADER).iter();
    let first = values.next()?;
    assert!(values.next().is_none(), "the value stays single");
    Some(first.to_str().unwrap().to_owned())
}

pub fn header<'a, R>(response: &'a Response<R>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

pub async fn text(response: Answer) -> String {
    use http_body_util::BodyExt;
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What happened, as labels and as `Debug` strings.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<(String, String)>>>);

impl Events {
    pub fn observe(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let seen = self.clone();
        move |event| {
            // Told once, when the authority is built; the rotation's tests look at it.
            if !matches!(event, Event::Keys(KeyEvent::Loaded { .. })) {
                seen.0.lock().unwrap().push((label(event), format!("{event:?}")));
            }
        }
    }

    pub fn take(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).map(|(label, _)| label).collect()
    }

    pub fn debug(&self) -> String {
        self.0.lock().unwrap().iter().map(|(_, debug)| debug.as_str()).collect::<Vec<_>>().join("\n")
    }
}

fn label(event: &Event<'_>) -> String {
    match event {
        Event::Issued { .. } => "issued".into(),
        Event::Refused { refusal, .. } => format!("refused {}", refusal.reason().label()),
        Event::Reissued { how, .. } => format!("reissued {}", how.label()),
        Event::NotReissued { why, .. } => format!("not_reissued {}", why.label()),
        Event::Reused { generations, .. } => format!("reused {generations}"),
        Event::Revoked => "revoked".into(),
        Event::HookPanicked { hook, .. } => format!("hook_panicked {hook}"),
        Event::StoreFailed { error, .. } => format!("store_failed {:?}", error.kind()),
        Event::Keys(KeyEvent::Replaced { .. }) => "keys_replaced".into(),
        other => format!("{other:?}"),
    }
}

/// How a scripted store answers.
#[derive(Clone)]
pub enum Reply<T> {
    Now(T),
    Fail(StoreErrorKind),
    Never,
    /// Once the gate has a permit.
    After(Arc<Semaphore>, T),
}

impl<T> Reply<T> {
    async fn come(self) -> Result<T, StoreError> {
        match self {
            Self::Now(answer) => Ok(answer),
            Self::Fail(kind) => Err(StoreError::with_source(kind, "the backend broke off")),
            Self::Never => std::future::pending().await,
            Self::After(gate, answer) => {
                gate.acquire().await.unwrap().forget();
                Ok(answer)
            }
        }
    }
}

type Rotate = dyn Fn(&Rotation) -> Reply<Rotated> + Send + Sync;

/// A store that answers whatever it is told and never at once.
pub struct Scripted {
    pub standing: Reply<Standing>,
    pub rotate: Box<Rotate>,
    pub revoke: Reply<()>,
    pub calls: Mutex<Vec<&'static str>>,
}

impl Scripted {
    pub fn new(standing: Reply<Standing>, rotated: Reply<Rotated>) -> Self {
        let rotate = move |_: &Rotation| rotated.clone();
        Self { standing, rotate: Box::new(rotate), revoke: Reply::Now(()), calls: Mutex::default() }
    }

    /// Live, and with this answer to a rotation.
    pub fn rotating(rotated: Reply<Rotated>) -> Self {
        Self::new(Reply::Now(Standing::Live), rotated)
    }

    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl ClaimsStore for Scripted {
    async fn standing(&self, _: &Presented) -> Result<Standing, StoreError> {
        self.calls.lock().unwrap().push("standing");
        self.standing.clone().come().await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.calls.lock().unwrap().push("rotate");
        (self.rotate)(&rotation).come().await
    }

    async fn revoke(&self, _: Revocation, _: Retention) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push("revoke");
        self.revoke.clone().come().await
    }

    async fn sessions(&self, _: SubjectId, _: NumericDate, _: Page) -> Result<SessionPage, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        Ok(StoreHorizon::new(need))
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        Some(StoreHorizon::new(need))
    }

    async fn raise_horizon(&self, _: Horizon, _: NumericDate) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A memory store behind two gates: each rotation waits before it is done, and again before that is told.
#[derive(Default)]
pub struct Gated {
    pub store: MemoryStore,
    pub before: Gate,
    pub after: Gate,
}

/// Open from the start; `close` makes the next calls wait.
pub struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl Gate {
    pub fn close(&self) {
        self.0.forget_permits(1);
    }

    pub fn open(&self) {
        self.0.add_permits(1);
    }

    async fn pass(&self) {
        drop(self.0.acquire().await.unwrap());
    }
}

impl ClaimsStore for Gated {
    forward!(store: standing, standing_now, revoke, sessions, horizon, horizon_now, raise_horizon);

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.before.pass().await;
        let rotated = self.store.rotate(rotation).await;
        self.after.pass().await;
        rotated
    }
}

/// The default authority and its clock, `at` seconds into the life of the default token.
pub fn stateless(at: u64) -> (Authority, ManualClock) {
    let clock = ManualClock::at(NOW + at);
    (builder(&clock).build().unwrap(), clock)
}

/// The same over a store.
pub fn storing(at: u64, store: impl ClaimsStore) -> (Authority, ManualClock, Events) {
    let clock = ManualClock::at(NOW + at);
    let events = Events::default();
    let authority = builder(&clock).store(store).on_event(events.observe()).build().unwrap();
    (authority, clock, events)
}

pub fn token_of<B>(request: &Request<B>) -> Option<&VerifiedToken> {
    request.extensions().get()
}

pub fn assert_status<R>(response: &Response<R>, status: u16) {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{:?}", response.headers());
}
