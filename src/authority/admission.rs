//! [`Admission`] and [`NotAdmitted`]: what an arrival comes to.

use std::pin::Pin;

use super::{PrivateClaims, SignedSuccessor, VerifiedToken};
use crate::keyring::handle::Refetching;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// The verdict on a token.
pub(crate) type Verdict<C> = Result<Admission<C>, Refused>;

/// The verdict on a token, or the need to wait for it. An admission has 16 bytes and everything else is boxed, because the result is
/// passed through several calls for every request.
pub(crate) type Arrived<C> = Result<Admission<C>, Box<NotAdmitted<C>>>;

const _: () = assert!(size_of::<Arrived<PrivateClaims>>() <= 16);

/// A token and when it was admitted. It is kept for the response, when a successor may be due.
pub(crate) struct Admission<C> {
    pub(crate) token: VerifiedToken<C>,
    pub(crate) at: NumericDate,
}

/// Why a request is not admitted at once.
pub(crate) enum NotAdmitted<C> {
    Refused(Refused),
    /// It has no credential, and the layer is optional.
    Anonymous,
    /// The verdict has to be waited for: the store is asked, records an exchange, or ends a session.
    Pending(Pin<Box<dyn Future<Output = Verdict<C>> + Send>>),
    /// Its key is unknown, and its issuer's keys are loaded again. Judge it again after that.
    Refetching {
        refetching: Refetching,
        refusal: Refusal,
    },
}

/// A refusal, and the successor if the token was exchanged.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) successor: Option<SignedSuccessor>,
    /// When the token was exchanged.
    pub(crate) at: NumericDate,
}

impl<C> NotAdmitted<C> {
    pub(crate) fn refused(refused: impl Into<Refused>) -> Box<Self> {
        Box::new(Self::Refused(refused.into()))
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, successor: None, at: NumericDate::MAX }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason).into()
    }
}
