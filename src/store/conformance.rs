//! The promises of a [`ClaimsStore`], each a function named by its sentence.
//!
//! A store of your own keeps them if [`all`] returns. Call it from a test, with your store, on the runtime that the
//! store needs; a breach panics with its scene, at a line of the promise it breaks:
//!
//! ```
//! use tower_reissue::store::{MemoryStore, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
//! let store = MemoryStore::new();
//! conformance::all(&store).await;
//! # });
//! ```
//!
//! Every function takes new sessions and subjects at each call, so that a store need not be emptied in between; call
//! them one by one to see all breaches at once. **Never run it against a store in use**, nor twice at once against
//! one store: its scenes move time an hour and more ahead of this machine's clock, and a store may forget, whosever
//! it is, what has expired by the `now` of a call. A record must be absent from its `until` on by that `now`, whatever
//! the store's own clock reads; when it is really removed is the store's affair.
//!
//! What it can't prove: atomicity between processes (race rotations of one token from several), durability,
//! bounds, and deadlines. Test those where you can break the backend: at capacity a write must fail with
//! [`StoreErrorKind::Full`](super::StoreErrorKind::Full) and never cost a live tombstone its place.

use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::{
    ClaimsStore, Presented, Revocation, Rotated, Rotation, SessionId, SessionRecord, Standing, SubjectId,
    TokenId,
};
use crate::{Clock as _, NumericDate, SystemClock};

/// Every promise below, one after the other.
///
/// # Panics
/// As each of the functions does: when the store breaks the promise, or fails.
pub async fn all<S: ClaimsStore>(store: &S) {
    a_sign_in_opens_its_session_once(store).await;
    a_session_without_a_record_is_recorded_by_its_first_rotation(store).await;
    of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head(store).await;
    the_predecessor_of_the_head_is_given_the_head(store).await;
    a_token_superseded_two_generations_ago_is_reported_as_reused(store).await;
    an_unknown_token_of_a_recorded_session_is_not_recorded(store).await;
    a_token_never_succeeds_itself_or_an_ancestor(store).await;
    a_revoked_session_rotates_nothing(store).await;
    a_revocation_beats_a_rotation_in_either_order(store).await;
    a_revoked_token_is_never_recorded_as_a_successor(store).await;
    revoking_a_token_that_has_a_successor_revokes_its_session(store).await;
    revoking_the_head_stops_its_predecessor_from_renewing(store).await;
    subject_before_revokes_sessions_begun_at_or_before_the_instant_and_no_later_one(store).await;
    a_weaker_revocation_never_replaces_a_stronger_one(store).await;
    a_tombstone_lives_until_its_instant(store).await;
    an_expired_record_leaves_no_trace_that_matters(store).await;
    claims_come_back_byte_for_byte(store).await;
    sessions_lists_the_live_sessions_of_one_subject_only(store).await;
    a_dropped_rotation_leaves_the_old_or_the_new_state(store).await;
    an_answer_without_waiting_is_the_same_answer(store).await;
    the_epoch_moves_with_every_revocation(store).await;
}

/// A sign-in records its token as the head. Repeated, it is given what was recorded; another token's is
/// [`Rotated::Unknown`].
pub async fn a_sign_in_opens_its_session_once<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, other] = tokens();
    assert_eq!(login.sign_in(store, first).await, Rotated::Recorded, "the sign-in of a new session");
    assert_eq!(login.standing(store, first).await, Standing::Live, "a token just signed in");
    let retried = Rotation::sign_in(login.presents(first), "{\"retried\":true}", login.until);
    assert_eq!(
        rotate(store, retried).await,
        head(first),
        "the same sign-in again: the claims first recorded"
    );
    assert_eq!(login.sign_in(store, other).await, Rotated::Unknown, "another sign-in of one session");
    assert_eq!(login.head(store).await, Some(claims(first)), "the head, after all that");
}

