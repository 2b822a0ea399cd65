//! Rule 6: admitted while `now < exp + leeway`, exchangeable while `now < exp + grace`; one reading per decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tower_reissue::{ManualClock, NumericDate, Reason};

use crate::support::guarded::*;
use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Admitted,
    Exchanged,
    Dead,
}
use Fate::*;

#[track_caller]
fn assert_fates(leeway: u64, grace: u64, fates: &[(u64, Fate)]) {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock)
        .leeway(Duration::from_secs(leeway))
        .grace(Duration::from_secs(grace))
        .build()
        .unwrap();
    let stateful = builder(&clock)
        .leeway(Duration::from_secs(leeway))
        .grace(Duration::from_secs(grace))
        .store(CountingStore::default())
        .build()
        .unwrap();
    for guarded in [Guarded::new(&authority), Guarded::new(&stateful)] {
        for &(after, fate) in fates {
            clock.set(NOW + after);
            let answer = guarded.bearer(&mint(&claims()));
            let found = match (&answer.reason, answer.status) {
                (None, 200) => Admitted,
                (Some(Reason::ExpiredInGrace), 401) => Exchanged,
                (Some(Reason::Expired), 401) => Dead,
                _ => panic!("{after}: {answer:?}"),
            };
            assert_eq!(found, fate, "leeway {leeway}, grace {grace}, {after} s after iat");
            assert_eq!(answer.ran, fate == Admitted);
            let successor = answer.successor.is_some();
            assert!(successor || fate != Exchanged, "{after}: exchanged for nothing");
            assert!(!successor || fate != Dead, "{after}: dead, and has a successor");
        }
    }
}

#[test]
fn a_token_is_dead_at_the_instant_it_expires() {
    assert_fates(
        0,
        60,
        &[(0, Admitted), (598, Admitted), (599, Admitted), (600, Exchanged), (601, Exchanged)],
    );
    assert_fates(0, 0, &[(599, Admitted), (600, Dead), (601, Dead)]);
}

#[test]
fn the_grace_ends_at_its_last_second() {
    assert_fates(
        0,
        60,
        &[(658, Exchanged), (659, Exchanged), (660, Dead), (661, Dead), (100_000 - 60_000, Dead)],
    );
    assert_fates(0, 300, &[(899, Exchanged), (900, Dead)]);
}

#[test]
fn the_leeway_admits_and_the_grace_is_not_added_to_it() {
    assert_fates(
        10,
        60,
        &[
            (599, Admitted),
            (600, Admitted),
            (609, Admitted),
            (610, Exchanged),
            (611, Exchanged),
            (659, Exchanged),
            (660, Dead),
            (669, Dead),
            (670, Dead),
        ],
    );
    // All of the grace is leeway: nothing is ever exchanged.
    assert_fates(10, 10, &[(609, Admitted), (610, Dead), (619, Dead)]);
    assert_fates(60, 60, &[(659, Admitted), (660, Dead), (719, Dead)]);
}

/// What a handler is told of the end is the end, whichever of the three is first.
#[test]
fn the_admission_deadline_is_the_first_instant_that_admits_no_more() {
    for (leeway, limit) in
        [(0, 43_200), (30, 43_200), (0, 600), (30, 600), (30, 620), (30, 630), (30, 631), (0, 400)]
    {
        let clock = ManualClock::at(NOW);
        let authority = builder(&clock)
            .lifetime(Duration::from_secs(limit.min(600)))
            .leeway(Duration::from_secs(leeway))
            .max_session_lifetime(Duration::from_secs(limit))
            .build()
            .unwrap();
        let token = mint(&claims());
        let deadline = at_once(authority.admit(&token)).unwrap().admitted_until();
        assert_eq!(
            deadline.as_secs(),
            NOW + (600 + leeway).min(limit),
            "leeway {leeway}, session limit {limit}"
        );
        for (now, is_admitted) in [(deadline.as_secs() - 1, true), (deadline.as_secs(), false)] {
            clock.set(now);
            assert_eq!(
                at_once(authority.admit(&token)).is_ok(),
                is_admitted,
                "leeway {leeway}, session limit {limit}"
            );
            assert_eq!(Guarded::new(&authority).bearer(&token).is_admitted(), is_admitted);
        }
    }
}

#[test]
fn a_fraction_of_a_second_is_no_second() {
    let clock = ManualClock::at(NOW + 600);
    let guarded = Guarded::new(&builder(&clock).build().unwrap());
    let text = claims().to_string().replacen("1800000600", "1800000600.999", 1);
    let token = mint_raw(r#"{"alg":"HS256"}"#, &text);
    assert_eq!(guarded.bearer(&token).reason, Some(Reason::ExpiredInGrace));
    clock.set(NOW + 599);
    assert!(guarded.bearer(&token).is_admitted());
}

#[test]
fn the_last_instants_there_are_overflow_nothing() {
    let last = NumericDate::MAX.as_secs();
    for now in [0, 1, last - 1, last, u64::MAX] {
        let clock = ManualClock::at(now);
        let authority = builder(&clock)
            .leeway(Duration::from_secs(60))
            .grace(Duration::from_secs(300))
            .dangerous()
            .unbounded_sessions()
            .build()
            .unwrap();
        for (iat, exp) in [(0, 1), (0, last), (last - 1, last), (NOW, NOW + 600)] {
            let answer =
                Guarded::new(&authority).bearer(&mint(&claims_with(json!({"iat": iat, "exp": exp}))));
            assert!(matches!(answer.status, 200 | 401), "{now} {iat} {exp}: {answer:?}");
        }
    }
}

#[test]
fn a_decision_takes_one_reading_of_the_clock() {
    let readings = Arc::new(AtomicUsize::new(0));
    let counted = readings.clone();
    let authority = builder(&ManualClock::at(NOW))
        .clock(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            NumericDate::from_secs(NOW + 500)
        })
        .build()
        .unwrap();
    let answer = Guarded::new(&authority).bearer(&mint(&claims()));
    assert!(answer.is_admitted() && answer.successor.is_some());
    // One for the arrival, one for the response.
    assert_eq!(readings.swap(0, Ordering::SeqCst), 2);
    Guarded::new(&authority).bearer("a.b.c").assert_refused(401, &"malformed");
    assert_eq!(readings.load(Ordering::SeqCst), 1);
}

#[test]
fn a_clock_that_steps_back_changes_nothing_for_a_request_in_flight() {
    let clock = ManualClock::at(NOW + 500);
    let back = clock.clone();
    let guarded = Guarded::new(&builder(&clock).build().unwrap()).meanwhile(move || back.set(NOW - 1_000));
    let answer = guarded.bearer(&mint(&claims()));
    assert!(answer.is_admitted());
    assert!(answer.successor.is_some(), "due at its admission, due at its response");
}
