use super::*;
use crate::token::test_tokens::{at, policy, token};

/// One token of 600 s in a session of 6,000 s, grace 60 s.
struct Case {
    policy: Policy,
    token: Verified,
}

impl Case {
    fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = policy();
        change(&mut policy);
        let token = token(&policy, 0);
        Self { policy, token }
    }

    fn facts(&self, key_held: bool) -> Facts<'_> {
        Facts { token: &self.token, key_held }
    }
}

fn request(secs: u64) -> Arrival {
    Arrival { now: at(secs), confirmed: true, may_exchange: true }
}

fn message(secs: u64) -> Arrival {
    Arrival { may_exchange: false, ..request(secs) }
}

#[test]
fn the_first_step_is_a_verdict_where_the_store_can_not_change_it() {
    use StoreState::{Absent, NotAsked, SeenLive};
    let case = Case::new(|_| {});
    let ask = |may_exchange| Next::AskStore { may_exchange };
    let refuse = Next::refuse;
    for (arrival, store, next) in [
        (request(0), Absent, Next::Admit),
        (request(0), SeenLive, Next::Admit),
        (request(0), NotAsked, ask(false)),
        (request(599), Absent, Next::Admit),
        // Within the grace: whether the session is live is asked anew, for the answer spends its successor.
        (request(600), Absent, Next::Exchange),
        (request(600), SeenLive, ask(true)),
        (request(600), NotAsked, ask(true)),
        (request(659), NotAsked, ask(true)),
        (message(600), Absent, refuse(Reason::Expired)),
        (message(600), NotAsked, ask(false)),
        // Past it: on record the token may still tell of its reuse.
        (request(660), Absent, refuse(Reason::Expired)),
        (request(660), NotAsked, ask(false)),
        (request(660), SeenLive, ask(false)),
        (request(1_559), NotAsked, ask(false)),
        (request(1_560), NotAsked, refuse(Reason::Expired)),
        (request(6_000), NotAsked, refuse(Reason::SessionOver)),
    ] {
        assert_eq!(case.policy.arrive(arrival, case.facts(true), store), next, "{arrival:?} {store:?}");
        assert_eq!(
            case.policy.arrive(arrival, case.facts(false), store),
            refuse(Reason::UnknownKey),
            "a withdrawn key: {arrival:?} {store:?}"
        );
    }
    let unconfirmed = Arrival { confirmed: false, ..request(0) };
    for store in [Absent, SeenLive, NotAsked] {
        assert_eq!(case.policy.arrive(unconfirmed, case.facts(true), store), refuse(Reason::Unconfirmed));
    }
}

#[test]
fn the_stores_word_is_judged_together_with_the_time_and_the_key() {
    let live = Some(Standing::Live);
    let superseded = Some(Standing::Reused { generations: 2 });
    let refuse = Next::refuse;
    let plain = Case::new(|_| {});
    let ends = Case::new(|policy| policy.reuse_ends_session = true);
    let lenient = Case::new(|policy| policy.admit_after_store_loss = true);
    for (case, arrival, answer, next) in [
        (&plain, request(0), live, Next::Admit),
        (&plain, request(600), live, Next::Exchange),
        (&plain, message(600), live, refuse(Reason::Expired)),
        (&plain, request(660), live, refuse(Reason::Expired)),
        (&plain, request(0), Some(Standing::Revoked), refuse(Reason::Revoked)),
        (&plain, request(600), Some(Standing::Revoked), refuse(Reason::Revoked)),
        (&plain, request(0), Some(Standing::UnknownSession), refuse(Reason::UnknownSession)),
        (&lenient, request(0), Some(Standing::UnknownSession), Next::Admit),
        // Superseded two generations ago: admitted while it lives, exchanged never again.
        (&plain, request(0), superseded, Next::Admit),
        (&plain, request(600), superseded, refuse(Reason::Expired)),
        // While it lives, its session may have gone on early.
        (&ends, request(0), superseded, Next::Admit),
        (&ends, request(600), superseded, Next::EndSession),
        (&ends, request(660), superseded, Next::EndSession),
        // Silence is no verdict, but what speaks against a token anyhow is.
        (&plain, request(0), None, refuse(Reason::StoreUnavailable)),
        (&plain, request(600), None, refuse(Reason::StoreUnavailable)),
        (&plain, request(660), None, refuse(Reason::Expired)),
        (&ends, request(660), None, refuse(Reason::Expired)),
    ] {
        assert_eq!(case.policy.standing(arrival, case.facts(true), answer), next, "{arrival:?} {answer:?}");
        // It may have been withdrawn while the store was asked.
        assert_eq!(
            case.policy.standing(arrival, case.facts(false), answer),
            refuse(Reason::UnknownKey),
            "{arrival:?} {answer:?}"
        );
    }
}