/// A token that was issued before the store was put in place, or by somebody else, is live, and its successor is
/// recorded.
pub async fn a_session_without_a_record_is_recorded_by_its_first_rotation<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [elsewhere, successor, rival] = tokens();
    assert_eq!(login.standing(store, elsewhere).await, Standing::Live, "a token the store has never seen");
    assert_eq!(login.renew(store, elsewhere, successor).await, Rotated::Recorded, "its first rotation");
    assert_eq!(login.renew(store, elsewhere, rival).await, head(successor), "its second rotation");
}

/// Sixteen rotations of one token, polled by turns: one is recorded, and the fifteen are given its claims.
///
/// For rotations on several threads, call it from several tasks and see that your runtime has the threads.
pub async fn of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head<S: ClaimsStore>(
    store: &S,
) {
    let login = Login::new();
    let mut predecessor = token();
    // The first generation races on a session without a record, the others on a recorded head.
    for generation in 1..=3 {
        let rivals = tokens::<16>();
        let outcomes =
            join(rivals.iter().map(|&rival| login.renew(store, predecessor, rival)).collect()).await;
        let recorded = rivals
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == Rotated::Recorded)
            .map(|(rival, _)| *rival)
            .collect::<Vec<_>>();
        let [winner] = recorded[..] else {
            panic!(
                "of 16 concurrent rotations {} were recorded in generation {generation}: {outcomes:?}",
                recorded.len()
            );
        };
        for outcome in outcomes.iter().filter(|outcome| **outcome != Rotated::Recorded) {
            assert_eq!(*outcome, head(winner), "what a rival learns in generation {generation}");
        }
        predecessor = winner;
    }
}

/// A lost response is made good: its request, repeated, is given the head, however often, and records nothing.
pub async fn the_predecessor_of_the_head_is_given_the_head<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, rival] = tokens();
    login.chain(store, &[first, second, third]).await;
    for _ in 0..3 {
        assert_eq!(login.renew(store, second, rival).await, head(third), "the predecessor's rotation");
    }
    // The successor derived a second time: equal claims, equal name.
    assert_eq!(login.renew(store, second, third).await, head(third), "the same rotation again");
    assert_eq!(login.standing(store, second).await, Standing::Live, "the predecessor of the head");
    assert_eq!(login.renew(store, third, rival).await, Rotated::Recorded, "the head's own rotation");
}

/// One that is not the head's predecessor any more: [`Rotated::Reused`] and [`Standing::Superseded`], with the
/// number of generations, and the chain stays as it is.
pub async fn a_token_superseded_two_generations_ago_is_reported_as_reused<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, fourth, rival] = tokens();
    login.chain(store, &[first, second, third, fourth]).await;
    for (token, generations) in [(first, 3), (second, 2)] {
        assert_eq!(
            login.renew(store, token, rival).await,
            Rotated::Reused { generations },
            "the rotation of a token superseded {generations} generations ago"
        );
        assert_eq!(
            login.standing(store, token).await,
            Standing::Superseded { generations },
            "the standing of a token superseded {generations} generations ago"
        );
    }
    assert_eq!(login.standing(store, third).await, Standing::Live, "the predecessor of the head");
    assert_eq!(login.renew(store, fourth, rival).await, Rotated::Recorded, "the head's own rotation");
}

/// While a session has a head, a token that the store can't place is merely not renewed. It is not reuse either.
pub async fn an_unknown_token_of_a_recorded_session_is_not_recorded<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, stranger, rival] = tokens();
    login.chain(store, &[first, second]).await;
    assert_eq!(login.renew(store, stranger, rival).await, Rotated::Unknown, "a stranger's rotation");
    assert_eq!(login.standing(store, stranger).await, Standing::Live, "a stranger's standing");
    assert_eq!(login.head(store).await, Some(claims(second)), "the head, after that");
    assert_eq!(login.renew(store, second, rival).await, Rotated::Recorded, "the head's own rotation");
}

