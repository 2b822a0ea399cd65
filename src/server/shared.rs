//! [`Shared`]: what a layer, its services and their response futures have in common.

use http::Request;

use super::reply::ReplyChannel;
use super::settings::Settings;
use crate::authority::{Admission, Arrived, Authority, NotAdmitted, VerifiedToken};
use crate::refusal::Refusal;
use crate::request::credential;
use crate::request::head::RequestHead;
use crate::token::reissue::Capacity;

/// Behind one reference: some frameworks clone the layer and make the service for each request.
pub(super) struct Shared<C> {
    pub(super) authority: Authority<C>,
    pub(super) settings: Settings,
}

impl<C: Send + Sync + 'static> Shared<C> {
    /// Finds and judges the request's one credential; a successor goes back to where the credential was.
    #[inline(always)]
    pub(super) fn arrive(&self, head: &RequestHead<'_>) -> (Arrived<C>, ReplyChannel) {
        match credential::find(&self.settings.sources, head) {
            Ok(credential) => {
                let channel = ReplyChannel::back_to(&credential, head);
                if matches!(channel, ReplyChannel::Cookie { .. })
                    && let Err(refusal) = self.check_upgrade(head)
                {
                    return (Err(NotAdmitted::refused(refusal)), channel);
                }
                (self.authority.arrive(&credential, head, || self.capacity(channel)), channel)
            }
            Err(reason) => (Err(NotAdmitted::refused(reason)), ReplyChannel::Nowhere),
        }
    }

    /// What a response can carry back to where the token was.
    pub(super) fn capacity(&self, channel: ReplyChannel) -> Option<Capacity> {
        channel.capacity(&self.settings, &self.authority)
    }

    /// Any site's page can open a WebSocket and have the cookie sent along, and then read and write on it: CORS does not
    /// apply.
    #[inline(never)]
    fn check_upgrade(&self, head: &RequestHead<'_>) -> Result<(), Refusal> {
        match head.is_websocket_upgrade() {
            true => self.settings.origins.check(head),
            false => Ok(()),
        }
    }

    /// Handlers find this token in the request's extensions or, under `without_extension`, none: not that of a layer further
    /// out either.
    pub(super) fn show<B>(&self, admission: &Admission<C>, request: &mut Request<B>) {
        match self.settings.shows_token {
            true => drop(request.extensions_mut().insert(admission.token.clone())),
            false => self.hide(request),
        }
    }

    pub(super) fn hide<B>(&self, request: &mut Request<B>) {
        request.extensions_mut().remove::<VerifiedToken<C>>();
    }
}

impl<C> Clone for Shared<C> {
    fn clone(&self) -> Self {
        Self { authority: self.authority.clone(), settings: self.settings.clone() }
    }
}
