//! How a successor goes back: in a header or a cookie, in a response that no cache keeps.

use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::control::NoReissue;
use super::reply::ReplyChannel;
use super::shared::Shared;
use crate::authority::SignedSuccessor;
use crate::request::cookie::Cookie;
use crate::telemetry::ReissueKind;
use crate::time::NumericDate;
use crate::token::reissue::NotReissued;

/// On a refusal that carries a successor: the handler did not run, so the same request may be sent again with it. Whatever
/// an inner service says of that is removed, for it did run.
pub(super) static REISSUE_REPLAY: HeaderName = HeaderName::from_static("reissue-replay");

/// Whether this response may carry a successor at all; asked before one is made, for a recorded one is spent.
pub(super) fn may_carry<R, C>(response: &Response<R>, channel: ReplyChannel, shared: &Shared<C>) -> bool {
    let headers = response.headers();
    let taken = match channel {
        ReplyChannel::Nowhere => true,
        ReplyChannel::Header | ReplyChannel::ExposedHeader => headers.contains_key(&shared.settings.header),
        ReplyChannel::Cookie { .. } => {
            channel.cookie(&shared.settings).is_none_or(|cookie| sets_cookie(headers, cookie))
        }
    };
    !taken
        && !response.status().is_informational()
        && response.status() != StatusCode::NOT_MODIFIED
        && !forgoes_successor(response, channel, shared)
}

/// Whether whoever made the response wants no successor in it.
pub(super) fn forgoes_successor<R, C>(
    response: &Response<R>,
    channel: ReplyChannel,
    shared: &Shared<C>,
) -> bool {
    response.extensions().get::<NoReissue>().is_some()
        || channel.cookie(&shared.settings).is_some() && clears_cookies(response.headers())
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
pub(super) fn clear_place<C>(headers: &mut HeaderMap, channel: ReplyChannel, shared: &Shared<C>) {
    let Some(cookie) = channel.cookie(&shared.settings) else { return };
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
    channel: ReplyChannel,
    shared: &Shared<C>,
) {
    match channel {
        ReplyChannel::Nowhere => return,
        ReplyChannel::Header | ReplyChannel::ExposedHeader => {
            uncache(headers);
            let name = &shared.settings.header;
            headers.insert(name, successor.token.clone());
            if matches!(channel, ReplyChannel::ExposedHeader) {
                expose(headers, name);
            }
        }
        ReplyChannel::Cookie { source } => {
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

/// Whether a response field of this name says something already: to caches, to browsers, of the response, or of a refusal.
pub(super) fn has_a_meaning(name: &HeaderName) -> bool {
    let is_cors = name.as_str().starts_with("access-control-");
    is_cors
        || is_for_caches(name)
        || name == REISSUE_REPLAY
        || matches!(
            name.as_str(),
            "cache-control"
                | "expires"
                | "age"
                | "pragma"
                | "vary"
                | "etag"
                | "set-cookie"
                | "www-authenticate"
                | "retry-after"
                | "location"
                | "connection"
                | "transfer-encoding"
                | "trailer"
                | "upgrade"
                | "content-type"
                | "content-length"
                | "content-encoding"
                | "content-range"
                | "clear-site-data"
                | "grpc-status"
                | "grpc-message"
                | "strict-transport-security"
                | "content-security-policy"
        )
}

/// Fields that CDNs heed before `Cache-Control`: the targeted ones of RFC 9213, which end in its name, and older ones.
fn is_for_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control")
        || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
}