/// A chain that met itself would never end. Such a rotation is the caller's bug: an error, or any answer but
/// [`Rotated::Recorded`], and the chain stays as it is.
pub async fn a_token_never_succeeds_itself_or_an_ancestor<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, fourth] = tokens();
    login.chain(store, &[first, second, third]).await;
    for (successor, what) in [(third, "itself"), (second, "its predecessor"), (first, "an ancestor")] {
        let renewal = Rotation::renewal(login.presents(third), successor, claims(successor), login.until);
        let outcome = store.rotate(renewal).await;
        assert!(!matches!(outcome, Ok(Rotated::Recorded)), "the head was succeeded by {what}");
        assert_eq!(login.head(store).await, Some(claims(third)), "the head, after it named {what}");
    }
    assert_eq!(login.renew(store, third, fourth).await, Rotated::Recorded, "the head's next rotation");
    assert_eq!(
        login.renew(store, second, token()).await,
        Rotated::Reused { generations: 2 },
        "the generations, after that"
    );
}

/// Not its head, not a predecessor, not a token the store has never seen, and no sign-in opens it again. Other
/// sessions are as they were.
pub async fn a_revoked_session_rotates_nothing<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let neighbour = login.another(0);
    let [first, second, third, stranger, other, other_next] = tokens();
    login.chain(store, &[first, second, third]).await;
    neighbour.chain(store, &[other]).await;
    revoke(store, Revocation::Session(login.session), login.now, login.until).await;
    for (token, what) in
        [(third, "head"), (second, "predecessor"), (first, "ancestor"), (stranger, "stranger")]
    {
        assert_eq!(login.standing(store, token).await, Standing::Revoked, "the {what}'s standing");
        assert_eq!(login.renew(store, token, self::token()).await, Rotated::Revoked, "the {what}'s rotation");
    }
    assert_eq!(login.sign_in(store, self::token()).await, Rotated::Revoked, "a sign-in of a revoked session");
    assert_eq!(login.head(store).await, None, "a revoked session is listed");
    assert_eq!(neighbour.standing(store, other).await, Standing::Live, "a token of another session");
    assert_eq!(
        neighbour.renew(store, other, other_next).await,
        Rotated::Recorded,
        "another session's rotation"
    );
}

/// A rotation and a revocation of what it rotates: whichever comes first, and when they race, nothing of the
/// session is live afterwards.
pub async fn a_revocation_beats_a_rotation_in_either_order<S: ClaimsStore>(store: &S) {
    type Kind = fn(&Login, TokenId) -> Revocation;
    let kinds: [(&str, Kind); 3] = [
        ("the token", |login, token| Revocation::Token { session: login.session, token }),
        ("the session", |login, _| Revocation::Session(login.session)),
        ("the subject", |login, _| Revocation::SubjectBefore {
            subject: login.subject,
            instant: login.start,
        }),
    ];
    for (name, kind) in kinds {
        for recorded in [true, false] {
            for order in [Order::RotationFirst, Order::RevocationFirst, Order::Race] {
                let scene = format!("revoking {name}, {order:?}, with a record: {recorded}");
                let login = Login::new();
                let [predecessor, successor] = tokens();
                if recorded {
                    login.chain(store, &[predecessor]).await;
                }
                let revocation = revoke(store, kind(&login, predecessor), login.now, login.until);
                let rotation = login.renew(store, predecessor, successor);
                let outcome = match order {
                    Order::RotationFirst => {
                        let outcome = rotation.await;
                        assert_eq!(outcome, Rotated::Recorded, "{scene}");
                        revocation.await;
                        outcome
                    }
                    Order::RevocationFirst => {
                        revocation.await;
                        let outcome = rotation.await;
                        assert_eq!(outcome, Rotated::Revoked, "{scene}");
                        outcome
                    }
                    Order::Race => {
                        let (outcome, ()) = futures_util::future::join(rotation, revocation).await;
                        assert!(
                            matches!(outcome, Rotated::Recorded | Rotated::Revoked),
                            "{scene}: {outcome:?}"
                        );
                        outcome
                    }
                };
                let left =
                    if outcome == Rotated::Recorded { &[predecessor, successor][..] } else { &[predecessor] };
                for &token in left {
                    assert_eq!(login.standing(store, token).await, Standing::Revoked, "{scene}");
                    assert_eq!(login.renew(store, token, self::token()).await, Rotated::Revoked, "{scene}");
                }
            }
        }
    }
}

