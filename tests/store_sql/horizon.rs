//! The horizon: durable, never lowered, and part of how long a revocation is kept.

use tower_reissue::store::Raise;

use super::*;
use crate::support::kept;

on_each_database! {
    the_first_sets_the_horizon_and_it_survives_a_restart,
    the_first_call_sets_the_largest_need_of_all_authorities_built_before_it,
    a_raise_is_dated_after_it_was_made_whoever_is_interrupted,
    many_raise_at_once_and_each_raise_is_on_record,
    a_revocation_is_kept_by_the_servers_clock_and_the_newest_horizon,
    a_horizon_that_was_lost_is_put_back_before_anything_is_revoked,
    no_revocation_of_who_came_first_after_a_loss_is_undone_by_its_smaller_horizon,
    a_raise_that_comes_between_a_revocations_two_steps_counts,
    a_node_whose_clock_is_far_ahead_forgets_nothing_for_the_others,
}

async fn the_first_sets_the_horizon_and_it_survives_a_restart(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    assert_eq!(store.horizon_now(Horizon::Secs(5)), None);
    let found = store.horizon(Horizon::Secs(100)).await.unwrap();
    assert_eq!((found.current, found.raises.len()), (Horizon::Secs(100), 0));
    for need in [Horizon::Secs(7), Horizon::Secs(700), Horizon::Unbounded] {
        assert_eq!(store.horizon_now(need), Some(found.clone()));
        assert_eq!(other.horizon(need).await.unwrap(), found, "it is set once");
    }
    store.raise_horizon(Horizon::Secs(99), SystemClock.now()).await.unwrap();
    assert_eq!(other.horizon(Horizon::Secs(1)).await.unwrap(), found, "it is never lowered");
    let before = SystemClock.now();
    store.raise_horizon(Horizon::Secs(200), before).await.unwrap();
    let raised = store.horizon_now(Horizon::Secs(1)).unwrap();
    assert_eq!((raised.current, raised.raises.len()), (Horizon::Secs(200), 1));
    assert_eq!(raised.raises[0].from, 100);
    assert!(raised.raises[0].at >= before && raised.raises[0].at <= later(SystemClock.now(), 1));
    // The caller's clock may be ahead of the server's.
    store.raise_horizon(Horizon::Unbounded, now()).await.unwrap();
    store.close().await;
    let store = place.open().await;
    let found = store.horizon_now(Horizon::Secs(1)).unwrap();
    assert_eq!(found.current, Horizon::Unbounded);
    assert_eq!(found.raises[1..], [Raise { at: now(), from: 200 }]);
    assert_eq!(found.raises[0], raised.raises[0]);
    // A raise of what nobody has set sets it.
    let other = Place { prefix: "other_".to_owned() + &place.prefix, ..place.clone() }.open().await;
    other.raise_horizon(Horizon::Secs(5), before).await.unwrap();
    assert_eq!(other.horizon(Horizon::Secs(9)).await.unwrap().current, Horizon::Secs(5));
}

/// Whichever is served first.
async fn the_first_call_sets_the_largest_need_of_all_authorities_built_before_it(place: Place) {
    use tower_reissue::{Algorithm, Authority, SigningKey};
    let store = place.open().await;
    let build = |hours: u64| {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        let limit = Duration::from_secs(hours * 3_600);
        let builder = Authority::builder(key).issuer("https://login.example").audience("orders");
        builder.max_session_lifetime(limit).store(store.clone()).build()
    };
    let authorities = [1, 12, 2].map(|hours| build(hours).unwrap());
    for authority in &authorities {
        authority.revoke_subject("alice").await.unwrap();
    }
    let found = store.horizon_now(Horizon::Secs(0)).unwrap();
    assert_eq!((found.current, found.raises.len()), (Horizon::Secs(12 * 3_600 + 60), 0));
    let error = build(13).unwrap_err().to_string();
    assert!(error.contains("`SqlStoreBuilder::horizon`"), "{error}");
}

