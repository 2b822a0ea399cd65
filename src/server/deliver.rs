//! Puts a successor into a response, in a header or a cookie, and makes the response uncacheable.

use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::control::{NoReissue, REISSUE_REPLAY};
use super::reply::ReplyChannel;
use super::shared::Shared;
use crate::authority::SignedSuccessor;
use crate::request::cookie::Cookie;
use crate::telemetry::ReissueKind;
use crate::time::NumericDate;
use crate::token::not_reissued::NotReissued;

/// Whether this response may carry a successor. Checked before one is made, because recording one supersedes its predecessor.
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
        && !suppresses_successor(response, channel, shared)
}

/// Whether the response itself asks for no successor.
pub(super) fn suppresses_successor<R, C>(
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

/// Whether `Clear-Site-Data` removes the cookies, which is a sign-out too.
fn clears_cookies(headers: &HeaderMap) -> bool {
    let values = headers.get_all("clear-site-data").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|what| matches!(what.trim(), "\"cookies\"" | "\"*\""))
}

/// Removes a `Set-Cookie` of the token's cookie from a refusal that carries a successor in that cookie. The refusal promises the
/// successor, and it is recorded already.
pub(super) fn remove_rival_cookie<C>(headers: &mut HeaderMap, channel: ReplyChannel, shared: &Shared<C>) {
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

/// Removes the cookie from the browser, unless the response sets it.
pub(crate) fn remove_cookie(headers: &mut HeaderMap, cookie: &Cookie) {
    if !sets_cookie(headers, cookie) {
        headers.append(SET_COOKIE, cookie.removal());
    }
}

/// Adds the successor to the response, and reports it. `at` is the instant of the admission or the exchange.
pub(super) fn deliver<C: Send + Sync + 'static>(
    headers: &mut HeaderMap,
    successor: &SignedSuccessor,
    how: ReissueKind,
    at: NumericDate,
    channel: ReplyChannel,
    shared: &Shared<C>,
) {
    if put(headers, successor, at, channel, shared) {
        shared.authority.reporter().reissued(how, successor.exp);
    }
}

/// Adds the token to the response, and returns whether it could be.
pub(super) fn put<C: Send + Sync + 'static>(
    headers: &mut HeaderMap,
    successor: &SignedSuccessor,
    at: NumericDate,
    channel: ReplyChannel,
    shared: &Shared<C>,
) -> bool {
    match channel {
        ReplyChannel::Nowhere => return false,
        ReplyChannel::Header | ReplyChannel::ExposedHeader => {
            uncache(headers);
            let name = &shared.settings.header;
            headers.insert(name, successor.token.clone());
            if matches!(channel, ReplyChannel::ExposedHeader) {
                expose(headers, name);
            }
        }
        ReplyChannel::Cookie { source } => {
            let Some(cookie) = shared.settings.cookie(source) else { return false };
            let max_age = shared.authority.cookie_max_age(successor.exp, at);
            let Some(field) = cookie.set(successor.text(), max_age) else {
                shared.authority.reporter().not_reissued(NotReissued::CookieTooLong);
                return false;
            };
            uncache(headers);
            headers.append(SET_COOKIE, field);
        }
    }
    true
}

/// Exposes a header to scripts of other origins (Fetch §3.3.5).
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

/// Makes the response uncacheable for browsers, proxies and CDNs with headers of their own, so that no other user gets the token
/// (RFC 6749 §5.1).
pub(super) fn uncache(headers: &mut HeaderMap) {
    headers.remove(EXPIRES);
    // Few responses have any, and only then this allocates.
    let for_caches: Vec<HeaderName> = headers.keys().filter(|name| is_for_caches(name)).cloned().collect();
    for name in for_caches {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Whether a response header of this name has a meaning of its own, to caches, browsers, clients or the layer.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
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

/// Whether a CDN prefers this header to `Cache-Control`: a targeted one of RFC 9213, whose name ends in it, or an older one.
fn is_for_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control")
        || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
}