/// A successor's name may be known before it is recorded, where it is derived: revoked, it is never recorded.
pub async fn a_revoked_token_is_never_recorded_as_a_successor<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, revoked] = tokens();
    // Before its session is recorded: afterwards a stranger's revocation would end the session.
    revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, login.until).await;
    login.chain(store, &[first]).await;
    assert_eq!(login.renew(store, first, revoked).await, Rotated::Revoked, "a revoked successor");
    let signed_in = Login::new();
    revoke(store, Revocation::Token { session: signed_in.session, token: revoked }, login.now, login.until)
        .await;
    assert_eq!(signed_in.sign_in(store, revoked).await, Rotated::Revoked, "a sign-in of a revoked token");
}

/// Signing out with the token that a renewal has just superseded ends the renewed session too, for as long as any
/// of its tokens matters.
pub async fn revoking_a_token_that_has_a_successor_revokes_its_session<S: ClaimsStore>(store: &S) {
    for depth in [1, 2, 3] {
        let login = Login::new();
        let [first, second, third, forgotten] = tokens();
        login.chain(store, &[first, second, third]).await;
        // The last is one that the store has forgotten, or never saw: of a recorded session, and not its head.
        let superseded = if depth == 1 {
            second
        } else if depth == 2 {
            first
        } else {
            forgotten
        };
        // The superseded token itself would not matter for long.
        let soon = login.now.after(10);
        revoke(store, Revocation::Token { session: login.session, token: superseded }, login.now, soon).await;
        for later in [login.now, login.until.before(1)] {
            let login = login.at(later);
            for token in [first, second, third] {
                assert_eq!(
                    login.standing(store, token).await,
                    Standing::Revoked,
                    "a token of a session revoked by the one {depth} before its head"
                );
            }
            assert_eq!(login.renew(store, third, token()).await, Rotated::Revoked, "the head's rotation");
        }
        assert_eq!(login.head(store).await, None, "a revoked session is listed");
    }
}

/// A revoked head is never handed out again, and nothing else takes its place. Its predecessor is not itself
/// revoked: to end the whole session, revoke the session.
pub async fn revoking_the_head_stops_its_predecessor_from_renewing<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, stranger] = tokens();
    login.chain(store, &[first, second, third]).await;
    revoke(store, Revocation::Token { session: login.session, token: third }, login.now, login.until).await;
    assert_eq!(login.standing(store, third).await, Standing::Revoked, "the head's standing");
    for (token, what) in [(third, "head"), (second, "predecessor"), (stranger, "stranger")] {
        assert_eq!(
            login.renew(store, token, self::token()).await,
            Rotated::Revoked,
            "the rotation of the {what}, the head being revoked"
        );
    }
}

/// "Sign out everywhere": equal counts as before. A token that names no subject, and another subject's, are not
/// meant.
pub async fn subject_before_revokes_sessions_begun_at_or_before_the_instant_and_no_later_one<
    S: ClaimsStore,
>(
    store: &S,
) {
    let earlier = Login::new();
    let [equal, later] = [earlier.another(1), earlier.another(2)];
    let stranger = Login { subject: subject(), ..earlier.another(0) };
    // Two of each: on record, and not.
    let [recorded, unrecorded] = tokens();
    for login in [&earlier, &equal, &later, &stranger] {
        login.chain(store, &[recorded]).await;
    }
    let revocation = Revocation::SubjectBefore { subject: earlier.subject, instant: equal.start };
    revoke(store, revocation, earlier.now, earlier.until).await;
    for token in [recorded, unrecorded] {
        for (login, when) in [(&earlier, "before"), (&equal, "at")] {
            assert_eq!(
                login.standing(store, token).await,
                Standing::Revoked,
                "a session begun {when} the instant"
            );
            assert_eq!(
                login.renew(store, token, self::token()).await,
                Rotated::Revoked,
                "the rotation in a session begun {when} the instant"
            );
            assert_eq!(login.head(store).await, None, "a session begun {when} the instant is listed");
        }
        for (login, whose) in [(&later, "begun after the instant"), (&stranger, "of another subject")] {
            assert_eq!(login.standing(store, token).await, Standing::Live, "a session {whose}");
        }
        let nobody = Presented { subject: None, ..earlier.presents(token) };
        assert_eq!(standing(store, &nobody).await, Standing::Live, "a session that names no subject");
    }
    assert_eq!(
        later.renew(store, recorded, token()).await,
        Rotated::Recorded,
        "a session begun later renews"
    );
    assert_eq!(stranger.head(store).await, Some(claims(recorded)), "another subject's session is not listed");
    // A sign-in after signing out everywhere.
    assert_eq!(earlier.another(3).sign_in(store, token()).await, Rotated::Recorded, "a later sign-in");
}

