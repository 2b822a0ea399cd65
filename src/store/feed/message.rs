//! A revocation on the wire: names, which are hashes, and no claims. A hundred bytes at most.

use crate::store::{Revocation, SessionId, SubjectId, TokenId};
use crate::{NumericDate, base64};

pub(in crate::store) fn write(revocation: &Revocation) -> String {
    match revocation {
        Revocation::Session(session) => format!("session {session}"),
        Revocation::Token { session, token } => format!("token {session} {token}"),
        Revocation::SubjectBefore { subject, instant } => format!("subject {subject} {instant}"),
    }
}

pub(super) fn read(message: &str) -> Option<Revocation> {
    let mut words = message.split(' ');
    let revocation = match (words.next()?, words.next()?, words.next()) {
        ("session", session, None) => Revocation::Session(SessionId::from_bytes(id(session)?)),
        ("token", session, Some(token)) => Revocation::Token {
            session: SessionId::from_bytes(id(session)?),
            token: TokenId::from_bytes(id(token)?),
        },
        ("subject", subject, Some(instant)) => Revocation::SubjectBefore {
            subject: SubjectId::from_bytes(id(subject)?),
            instant: NumericDate::from_secs(instant.parse().ok()?),
        },
        _ => return None,
    };
    words.next().is_none().then_some(revocation)
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
            Revocation::SubjectBefore { subject, instant: NumericDate::MAX },
        ] {
            let said = write(&revocation);
            assert_eq!(read(&said), Some(revocation));
            assert!(said.len() <= 100, "{said}");
        }
        for noise in ["", "session", "session x", "subject a b", "session a b c", "token  "] {
            assert_eq!(read(noise), None, "{noise:?}");
        }
    }
}
