//! [`Settings`]: the configuration of a layer, without its authority.

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
    pub(super) inserts_token: bool,
    pub(super) refusals: Arc<dyn RefusalResponse>,
    pub(super) origins: AllowedOrigins,
}

impl Settings {
    /// The cookie of the source with this index.
    pub(super) fn cookie(&self, source: usize) -> Option<&Cookie> {
        self.sources.get(source)?.as_cookie()
    }
}
