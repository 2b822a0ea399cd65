//! Promises about rotation: one successor, the head for whoever comes late, reuse noticed, claims kept as text.

use std::future::{Future, poll_fn};
use std::task::Poll;

use super::scene::{Login, claims, head, join, revoke, rotate, token, tokens};
use crate::store::{ClaimsStore, Revocation, Rotated, Rotation, Standing};
use crate::time::NumericDate;

/// A sign-in records its token as the head. Repeated, it gets what was recorded. With another token it gets
/// [`Rotated::NotInChain`].
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
    assert_eq!(login.sign_in(store, other).await, Rotated::NotInChain, "another sign-in of one session");
    assert_eq!(login.head(store).await, Some(claims(first)), "the head, after all that");
}

/// A token that was issued before the store was added, or by other software, is live, and its successor is recorded.
pub async fn a_session_without_a_record_is_recorded_by_its_first_rotation<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [elsewhere, successor, rival] = tokens();
    assert_eq!(login.standing(store, elsewhere).await, Standing::Live, "a token the store has never seen");
    assert_eq!(login.renew(store, elsewhere, successor).await, Rotated::Recorded, "its first rotation");
    assert_eq!(login.renew(store, elsewhere, rival).await, head(successor), "its second rotation");
}

/// A session that began long before the store was created is [`Standing::UnknownSession`], however often it is renewed. It
/// is renewed nevertheless, for an authority that admits it. A store that does not record when it was created answers
/// live, before and after.
pub async fn a_session_that_is_unknown_is_renewed_and_stays_unknown<S: ClaimsStore>(store: &S) {
    let login = Login { start: NumericDate::from_secs(1_000), ..Login::new() };
    let [elsewhere, second, third, rival] = tokens();
    let known = login.standing(store, elsewhere).await;
    assert!(matches!(known, Standing::UnknownSession | Standing::Live), "{known:?} of a session of 1970");
    for (token, successor) in [(elsewhere, second), (second, third)] {
        assert_eq!(login.renew(store, token, successor).await, Rotated::Recorded, "its rotation");
        assert_eq!(login.renew(store, token, rival).await, head(successor), "its rotation, repeated");
        for (token, what) in [(token, "the token renewed"), (successor, "its successor")] {
            assert_eq!(login.standing(store, token).await, known, "{what}, in a session of 1970");
        }
    }
    revoke(store, Revocation::Session(login.session), login.now, login.until).await;
    assert_eq!(login.standing(store, third).await, Standing::Revoked, "a session of 1970, revoked");
}

/// A rotation [of a known session](Rotation::of_known_session) records nothing in a session that is [`Standing::UnknownSession`], which
/// a rotation without that word recorded or not. In any other session it is like any other rotation.
pub async fn a_rotation_of_a_known_session_records_nothing_in_an_unknown_one<S: ClaimsStore>(store: &S) {
    let renew = |login: Login, token, successor| {
        let rotation = Rotation::renewal(login.presents(token), successor, claims(successor), login.until);
        rotate(store, rotation.of_known_session())
    };
    let login = Login::new();
    let [first, second, rival] = tokens();
    login.chain(store, &[first]).await;
    assert_eq!(renew(login, first, second).await, Rotated::Recorded, "of a session on record");
    assert_eq!(renew(login, first, rival).await, head(second), "repeated");
    let login = Login::new();
    let [first, second] = tokens();
    assert_eq!(renew(login, first, second).await, Rotated::Recorded, "of a session newer than the store");

    for is_recorded in [false, true] {
        let login = Login { start: NumericDate::from_secs(1_000), ..Login::new() };
        let [elsewhere, second, third, rival] = tokens();
        if login.standing(store, elsewhere).await != Standing::UnknownSession {
            return;
        }
        let mut token = elsewhere;
        if is_recorded {
            assert_eq!(login.renew(store, elsewhere, second).await, Rotated::Recorded, "its rotation");
            token = second;
        }
        assert_eq!(renew(login, token, third).await, Rotated::UnknownSession, "of a session of 1970");
        // Nothing was recorded: another successor may come.
        assert_eq!(login.renew(store, token, rival).await, Rotated::Recorded, "of a session of 1970");
    }
}

/// Sixteen rotations of one token, polled in turn: one is recorded, and the other fifteen get its claims.
///
/// For rotations on several threads, call it from several tasks on a runtime with several threads.
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

/// A client that lost a response repeats its request and gets the head, however often, and nothing is recorded.
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

/// A token older than the head's predecessor: [`Rotated::Reused`] and [`Standing::Reused`], with the number of
/// generations. The chain does not change.
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
            Standing::Reused { generations },
            "the standing of a token superseded {generations} generations ago"
        );
    }
    assert_eq!(login.standing(store, third).await, Standing::Live, "the predecessor of the head");
    assert_eq!(login.renew(store, fourth, rival).await, Rotated::Recorded, "the head's own rotation");
}

/// While a session has a head, a token that the store does not know is not renewed. It is not reuse either.
pub async fn an_unknown_token_of_a_recorded_session_is_not_recorded<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, stranger, rival] = tokens();
    login.chain(store, &[first, second]).await;
    assert_eq!(login.renew(store, stranger, rival).await, Rotated::NotInChain, "a stranger's rotation");
    assert_eq!(login.standing(store, stranger).await, Standing::Live, "a stranger's standing");
    assert_eq!(login.head(store).await, Some(claims(second)), "the head, after that");
    assert_eq!(login.renew(store, second, rival).await, Rotated::Recorded, "the head's own rotation");
}

/// Otherwise the chain would be a circle. Such a rotation is a bug of the caller: the answer is an error, or anything
/// but [`Rotated::Recorded`], and the chain does not change.
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

/// A rotation that is dropped in the middle was recorded or was not, and the token can be renewed in either case.
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

/// The store keeps text: numbers in any notation, escapes, the order of names, white space, all of Unicode, 8 KiB.
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
