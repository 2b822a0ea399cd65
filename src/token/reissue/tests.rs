use super::*;
use crate::token::test_tokens::{at, policy, policy_of_pairs, refresh_token, token};

const ROOM: Capacity = Capacity { longest: 4_000, otherwise: NotReissued::HeadTooLarge };

fn short(_: &str) -> Result<usize, NotReissued> {
    Ok(500)
}

fn not(why: NotReissued) -> Result<Step, NoSuccessor> {
    Err(NoSuccessor::Not(why))
}

#[test]
fn without_a_store_the_derived_successor_is_signed_at_once() {
    let policy = policy();
    let token = token(&policy, 0);
    let mut reissue = Reissuing::at_response(at(590), Some(ROOM), false);
    assert_eq!(reissue.allowed(&policy, &token, Some(true), true, short), Ok(Step::Sign(ROOM)));
    let again = Reissuing::at_response(at(595), Some(ROOM), false);
    assert_eq!(reissue.successor(&policy, &token), again.successor(&policy, &token), "at any hour");
}

#[test]
fn a_recorded_successor_is_signed_once_predicate_and_key_were_asked_again() {
    let policy = policy();
    let token = token(&policy, 0);
    let recorded = || {
        let mut reissue = Reissuing::at_response(at(590), Some(ROOM), true);
        assert_eq!(reissue.allowed(&policy, &token, Some(true), true, short), Ok(Step::Record));
        let step = reissue.recorded(&policy, &token, Some(Rotated::Recorded));
        assert_eq!(step, Ok(Step::AskPredicate));
        reissue
    };
    assert_eq!(recorded().allowed(&policy, &token, Some(true), true, short), Ok(Step::Sign(ROOM)));
    for (allowed, key_held, why) in [
        (Some(true), false, NotReissued::KeyWithdrawn),
        (Some(false), false, NotReissued::KeyWithdrawn),
        (Some(false), true, NotReissued::Declined),
        (None, true, NotReissued::HookPanicked),
    ] {
        assert_eq!(recorded().allowed(&policy, &token, allowed, key_held, short), not(why));
        let mut first = Reissuing::at_response(at(590), Some(ROOM), true);
        assert_eq!(first.allowed(&policy, &token, allowed, key_held, short), not(why));
        assert_eq!(first.successor(&policy, &token), None, "nothing is proposed");
    }
}

#[test]
fn nothing_is_recorded_that_could_not_go_out() {
    let policy = policy();
    let token = token(&policy, 0);
    let propose = |capacity, signed_len: fn(&str) -> Result<usize, NotReissued>| {
        Reissuing::at_response(at(590), capacity, true).allowed(&policy, &token, Some(true), true, signed_len)
    };
    assert_eq!(propose(None, short), Err(NoSuccessor::NoReply));
    assert_eq!(propose(Some(ROOM), |_| Ok(4_000)), Ok(Step::Record));
    assert_eq!(propose(Some(ROOM), |_| Ok(4_001)), not(NotReissued::HeadTooLarge));
    assert_eq!(propose(Some(ROOM), |_| Err(NotReissued::TooLong)), not(NotReissued::TooLong));
}

#[test]
fn a_successor_outlives_its_predecessor_or_is_not_made() {
    let policy = policy();
    // The session ends when the token does.
    let token = token(&policy, 5_400);
    for (has_store, sends) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut reissue = Reissuing { sends, ..Reissuing::at_response(at(590), Some(ROOM), has_store) };
        let step = reissue.allowed(&policy, &token, Some(true), true, short);
        let step = step.and_then(|step| match reissue.successor(&policy, &token) {
            Some(_) => Ok(step),
            None => not(NotReissued::TooLate),
        });
        assert_eq!(step, not(NotReissued::TooLate), "{has_store} {sends}");
    }
}

#[test]
fn in_the_grace_nothing_is_signed_where_the_handler_runs() {
    let policy = Policy { admit_in_grace: true, ..policy() };
    let token = token(&policy, 0);
    let mut derived = Reissuing::in_grace(&policy, at(600), None, false);
    assert_eq!(derived.allowed(&policy, &token, Some(true), true, short), Ok(Step::Wait));
    let mut recorded = Reissuing::in_grace(&policy, at(600), Some(ROOM), true);
    assert_eq!(recorded.allowed(&policy, &token, Some(true), true, short), Ok(Step::Record));
    assert_eq!(recorded.recorded(&policy, &token, Some(Rotated::Recorded)), Ok(Step::AskPredicate));
    assert_eq!(recorded.allowed(&policy, &token, Some(true), true, short), Ok(Step::Wait));
}

