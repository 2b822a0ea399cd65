//! Finds the one credential of a request, or says why there is none to judge.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header;

use super::cookie::Cookie;
use super::head::RequestHead;
use crate::caught::caught;
use crate::refusal::{Reason, Refusal};

/// A place where a request may carry its token. Of several sources, only the first that holds anything is read.
#[derive(Clone)]
pub struct Source(Kind);

type Custom = dyn Fn(&RequestHead<'_>) -> Option<String> + Send + Sync;

#[derive(Clone)]
enum Kind {
    Authorization,
    Cookie(Cookie),
    Query(Box<str>),
    Custom(Arc<Custom>),
}

impl Source {
    /// `Authorization: Bearer <token>` (RFC 6750 §2.1); the default.
    pub fn authorization() -> Self {
        Self(Kind::Authorization)
    }

    /// This cookie. A successor is sent in the same cookie.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use http::{Response, header::SET_COOKIE};
    /// # use tower_reissue::{Algorithm, Authority, Cookie, Login, ReissueLayer, SigningKey, Source};
    /// # async fn cookies() -> Result<(), Box<dyn std::error::Error>> {
    /// # let authority = Authority::builder(SigningKey::generate(Algorithm::EdDSA)?)
    /// #     .issuer("https://login.example")
    /// #     .audience("orders")
    /// #     .max_session_lifetime(Duration::from_secs(12 * 3600))
    /// #     .build()?;
    /// let cookie = Cookie::new("session")?;
    /// // Browsers send the cookie, other clients the header.
    /// let layer = ReissueLayer::new(authority.clone())
    ///     .read_from([Source::cookie(cookie.clone()), Source::authorization()]);
    ///
    /// // In the login handler, and in the one that signs out:
    /// let token = authority.issue(Login::new("alice")).await?;
    /// let login = Response::builder().header(SET_COOKIE, authority.set_cookie(&cookie, &token)?).body(())?;
    /// let logout = Response::builder().header(SET_COOKIE, cookie.removal()).body(())?;
    /// # assert!(login.headers()[SET_COOKIE].to_str()?.starts_with("__Host-session="));
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(cookies()).unwrap();
    /// ```
    pub fn cookie(cookie: Cookie) -> Self {
        Self(Kind::Cookie(cookie))
    }

    /// The query parameter of this name, read only from a WebSocket upgrade, because a browser can't set headers on
    /// one.
    ///
    /// Costs: queries are written to access logs and browser histories (RFC 6750 §2.3). The response carries no
    /// successor.
    pub fn websocket_query(name: impl Into<String>) -> Self {
        Self(Kind::Query(name.into().into()))
    }

    /// What `find` returns. `Some` is a credential, even if it is empty. A `find` that panics counts as a malformed
    /// credential.
    pub fn custom(find: impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Kind::Custom(Arc::new(find)))
    }

    /// Whether a successor can be sent. For a token in a query it can't, because scripts can't read the response of an upgrade.
    #[inline]
    pub(crate) fn takes_successors(&self) -> bool {
        !matches!(self.0, Kind::Query(_))
    }

    #[inline]
    pub(crate) fn as_cookie(&self) -> Option<&Cookie> {
        match &self.0 {
            Kind::Cookie(cookie) => Some(cookie),
            _ => None,
        }
    }

    #[inline(never)]
    fn read<'a>(&self, head: &RequestHead<'a>) -> Result<Option<Cow<'a, [u8]>>, NotFound> {
        Ok(match &self.0 {
            Kind::Authorization => from_authorization(head)?.0.map(Cow::Borrowed),
            Kind::Cookie(cookie) => from_cookies(head, cookie.name())?.map(Cow::Borrowed),
            Kind::Query(name) => from_query(head, name)?.map(bytes),
            Kind::Custom(find) => {
                let found = caught(|| find(head)).ok_or(NotFound::Panicked)?;
                found.map(|found| Cow::Owned(found.into_bytes()))
            }
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Authorization => f.write_str("Source::authorization()"),
            Kind::Cookie(cookie) => write!(f, "Source::cookie({cookie:?})"),
            Kind::Query(name) => write!(f, "Source::websocket_query({name:?})"),
            Kind::Custom(_) => f.write_str("Source::custom(..)"),
        }
    }
}

