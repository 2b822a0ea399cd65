//! The answers of the scripts, and the standing that follows from them.

use crate::store::{Presented, SessionId, Standing, StoreError, StoreErrorKind};
use crate::time::NumericDate;

/// The answer of the session's slot.
pub(super) struct SessionState {
    pub(super) verdict: Verdict,
    created_at: NumericDate,
}

pub(super) enum Verdict {
    Revoked,
    Unrecorded,
    Recorded {
        generations: u32,
        /// Of the subject's records, when this one was written.
        incarnation: String,
        is_unattested: bool,
    },
}

/// The answer of the subject's slot.
pub(super) struct SubjectState {
    /// The instant up to which sessions are revoked, where the session asked about is one of them.
    pub(super) revoked_until: Option<NumericDate>,
    pub(super) created_at: NumericDate,
    pub(super) incarnation: String,
}

/// Its answer when a session is listed there.
pub(super) struct Listing {
    pub(super) state: SubjectState,
    pub(super) is_new: bool,
    /// There are more than are remembered.
    pub(super) is_full: bool,
    /// The subject's oldest sessions, as many as are too many, each with its start.
    pub(super) excess: Vec<(SessionId, NumericDate)>,
}

impl SessionState {
    pub(super) fn read(answer: Vec<String>) -> Result<Self, StoreError> {
        let [verdict, generations, created_at, incarnation, unattested] = answer.fields()?;
        let verdict = match &*verdict {
            "revoked" => Verdict::Revoked,
            "unrecorded" => Verdict::Unrecorded,
            "recorded" => Verdict::Recorded {
                generations: generations.number()?,
                incarnation,
                // Anything but the word that it is none.
                is_unattested: unattested != "0",
            },
            _ => return Err(corrupt()),
        };
        Ok(Self { verdict, created_at: created_at.instant()? })
    }
}

impl SubjectState {
    pub(super) fn read(answer: Vec<String>) -> Result<Self, StoreError> {
        let [revoked_until, created_at, incarnation] = answer.fields()?;
        Ok(Self {
            revoked_until: revoked_until.instant_or_nothing()?,
            created_at: created_at.instant()?,
            incarnation,
        })
    }
}

impl Listing {
    /// The listing, and what follows it in the answer. The first text is how many texts the listing is.
    pub(super) fn read_before(mut answer: Vec<String>) -> Result<(Self, Vec<String>), StoreError> {
        let count: usize = answer.first().and_then(|count| count.parse().ok()).ok_or_else(corrupt)?;
        if answer.len() <= count {
            return Err(corrupt());
        }
        let after = answer.split_off(count + 1);
        answer.remove(0);
        Ok((Self::read(answer)?, after))
    }

    pub(super) fn read(mut answer: Vec<String>) -> Result<Self, StoreError> {
        let listed = if answer.len() > 3 { answer.split_off(3) } else { Vec::new() };
        let state = SubjectState::read(answer)?;
        let (is_new, is_full, excess) = match &*listed {
            [is_new, is_full, excess @ ..] => (is_new == "1", is_full == "1", sessions(excess)?),
            _ => (false, false, Vec::new()),
        };
        Ok(Self { state, is_new, is_full, excess })
    }
}

/// A session is known if no record about it can have been lost: it began after the records of both slots did, or its
/// own record is there and the subject's records are still those it was written under.
pub(super) fn judge(
    presented: &Presented,
    session: &SessionState,
    subject: Option<&SubjectState>,
) -> Standing {
    let begun = presented.not_begun_before;
    if subject.is_some_and(|subject| subject.revoked_until.is_some()) {
        return Standing::Revoked;
    }
    let subject_began_later = subject.is_none_or(|subject| begun >= subject.created_at);
    match &session.verdict {
        Verdict::Revoked => Standing::Revoked,
        Verdict::Unrecorded if begun >= session.created_at && subject_began_later => Standing::Live,
        Verdict::Recorded { generations, incarnation, is_unattested: false }
            if subject_began_later || subject.is_some_and(|subject| subject.incarnation == *incarnation) =>
        {
            match generations {
                0 | 1 => Standing::Live,
                &generations => Standing::Reused { generations },
            }
        }
        Verdict::Unrecorded | Verdict::Recorded { .. } => Standing::UnknownSession,
    }
}

/// Sessions, each with its start.
pub(super) fn sessions(pairs: &[String]) -> Result<Vec<(SessionId, NumericDate)>, StoreError> {
    let (pairs, rest) = pairs.as_chunks();
    if !rest.is_empty() {
        return Err(corrupt());
    }
    pairs.iter().map(|[session, start]| Ok((name_of(session)?, start.instant()?))).collect()
}

/// A session's name where names have an order: that of its bytes.
pub(super) fn name(session: SessionId) -> String {
    session.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn name_of(text: &str) -> Result<SessionId, StoreError> {
    let mut id = [0; 32];
    if text.len() != 64 {
        return Err(corrupt());
    }
    for (byte, digits) in id.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        let digits = std::str::from_utf8(digits).map_err(|_| corrupt())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| corrupt())?;
    }
    Ok(SessionId::from_bytes(id))
}

pub(super) fn corrupt() -> StoreError {
    StoreErrorKind::Corrupt.into()
}

pub(super) trait Answer {
    /// As many texts as are expected.
    fn fields<const N: usize>(self) -> Result<[String; N], StoreError>;
}

impl Answer for Vec<String> {
    fn fields<const N: usize>(self) -> Result<[String; N], StoreError> {
        self.try_into().map_err(|_| corrupt())
    }
}

pub(super) trait Field {
    fn number(&self) -> Result<u32, StoreError>;
    fn instant(&self) -> Result<NumericDate, StoreError>;
    fn instant_or_nothing(&self) -> Result<Option<NumericDate>, StoreError>;
}

impl Field for str {
    fn number(&self) -> Result<u32, StoreError> {
        self.parse().map_err(|_| corrupt())
    }

    fn instant(&self) -> Result<NumericDate, StoreError> {
        self.parse().map(NumericDate::from_secs).map_err(|_| corrupt())
    }

    fn instant_or_nothing(&self) -> Result<Option<NumericDate>, StoreError> {
        if self.is_empty() { Ok(None) } else { self.instant().map(Some) }
    }
}