/// Neither a shorter `until` nor an earlier instant takes back what was revoked before.
pub async fn a_weaker_revocation_never_replaces_a_stronger_one<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let revoked = token();
    let subject = login.another(5);
    let subject = Login { subject: self::subject(), ..subject };
    let soon = login.now.after(10);
    for until in [login.until, soon] {
        revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, until).await;
    }
    let session = login.another(0);
    for until in [session.until, soon] {
        revoke(store, Revocation::Session(session.session), session.now, until).await;
    }
    // A token of it, revoked for a shorter time than its session.
    revoke(store, Revocation::Token { session: session.session, token: revoked }, session.now, soon).await;
    for (instant, until) in
        [(subject.start, soon), (subject.start.before(1), subject.until), (subject.start.before(2), soon)]
    {
        revoke(store, Revocation::SubjectBefore { subject: subject.subject, instant }, subject.now, until)
            .await;
    }
    for (login, what) in [(&login, "token"), (&session, "session"), (&subject, "subject")] {
        assert_eq!(login.standing(store, revoked).await, Standing::Revoked, "the {what}, revoked twice");
    }
    let earlier = Login { start: subject.start.before(1), ..subject.at(subject.until.before(1)) };
    for (login, what) in [
        (&login.at(login.until.before(1)), "token"),
        (&session.at(session.until.before(1)), "session"),
        (&earlier, "subject"),
    ] {
        assert_eq!(
            login.standing(store, revoked).await,
            Standing::Revoked,
            "the {what}, at the end of the longer revocation"
        );
        assert_eq!(login.renew(store, revoked, token()).await, Rotated::Revoked, "the {what}'s rotation");
    }
}

/// To the last second before it, whatever was recorded since, and however often it was looked at.
pub async fn a_tombstone_lives_until_its_instant<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let revoked = token();
    let [by_session, by_subject] = [login.another(0), Login { subject: subject(), ..login.another(0) }];
    revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, login.until).await;
    revoke(store, Revocation::Session(by_session.session), login.now, login.until).await;
    revoke(
        store,
        Revocation::SubjectBefore { subject: by_subject.subject, instant: by_subject.start },
        login.now,
        login.until,
    )
    .await;
    for later in [login.now, login.now.after(1), login.until.before(1)] {
        for (login, what) in [(&login, "token"), (&by_session, "session"), (&by_subject, "subject")] {
            let login = login.at(later);
            let left = login.until.since(later);
            assert_eq!(
                login.standing(store, revoked).await,
                Standing::Revoked,
                "a revoked {what}, {left} s before its tombstone's end"
            );
            assert_eq!(
                login.renew(store, revoked, token()).await,
                Rotated::Revoked,
                "the rotation of a revoked {what}, {left} s before its tombstone's end"
            );
        }
        // Something to sweep for.
        Login { until: later.after(1), ..Login::new().at(later) }.chain(store, &[token()]).await;
    }
}

