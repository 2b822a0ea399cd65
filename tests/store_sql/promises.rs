//! What every store promises, and that it answers as the memory store does.

use std::sync::atomic::{AtomicUsize, Ordering};

use tower_reissue::store::{MemoryStore, SessionRecord, conformance};

use super::*;

on_each_database! {
    every_promise_is_kept,
    promises_about_races_are_kept_while_others_use_the_store,
    it_answers_as_the_memory_store_does,
    no_token_that_existed_at_a_revocation_is_ever_admitted_again_and_nobody_is_refused_after_it,
    revoking_up_to_now_spares_no_session_and_holds_up_nobody,
    a_revoker_whose_clock_is_behind_reaches_what_the_others_began,
    it_vouches_for_no_session_of_the_second_in_which_it_was_made,
    a_session_that_is_dated_ahead_of_a_loss_is_not_live_again,
    debug_prints_no_address,
}

async fn every_promise_is_kept(place: Place) {
    conformance::all(&place.open().await).await;
}

async fn promises_about_races_are_kept_while_others_use_the_store(place: Place) {
    let store = place.open().await;
    let tasks = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                conformance::of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head(
                    &store,
                )
                .await;
                conformance::a_revocation_beats_a_rotation_in_either_order(&store).await;
                conformance::a_dropped_rotation_leaves_the_old_or_the_new_state(&store).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// By a clock that the database's has not reached.
async fn no_token_that_existed_at_a_revocation_is_ever_admitted_again_and_nobody_is_refused_after_it(
    place: Place,
) {
    let begin = SystemClock.now().as_secs() + 3_600;
    for seed in 1..=4 {
        let place = Place { prefix: format!("model{seed}_{}", place.prefix), ..place.clone() };
        let open = async || place.open().await;
        revocations::no_token_that_existed_at_a_revocation_is_ever_admitted_again(open, begin, seed, 150)
            .await;
    }
}

async fn revoking_up_to_now_spares_no_session_and_holds_up_nobody(place: Place) {
    let open = async || place.open().await;
    for ahead in [0, 10] {
        let now = || SystemClock.now().as_secs() + ahead;
        revocations::revoking_up_to_now_spares_no_session_and_holds_up_nobody(open, now).await;
    }
}

async fn a_revoker_whose_clock_is_behind_reaches_what_the_others_began(place: Place) {
    let store = place.open().await;
    store.horizon(Horizon::Secs(86_400)).await.unwrap();
    revocations::a_revoker_whose_clock_is_behind_reaches_what_the_others_began(&store).await;
}

/// Any calls in any order, time moving on.
async fn it_answers_as_the_memory_store_does(place: Place) {
    let store = without_horizon(place.open().await).await;
    let memory = without_horizon(MemoryStore::new()).await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |bound: u64| {
        // xorshift: the same calls in every run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    let start = start().as_secs();
    let at = |secs: u64| NumericDate::from_secs(start + secs);
    let subject = |s: u64| SubjectId::from_bytes(name(s % 2));
    // One begins ahead of the clock.
    let start_of = |s: u64| at(if s == 3 { 60 } else { s });
    let mut now = 10;
    for call in 0..1_500 {
        let (s, t, lasts) = (below(4), below(7), below(60));
        match below(31) {
            0..4 => now += below(15),
            4..27 => {
                let presented = Presented::new(session(s), token(t), Some(subject(s)), start_of(s), at(now));
                let successor = below(7);
                let claims = format!("{call}");
                let rotation = if below(10) == 0 {
                    Rotation::sign_in(presented, claims, at(now + lasts + 1))
                } else {
                    Rotation::renewal(presented, token(successor), claims, at(now + lasts + 1))
                };
                let ours = store.rotate(rotation.clone()).await.map_err(|error| error.kind());
                let theirs = memory.rotate(rotation).await.map_err(|error| error.kind());
                assert_eq!(ours, theirs, "call {call}");
            }
            n => {
                place.let_go(at(now)).await;
                let instant = at(if below(3) == 0 { now + 3 } else { below(4) });
                let revocation = match n {
                    27 => Revocation::Session(session(s)),
                    28 => Revocation::Token { session: session(s), token: token(t) },
                    29 => {
                        let except = (below(2) == 0).then(|| session(below(4)));
                        Revocation::SubjectBefore { subject: subject(s), instant, except }
                    }
                    _ => Revocation::AllBefore { instant },
                };
                store.revoke(revocation, kept(at(now), at(now + lasts / 2))).await.unwrap();
                memory.revoke(revocation, kept(at(now), at(now + lasts / 2))).await.unwrap();
            }
        }
        let presented = Presented::new(session(s), token(t), Some(subject(s)), start_of(s), at(now));
        let ours = store.standing(&presented).await.unwrap();
        assert_eq!(ours, memory.standing(&presented).await.unwrap(), "call {call}");
        if call % 16 == 0 {
            let (ours, theirs) = (
                store.sessions(subject(s), at(now), Page::default()).await.unwrap().sessions,
                memory.sessions(subject(s), at(now), Page::default()).await.unwrap().sessions,
            );
            let sorted = |records: Vec<SessionRecord>| {
                let mut records = records
                    .into_iter()
                    .map(|r| (r.session, r.session_start, r.renewed, r.claims))
                    .collect::<Vec<_>>();
                records.sort();
                records
            };
            assert_eq!(sorted(ours), sorted(theirs), "call {call}");
        }
    }
}

impl Place {
    /// Removes what has expired by `now`, as calls do when the server's clock has reached it too.
    async fn let_go(&self, now: NumericDate) {
        for expired in [
            "DELETE FROM {p}subjects WHERE kept_until <=",
            "UPDATE {p}sessions SET head = NULL, head_until = NULL, generation = NULL, chain_until = NULL, \
             renewed = NULL, ancestors = NULL, claims = NULL WHERE chain_until <=",
        ] {
            self.meddle(&format!("{expired} {now}")).await;
        }
    }
}

/// Such a session may have begun, and ended, in a store that was lost within this second.
async fn it_vouches_for_no_session_of_the_second_in_which_it_was_made(place: Place) {
    let begun = SystemClock.now();
    let store = place.open().await;
    let presented = Presented::new(session(0), token(0), None, begun, begun);
    assert_eq!(store.standing(&presented).await.unwrap(), Standing::UnknownSession);
}

async fn a_session_that_is_dated_ahead_of_a_loss_is_not_live_again(place: Place) {
    let opened = AtomicUsize::new(0);
    // Other tables hold nothing of it.
    let open = async || {
        let n = opened.fetch_add(1, Ordering::SeqCst);
        Place { prefix: format!("lost{n}_{}", place.prefix), ..place.clone() }.open().await
    };
    revocations::a_session_that_is_dated_ahead_of_a_loss_is_not_live_again(open).await;
}

async fn debug_prints_no_address(place: Place) {
    let debug = format!("{:?}", place.open().await);
    assert!(debug.starts_with("SqlStore { backend: "), "{debug}");
    for secret in [place.address.as_str(), "127.0.0.1", "tests@", "sessions.db"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}
