//! [`Settings`]: what a layer was told beside its authority.

use std::sync::Arc;

use http::HeaderName;

use super::challenge::RefusalResponse;
use crate::request::cookie::Cookie;
use crate::request::credential::Source;
use crate::request::cross_site::AllowedOrigins;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) sources: Vec<Source>,
    pub(super) header: HeaderName,
    pub(super) optional: bool,
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
