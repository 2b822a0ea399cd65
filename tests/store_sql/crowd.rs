//! A subject with many sessions: listed by page, ended in one step, and limited.

use std::collections::BTreeSet;

use tower_reissue::store::SubjectLimit;

use super::*;
use crate::support::kept;

on_each_database! {
    a_hundred_thousand_sessions_are_listed_by_page_and_all_others_are_ended_in_one_step,
    of_too_many_sessions_the_oldest_end_whoever_signs_in_meanwhile,
    sessions_of_an_earlier_version_make_room_for_one_that_is_older,
    of_too_many_records_the_oldest_become_one_and_nothing_revoked_comes_back,
}

const CROWD: u64 = 100_000;

async fn a_hundred_thousand_sessions_are_listed_by_page_and_all_others_are_ended_in_one_step(place: Place) {
    let store = place.open().await;
    let subject = SubjectId::from_bytes([7; 32]);
    place.crowd(subject).await;
    let begun = Instant::now();
    let (mut page, mut listed, mut pages) = (Page::first(1_000), BTreeSet::new(), 0);
    let mut last = None;
    loop {
        let asked = Instant::now();
        let given = store.sessions(subject, now(), page).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "a page took {:?}", asked.elapsed());
        for record in &given.sessions {
            assert!(last.is_none_or(|last| record.cursor() < last), "the newest first");
            last = Some(record.cursor());
            listed.insert(record.session);
        }
        pages += 1;
        let Some(next) = given.next else { break };
        page = page.after(next);
    }
    assert_eq!((listed.len() as u64, pages), (CROWD, CROWD / 1_000));
    eprintln!("{pages} pages of 1,000 in {:?}", begun.elapsed());

    let spared = *listed.iter().nth(5).unwrap();
    let revocation = Revocation::SubjectBefore { subject, instant: now(), except: Some(spared) };
    let begun = Instant::now();
    store.revoke(revocation, kept(now(), end())).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "all others took {:?}", begun.elapsed());
    let begun = Instant::now();
    let left = store.sessions(subject, now(), Page::default()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "listing what is left took {:?}", begun.elapsed());
    assert_eq!(left.sessions.iter().map(|record| record.session).collect::<Vec<_>>(), [spared]);
    assert_eq!(left.next, None);
    for session in listed.iter().take(10) {
        let presented = owned(subject, *session, token(1));
        let known = if *session == spared { Standing::Live } else { Standing::Revoked };
        assert_eq!(store.standing(&presented).await.unwrap(), known);
    }
}

async fn of_too_many_sessions_the_oldest_end_whoever_signs_in_meanwhile(place: Place) {
    let store = place.open().await;
    store.horizon(Horizon::Secs(3_600)).await.unwrap();
    let subject = SubjectId::from_bytes([7; 32]);
    let limit = limit(5, 50);
    for round in 0..4 {
        let sign_in = |n| {
            let retention = kept(now(), now()).limited_to(limit);
            store.rotate(Rotation::sign_in(began(subject, n), "{}", end()).limited_by(retention))
        };
        let last = round * 8 + 7;
        // Of those at once more can be left, and the next sign-in ends them.
        let mut signed_in = futures_util::future::join_all((round * 8..last).map(sign_in)).await;
        let left = store.sessions(subject, now(), Page::default()).await.unwrap().sessions.len();
        assert!((5..=11).contains(&left), "{left} of seven sign-ins at once");
        signed_in.push(sign_in(last).await);
        assert!(signed_in.into_iter().all(|rotated| rotated.unwrap() == Rotated::Recorded));
        let listed = store.sessions(subject, now(), Page::default()).await.unwrap().sessions;
        let listed = listed.iter().map(|record| record.session).collect::<Vec<_>>();
        assert_eq!(listed, (last - 4..=last).rev().map(session).collect::<Vec<_>>());
        // What is not listed is over.
        for n in 0..=last {
            let known = if last - n < 5 { Standing::Live } else { Standing::Revoked };
            assert_eq!(store.standing(&began(subject, n)).await.unwrap(), known, "{n}");
        }
    }
    // Nobody else's.
    let other = SubjectId::from_bytes([8; 32]);
    let presented = owned(other, session(1_000), token(0));
    let retention = kept(now(), now()).limited_to(limit);
    store.rotate(Rotation::sign_in(presented, "{}", end()).limited_by(retention)).await.unwrap();
    assert!(!store.sessions(subject, now(), Page::default()).await.unwrap().sessions.is_empty());
}

