//! The response to a refused request: the configured one, completed so that it is safe to send.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};

use super::challenge::{Challenge, MaySucceed, RefusalResponse};
use super::control::REISSUE_REPLAY;
use super::deliver::{deliver, expose, remove_cookie, remove_rival_cookie, suppresses_successor, uncache};
use super::reply::ReplyChannel;
use super::shared::Shared;
use crate::authority::{Authority, Refused};
use crate::refusal::{Class, Reason, Refusal};
use crate::request::credential;
use crate::request::head::RequestHead;
use crate::telemetry::ReissueKind;
use crate::token::not_reissued::NotReissued;

/// The complete response to a refused request, with the successor of an exchange.
pub(super) fn refusal_response<C: Send + Sync + 'static>(
    shared: &Shared<C>,
    head: &RequestHead<'_>,
    Refused { refusal, successor, at }: Refused,
    channel: ReplyChannel,
) -> Response<Bytes> {
    let refusal = credential::explain(refusal, &shared.settings.sources, head);
    let removed = channel
        .cookie(&shared.settings)
        .filter(|cookie| shared.authority.removes_cookie(&refusal, credential::in_cookie(head, cookie)));
    let respond = |refusal| respond(&shared.authority, &*shared.settings.refusals, refusal, head);
    let mut response = respond(refusal.clone());
    // The refusal must not promise a successor that is not sent.
    if successor.is_some() && suppresses_successor(&response, channel, shared) {
        shared.authority.reporter().not_reissued(NotReissued::Suppressed);
        return refusal_response(shared, head, Reason::Expired.into(), channel);
    }
    shared.authority.report_refusal(&refusal);
    match successor {
        Some(successor) => {
            remove_rival_cookie(response.headers_mut(), channel, shared);
            deliver(response.headers_mut(), &successor, ReissueKind::Exchanged, at, channel, shared);
            // The handler did not run, so the request can be sent again.
            response.headers_mut().insert(&REISSUE_REPLAY, HeaderValue::from_static("safe"));
            if head.is_cross_origin(head.has_origin()) {
                expose(response.headers_mut(), &REISSUE_REPLAY);
            }
        }
        None => {
            if let Some(cookie) = removed {
                remove_cookie(response.headers_mut(), cookie);
            }
        }
    }
    response
}

/// The configured response to a refusal, completed. If it panics, the default one.
pub(crate) fn respond<C: Send + Sync + 'static>(
    authority: &Authority<C>,
    refusals: &dyn RefusalResponse,
    refusal: Refusal,
    head: &RequestHead<'_>,
) -> Response<Bytes> {
    let response = authority.reporter().ask_hook("refuse_with", || refusals.respond(&refusal, head));
    completed(response.unwrap_or_else(|| Challenge::default().respond(&refusal, head)), refusal)
}

/// Completes the response to a refusal: it has no success status, is not cached, says when to retry after an outage, and carries
/// the refusal for layers further out.
pub(super) fn completed(mut response: Response<Bytes>, refusal: Refusal) -> Response<Bytes> {
    let may_succeed = response.extensions_mut().remove::<MaySucceed>().is_some();
    let status = response.status();
    // 304 counts as success: a cache then sends its stored response, which may be a protected one.
    if (status < StatusCode::MULTIPLE_CHOICES && !may_succeed) || status == StatusCode::NOT_MODIFIED {
        *response.status_mut() = refusal.status();
    }
    let headers = response.headers_mut();
    uncache(headers);
    headers.remove(&REISSUE_REPLAY);
    if refusal.class() == Class::Unavailable {
        headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    response.extensions_mut().insert(refusal);
    response
}