/// From its `until` on, which counts as expired, a session is as if it had never been recorded; a second before, it
/// is all there.
pub async fn an_expired_record_leaves_no_trace_that_matters<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, fourth] = tokens();
    login.chain(store, &[first, second, third]).await;
    let last = login.at(login.until.before(1));
    assert_eq!(last.head(store).await, Some(claims(third)), "the head, a second before it expires");
    assert_eq!(last.renew(store, second, fourth).await, head(third), "a rotation, a second before");
    let past = Login { until: login.until.after(3600), ..login.at(login.until) };
    assert_eq!(past.head(store).await, None, "an expired session is listed");
    assert_eq!(past.standing(store, first).await, Standing::Live, "an ancestor, after the record's end");
    assert_eq!(
        past.renew(store, first, fourth).await,
        Rotated::Recorded,
        "a rotation, after the record's end"
    );
    assert_eq!(past.head(store).await, Some(claims(fourth)), "the session's new head");

    // A superseded token past its own instant is a stranger in a session that lives on.
    let login = Login::new();
    let long = Login { until: login.until.after(3600), ..login };
    login.chain(store, &[first, second]).await;
    assert_eq!(long.renew(store, second, third).await, Rotated::Recorded, "a successor that lives longer");
    let past = long.at(login.until);
    assert_eq!(past.standing(store, first).await, Standing::Live, "an ancestor past its instant");
    assert_eq!(past.renew(store, first, token()).await, Rotated::Unknown, "its rotation");
    assert_eq!(past.renew(store, third, fourth).await, Rotated::Recorded, "the head's rotation");
}

/// The store keeps text: numbers in any spelling, escapes, the order of names, white space, all of Unicode, 8 KiB.
pub async fn claims_come_back_byte_for_byte<S: ClaimsStore>(store: &S) {
    let long = format!("{{\"long\":\"{}\"}}", "\u{65e5}x\\u0041\\n".repeat(8 * 1024 / 12 + 1));
    let texts = [
        "{}",
        "{\"f\":1.0,\"e\":1e3,\"E\":-1.50E+02,\"z\":-0,\"n\":123456789012345678901234567890}",
        "{\"esc\":\"\\u00e9\\/\\\\\\\"\\b\\ud83d\\ude00\\u0000\",\"raw\":\"\u{e9}\u{1f600}\u{2028}\u{feff}\"}",
        "{ \"z\" : 1 ,\t\"a\" : [ ] ,\r\n \"\" : { } , \"A\" : null } ",
        "{\"quotes\":\"'\\\";-- %s $1 {} ?\",\"b64\":\"AA==\"}",
        &long,
    ];
    for text in texts {
        let login = Login::new();
        let [first, second] = tokens();
        let signed_in = Rotation::sign_in(login.presents(first), text, login.until);
        assert_eq!(rotate(store, signed_in).await, Rotated::Recorded, "a sign-in");
        assert_eq!(login.head(store).await.as_deref(), Some(text), "claims listed after a sign-in");
        let other = Login::new();
        let renewal = Rotation::renewal(other.presents(first), second, text, other.until);
        assert_eq!(rotate(store, renewal).await, Rotated::Recorded, "a renewal");
        assert_eq!(other.head(store).await.as_deref(), Some(text), "claims listed after a renewal");
        let given = other.renew(store, first, token()).await;
        assert_eq!(given, Rotated::Superseded { head: text.into() }, "claims given to a rival");
    }
}

/// With each session's start, the instant its head was recorded, and the head's claims.
pub async fn sessions_lists_the_live_sessions_of_one_subject_only<S: ClaimsStore>(store: &S) {
    let phone = Login::new();
    assert!(phone.listed(store).await.is_empty(), "a subject without sessions has some");
    let laptop = Login { now: phone.now.after(7), ..phone.another(3) };
    let stranger = Login { subject: subject(), ..phone.another(0) };
    let anonymous = phone.another(0);
    let [on_phone, next_on_phone, on_laptop, elsewhere] = tokens();
    phone.chain(store, &[on_phone]).await;
    laptop.chain(store, &[on_laptop]).await;
    stranger.chain(store, &[elsewhere]).await;
    let nobody = Presented { subject: None, ..anonymous.presents(elsewhere) };
    let nobody = Rotation::sign_in(nobody, claims(elsewhere), phone.until);
    assert_eq!(rotate(store, nobody).await, Rotated::Recorded, "a sign-in without a subject");
    let renewed = phone.at(phone.now.after(9));
    assert_eq!(renewed.renew(store, on_phone, next_on_phone).await, Rotated::Recorded, "the phone's renewal");

    let record = |login: &Login, renewed, token| (login.session, login.start, renewed, claims(token));
    let mut expected =
        vec![record(&phone, renewed.now, next_on_phone), record(&laptop, laptop.now, on_laptop)];
    expected.sort();
    assert_eq!(renewed.listed(store).await, expected, "two sessions of one subject");

    revoke(store, Revocation::Session(laptop.session), laptop.now, laptop.until).await;
    assert_eq!(
        renewed.listed(store).await,
        [record(&phone, renewed.now, next_on_phone)],
        "one of two sessions revoked"
    );
    assert!(phone.at(phone.until).listed(store).await.is_empty(), "an expired session is listed");
    assert_eq!(stranger.listed(store).await.len(), 1, "another subject's sessions");
}

