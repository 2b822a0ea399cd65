//! What is kept: through restarts, schemas and damage, and for how long.

use super::*;

on_each_database! {
    revocations_survive_a_restart,
    a_session_begun_before_the_store_is_unknown_however_often_it_is_renewed,
    a_store_signs_nobody_out_of_a_session_without_iat_while_it_admits_what_it_may_have_lost,
    tables_made_anew_under_a_rotation_lift_no_session,
    many_may_open_a_new_store_at_once,
    the_longest_wait_is_a_wait,
    what_has_expired_goes_and_what_lives_stays,
    revoking_the_tokens_of_a_session_without_end_ends_the_session,
    a_record_that_makes_no_sense_is_corrupt_and_a_503,
}

async fn revocations_survive_a_restart(place: Place) {
    let store = place.open().await;
    let subject = SubjectId::from_bytes([9; 32]);
    let by_subject = owned(subject, session(3), token(1));
    let cases = [
        (Revocation::Token { session: session(1), token: token(1) }, presents(session(1), token(1))),
        (Revocation::Session(session(2)), presents(session(2), token(1))),
        (Revocation::SubjectBefore { subject, instant: start(), except: None }, by_subject),
    ];
    for (revocation, presented) in cases {
        let signed_in = Rotation::sign_in(presented, "{}", end());
        assert_eq!(store.rotate(signed_in).await.unwrap(), Rotated::Recorded);
        store.revoke(revocation, kept(now(), end())).await.unwrap();
    }
    store.close().await;
    let error = store.standing(&by_subject).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);

    let store = place.open().await;
    for (_, presented) in cases {
        assert_eq!(store.standing(&presented).await.unwrap(), Standing::Revoked);
        let renewal = Rotation::renewal(presented, token(2), "{}", end());
        assert_eq!(store.rotate(renewal).await.unwrap(), Rotated::Revoked);
    }
}

async fn a_session_begun_before_the_store_is_unknown_however_often_it_is_renewed(place: Place) {
    let store = place.open().await;
    let older = |token| Presented::new(session(1), token, None, before(), now());
    assert_eq!(store.standing(&older(token(1))).await.unwrap(), Standing::UnknownSession);
    assert_eq!(store.standing(&presents(session(2), token(1))).await.unwrap(), Standing::Live);
    // Where the authority admits it all the same, its tokens have one successor each.
    for n in 1..4 {
        let renewal = |successor| Rotation::renewal(older(token(n)), successor, format!("{n}"), end());
        assert_eq!(store.rotate(renewal(token(n + 1))).await.unwrap(), Rotated::Recorded);
        let given = store.rotate(renewal(token(9))).await.unwrap();
        assert_eq!(given, Rotated::Superseded { head: format!("{n}").into() });
        for (store, token) in [(&store, token(n + 1)), (&place.open().await, token(n)), (&store, token(9))] {
            assert_eq!(
                store.standing(&older(token)).await.unwrap(),
                Standing::UnknownSession,
                "renewed {n} times"
            );
        }
    }
    // A revocation is known whatever else was lost.
    store.revoke(Revocation::Session(session(1)), kept(now(), end())).await.unwrap();
    assert_eq!(store.standing(&older(token(4))).await.unwrap(), Standing::Revoked);
    // Begun by a clock that is behind the one that dated the store: nothing can have been said of it before.
    let new = Presented::new(session(3), token(1), None, before(), now());
    assert_eq!(store.rotate(Rotation::sign_in(new, "{}", end())).await.unwrap(), Rotated::Recorded);
    assert_eq!(store.standing(&new).await.unwrap(), Standing::Live);
    place.meddle("DELETE FROM {p}sessions").await;
    assert_eq!(store.standing(&new).await.unwrap(), Standing::UnknownSession);
}

