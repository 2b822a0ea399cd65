//! [`ReplyChannel`]: where a successor is sent, and how long it may be.

use super::settings::Settings;
use crate::authority::Authority;
use crate::request::cookie::Cookie;
use crate::request::credential::Credential;
use crate::request::head::RequestHead;
use crate::token::capacity::Capacity;

/// Where a successor is sent: to where the token was found.
// Every request makes one, and few use it. So it is `Copy` and owns nothing.
#[derive(Clone, Copy)]
pub(super) enum ReplyChannel {
    Nowhere,
    Header,
    /// A header that is exposed to scripts of other origins.
    ExposedHeader,
    /// The cookie with this index among the layer's sources.
    Cookie {
        source: usize,
    },
}

impl ReplyChannel {
    #[inline]
    pub(super) fn back_to(credential: &Credential<'_>, head: &RequestHead<'_>) -> Self {
        let source = credential.source;
        match source.as_cookie() {
            Some(_) => Self::Cookie { source: credential.nth },
            None if !source.takes_successors() => Self::Nowhere,
            None if head.is_cross_origin(credential.has_origin) => Self::ExposedHeader,
            None => Self::Header,
        }
    }

    /// The cookie that the token came in.
    pub(super) fn cookie(self, settings: &Settings) -> Option<&Cookie> {
        match self {
            Self::Cookie { source } => settings.cookie(source),
            _ => None,
        }
    }

    /// The longest token that a response can carry, beside a refusal with so many bytes of requirements. `None` if it can carry
    /// none.
    pub(super) fn capacity<C: Send + Sync + 'static>(
        self,
        settings: &Settings,
        authority: &Authority<C>,
        required: usize,
    ) -> Option<Capacity> {
        match self {
            Self::Nowhere => None,
            Self::Header | Self::ExposedHeader => {
                Some(authority.policy().header_capacity(settings.header.as_str(), required))
            }
            Self::Cookie { .. } => Some(authority.policy().cookie_capacity(self.cookie(settings)?, required)),
        }
    }
}
