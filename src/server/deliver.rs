//! How a successor goes back: in a header or a cookie, in a response that no cache keeps.

use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::control::NoReissue;
use super::layer::Shared;
use crate::RequestHead;
use crate::authority::SignedSuccessor;
use crate::cookie::Cookie;
use crate::telemetry::{NotReissued, Occasion};
use crate::token::bearer::Source;

/// The way back to where the token was found.
pub(super) struct Way {
    carrier: Carrier,
    cross_origin: bool,
}

enum Carrier {
    Nowhere,
    Header,
    Cookie(Cookie),
}

impl Way {
    pub(super) fn back_to(source: &Source, head: &RequestHead<'_>) -> Self {
        let carrier = match source.as_cookie() {
            Some(cookie) => Carrier::Cookie(cookie.clone()),
            None if source.takes_successors() => Carrier::Header,
            None => Carrier::Nowhere,
        };
        Self { carrier, cross_origin: head.is_cross_origin() }
    }

    pub(super) fn nowhere() -> Self {
        Self { carrier: Carrier::Nowhere, cross_origin: false }
    }
}

/// Whether this response may carry a successor at all; asked before one is made, for a recorded one is spent.
pub(super) fn may_carry<R, C>(response: &Response<R>, way: &Way, shared: &Shared<C>) -> bool {
    let headers = response.headers();
    let taken = match &way.carrier {
        Carrier::Nowhere => true,
        Carrier::Header => headers.contains_key(&shared.settings.header),
        Carrier::Cookie(cookie) => {
            headers.get_all(SET_COOKIE).iter().any(|field| sets(field, cookie)) || clears_cookies(headers)
        }
    };
    !taken
        && !response.status().is_informational()
        && response.status() != StatusCode::NOT_MODIFIED
        && response.extensions().get::<NoReissue>().is_none()
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

pub(super) fn deliver<C: Send + Sync + 'static>(
    headers: &mut HeaderMap,
    successor: &SignedSuccessor,
    how: Occasion,
    way: &Way,
    shared: &Shared<C>,
) {
    match &way.carrier {
        Carrier::Nowhere => return,
        Carrier::Header => {
            let name = &shared.settings.header;
            let Ok(mut value) = HeaderValue::from_str(&successor.token) else { return };
            value.set_sensitive(true);
            headers.insert(name, value);
            if way.cross_origin {
                expose(headers, name);
            }
        }
        Carrier::Cookie(cookie) => {
            let Some(field) = cookie.set(&successor.token, shared.authority.cookie_max_age(successor.exp))
            else {
                return shared.authority.report_not_reissued(NotReissued::CookieTooLong);
            };
            headers.append(SET_COOKIE, field);
        }
    }
    uncache(headers);
    shared.authority.report_reissued(how, successor.exp);
}

/// A browser's script reads no header that is not exposed (Fetch §3.3.5).
fn expose(headers: &mut HeaderMap, name: &HeaderName) {
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
    static CDN: [HeaderName; 10] = [
        HeaderName::from_static("cdn-cache-control"),
        HeaderName::from_static("cloudflare-cdn-cache-control"),
        HeaderName::from_static("vercel-cdn-cache-control"),
        HeaderName::from_static("netlify-cdn-cache-control"),
        HeaderName::from_static("fastly-cdn-cache-control"),
        HeaderName::from_static("akamai-cache-control"),
        HeaderName::from_static("x-litespeed-cache-control"),
        HeaderName::from_static("surrogate-control"),
        HeaderName::from_static("edge-control"),
        HeaderName::from_static("x-accel-expires"),
    ];
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(EXPIRES);
    for name in &CDN {
        headers.remove(name);
    }
}