async fn a_store_signs_nobody_out_of_a_session_without_iat_while_it_admits_what_it_may_have_lost(
    place: Place,
) {
    let store = Arc::new(place.open().await);
    // The store's birth is dated by clocks that tell the time.
    let begin = SystemClock.now().as_secs();
    let clock = ManualClock::at(begin);
    let base = || {
        support::builder(&clock)
            .accept_without_iat(Duration::from_secs(3_600))
            .max_session_lifetime(Duration::from_secs(7_200))
            .store(Arc::clone(&store))
    };
    let (strict, moving) = (base().build().unwrap(), base().admit_after_store_loss().build().unwrap());
    let undated = |exp: u64, sub: &str| {
        support::mint(&support::claims_with(
            serde_json::json!({"iat": null, "jti": null, "sub": sub, "exp": exp}),
        ))
    };
    let old = undated(begin + 1_800, "alice");
    assert_eq!(*strict.admit(&old).await.unwrap_err().reason(), Reason::UnknownSession);
    moving.admit(&old).await.unwrap();
    moving.revoke_subject("alice").await.unwrap();
    assert_eq!(*moving.admit(&old).await.unwrap_err().reason(), Reason::Revoked);
    moving.admit(&undated(begin + 1_800, "bob")).await.unwrap();
    // Past the session limit every session that began before the store is over.
    clock.set(begin + 7_200);
    strict.admit(&undated(begin + 7_200 + 1_800, "alice")).await.unwrap();
}

/// What a rotation read of the tables that are lost says nothing of those that it writes to.
async fn tables_made_anew_under_a_rotation_lift_no_session(place: Place) {
    let store = place.open().await;
    assert_eq!(store.rotate(renewal(token(0), token(1))).await.unwrap(), Rotated::Recorded);
    let later = end().as_secs();
    let new = format!("DELETE FROM {{p}}sessions; UPDATE {{p}}store SET born = {later}");
    let waiting = place.while_nobody_writes(&new, store.rotate(renewal(token(1), token(2)))).await;
    assert_eq!(waiting.unwrap(), Rotated::Recorded);
    for token in [token(1), token(2)] {
        assert_eq!(store.standing(&presents(session(0), token)).await.unwrap(), Standing::UnknownSession);
    }
}

async fn many_may_open_a_new_store_at_once(place: Place) {
    let openings = (0..8).map(|_| {
        let place = place.clone();
        tokio::spawn(async move { place.open().await })
    });
    for (n, opening) in openings.collect::<Vec<_>>().into_iter().enumerate() {
        let store = opening.await.unwrap();
        let rotated = store.rotate(renewal(token(n as u64), token(n as u64 + 1))).await.unwrap();
        assert_eq!(rotated, Rotated::Recorded);
    }
    // Of another prefix: another store.
    let other = Place { prefix: "other_".to_owned() + &place.prefix, ..place.clone() };
    assert_eq!(other.open().await.rotate(renewal(token(0), token(1))).await.unwrap(), Rotated::Recorded);
    for prefix in ["", "1", "a-b", "Reissue_", "a\"; --", "a.b"] {
        let error = Place { prefix: prefix.to_owned(), ..place.clone() }.try_open().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{prefix:?}");
    }
}

async fn the_longest_wait_is_a_wait(place: Place) {
    let store = place.open_with(|builder| builder.wait(Duration::MAX)).await.unwrap();
    assert_eq!(store.rotate(renewal(token(0), token(1))).await.unwrap(), Rotated::Recorded);
    assert_eq!(store.standing(&presents(session(0), token(1))).await.unwrap(), Standing::Live);
}

