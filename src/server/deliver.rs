//! How a successor goes back: in a header or a cookie, in a response that no cache keeps.

use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::control::NoReissue;
use super::shared::{Settings, Shared};
use crate::authority::SignedSuccessor;
use crate::cookie::Cookie;
use crate::telemetry::ReissueKind;
use crate::token::bearer::Credential;
use crate::token::reissue::{Capacity, NotReissued};
use crate::{NumericDate, RequestHead};

/// The way back to where the token was found.
// Made for every request and walked by few: so it owns nothing that would have to be cloned and dropped.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Nowhere,
    Header,
    /// A header that a browser's script on another origin is to read.
    ExposedHeader,
    /// The cookie that is this one among the layer's sources.
    Cookie {
        source: usize,
    },
}

impl Way {
    #[inline]
    pub(super) fn back_to(credential: &Credential<'_>, head: &RequestHead<'_>) -> Self {
        let source = credential.source;
        match source.as_cookie() {
            Some(_) => Self::Cookie { source: credential.nth },
            None if !source.takes_successors() => Self::Nowhere,
            None if head.is_cross_origin(credential.has_origin) => Self::ExposedHeader,
            None => Self::Header,
        }
    }

    /// The cookie that the token came in.
    pub(super) fn cookie(self, settings: &Settings) -> Option<&Cookie> {
        match self {
            Self::Cookie { source } => settings.cookie(source),
            _ => None,
        }
    }
}

/// On a refusal that carries a successor: the handler did not run, so the same request may be sent again with it. Whatever
/// an inner service says of that is removed, for it did run.
pub(super) static REISSUE_REPLAY: HeaderName = HeaderName::from_static("reissue-replay");

/// Whether this response may carry a successor at all; asked before one is made, for a recorded one is spent.
pub(super) fn may_carry<R, C>(response: &Response<R>, way: Way, shared: &Shared<C>) -> bool {
    let headers = response.headers();
    let taken = match way {
        Way::Nowhere => true,
        Way::Header | Way::ExposedHeader => headers.contains_key(&shared.settings.header),
        Way::Cookie { .. } => way.cookie(&shared.settings).is_none_or(|cookie| sets_cookie(headers, cookie)),
    };
    !taken
        && !response.status().is_informational()
        && response.status() != StatusCode::NOT_MODIFIED
        && !forgoes_successor(response, way, shared)
}

/// Whether whoever made the response wants no successor in it.
pub(super) fn forgoes_successor<R, C>(response: &Response<R>, way: Way, shared: &Shared<C>) -> bool {
    response.extensions().get::<NoReissue>().is_some()
        || way.cookie(&shared.settings).is_some() && clears_cookies(response.headers())
}

/// The longest token that a response can carry on this way; `None` where it carries none.
pub(super) fn capacity<C: Send + Sync + 'static>(way: Way, shared: &Shared<C>) -> Option<Capacity> {
    // All that `deliver` and a refusal ever add, whichever of it this response needs: one bound for both.
    const FIELDS: &str = "cache-control: no-store\r\n\
        reissue-replay: safe\r\n\
        access-control-expose-headers: reissue-replay\r\n";
    const EXPOSED: &str = "access-control-expose-headers: \r\n";
    let field = |name: &str, value: usize| name.len() + ": ".len() + value + "\r\n".len();
    let (field, in_cookie) = match way {
        Way::Nowhere => return None,
        Way::Header | Way::ExposedHeader => {
            let name = shared.settings.header.as_str();
            (field(name, 0) + EXPOSED.len() + name.len(), usize::MAX)
        }
        Way::Cookie { .. } => {
            let cookie = way.cookie(&shared.settings)?;
            (field(SET_COOKIE.as_str(), cookie.overhead()), cookie.max_value_len())
        }
    };
    let in_head = shared.authority.max_delivered_bytes(FIELDS.len() + field);
    Some(match in_cookie < in_head {
        true => Capacity { longest: in_cookie, otherwise: NotReissued::CookieTooLong },
        false => Capacity { longest: in_head, otherwise: NotReissued::HeadTooLarge },
    })
}

fn sets_cookie(headers: &HeaderMap, cookie: &Cookie) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|field| sets(field, cookie))
}

fn sets(field: &HeaderValue, cookie: &Cookie) -> bool {
    field
        .as_bytes()
        .split(|&b| b == b'=')
        .next()
        .is_some_and(|name| name.trim_ascii() == cookie.name().as_bytes())
}

/// `Clear-Site-Data` signs out as surely as a cookie's removal.
fn clears_cookies(headers: &HeaderMap) -> bool {
    let values = headers.get_all("clear-site-data").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|what| matches!(what.trim(), "\"cookies\"" | "\"*\""))
}

/// Takes out of a refusal what stands where its successor belongs: the refusal promises it, and it is spent.
pub(super) fn clear_place<C>(headers: &mut HeaderMap, way: Way, shared: &Shared<C>) {
    let Some(cookie) = way.cookie(&shared.settings) else { return };
    if sets_cookie(headers, cookie) {
        let others: Vec<_> =
            headers.get_all(SET_COOKIE).iter().filter(|field| !sets(field, cookie)).cloned().collect();
        headers.remove(SET_COOKIE);
        others.into_iter().for_each(|field| {
            headers.append(SET_COOKIE, field);
        });
    }
}

/// Removes the cookie, unless the response sets it already.
pub(crate) fn remove_cookie(headers: &mut HeaderMap, cookie: &Cookie) {
    if !sets_cookie(headers, cookie) {
        headers.append(SET_COOKIE, cookie.removal());
    }
}

/// `at` is the instant of admission, or of the exchange.
pub(super) fn deliver<C: Send + Sync + 'static>(
    headers: &mut HeaderMap,
    successor: &SignedSuccessor,
    how: ReissueKind,
    at: NumericDate,
    way: Way,
    shared: &Shared<C>,
) {
    match way {
        Way::Nowhere => return,
        Way::Header | Way::ExposedHeader => {
            uncache(headers);
            let name = &shared.settings.header;
            headers.insert(name, successor.token.clone());
            if matches!(way, Way::ExposedHeader) {
                expose(headers, name);
            }
        }
        Way::Cookie { source } => {
            let Some(cookie) = shared.settings.cookie(source) else { return };
            let max_age = shared.authority.cookie_max_age(successor.exp, at);
            let Some(field) = cookie.set(successor.text(), max_age) else {
                return shared.authority.report_not_reissued(NotReissued::CookieTooLong);
            };
            uncache(headers);
            headers.append(SET_COOKIE, field);
        }
    }
    shared.authority.report_reissued(how, successor.exp);
}

/// A browser's script reads no header that is not exposed (Fetch §3.3.5).
pub(super) fn expose(headers: &mut HeaderMap, name: &HeaderName) {
    let exposed = headers
        .get_all(ACCESS_CONTROL_EXPOSE_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|exposed| exposed.trim().eq_ignore_ascii_case(name.as_str()));
    if !exposed {
        headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, name.clone().into());
    }
}

/// One user's token must reach no other: not from the browser's cache, not from a proxy's, not from a CDN that
/// listens to headers of its own (RFC 6749 §5.1).
pub(super) fn uncache(headers: &mut HeaderMap) {
    headers.remove(EXPIRES);
    // Few responses have any: it takes memory only then.
    let for_caches: Vec<HeaderName> = headers.keys().filter(|name| is_for_caches(name)).cloned().collect();
    for name in for_caches {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Fields that CDNs heed before `Cache-Control`: the targeted ones of RFC 9213, which end in its name, and older ones.
fn is_for_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control")
        || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
}