/// A caller that goes away in the middle: the token has its successor or has none, and is renewed either way.
pub async fn a_dropped_rotation_leaves_the_old_or_the_new_state<S: ClaimsStore>(store: &S) {
    for polls in 0..6 {
        let login = Login::new();
        let [first, second, dropped, next, rival] = tokens();
        login.chain(store, &[first, second]).await;
        poll_and_drop(login.renew(store, second, dropped), polls).await;
        let head_now = match login.renew(store, second, next).await {
            Rotated::Recorded => next,
            given if given == head(dropped) => dropped,
            other => panic!("after a rotation dropped at poll {polls}, its token's next was {other:?}"),
        };
        assert_eq!(
            login.renew(store, second, rival).await,
            head(head_now),
            "the head, after a rotation dropped at poll {polls}"
        );
        assert_eq!(
            login.head(store).await,
            Some(claims(head_now)),
            "dropped at poll {polls}: the head listed"
        );
        assert_eq!(
            login.renew(store, first, rival).await,
            Rotated::Reused { generations: 2 },
            "the generations, after a rotation dropped at poll {polls}"
        );
        assert_eq!(
            login.renew(store, head_now, rival).await,
            Rotated::Recorded,
            "dropped at poll {polls}: the chain goes on"
        );
    }
}

/// [`ClaimsStore::standing_now`] is `None` or what [`ClaimsStore::standing`] says.
pub async fn an_answer_without_waiting_is_the_same_answer<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, revoked, stranger] = tokens();
    login.chain(store, &[first, second, third]).await;
    revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, login.until).await;
    for token in [first, second, third, revoked, stranger] {
        let presented = login.presents(token);
        // Twice, for the first may have been what a cache was waiting for.
        for _ in 0..2 {
            let at_once = store.standing_now(&presented);
            let waited = standing(store, &presented).await;
            if let Some(at_once) = at_once {
                assert_eq!(at_once, waited, "the standing answered without waiting");
            }
        }
    }
}

/// A live standing that was remembered is asked again after any revocation, of whatever: [`ClaimsStore::epoch`]
/// moves, where there is one, no later than the revocation returns.
pub async fn the_epoch_moves_with_every_revocation<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let revocations = [
        Revocation::Token { session: login.session, token: token() },
        Revocation::Session(login.session),
        Revocation::SubjectBefore { subject: login.subject, instant: login.start },
    ];
    for revocation in revocations {
        let before = store.epoch();
        revoke(store, revocation, login.now, login.until).await;
        let after = store.epoch();
        assert!(
            before.is_none() || before != after,
            "the epoch stood still at {before:?} for {revocation:?}"
        );
    }
}

/// One session in a scene: whose, since when, and the instants its calls carry.
#[derive(Clone, Copy)]
struct Login {
    session: SessionId,
    subject: SubjectId,
    start: NumericDate,
    now: NumericDate,
    until: NumericDate,
}

impl Login {
    /// A new session of a new subject.
    fn new() -> Self {
        // A little ahead: a store that records its birth, by whoever's clock, is older than every session here.
        let start = SystemClock.now().after(300);
        Self { session: session(), subject: subject(), start, now: start.after(60), until: start.after(3660) }
    }

    /// Another session of the same subject, begun this many seconds later.
    fn another(&self, later: u64) -> Self {
        Self { session: session(), start: self.start.after(later), ..*self }
    }

    fn at(&self, now: NumericDate) -> Self {
        Self { now, ..*self }
    }

    fn presents(&self, token: TokenId) -> Presented {
        Presented::new(self.session, token, Some(self.subject), self.start, self.now)
    }

