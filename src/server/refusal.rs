//! A refusal is answered: by the configured response, which is then made safe to send.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};

use super::challenge::{Challenge, MaySucceed, RefusalResponse};
use super::deliver::{
    REISSUE_REPLAY, clear_place, deliver, expose, forgoes_successor, remove_cookie, uncache,
};
use super::reply::ReplyChannel;
use super::shared::Shared;
use crate::authority::{Authority, Refused};
use crate::refusal::{Class, Reason, Refusal};
use crate::request::head::RequestHead;
use crate::telemetry::ReissueKind;
use crate::token::reissue::NotReissued;

/// The whole refusal: made by the configured response, sealed, with the successor where one is owed.
pub(super) fn refusal_response<C: Send + Sync + 'static>(
    shared: &Shared<C>,
    head: &RequestHead<'_>,
    Refused { refusal, successor, at }: Refused,
    channel: ReplyChannel,
) -> Response<Bytes> {
    let removed = channel.cookie(&shared.settings).filter(|_| refusal.removes_cookie());
    let respond = |refusal| respond(&shared.authority, &*shared.settings.refusals, refusal, head);
    let mut response = respond(refusal.clone());
    // Then the refusal must not promise a successor.
    if successor.is_some() && forgoes_successor(&response, channel, shared) {
        shared.authority.report_not_reissued(NotReissued::Suppressed);
        return refusal_response(shared, head, Reason::Expired.into(), channel);
    }
    shared.authority.report_refusal(&refusal);
    match successor {
        Some(successor) => {
            clear_place(response.headers_mut(), channel, shared);
            deliver(response.headers_mut(), &successor, ReissueKind::Exchanged, at, channel, shared);
            // The handler did not run: whatever was asked for can be asked for again.
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

/// The response of a refusal, sealed; the default one where the configured one panics.
pub(crate) fn respond<C: Send + Sync + 'static>(
    authority: &Authority<C>,
    refusals: &dyn RefusalResponse,
    refusal: Refusal,
    head: &RequestHead<'_>,
) -> Response<Bytes> {
    let response = authority.ask_hook("refuse_with", || refusals.respond(&refusal, head));
    sealed(response.unwrap_or_else(|| Challenge::default().respond(&refusal, head)), refusal)
}

/// No refusal succeeds, no cache keeps one, an outage says when to come back, and layers further out can read why.
pub(super) fn sealed(mut response: Response<Bytes>, refusal: Refusal) -> Response<Bytes> {
    let may_succeed = response.extensions_mut().remove::<MaySucceed>().is_some();
    let status = response.status();
    // 304 is one too: a cache answers it with what it keeps, which may be what is protected.
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