async fn what_has_expired_goes_and_what_lives_stays(place: Place) {
    let store = without_horizon(place.open().await).await;
    let at = NumericDate::from_secs;
    // Long ago, so that it has expired by the database's own clock too.
    for n in 0..600 {
        let presented = Presented::new(session(n), token(0), None, at(0), at(100));
        store.rotate(Rotation::sign_in(presented, "{}", at(200))).await.unwrap();
        let subject = SubjectId::from_bytes(*session(n).as_bytes());
        let revocation = Revocation::SubjectBefore { subject, instant: at(50), except: None };
        if n < 20 {
            store.revoke(revocation, kept(at(100), at(200))).await.unwrap();
        }
    }
    store.revoke(Revocation::Session(session(7_000)), kept(now(), end())).await.unwrap();
    // Expired by the caller's clock, which has leapt ahead, and by nobody else's.
    let removed = store.purge(NumericDate::MAX).await.unwrap();
    assert_eq!(store.purge(NumericDate::MAX).await.unwrap(), 0);
    assert!((1..=620).contains(&removed), "{removed}");
    assert_eq!(
        store.standing(&presents(session(7_000), token(1))).await.unwrap(),
        Standing::Revoked,
        "a live tombstone"
    );

    // Nobody purges: what expired goes with the writes that follow.
    for n in 0..100 {
        let presented = Presented::new(session(n), token(0), None, at(0), at(100));
        store.rotate(Rotation::sign_in(presented, "{}", at(200))).await.unwrap();
    }
    let begun = Instant::now();
    let mut n = 0;
    // The rows that the writes themselves add are alive.
    while place.meddle("UPDATE {p}sessions SET renewed = renewed WHERE kept_until <= 200").await > 0 {
        n += 1;
        store.revoke(Revocation::Session(session(8_000 + n)), kept(now(), end())).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "it stays");
    }
    assert_eq!(store.standing(&presents(session(7_000), token(1))).await.unwrap(), Standing::Revoked);
    assert_eq!(store.standing(&presents(session(8_001), token(1))).await.unwrap(), Standing::Revoked);
}

/// Of a session that was never recorded, somebody may hold any number of tokens.
async fn revoking_the_tokens_of_a_session_without_end_ends_the_session(place: Place) {
    let store = place.open().await;
    let revoke = async |n: u64, until| {
        let revocation = Revocation::Token { session: session(7), token: token(n) };
        store.revoke(revocation, kept(now(), until)).await.unwrap();
    };
    let standing = async |n: u64| store.standing(&presents(session(7), token(n))).await.unwrap();
    for n in 0..=128 {
        assert_eq!(standing(5_000).await, Standing::Live, "{n} revoked");
        revoke(n, end()).await;
        assert_eq!(standing(n).await, Standing::Revoked, "{n}");
    }
    // One more, for longer than the session.
    revoke(129, later(end(), 60)).await;
    for n in [0, 128, 129, 5_000] {
        assert_eq!(standing(n).await, Standing::Revoked, "{n}");
    }
}

async fn a_record_that_makes_no_sense_is_corrupt_and_a_503(place: Place) {
    let store = place.open().await;
    let service = Service::over(store.clone()).await;
    let short = place.bytes("00");
    for damage in [
        format!("head = {short}"),
        "generation = -1".to_owned(),
        "claims = NULL, chain_until = 253402300799".to_owned(),
        "chain_until = -5".to_owned(),
        "revoked_until = 253402300800".to_owned(),
        format!("ancestors = {short}"),
        format!("revoked_tokens = {short}"),
        "session_start = NULL".to_owned(),
    ] {
        // A copy aside, to put back.
        place.meddle("DROP TABLE IF EXISTS {p}aside").await;
        place.meddle("CREATE TABLE {p}aside AS SELECT * FROM {p}sessions").await;
        place.meddle(&format!("UPDATE {{p}}sessions SET {damage}")).await;
        for token in [&service.due, &service.revoked] {
            let (status, retry_after, successor) = service.ask(token).await;
            if damage.contains("claims") {
                // Read by a rotation only: the request is served, unrenewed. A tombstone is a tombstone still.
                assert!(matches!(status, 200 | 401) && !successor, "{damage}: {status}");
                assert_eq!(status == 401, token == &service.revoked, "{damage}");
            } else if token == &service.due || damage.contains("revoked") {
                assert_eq!((status, retry_after, successor), (503, true, false), "{damage}");
            } else {
                // A revoked session's row has little left to be damaged.
                assert!(matches!(status, 401 | 503) && !successor, "{damage}: {status}");
            }
        }
        place.meddle("DELETE FROM {p}sessions").await;
        place.meddle("INSERT INTO {p}sessions SELECT * FROM {p}aside").await;
    }
    assert_eq!(service.ask(&service.due).await, (200, false, true), "put right");
    // The store's own row lost: nothing can be known.
    place.meddle("DELETE FROM {p}store").await;
    let error = store.standing(&presents(session(1), token(1))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("made anew"), "{why}");
}
