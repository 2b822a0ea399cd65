//! What handlers see of a token: [`VerifiedToken`] and the lazy [`PrivateClaims`].

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::NumericDate;
use crate::store::SessionId;
use crate::token::json;
use crate::token::verify::Verified;

/// A token that was admitted, in the request's extensions and as an extractor for axum.
///
/// Clones share one value. Whether it was admitted is answered by its being there: only this crate makes one.
pub struct VerifiedToken<C = PrivateClaims>(Arc<Parts<C>>);

struct Parts<C> {
    verified: Verified,
    private: C,
    admitted_until: NumericDate,
}

impl<C> VerifiedToken<C> {
    pub(super) fn new(verified: Verified, private: C, admitted_until: NumericDate) -> Self {
        Self(Arc::new(Parts { verified, private, admitted_until }))
    }

    pub(crate) fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// The private claims.
    pub fn claims(&self) -> &C {
        &self.0.private
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.verified().claims().sub()
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.verified().claims().iss()
    }

    /// `jti`.
    pub fn jti(&self) -> Option<&str> {
        self.verified().claims().jti()
    }

    /// `iat`.
    pub fn issued_at(&self) -> NumericDate {
        self.verified().claims().iat()
    }

    /// `exp`.
    pub fn expires_at(&self) -> NumericDate {
        self.verified().claims().exp()
    }

    /// The admission deadline: no request with this token is admitted from this instant on, the leeway and the
    /// session's ceiling considered. A long-running handler may use it to end its work.
    pub fn admitted_until(&self) -> NumericDate {
        self.0.admitted_until
    }

    /// When the session began: the session-start claim, or what stands for it.
    pub fn session_start(&self) -> NumericDate {
        self.verified().claims().session_start()
    }

    /// The session that the token belongs to.
    pub fn session(&self) -> SessionId {
        self.verified().session()
    }

    /// The whole claims object, as it was signed.
    pub fn json(&self) -> &str {
        self.verified().claims().text()
    }

    /// Whether an own key signed it: a foreign issuer's token is admitted and never renewed.
    pub fn is_own(&self) -> bool {
        self.verified().key().is_own()
    }
}

impl<C> Clone for VerifiedToken<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Times only: subject and claims are somebody's data.
impl<C> fmt::Debug for VerifiedToken<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("issued_at", &self.issued_at())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// The claims, read one at a time when asked for. The default view; it costs nothing until used.
#[derive(Clone)]
pub struct PrivateClaims(Arc<str>);

impl PrivateClaims {
    pub(super) fn view(text: &Arc<str>) -> Option<Self> {
        Some(Self(Arc::clone(text)))
    }

    /// The claim `name`; `None` where the token has none. It is never both: a malformed claim is an error.
    ///
    /// # Errors
    /// Where its JSON is not a `T`.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, serde_json::Error> {
        let members = json::members(&self.0).unwrap_or_default();
        let found = members.into_iter().find(|member| member.name == name);
        found.map(|member| serde_json::from_str(member.value)).transpose()
    }
}

/// Claims are somebody's data.
impl fmt::Debug for PrivateClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateClaims(..)")
    }
}
