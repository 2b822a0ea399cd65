//! [`Shared`]: what a layer, its services and their futures share.

use std::any::{TypeId, type_name};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Extensions, Request};

use super::reply::ReplyChannel;
use super::settings::Settings;
use crate::authority::{Admission, Arrived, Authority, NotAdmitted, VerifiedToken};
use crate::refusal::Refusal;
use crate::request::credential::{self, NotFound};
use crate::request::cross_site::Purpose;
use crate::request::head::RequestHead;
use crate::telemetry::record_no_layer;
use crate::token::capacity::Capacity;
use crate::token::decision::admits_anonymous;

/// Shared by reference, because some frameworks clone the layer and create the service for each request.
pub(super) struct Shared<C> {
    pub(super) authority: Authority<C>,
    pub(super) settings: Settings,
}

impl<C: Send + Sync + 'static> Shared<C> {
    /// Finds and judges the request's credential, and returns where a successor is to be sent.
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
        let reason = not_found.into_reason(|hook| self.authority.reporter().panicked(hook));
        match admits_anonymous(self.settings.optional, &reason) {
            true => Box::new(NotAdmitted::Anonymous),
            false => NotAdmitted::refused(reason),
        }
    }

    /// How long a successor a response can carry, beside a refusal with so many bytes of requirements.
    pub(super) fn capacity(&self, channel: ReplyChannel, required: usize) -> Option<Capacity> {
        channel.capacity(&self.settings, &self.authority, required)
    }

    /// Refuses a cross-site WebSocket with a cookie. CORS does not apply to WebSockets: a page of any site can open one with the
    /// cookie, and read and write on it.
    #[inline(never)]
    fn check_upgrade(&self, head: &RequestHead<'_>) -> Result<(), Refusal> {
        match head.is_websocket_upgrade() {
            true => self.settings.origins.check(head, Purpose::WebSocket),
            false => Ok(()),
        }
    }

    /// Puts the token into the request's extensions. Under `without_extension` it removes one there instead, which is of a layer
    /// further out.
    pub(super) fn insert_token<B>(&self, admission: &Admission<C>, request: &mut Request<B>) {
        match self.settings.inserts_token {
            true => drop(request.extensions_mut().insert(admission.token.clone())),
            false => self.remove_token(request),
        }
    }

    /// Removes a token from the extensions, and marks that a layer let the request through without one.
    pub(super) fn insert_anonymous<B>(&self, request: &mut Request<B>) {
        self.remove_token(request);
        mark_anonymous(request.extensions_mut(), TypeId::of::<C>());
    }

    fn remove_token<B>(&self, request: &mut Request<B>) {
        request.extensions_mut().remove::<VerifiedToken<C>>();
    }
}

/// The token that a layer put into the extensions. `None` if a layer let the request through without one.
#[inline]
pub(crate) fn find_token<C: Send + Sync + 'static>(
    extensions: &Extensions,
) -> Result<Option<&VerifiedToken<C>>, NoLayer> {
    match extensions.get::<VerifiedToken<C>>() {
        None if !is_anonymous(extensions, TypeId::of::<C>()) => Err(NoLayer::found(type_name::<C>())),
        token => Ok(token),
    }
}

/// No layer with this `C` guards the route, or it has `without_extension`. The application is at fault.
pub(crate) struct NoLayer(());

pub(crate) const NO_LAYER: &str = "no layer guards this route, or none with these private claims: add the ReissueLayer last, outside of what requires its token; after private_claims::<T>() take VerifiedToken<T>, and RequireScope::new(..)?.private_claims::<T>()";

impl NoLayer {
    /// Logs the fault. It is at ERROR the first time in a process and at DEBUG then, because anybody can send such a request.
    // `claims` is the type of the private claims.
    #[cold]
    #[inline(never)]
    fn found(claims: &'static str) -> Self {
        static IS_LOGGED: AtomicBool = AtomicBool::new(false);
        record_no_layer(claims, NO_LAYER, IS_LOGGED.swap(true, Ordering::Relaxed));
        Self(())
    }
}

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

// Not generic: with a second caller in the user's crate, the compiler no longer inlines the insertion of the token.
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
