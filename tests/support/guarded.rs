//! The real layer over a handler that counts, driven without a runtime.

use super::*;

/// What a layer answered, and whether the handler ran for it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub ran: bool,
    /// The token in `Refreshed-API-Token`.
    pub successor: Option<String>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// The same, with what else is told of it.
    pub refusal: Option<Refusal>,
    pub headers: HeaderMap,
}

impl Answer {
    pub fn is_admitted(&self) -> bool {
        self.status == 200 && self.ran && self.reason.is_none()
    }

    /// Refused with this status, nothing handed out, and no handler disturbed.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, what: &dyn std::fmt::Debug) {
        assert_eq!(self.status, status, "{what:?}: {self:?}");
        assert!(!self.ran, "{what:?}: the handler ran");
        assert_eq!(self.successor, None, "{what:?}");
        assert!(!self.headers.contains_key("set-cookie"), "{what:?}: {:?}", self.headers);
    }

    /// The same, but for the cookie, which is removed.
    #[track_caller]
    pub fn assert_removed(mut self, status: u16, what: &dyn std::fmt::Debug) {
        let field = self.headers.remove("set-cookie");
        assert!(field.is_some_and(|field| field.to_str().unwrap().contains("=; Max-Age=0; ")), "{what:?}");
        self.assert_refused(status, what);
    }

    pub fn challenge(&self) -> &str {
        self.headers["www-authenticate"].to_str().unwrap()
    }

    #[track_caller]
    pub fn into_successor(self) -> String {
        self.successor.clone().unwrap_or_else(|| panic!("no successor: {self:?}"))
    }
}

/// A layer over a handler that answers 200 and counts its runs.
pub struct Guarded<C = PrivateClaims> {
    layer: ReissueLayer<C>,
    meanwhile: Arc<dyn Fn() + Send + Sync>,
}

impl<C: Send + Sync + 'static> Guarded<C> {
    pub fn new(authority: &Authority<C>) -> Self {
        Self::by(ReissueLayer::new(authority.clone()))
    }

    pub fn by(layer: ReissueLayer<C>) -> Self {
        Self { layer, meanwhile: Arc::new(|| ()) }
    }

    /// What happens while the handler runs.
    pub fn meanwhile(mut self, happens: impl Fn() + Send + Sync + 'static) -> Self {
        self.meanwhile = Arc::new(happens);
        self
    }

    /// The answer, which must be there at the first poll: no runtime, no waiting.
    pub fn send(&self, request: Request<()>) -> Answer {
        let runs = Arc::new(AtomicUsize::new(0));
        let (counted, meanwhile) = (runs.clone(), self.meanwhile.clone());
        let service = self.layer.layer(service_fn(move |_: Request<()>| {
            counted.fetch_add(1, Ordering::SeqCst);
            meanwhile();
            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new())))
        }));
        let response = service.oneshot(request).now_or_never().expect("an answer without waiting").unwrap();
        let successor = response.headers().get("refreshed-api-token");
        Answer {
            status: response.status().as_u16(),
            ran: runs.load(Ordering::SeqCst) > 0,
            successor: successor.map(|token| token.to_str().unwrap().to_owned()),
            reason: response.extensions().get::<Refusal>().map(|refusal| refusal.reason().clone()),
            refusal: response.extensions().get::<Refusal>().cloned(),
            headers: response.headers().clone(),
        }
    }

    pub fn bearer(&self, token: &str) -> Answer {
        self.send(request(&[("authorization", format!("Bearer {token}").as_bytes())]))
    }
}

/// A GET with these header fields.
pub fn request(fields: &[(&str, &[u8])]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in fields {
        request.headers_mut().append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    request
}

/// The header of a token, unverified.
pub fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}
