//! [`Shared`]: what a layer, its services and their response futures have in common.

use std::any::TypeId;

use http::{Extensions, Request};

use super::reply::ReplyChannel;
use super::settings::Settings;
use crate::authority::{Admission, Arrived, Authority, NotAdmitted, VerifiedToken};
use crate::refusal::Refusal;
use crate::request::credential::{self, NotFound};
use crate::request::head::RequestHead;
use crate::token::decision::admits_anonymous;
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
                (self.authority.arrive(&credential, head, || self.capacity(channel, 0)), channel)
            }
            Err(not_found) => (Err(self.without_credential(not_found)), ReplyChannel::Nowhere),
        }
    }

    #[inline(never)]
    fn without_credential(&self, not_found: NotFound) -> Box<NotAdmitted<C>> {
        let reason = not_found.into_reason(|hook| self.authority.report_panic(hook));
        match admits_anonymous(self.settings.optional, &reason) {
            true => Box::new(NotAdmitted::Anonymous),
            false => NotAdmitted::refused(reason),
        }
    }

    /// What a response can carry back to where the token was, beside a refusal that names so many bytes of requirements.
    pub(super) fn capacity(&self, channel: ReplyChannel, required: usize) -> Option<Capacity> {
        channel.capacity(&self.settings, &self.authority, required)
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

    /// Handlers find no token, and learn that a layer was there.
    pub(super) fn show_anonymous<B>(&self, request: &mut Request<B>) {
        self.hide(request);
        mark_anonymous(request.extensions_mut(), TypeId::of::<C>());
    }

    fn hide<B>(&self, request: &mut Request<B>) {
        request.extensions_mut().remove::<VerifiedToken<C>>();
    }
}

/// The token that a layer put there; `None` where a layer let the request through without one.
#[inline]
pub(crate) fn shown<C: Send + Sync + 'static>(
    extensions: &Extensions,
) -> Result<Option<&VerifiedToken<C>>, NotShown> {
    match extensions.get::<VerifiedToken<C>>() {
        None if !is_anonymous(extensions, TypeId::of::<C>()) => Err(NotShown),
        token => Ok(token),
    }
}

/// No layer of this `C` guards the route, or it shows no token: the application is at fault.
pub(crate) struct NotShown;

pub(crate) const NOT_SHOWN: &str = "no layer here put a verified token with these claims";

/// In the extensions of a request that a layer of this `C` let through without a token, and perhaps layers of others.
#[derive(Clone)]
struct Anonymous {
    claims: TypeId,
    others: Vec<TypeId>,
}

impl Anonymous {
    fn is_of(&self, claims: TypeId) -> bool {
        self.claims == claims || self.others.contains(&claims)
    }
}

// Not generic: with a second caller in the user's crate the insertion of the token is no longer inlined.
#[inline(never)]
fn mark_anonymous(extensions: &mut Extensions, claims: TypeId) {
    match extensions.get_mut::<Anonymous>() {
        Some(anonymous) if anonymous.is_of(claims) => {}
        Some(anonymous) => anonymous.others.push(claims),
        None => drop(extensions.insert(Anonymous { claims, others: Vec::new() })),
    }
}

#[inline(never)]
fn is_anonymous(extensions: &Extensions, claims: TypeId) -> bool {
    extensions.get::<Anonymous>().is_some_and(|anonymous| anonymous.is_of(claims))
}

impl<C> Clone for Shared<C> {
    fn clone(&self) -> Self {
        Self { authority: self.authority.clone(), settings: self.settings.clone() }
    }
}
