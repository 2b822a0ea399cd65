//! [`Capacity`]: how long a successor may be, by where it is sent in a response head.

use super::kind::Sliding;
use super::not_reissued::NotReissued;
use super::policy::Policy;
use crate::request::cookie::Cookie;

/// How long a successor the response can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// The longest token, in bytes.
    pub(crate) longest: usize,
    /// What is reported if the successor is longer.
    pub(crate) otherwise: NotReissued,
}

impl Capacity {
    /// Whether the response carries a token of this many bytes.
    pub(crate) fn admit(self, bytes: usize) -> Result<(), NotReissued> {
        if bytes <= self.longest { Ok(()) } else { Err(self.otherwise) }
    }
}

/// The largest set of fields that a layer adds beside the successor's own: those of an exchange over gRPC, whose challenge has a realm
/// of at most [`MAX_REALM`] bytes. The same bound holds for renewals. What a route requires ([`Refusal::required_len`]) is counted
/// in addition.
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

/// The least that is reserved of `max_added_head_bytes` for everything but the token, because a sign-in does not know the layers'
/// header names.
const HEAD_ALLOWANCE: usize = 512;

impl Policy {
    /// For a successor in the response header of this name, which is exposed to scripts, with so many bytes of requirements.
    pub(crate) fn header_capacity(&self, name: &str, required: usize) -> Capacity {
        let fields = [field(name, 0), field("access-control-expose-headers", name.len()), required];
        self.head_capacity(fields.iter().sum())
    }

    /// For a successor in this cookie, with so many bytes of requirements.
    pub(crate) fn cookie_capacity(&self, cookie: &Cookie, required: usize) -> Capacity {
        let in_head = self.head_capacity(field("set-cookie", cookie.overhead()) + required);
        match cookie.max_value_len() < in_head.longest {
            true => Capacity { longest: cookie.max_value_len(), otherwise: NotReissued::CookieTooLong },
            false => in_head,
        }
    }

    /// For a successor whose place is not known yet.
    pub(crate) fn any_capacity(&self) -> Capacity {
        self.head_capacity(0)
    }

    /// Whether the access token of a pair whose successor has so many bytes is renewed in responses. An error if that was asked for
    /// and no response could carry the successor: its refresh token renews it all the same.
    pub(crate) fn may_slide(&self, successor: usize) -> Result<bool, NotReissued> {
        if self.of_pairs() != Sliding::InPair {
            return Ok(false);
        }
        self.any_capacity().admit(successor).map(|()| true)
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