/// Earlier versions did not record in which order sessions were opened.
async fn sessions_of_an_earlier_version_make_room_for_one_that_is_older(place: Place) {
    let store = place.open().await;
    store.horizon(Horizon::Secs(3_600)).await.unwrap();
    let subject = SubjectId::from_bytes([7; 32]);
    let sign_in = async |n, live| {
        let retention = kept(now(), now()).limited_to(limit(live, 50));
        let sign_in = Rotation::sign_in(began(subject, n), "{}", end()).limited_by(retention);
        assert_eq!(store.rotate(sign_in).await.unwrap(), Rotated::Recorded, "{n}");
    };
    for n in 1..=5 {
        sign_in(n, 10).await;
    }
    assert_eq!(place.meddle("UPDATE {p}sessions SET opened = NULL").await, 5);
    sign_in(0, 3).await;
    let listed = store.sessions(subject, now(), Page::default()).await.unwrap().sessions;
    let listed = listed.iter().map(|record| record.session).collect::<Vec<_>>();
    assert_eq!(listed, [5, 4, 0].map(session));
}

async fn of_too_many_records_the_oldest_become_one_and_nothing_revoked_comes_back(place: Place) {
    let store = place.open().await;
    store.horizon(Horizon::Secs(3_600)).await.unwrap();
    let subject = SubjectId::from_bytes([7; 32]);
    let limit = limit(3, 10);
    let begun = |n: u64| later(start(), n);
    let presented =
        |n: u64, at: u64| Presented::new(session(n), token(0), Some(subject), begun(n), begun(at));
    for n in 0..60 {
        let retention = kept(begun(n), begun(n)).limited_to(limit);
        let sign_in = Rotation::sign_in(presented(n, n), "{}", end()).limited_by(retention);
        assert_eq!(store.rotate(sign_in).await.unwrap(), Rotated::Recorded, "{n}");
        if n % 2 == 0 {
            let retention = retention.of(Some(subject), begun(n));
            store.revoke(Revocation::Session(session(n)), retention).await.unwrap();
        }
        // Of sessions that the store never heard of before.
        let elsewhere = session(1_000 + n);
        let retention = retention.of(Some(subject), begun(n));
        store.revoke(Revocation::Session(elsewhere), retention).await.unwrap();
        let count = "UPDATE {p}sessions SET stamp = stamp";
        assert!(place.meddle(count).await <= 10, "{n}");
        for n in 0..n {
            let is_over = n % 2 == 0;
            let standing = store.standing(&presented(n, 60)).await.unwrap();
            assert!(!is_over || standing == Standing::Revoked, "{n}");
            let elsewhere = Presented::new(session(1_000 + n), token(0), Some(subject), begun(n), begun(60));
            assert_eq!(store.standing(&elsewhere).await.unwrap(), Standing::Revoked, "{n} elsewhere");
        }
    }
    // Too old to be remembered: it may begin again, later.
    let retention = kept(begun(60), begun(60)).limited_to(limit);
    let at = |start| Presented::new(session(2_000), token(0), Some(subject), start, begun(60));
    let mut presented = at(begun(3));
    for tries in 0.. {
        let sign_in = Rotation::sign_in(presented, "{}", end()).limited_by(retention);
        match store.rotate(sign_in).await.unwrap() {
            Rotated::Predated { revoked_until } if tries < 3 => presented = at(later(revoked_until, 1)),
            other => {
                assert_eq!((other, tries > 0), (Rotated::Recorded, true));
                break;
            }
        }
    }
}

impl Place {
    /// Live sessions of one subject, begun one second after the other, ten at a time.
    async fn crowd(&self, subject: SubjectId) {
        let (numbers, id) = match self.is_postgres() {
            true => (
                format!("SELECT n FROM generate_series(0, {}) AS n", CROWD - 1),
                "convert_to(lpad(CAST(n AS TEXT), 32, '0'), 'UTF8')",
            ),
            false => (
                format!(
                    "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {}) \
                     SELECT n FROM numbers",
                    CROWD - 1
                ),
                "CAST(printf('%032d', n) AS BLOB)",
            ),
        };
        let (subject, none) = (self.bytes(&hex(subject.as_bytes())), self.bytes(""));
        let (start, end) = (start().as_secs(), end().as_secs());
        let crowd = format!(
            "INSERT INTO {{p}}sessions (session, subject, session_start, head, head_until, generation, chain_until, \
             renewed, ancestors, claims, revoked_until, revoked_tokens, kept_until, stamp) \
             SELECT {id}, {subject}, {start} - n / 10, {id}, {end}, 0, {end}, {start}, {none}, '{{}}', 0, {none}, {end}, n \
             FROM ({numbers}) AS numbers"
        );
        assert_eq!(self.meddle(&crowd).await, CROWD);
    }
}

fn limit(live: usize, remembered: usize) -> SubjectLimit {
    let mut limit = SubjectLimit::new(live);
    limit.remembered = remembered;
    limit
}

/// The session of this number, begun as many seconds after the first.
fn began(subject: SubjectId, n: u64) -> Presented {
    Presented::new(session(n), token(0), Some(subject), later(start(), n), now())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
