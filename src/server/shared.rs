//! [`Shared`]: what a layer, its services and their response futures have in common.

use std::sync::Arc;

use http::{HeaderName, Request};

use super::deliver::{Way, capacity};
use super::response::RefusalResponse;
use crate::authority::{Admission, Arrived, Authority, NotAdmitted, VerifiedToken};
use crate::token::bearer::{self, Source};
use crate::token::cross_site::AllowedOrigins;
use crate::token::refusal::Refusal;
use crate::{Cookie, RequestHead};

/// Behind one reference: some frameworks clone the layer and make the service for each request.
pub(super) struct Shared<C> {
    pub(super) authority: Authority<C>,
    pub(super) settings: Settings,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) sources: Vec<Source>,
    pub(super) header: HeaderName,
    pub(super) pass_preflight: bool,
    pub(super) shows_token: bool,
    pub(super) refusals: Arc<dyn RefusalResponse>,
    pub(super) origins: AllowedOrigins,
}

impl Settings {
    /// The cookie that this one among the sources is.
    pub(super) fn cookie(&self, source: usize) -> Option<&Cookie> {
        self.sources.get(source)?.as_cookie()
    }
}

impl<C: Send + Sync + 'static> Shared<C> {
    /// Finds and judges the request's one credential; a successor goes back the way the credential came.
    #[inline(always)]
    pub(super) fn arrive(&self, head: &RequestHead<'_>) -> (Arrived<C>, Way) {
        match bearer::find(&self.settings.sources, head) {
            Ok(credential) => {
                let way = Way::back_to(&credential, head);
                if matches!(way, Way::Cookie { .. })
                    && let Err(refusal) = self.check_upgrade(head)
                {
                    return (Err(NotAdmitted::refused(refusal)), way);
                }
                (self.authority.arrive(&credential, head, || capacity(way, self)), way)
            }
            Err(reason) => (Err(NotAdmitted::refused(reason)), Way::Nowhere),
        }
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