/// The process ended between the two.
async fn a_raise_is_dated_after_it_was_made_whoever_is_interrupted(place: Place) {
    let store = place.open().await;
    store.horizon(Horizon::Secs(100)).await.unwrap();
    let under_way = place.bytes(&format!("{:016x}{:016x}", NumericDate::MAX.as_secs(), 100));
    place.meddle(&format!("UPDATE {{p}}store SET horizon = 200, raises = {under_way}")).await;
    let before = SystemClock.now();
    let opened = place.open().await.horizon_now(Horizon::Secs(200)).unwrap();
    assert_eq!((opened.current, opened.raises.len()), (Horizon::Secs(200), 1));
    assert!(opened.raises[0].at >= before && opened.raises[0].at < later(before, 60), "{opened:?}");
    assert_eq!(store.horizon(Horizon::Secs(100)).await.unwrap(), opened);
    assert_eq!(place.open().await.horizon_now(Horizon::Secs(200)), Some(opened));
}

async fn many_raise_at_once_and_each_raise_is_on_record(place: Place) {
    let store = place.open().await;
    store.horizon(Horizon::Secs(1)).await.unwrap();
    let raises = (2..10).map(|secs| {
        let place = place.clone();
        tokio::spawn(async move {
            place.open().await.raise_horizon(Horizon::Secs(secs), SystemClock.now()).await.unwrap();
        })
    });
    for raise in raises.collect::<Vec<_>>() {
        raise.await.unwrap();
    }
    let found = store.horizon(Horizon::Secs(1)).await.unwrap();
    assert_eq!(found.current, Horizon::Secs(9));
    assert!(
        found.raises.windows(2).all(|two| two[0].from < two[1].from && two[0].at <= two[1].at),
        "{found:?}"
    );
    assert!(found.raises[0].from == 1 && found.raises.iter().all(|raise| raise.at < NumericDate::MAX));
}

/// Neither a revoker whose clock is behind nor a process that knows an older horizon shortens it.
async fn a_revocation_is_kept_by_the_servers_clock_and_the_newest_horizon(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    store.horizon(Horizon::Secs(1_000)).await.unwrap();
    other.horizon(Horizon::Secs(1_000)).await.unwrap();
    let behind = NumericDate::from_secs(SystemClock.now().as_secs() - 1_000_000);
    let subject = SubjectId::from_bytes([3; 32]);
    let revocations = |n: u64| {
        [
            Revocation::Session(session(n)),
            Revocation::Token { session: session(n + 1), token: token(1) },
            Revocation::SubjectBefore { subject, instant: behind, except: None },
            Revocation::AllBefore { instant: behind },
        ]
    };
    for (n, horizon) in [(10, 1_000), (20, 50_000)] {
        if horizon > 1_000 {
            other.raise_horizon(Horizon::Secs(horizon), SystemClock.now()).await.unwrap();
        }
        let least = SystemClock.now().as_secs() + horizon;
        for revocation in revocations(n) {
            store.revoke(revocation, kept(behind, behind)).await.unwrap();
        }
        let early = |table: &str, only: &str| {
            format!("UPDATE {{p}}{table} SET kept_until = kept_until WHERE kept_until < {least}{only}")
        };
        let since = format!(" AND session >= {}", place.bytes(&format!("{n:016x}")));
        assert_eq!(place.meddle(&early("sessions", &since)).await, 0, "{horizon}");
        assert_eq!(place.meddle(&early("subjects", "")).await, 0, "{horizon}");
    }
    // "Up to now" is up to the server's now: its sessions of this moment, in the eyes of a revoker who is behind.
    let begun = SystemClock.now();
    let presented = |subject| Presented::new(session(30), token(0), Some(subject), begun, begun);
    for (subject, revocation) in [
        (subject, Revocation::SubjectBefore { subject, instant: behind, except: None }),
        (SubjectId::from_bytes([4; 32]), Revocation::AllBefore { instant: behind }),
    ] {
        let presented = presented(subject);
        let retention = kept(behind, behind);
        store.revoke(revocation, retention).await.unwrap();
        assert_eq!(other.standing(&presented).await.unwrap(), Standing::Revoked, "{revocation:?}");
        let later = Presented::new(session(30), token(0), Some(subject), later(SystemClock.now(), 60), begun);
        assert_eq!(other.standing(&later).await.unwrap(), Standing::Live, "{revocation:?}");
    }
}