#[test]
fn each_answer_of_the_store_has_one_meaning() {
    let policy = policy_of_pairs();
    let token = token(&policy, 0);
    let mut head = Reissuing::at_response(at(580), Some(ROOM), true);
    assert_eq!(head.allowed(&policy, &token, Some(true), true, short), Ok(Step::Record));
    let head = head.successor(&policy, &token).cloned().expect("a proposal");
    let answer = |answer| {
        let mut reissue = Reissuing::at_response(at(590), Some(ROOM), true);
        assert_eq!(reissue.allowed(&policy, &token, Some(true), true, short), Ok(Step::Record));
        let step = reissue.recorded(&policy, &token, answer);
        (step, reissue.successor(&policy, &token).cloned())
    };
    let (step, successor) = answer(Some(Rotated::Superseded { head: head.claims.clone() }));
    assert_eq!((step, successor), (Ok(Step::AskPredicate), Some(head)), "the head that was recorded before");
    let of_pair =
        |sid: &str| refresh_token(&policy, &serde_json::json!({ "sid": sid })).claims().text().clone();
    // Made early, and its response was lost.
    let dead = policy.propose(&token, at(1)).expect("a successor").claims;
    let dead = dead.replace(&at(601).as_secs().to_string(), &at(590).as_secs().to_string()).into();
    let revoked_until = at(0);
    for (said, why) in [
        (Some(Rotated::Superseded { head: "{}".into() }), NotReissued::HeadMismatch.into()),
        (Some(Rotated::Superseded { head: of_pair("s") }), NotReissued::ContinuedByPair.into()),
        (Some(Rotated::Superseded { head: of_pair("another") }), NotReissued::HeadMismatch.into()),
        (Some(Rotated::Superseded { head: dead }), NotReissued::TooLate.into()),
        (Some(Rotated::Reused { generations: 3 }), NoSuccessor::Reused { generations: 3 }),
        (Some(Rotated::Revoked), NoSuccessor::Revoked),
        (Some(Rotated::Predated { revoked_until }), NoSuccessor::Revoked),
        (Some(Rotated::NotInChain), NotReissued::NotInChain.into()),
        (None, NoSuccessor::StoreFailed),
    ] {
        assert_eq!(answer(said).0, Err(why));
    }
}

#[test]
fn a_store_that_records_nothing_is_asked_whether_the_session_goes_on_before_a_successor_is_signed() {
    let policy = policy();
    let token = token(&policy, 0);
    let allow = |reissue: &mut Reissuing| reissue.allowed(&policy, &token, Some(true), true, short);
    let mut reissue = Reissuing::at_response(at(590), Some(ROOM), false).asking(true, true);
    assert_eq!(allow(&mut reissue), Ok(Step::AskRenewer));
    assert_eq!(reissue.renewed(&policy, &token, Some(&Renewal::keep()), short), Ok(Step::AskPredicate));
    assert_eq!(allow(&mut reissue), Ok(Step::AskStanding), "after the renewer, which takes time");
    assert_eq!(Reissuing::stands(&policy, Some(Standing::Live)), Ok(Step::AskPredicate));
    assert_eq!(allow(&mut reissue), Ok(Step::Sign(ROOM)));

    let lenient = Policy { admit_after_store_loss: true, ..policy.clone() };
    for (policy, answer, step) in [
        (&policy, Some(Standing::Revoked), Err(NoSuccessor::Revoked)),
        (&policy, Some(Standing::UnknownSession), not(NotReissued::NotInChain)),
        (&lenient, Some(Standing::UnknownSession), Ok(Step::AskPredicate)),
        (&policy, Some(Standing::Reused { generations: 2 }), Err(NoSuccessor::Reused { generations: 2 })),
        (&policy, None, Err(NoSuccessor::StoreFailed)),
    ] {
        assert_eq!(Reissuing::stands(policy, answer), step, "{answer:?}");
    }
    // Not for nothing: where no successor is sent now, where one is recorded, and without a store.
    let mut none = Reissuing::at_response(at(590), None, false).asking(false, true);
    assert_eq!(allow(&mut none), Err(NoSuccessor::NoReply));
    let mut later = Reissuing { sends: false, ..Reissuing::at_response(at(590), Some(ROOM), false) };
    later = later.asking(false, true);
    assert_eq!(allow(&mut later), Ok(Step::Wait));
    let mut recorded = Reissuing::at_response(at(590), Some(ROOM), true).asking(false, true);
    assert_eq!(allow(&mut recorded), Ok(Step::Record));
    assert_eq!(recorded.recorded(&policy, &token, Some(Rotated::Recorded)), Ok(Step::AskPredicate));
    assert_eq!(allow(&mut recorded), Ok(Step::Sign(ROOM)));
    let mut stateless = Reissuing::at_response(at(590), Some(ROOM), false).asking(false, false);
    assert_eq!(allow(&mut stateless), Ok(Step::Sign(ROOM)));
}

#[test]
fn a_renewal_that_fails_is_reported_unless_the_response_could_carry_none() {
    for (why, reported) in [
        (NoSuccessor::Not(NotReissued::Declined), Some(NotReissued::Declined)),
        (NoSuccessor::NoReply, None),
        (NoSuccessor::Revoked, Some(NotReissued::Revoked)),
        (NoSuccessor::Reused { generations: 2 }, Some(NotReissued::NotInChain)),
        (NoSuccessor::StoreFailed, Some(NotReissued::StoreFailed)),
    ] {
        assert_eq!(why.at_response(), reported);
    }
}