/// The credential of a request, not checked yet.
pub(crate) struct Credential<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) source: &'a Source,
    /// The index of the source.
    pub(crate) nth: usize,
    /// Whether the request has an `Origin`.
    pub(crate) has_origin: bool,
}

/// Why a request has no credential to judge.
pub(crate) enum NotFound {
    Because(Reason),
    /// The application's [`Source::custom`] panicked.
    Panicked,
}

impl NotFound {
    /// The reason of the refusal. `report` gets the name of a hook that panicked.
    pub(crate) fn into_reason(self, report: impl FnOnce(&'static str)) -> Reason {
        match self {
            Self::Because(reason) => reason,
            Self::Panicked => {
                report("Source::custom");
                Reason::MalformedCredential
            }
        }
    }
}

impl From<Reason> for NotFound {
    fn from(reason: Reason) -> Self {
        Self::Because(reason)
    }
}

#[inline]
pub(crate) fn find<'a>(sources: &'a [Source], head: &RequestHead<'a>) -> Result<Credential<'a>, NotFound> {
    for (nth, source) in sources.iter().enumerate() {
        let (found, has_origin) = match source.0 {
            // The usual source is read here and not in a call, which a benchmark showed to be faster.
            Kind::Authorization => {
                let (found, has_origin) = from_authorization(head)?;
                (found.map(Cow::Borrowed), has_origin)
            }
            _ => (source.read(head)?, head.has_origin()),
        };
        if let Some(bytes) = found {
            return Ok(Credential { bytes, source, nth, has_origin });
        }
    }
    Err(Reason::NoCredential.into())
}

/// Adds a hint to a refusal of a request without a credential, if its `Authorization` was meant to be one.
pub(crate) fn explain(refusal: Refusal, sources: &[Source], head: &RequestHead<'_>) -> Refusal {
    if *refusal.reason() != Reason::NoCredential || !head.headers().contains_key(header::AUTHORIZATION) {
        return refusal;
    }
    let is_read = sources.iter().any(|source| matches!(source.0, Kind::Authorization));
    refusal.with_hint(match is_read {
        true => "Authorization is there, but its scheme is not Bearer",
        false => "Authorization is there, but read_from has no Source::authorization",
    })
}

impl Credential<'_> {
    /// Checks that this is one credential, not empty, without blanks around it and with nothing after it, and returns the bytes to
    /// verify. Cache hits skip this. Cookies and parameters are checked as strictly as headers. A blank inside a token is not
    /// refused here: it makes the token malformed, not the request.
    pub(crate) fn token(&self) -> Result<&[u8], Reason> {
        let bytes = &*self.bytes;
        if matches!(self.source.0, Kind::Authorization) && is_joined(bytes) {
            return Err(Reason::SeveralCredentials);
        }
        match memchr::memchr2(b' ', b'\t', bytes) {
            None if !bytes.is_empty() => Ok(bytes),
            Some(blank)
                if !bytes.ends_with(b" ")
                    && !bytes.ends_with(b"\t")
                    && !bytes.get(..blank).is_some_and(is_whole) =>
            {
                Ok(bytes)
            }
            _ => Err(Reason::MalformedCredential),
        }
    }
}