/// A backup put back, which was made before the raise.
async fn a_horizon_that_was_lost_is_put_back_before_anything_is_revoked(place: Place) {
    let store = place.open().await;
    store.raise_horizon(Horizon::Secs(50_000), SystemClock.now()).await.unwrap();
    for lost in ["NULL", "1000"] {
        place.meddle(&format!("UPDATE {{p}}store SET horizon = {lost}, raises = NULL")).await;
        let least = SystemClock.now().as_secs() + 50_000;
        store.revoke(Revocation::Session(session(1)), kept(before(), before())).await.unwrap();
        let early = format!("UPDATE {{p}}sessions SET kept_until = kept_until WHERE kept_until < {least}");
        assert_eq!(place.meddle(&early).await, 0, "{lost}");
        assert_eq!(place.open().await.horizon_now(Horizon::Secs(1)).unwrap().current, Horizon::Secs(50_000));
    }
}

/// A backup from before a raise is put back, and a process that knows the raise goes on. Whatever it does first.
async fn no_revocation_of_who_came_first_after_a_loss_is_undone_by_its_smaller_horizon(place: Place) {
    for first in 0..6 {
        let place = Place { prefix: format!("first{first}_{}", place.prefix), ..place.clone() };
        let more = place.open().await;
        more.horizon(Horizon::Secs(1_000)).await.unwrap();
        more.raise_horizon(Horizon::Secs(50_000), SystemClock.now()).await.unwrap();
        place.meddle("UPDATE {p}store SET horizon = 1000, raises = NULL, born = 1").await;
        let less = place.open().await;
        let start = NumericDate::from_secs(SystemClock.now().as_secs() - 100);
        let at = |n, now| Presented::new(session(n), token(1), None, start, now);
        less.revoke(Revocation::Session(session(7)), kept(start, start)).await.unwrap();
        // By then it is forgotten.
        let late = later(start, 2_000);
        assert_eq!(less.standing(&at(7, late)).await.unwrap(), Standing::Live);
        match first {
            0 => {}
            1 => {
                let renewal = Rotation::renewal(at(7, late), token(2), "{}", later(late, 300));
                assert_eq!(more.rotate(renewal).await.unwrap(), Rotated::Recorded);
            }
            2 => more.revoke(Revocation::Session(session(8)), kept(late, late)).await.unwrap(),
            3 => drop(more.horizon(Horizon::Secs(1)).await.unwrap()),
            // In one statement, where the database can.
            4 => {
                let signed_in = Rotation::sign_in(at(6, late), "{}", later(late, 300));
                assert_eq!(less.rotate(signed_in).await.unwrap(), Rotated::Recorded);
                let renewal = Rotation::renewal(at(6, late), token(2), "{}", later(late, 600));
                assert_eq!(more.rotate(renewal).await.unwrap(), Rotated::Recorded);
                let found = place.open().await.horizon_now(Horizon::Secs(1)).unwrap();
                assert_eq!(found.current, Horizon::Secs(50_000));
            }
            _ => more.raise_horizon(Horizon::Secs(60_000), late).await.unwrap(),
        }
        assert_eq!(more.standing(&at(7, late)).await.unwrap(), Standing::UnknownSession, "{first}");
        let found = place.open().await.horizon_now(Horizon::Secs(1)).unwrap();
        assert!(found.current >= Horizon::Secs(50_000), "{first}: {found:?}");
        // What begins after that is known.
        let new = later(late, 10);
        let new = Presented::new(session(9), token(1), None, new, new);
        assert_eq!(more.standing(&new).await.unwrap(), Standing::Live, "{first}");
    }
}

