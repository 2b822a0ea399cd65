//! How long a token may be that goes back in a response head, by the place it goes back in.

use super::policy::Policy;
use super::reissue::{Capacity, NotReissued};
use crate::request::cookie::Cookie;

/// All fields that a layer ever adds beside the successor's own: one bound for renewals and for refusals. An exchange has a
/// challenge beside its successor, with a realm of [`MAX_REALM`] bytes at most. What a route requires beside that
/// ([`Refusal::required_len`]) is counted apart.
///
/// [`Refusal::required_len`]: crate::refusal::Refusal::required_len
const FIELDS: &str = "cache-control: no-store\r\n\
    reissue-replay: safe\r\n\
    access-control-expose-headers: reissue-replay\r\n\
    content-type: application/grpc\r\n\
    grpc-status: 16\r\n\
    grpc-message: The token expired; the response carries its successor\r\n\
    www-authenticate: Bearer realm=\"\", error=\"invalid_token\", \
    error_description=\"The token expired; the response carries its successor\"\r\n";

/// The longest realm of a challenge, in bytes.
pub(crate) const MAX_REALM: usize = 64;

/// What is kept of `max_added_head_bytes` for all but the token, at least: a sign-in does not know the layers' names.
const HEAD_ALLOWANCE: usize = 512;

impl Policy {
    /// Of a successor in the response header of this name, exposed to scripts, with so many bytes of requirements beside it.
    pub(crate) fn header_capacity(&self, name: &str, required: usize) -> Capacity {
        let fields = [field(name, 0), field("access-control-expose-headers", name.len()), required];
        self.head_capacity(fields.iter().sum())
    }

    /// Of a successor in this cookie, with so many bytes of requirements beside it.
    pub(crate) fn cookie_capacity(&self, cookie: &Cookie, required: usize) -> Capacity {
        let in_head = self.head_capacity(field("set-cookie", cookie.overhead()) + required);
        match cookie.max_value_len() < in_head.longest {
            true => Capacity { longest: cookie.max_value_len(), otherwise: NotReissued::CookieTooLong },
            false => in_head,
        }
    }

    /// Of a successor in a place that is not known yet.
    pub(crate) fn any_capacity(&self) -> Capacity {
        self.head_capacity(0)
    }

    fn head_capacity(&self, fields: usize) -> Capacity {
        let overhead = (FIELDS.len() + MAX_REALM + fields).max(HEAD_ALLOWANCE);
        let longest = self.max_added_head_bytes.saturating_sub(overhead);
        Capacity { longest, otherwise: NotReissued::HeadTooLarge }
    }
}

/// The length of a header field with its separators.
fn field(name: &str, value: usize) -> usize {
    name.len() + ": ".len() + value + "\r\n".len()
}
