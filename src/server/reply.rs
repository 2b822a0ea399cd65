//! [`ReplyChannel`]: where a successor goes back, and how long it may be.

use http::header::SET_COOKIE;

use super::settings::Settings;
use crate::RequestHead;
use crate::cookie::Cookie;
use crate::token::bearer::Credential;
use crate::token::reissue::{Capacity, NotReissued};

/// Where a successor goes back: to where the token was found.
// Made for every request and walked by few: so it owns nothing that would have to be cloned and dropped.
#[derive(Clone, Copy)]
pub(super) enum ReplyChannel {
    Nowhere,
    Header,
    /// A header that a browser's script on another origin is to read.
    ExposedHeader,
    /// The cookie that is this one among the layer's sources.
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

    /// The longest token that a response can carry back; `None` where it carries none. `max_delivered_bytes` tells the longest
    /// beside this many bytes of names and other fields.
    pub(super) fn capacity(
        self,
        settings: &Settings,
        max_delivered_bytes: impl FnOnce(usize) -> usize,
    ) -> Option<Capacity> {
        // All that `deliver` and a refusal ever add, whichever of it this response needs: one bound for both.
        const FIELDS: &str = "cache-control: no-store\r\n\
            reissue-replay: safe\r\n\
            access-control-expose-headers: reissue-replay\r\n";
        const EXPOSED: &str = "access-control-expose-headers: \r\n";
        let field = |name: &str, value: usize| name.len() + ": ".len() + value + "\r\n".len();
        let (field, in_cookie) = match self {
            Self::Nowhere => return None,
            Self::Header | Self::ExposedHeader => {
                let name = settings.header.as_str();
                (field(name, 0) + EXPOSED.len() + name.len(), usize::MAX)
            }
            Self::Cookie { .. } => {
                let cookie = self.cookie(settings)?;
                (field(SET_COOKIE.as_str(), cookie.overhead()), cookie.max_value_len())
            }
        };
        let in_head = max_delivered_bytes(FIELDS.len() + field);
        Some(match in_cookie < in_head {
            true => Capacity { longest: in_cookie, otherwise: NotReissued::CookieTooLong },
            false => Capacity { longest: in_head, otherwise: NotReissued::HeadTooLarge },
        })
    }
}