/// The credential, and whether the request has an `Origin`. One loop finds both.
#[inline]
fn from_authorization<'a>(head: &RequestHead<'a>) -> Result<(Option<&'a [u8]>, bool), Reason> {
    // For few fields a loop is faster than two lookups, which hash the names. For the seventeen fields of a browser it is a
    // little slower.
    let (mut found, mut has_origin) = (None, false);
    for (name, value) in head.headers() {
        if *name == header::AUTHORIZATION {
            if found.replace(value.as_bytes()).is_some() {
                return Err(Reason::SeveralCredentials);
            }
        } else {
            has_origin |= *name == header::ORIGIN;
        }
    }
    let Some(value) = found else { return Ok((None, has_origin)) };
    // Fast path for the usual spelling. Letter case does not matter.
    let token = value.strip_prefix(b"Bearer ").or_else(|| {
        let (scheme, token) = value.split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    match token {
        Some(token) if !token.is_empty() => Ok((Some(token), has_origin)),
        _ => Ok((odd_authorization(value)?, has_origin)),
    }
}

/// Judges a value that is not `Bearer`, one space and a token: another scheme, a joined pair, or a malformed credential.
#[cold]
fn odd_authorization<'a>(value: &[u8]) -> Result<Option<&'a [u8]>, Reason> {
    let text = value.trim_ascii_start();
    let (scheme, rest) =
        text.split_at(text.iter().position(|&b| is_blank(b) || b == b',').unwrap_or(text.len()));
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(match rest.first() {
            Some(b',') => Reason::SeveralCredentials,
            _ => Reason::MalformedCredential,
        });
    }
    // Another scheme is not a credential, unless an intermediary joined a bearer token to it.
    if text.split(|&b| b == b',').skip(1).any(carries_token) {
        return Err(Reason::SeveralCredentials);
    }
    // A token that is bound to its sender's key (RFC 9449 §7.1). No other source is read in its place.
    if scheme.eq_ignore_ascii_case(b"dpop") { Err(Reason::UnsupportedScheme) } else { Ok(None) }
}

/// Whether an intermediary joined two fields. `b64token` (RFC 6750 §2.1) has no comma. A JWS in its JSON form (RFC 7515 §7.2) has
/// some; it counts as one credential, which is then refused as malformed.
fn is_joined(credential: &[u8]) -> bool {
    if memchr::memchr(b',', credential).is_none() {
        return false;
    }
    let is_json = credential.starts_with(b"{") && credential.ends_with(b"}");
    !is_json || credential.split(|&b| b == b',').skip(1).any(carries_token)
}

/// Whether this is `Bearer` or `DPoP` with something after it.
fn carries_token(part: &[u8]) -> bool {
    let part = part.trim_ascii_start();
    let scheme = part.split(|&b| is_blank(b)).next().unwrap_or_default();
    scheme.len() < part.len()
        && (scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"dpop"))
}

/// Whether these bytes, before a blank, are a whole token: three non-empty parts, or nothing, if the blank comes first.
fn is_whole(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|&b| b == b'.');
    bytes.is_empty() || (parts.clone().count() == 3 && parts.all(|part| !part.is_empty()))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The credential in this cookie, if the request has one of its name.
pub(crate) fn in_cookie<'a>(head: &RequestHead<'a>, cookie: &Cookie) -> Option<&'a [u8]> {
    from_cookies(head, cookie.name()).ok().flatten()
}

fn from_cookies<'a>(head: &RequestHead<'a>, name: &str) -> Result<Option<&'a [u8]>, Reason> {
    let mut found = None;
    for value in head.headers().get_all(header::COOKIE) {
        for pair in value.as_bytes().split(|&b| b == b';') {
            let Some(equals) = pair.iter().position(|&b| b == b'=') else { continue };
            let (key, value) = pair.split_at(equals);
            let key = key.strip_prefix(b" ").unwrap_or(key);
            if key.trim_ascii() != name.as_bytes() {
                continue;
            }
            if key.trim_ascii().len() != key.len() {
                return Err(Reason::MalformedCredential);
            }
            if found.replace(value.strip_prefix(b"=").unwrap_or(value)).is_some() {
                return Err(Reason::SeveralCredentials);
            }
        }
    }
    Ok(found)
}

fn from_query<'a>(head: &RequestHead<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Reason> {
    if !head.is_websocket_upgrade() {
        return Ok(None);
    }
    let query = head.uri().query().unwrap_or_default();
    let mut values =
        form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Reason::SeveralCredentials),
        (found, None) => Ok(found),
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
