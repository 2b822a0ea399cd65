//! A revocation against a rotation, over two connections. The races of rotations are in `one_successor`.

use super::*;

on_each_database! {
    a_revocation_that_returned_is_seen_by_every_other_connection,
}

/// Two stores on one place, as two processes would have: the one revokes, the other rotates all the while.
async fn a_revocation_that_returned_is_seen_by_every_other_connection(place: Place) {
    let (revoker, rotator) = (place.open().await, place.open().await);
    for n in 0..60 {
        let subject = SubjectId::from_bytes(*session(n).as_bytes());
        let presented = owned(subject, session(n), token(0));
        let revocation = match n % 3 {
            0 => Revocation::Session(session(n)),
            1 => Revocation::SubjectBefore { subject, instant: start(), except: None },
            _ => Revocation::Token { session: session(n), token: token(0) },
        };
        if n % 2 == 0 {
            rotator.rotate(Rotation::sign_in(presented, "{}", end())).await.unwrap();
        }
        let rotation = Rotation::renewal(presented, token(1), "{}", end());
        let (rotated, revoked) =
            tokio::join!(rotator.rotate(rotation), revoker.revoke(revocation, kept(now(), end())));
        revoked.unwrap();
        let left = match rotated.unwrap() {
            Rotated::Recorded => &[token(0), token(1)][..],
            Rotated::Revoked => &[token(0)],
            other => panic!("{other:?}"),
        };
        for token in left {
            let presented = owned(subject, session(n), *token);
            assert_eq!(rotator.standing(&presented).await.unwrap(), Standing::Revoked, "{n}");
            let rotation = Rotation::renewal(presented, self::token(2), "{}", end());
            assert_eq!(rotator.rotate(rotation).await.unwrap(), Rotated::Revoked, "{n}");
        }
    }
}