    async fn sign_in<S: ClaimsStore>(&self, store: &S, token: TokenId) -> Rotated {
        rotate(store, Rotation::sign_in(self.presents(token), claims(token), self.until)).await
    }

    async fn renew<S: ClaimsStore>(&self, store: &S, token: TokenId, successor: TokenId) -> Rotated {
        rotate(store, Rotation::renewal(self.presents(token), successor, claims(successor), self.until)).await
    }

    /// Signs in with the first token and renews it with each of the others in turn.
    async fn chain<S: ClaimsStore>(&self, store: &S, tokens: &[TokenId]) {
        let mut tokens = tokens.iter().copied();
        let Some(mut head) = tokens.next() else { return };
        assert_eq!(self.sign_in(store, head).await, Rotated::Recorded, "the sign-in of a new session");
        for successor in tokens {
            assert_eq!(self.renew(store, head, successor).await, Rotated::Recorded, "the rotation of a head");
            head = successor;
        }
    }

    async fn standing<S: ClaimsStore>(&self, store: &S, token: TokenId) -> Standing {
        standing(store, &self.presents(token)).await
    }

    /// The claims of this session's head, as [`ClaimsStore::sessions`] lists them.
    async fn head<S: ClaimsStore>(&self, store: &S) -> Option<String> {
        self.listed(store).await.into_iter().find(|record| record.0 == self.session).map(|record| record.3)
    }

    async fn listed<S: ClaimsStore>(&self, store: &S) -> Vec<(SessionId, NumericDate, NumericDate, String)> {
        let listed = match store.sessions(self.subject, self.now).await {
            Ok(listed) => listed,
            Err(error) => panic!("sessions failed: {error} ({error:?})"),
        };
        let in_full = |SessionRecord { session, session_start, renewed, claims }: SessionRecord| {
            (session, session_start, renewed, claims.to_string())
        };
        let mut listed = listed.into_iter().map(in_full).collect::<Vec<_>>();
        listed.sort();
        listed
    }
}

#[derive(Clone, Copy, Debug)]
enum Order {
    RotationFirst,
    RevocationFirst,
    Race,
}

async fn standing<S: ClaimsStore>(store: &S, presented: &Presented) -> Standing {
    match store.standing(presented).await {
        Ok(standing) => standing,
        Err(error) => panic!("standing failed: {error} ({error:?})"),
    }
}

async fn rotate<S: ClaimsStore>(store: &S, rotation: Rotation) -> Rotated {
    match store.rotate(rotation).await {
        Ok(rotated) => rotated,
        Err(error) => panic!("rotate failed: {error} ({error:?})"),
    }
}

async fn revoke<S: ClaimsStore>(store: &S, revocation: Revocation, now: NumericDate, until: NumericDate) {
    if let Err(error) = store.revoke(revocation, now, until).await {
        panic!("revoke failed: {error} ({error:?})");
    }
}

/// The claims that every scene gives this token.
fn claims(token: TokenId) -> String {
    format!("{{\"jti\":\"{token}\",\"exp\":1.0e3}}")
}

fn head(token: TokenId) -> Rotated {
    Rotated::Superseded { head: claims(token).into() }
}

fn token() -> TokenId {
    TokenId::from_bytes(fresh())
}

fn tokens<const N: usize>() -> [TokenId; N] {
    std::array::from_fn(|_| token())
}

fn session() -> SessionId {
    SessionId::from_bytes(fresh())
}

fn subject() -> SubjectId {
    SubjectId::from_bytes(fresh())
}

/// 32 bytes never given before: the standard library keys each of its hashers at random.
fn fresh() -> [u8; 32] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let keys = RandomState::new();
    let mut bytes = [0; 32];
    for (part, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&keys.hash_one((std::process::id(), count, part)).to_be_bytes());
    }
    bytes
}

/// Polls them all by turns until the last is done.
async fn join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting = futures.into_iter().map(|future| (Box::pin(future), None)).collect::<Vec<_>>();
    poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(done) => *output = Some(done),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// Polls a future at most this many times, letting the runtime go round in between, and drops it.
async fn poll_and_drop<F: Future>(future: F, polls: usize) {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 || future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