#[test]
fn a_session_that_could_not_be_ended_is_not_said_to_have_ended() {
    let policy = policy();
    assert_eq!(policy.session_ended(true), Next::refuse(Reason::Reused));
    assert_eq!(policy.session_ended(false), Next::refuse(Reason::StoreUnavailable));
}

#[test]
fn an_exchange_comes_to_one_verdict_for_each_outcome() {
    let refuse = Next::refuse;
    let waits = Case::new(|_| {});
    let admits = Case::new(|policy| policy.admit_in_grace = true);
    let ends = Case::new(|policy| policy.reuse_ends_session = true);
    let reused = Err(NoSuccessor::Reused { generations: 2 });
    let not = |why| Err(NoSuccessor::Not(why));
    let unavailable = Next::NotExchanged;
    let expired = |why| Next::NotExchanged(why, Reason::Expired);
    for (case, made, next) in [
        (&waits, Ok(()), Next::Exchanged),
        (&admits, Ok(()), Next::Admit),
        (&waits, Err(NoSuccessor::NoReply), refuse(Reason::Expired)),
        (&admits, Err(NoSuccessor::NoReply), Next::Admit),
        (&waits, not(NotReissued::HeadTooLarge), expired(NotReissued::HeadTooLarge)),
        (&admits, not(NotReissued::HeadTooLarge), Next::Admit),
        (&waits, not(NotReissued::Declined), expired(NotReissued::Declined)),
        (&admits, not(NotReissued::Declined), expired(NotReissued::Declined)),
        (&waits, not(NotReissued::NotInChain), expired(NotReissued::NotInChain)),
        // The token may be exchanged on another node, or once a key can sign again.
        (
            &waits,
            not(NotReissued::HeadMismatch),
            unavailable(NotReissued::HeadMismatch, Reason::StoreUnavailable),
        ),
        (
            &waits,
            not(NotReissued::SigningFailed),
            unavailable(NotReissued::SigningFailed, Reason::KeysUnavailable),
        ),
        (
            &admits,
            not(NotReissued::SigningFailed),
            unavailable(NotReissued::SigningFailed, Reason::KeysUnavailable),
        ),
        (&waits, not(NotReissued::KeyWithdrawn), refuse(Reason::UnknownKey)),
        (&admits, not(NotReissued::KeyWithdrawn), refuse(Reason::UnknownKey)),
        (&waits, Err(NoSuccessor::Revoked), refuse(Reason::Revoked)),
        (&admits, Err(NoSuccessor::Revoked), refuse(Reason::Revoked)),
        (&waits, Err(NoSuccessor::StoreFailed), refuse(Reason::StoreUnavailable)),
        (&admits, Err(NoSuccessor::StoreFailed), refuse(Reason::StoreUnavailable)),
        (&waits, reused, refuse(Reason::Expired)),
        (&admits, reused, refuse(Reason::Expired)),
        (&ends, reused, Next::EndSession),
    ] {
        assert_eq!(case.policy.exchanged(request(600), case.facts(true), made), next, "{made:?}");
    }
}
