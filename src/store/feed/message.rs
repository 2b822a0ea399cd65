//! A revocation on the wire: names, which are hashes, and no claims. 128 bytes at most.

use std::fmt;

use crate::jose::base64;
use crate::store::{Revocation, SessionId, SubjectId, TokenId};
use crate::time::NumericDate;

pub(in crate::store) fn write(revocation: &Revocation) -> String {
    match revocation {
        Revocation::SubjectBefore { instant, .. } | Revocation::AllBefore { instant } => {
            write_at(revocation, instant)
        }
        _ => write_at(revocation, ""),
    }
}

/// The same with another instant, or something in the place of it.
pub(in crate::store) fn write_at(revocation: &Revocation, instant: impl fmt::Display) -> String {
    match revocation {
        Revocation::Session(session) => format!("session {session}"),
        Revocation::Token { session, token } => format!("token {session} {token}"),
        Revocation::SubjectBefore { subject, except: None, .. } => format!("subject {subject} {instant}"),
        Revocation::SubjectBefore { subject, except: Some(session), .. } => {
            format!("others {subject} {instant} {session}")
        }
        Revocation::AllBefore { .. } => format!("all {instant}"),
    }
}

pub(super) fn read(message: &str) -> Option<Revocation> {
    let words = message.split(' ').collect::<Vec<_>>();
    let session = |text| id(text).map(SessionId::from_bytes);
    let subject = |text| id(text).map(SubjectId::from_bytes);
    let instant = |text: &str| text.parse().ok().map(NumericDate::from_secs);
    Some(match words[..] {
        ["session", name] => Revocation::Session(session(name)?),
        ["token", name, token] => {
            Revocation::Token { session: session(name)?, token: TokenId::from_bytes(id(token)?) }
        }
        ["subject", name, until] => {
            Revocation::SubjectBefore { subject: subject(name)?, instant: instant(until)?, except: None }
        }
        ["others", name, until, except] => Revocation::SubjectBefore {
            subject: subject(name)?,
            instant: instant(until)?,
            except: Some(session(except)?),
        },
        ["all", until] => Revocation::AllBefore { instant: instant(until)? },
        _ => return None,
    })
}

pub(in crate::store) fn id(text: &str) -> Option<[u8; 32]> {
    let mut id = [0; 32];
    (base64::decode_url(text.as_bytes(), &mut id)? == id.len()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_heard_as_it_was_said() {
        let (session, token) = (SessionId::from_bytes([1; 32]), TokenId::from_bytes([2; 32]));
        let subject = SubjectId::from_bytes([3; 32]);
        for revocation in [
            Revocation::Session(session),
            Revocation::Token { session, token },
            Revocation::SubjectBefore { subject, instant: NumericDate::MAX, except: None },
            Revocation::SubjectBefore { subject, instant: NumericDate::MAX, except: Some(session) },
            Revocation::AllBefore { instant: NumericDate::MAX },
        ] {
            let said = write(&revocation);
            assert_eq!(read(&said), Some(revocation));
            assert!(said.len() <= 128, "{said}");
        }
        for noise in
            ["", "session", "session x", "subject a b", "session a b c", "token  ", "all", "all x", "all 1 2"]
        {
            assert_eq!(read(noise), None, "{noise:?}");
        }
    }
}