/// The revocation has read the old horizon, and waits to write.
async fn a_raise_that_comes_between_a_revocations_two_steps_counts(place: Place) {
    let subject = SubjectId::from_bytes([5; 32]);
    let at = NumericDate::from_secs(SystemClock.now().as_secs() - 1_000);
    for (n, revocation) in [
        Revocation::Session(session(1)),
        Revocation::Token { session: session(1), token: token(1) },
        Revocation::SubjectBefore { subject, instant: at, except: None },
        Revocation::AllBefore { instant: at },
    ]
    .into_iter()
    .enumerate()
    {
        let place = Place { prefix: format!("between{n}_{}", place.prefix), ..place.clone() };
        let store = place.open().await;
        store.horizon(Horizon::Secs(1_000)).await.unwrap();
        let table = if n < 2 { "sessions" } else { "subjects" };
        let least = SystemClock.now().as_secs() + 50_000;
        let revoked = store.revoke(revocation, kept(at, at));
        place.while_nobody_writes("UPDATE {p}store SET horizon = 50000", revoked).await.unwrap();
        let kept = format!("UPDATE {{p}}{table} SET kept_until = kept_until WHERE kept_until >= {least}");
        assert_eq!(place.meddle(&kept).await, 1, "{revocation:?}");
    }
}

/// What it adds is added to what the others still need.
async fn a_node_whose_clock_is_far_ahead_forgets_nothing_for_the_others(place: Place) {
    let now = SystemClock.now();
    let ago = |secs: u64| NumericDate::from_secs(now.as_secs() - secs);
    let ahead = later(now, 10_000_000);
    let subject = SubjectId::from_bytes([6; 32]);
    let presents = |n: u64, t: u64, begun| Presented::new(session(n), token(t), Some(subject), begun, now);
    for (n, revoke) in [
        (
            0,
            (|instant, subject| Revocation::SubjectBefore { subject, instant, except: None })
                as fn(_, _) -> _,
        ),
        (1, |instant, _| Revocation::AllBefore { instant }),
    ] {
        let place = Place { prefix: format!("ahead{n}_{}", place.prefix), ..place.clone() };
        let store = place.open().await;
        store.horizon(Horizon::Secs(1_000)).await.unwrap();
        store.revoke(revoke(ago(10), subject), kept(now, now)).await.unwrap();
        store.revoke(revoke(ago(500), subject), kept(ahead, ahead)).await.unwrap();
        let standing = store.standing(&presents(0, 0, ago(100))).await.unwrap();
        assert_eq!(standing, Standing::Revoked, "{n}");
    }
    let store = place.open().await;
    place.meddle("UPDATE {p}store SET born = 0").await;
    store.horizon(Horizon::Secs(1_000)).await.unwrap();
    let begun = ago(50);
    let by = |now, n, t| Presented::new(session(n), token(t), Some(subject), begun, now);
    let renewal = |now, n, from, to| Rotation::renewal(by(now, n, from), token(to), "{}", later(now, 300));
    // Single tokens, whatever is recorded of their session next.
    for n in 1..=2 {
        let token_of = |t| Revocation::Token { session: session(n), token: token(t) };
        store.revoke(token_of(1), kept(now, now)).await.unwrap();
        match n {
            1 => store.revoke(token_of(2), kept(ahead, ahead)).await.unwrap(),
            _ => assert_eq!(store.rotate(renewal(ahead, n, 5, 6)).await.unwrap(), Rotated::Recorded),
        }
        assert_eq!(store.standing(&by(now, n, 1)).await.unwrap(), Standing::Revoked, "{n}");
    }
    // One that has a successor ends its session, though by that clock the record of it has expired.
    store.rotate(renewal(now, 4, 1, 2)).await.unwrap();
    let superseded = Revocation::Token { session: session(4), token: token(1) };
    store.revoke(superseded, kept(ahead, ahead)).await.unwrap();
    assert_eq!(store.standing(&by(now, 4, 2)).await.unwrap(), Standing::Revoked);
}
