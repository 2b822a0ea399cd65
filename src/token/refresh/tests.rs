use serde_json::json;

use super::*;
use crate::token::policy::RefreshPolicy;
use crate::token::test_tokens::{at, policy_of_pairs, refresh_token};

fn evidence(token: &Verified, secs: u64) -> RefreshEvidence<'_> {
    RefreshEvidence { token, key_held: true, confirmed: true, client_id: None, scope: None, now: at(secs) }
}

#[test]
fn a_refresh_token_is_judged_by_all_that_speaks_against_it_and_by_its_time_last() {
    let policy = policy_of_pairs();
    let plain = refresh_token(&policy, &json!({}));
    let of_client = refresh_token(&policy, &json!({ "client_id": "web" }));
    let ahead = refresh_token(&policy, &json!({ "iat": at(100).as_secs() }));
    let longer = refresh_token(&policy, &json!({ "exp": at(10_000).as_secs() }));
    let web = Some("web");
    for (evidence, reason) in [
        (evidence(&plain, 0), None),
        (evidence(&plain, 3_599), None),
        (evidence(&plain, 3_600), Some(Reason::Expired)),
        (evidence(&longer, 5_999), None),
        (evidence(&longer, 6_000), Some(Reason::SessionOver)),
        (RefreshEvidence { key_held: false, ..evidence(&plain, 9_000) }, Some(Reason::UnknownKey)),
        (RefreshEvidence { confirmed: false, ..evidence(&plain, 9_000) }, Some(Reason::Unconfirmed)),
        (evidence(&ahead, 94), Some(Reason::NotYetValid("iat"))),
        (evidence(&ahead, 95), None),
        (RefreshEvidence { client_id: web, ..evidence(&plain, 9_000) }, Some(Reason::WrongClient)),
        (evidence(&of_client, 9_000), Some(Reason::WrongClient)),
        (RefreshEvidence { client_id: Some("WEB"), ..evidence(&of_client, 0) }, Some(Reason::WrongClient)),
        (RefreshEvidence { client_id: web, ..evidence(&of_client, 0) }, None),
        (RefreshEvidence { scope: Some("write"), ..evidence(&plain, 0) }, None),
        (
            RefreshEvidence { scope: Some("write admin"), ..evidence(&plain, 9_000) },
            Some(Reason::InvalidScope),
        ),
        (RefreshEvidence { scope: Some(""), ..evidence(&plain, 0) }, Some(Reason::InvalidScope)),
    ] {
        let verdict = policy.judge_refresh(&evidence);
        assert_eq!(verdict.err().map(|refusal| refusal.reason().clone()), reason, "{evidence:?}");
    }
}

/// The head that another node recorded for this token.
fn head(policy: &Policy, token: &Verified, secs: u64) -> Rotated {
    Rotated::Superseded { head: policy.propose(token, at(secs)).expect("a successor").claims }
}

#[test]
fn the_stores_answer_decides_once_and_the_window_is_counted_from_the_heads_iat() {
    let policy = policy_of_pairs();
    let token = refresh_token(&policy, &json!({}));
    let proposed = |secs| policy.propose(&token, at(secs)).expect("a successor");
    let next = |secs, key_held, answer| {
        policy.refresh_recorded(&token, (at(secs), at(secs)), key_held, proposed(secs), answer)
    };
    let end = |generations| RefreshStep::EndSession { generations };
    assert_eq!(next(200, true, Some(Rotated::Recorded)), RefreshStep::Issue(proposed(200)));
    for (secs, answered) in [(100, true), (164, true), (165, false), (5_000, false)] {
        let answer = next(secs, true, Some(head(&policy, &token, 100)));
        assert_eq!(answer, if answered { RefreshStep::Issue(proposed(100)) } else { end(1) }, "{secs}");
    }
    // A node whose clock is behind has not passed the window.
    assert_eq!(next(96, true, Some(head(&policy, &token, 100))), RefreshStep::Issue(proposed(100)));
    for (answer, expected) in [
        (Some(Rotated::Reused { generations: 7 }), end(7)),
        (Some(Rotated::Revoked), RefreshStep::Refuse(Reason::Revoked)),
        (Some(Rotated::Predated { revoked_until: at(0) }), RefreshStep::Refuse(Reason::Revoked)),
        (Some(Rotated::NotInChain), RefreshStep::AskStore),
        (None, RefreshStep::Refuse(Reason::StoreUnavailable)),
        (
            Some(Rotated::Superseded { head: "{}".into() }),
            RefreshStep::NoSuccessor(NotReissued::HeadMismatch, Reason::StoreUnavailable),
        ),
    ] {
        for key_held in [false, true] {
            assert_eq!(next(200, key_held, answer.clone()), expected, "{answer:?}");
        }
    }
    // The key may go while the store is waited for.
    for answer in [Rotated::Recorded, head(&policy, &token, 190)] {
        assert_eq!(next(200, false, Some(answer)), RefreshStep::Refuse(Reason::UnknownKey));
    }
}

#[test]
fn a_window_of_nothing_answers_nobody_twice() {
    let mut policy = policy_of_pairs();
    policy.refresh = policy.refresh.map(|refresh| RefreshPolicy { reuse_window: 0, ..refresh });
    let token = refresh_token(&policy, &json!({}));
    let proposed = policy.propose(&token, at(100)).expect("a successor");
    let answer =
        policy.refresh_recorded(&token, (at(100), at(100)), true, proposed, Some(head(&policy, &token, 100)));
    assert_eq!(answer, RefreshStep::EndSession { generations: 1 });
}

#[test]
fn what_the_store_does_not_know_ends_the_session_where_it_knows_the_session() {
    let policy = policy_of_pairs();
    for (standing, next) in [
        (Some(Standing::Live), RefreshStep::EndSession { generations: 0 }),
        (Some(Standing::Reused { generations: 3 }), RefreshStep::EndSession { generations: 3 }),
        (Some(Standing::Revoked), RefreshStep::Refuse(Reason::Revoked)),
        (Some(Standing::UnknownSession), RefreshStep::Refuse(Reason::UnknownSession)),
        (None, RefreshStep::Refuse(Reason::StoreUnavailable)),
    ] {
        assert_eq!(policy.refresh_standing(standing), next, "{standing:?}");
    }
    assert_eq!(policy.refresh_session_ended(true), RefreshStep::Refuse(Reason::RefreshTokenReused));
    // It may live on, so nobody is told that it ended.
    assert_eq!(policy.refresh_session_ended(false), RefreshStep::Refuse(Reason::StoreUnavailable));
}

#[test]
fn a_refresh_token_is_replaced_though_its_successor_lives_no_longer() {
    let policy = policy_of_pairs();
    let token = refresh_token(&policy, &json!({ "exp": at(6_000).as_secs() }));
    for secs in [0, 3_000, 5_999] {
        let successor = policy.propose(&token, at(secs)).expect("a successor");
        assert_eq!((successor.iat, successor.exp), (at(secs), at((secs + 3_600).min(6_000))), "{secs}");
    }
    assert_eq!(policy.propose(&token, at(6_000)), None, "the session is over");
}

#[test]
fn what_a_refresh_proposes_is_what_was_granted_less_what_renewer_and_request_leave_out() {
    let policy = policy_of_pairs();
    let token = refresh_token(&policy, &json!({}));
    let keep = Renewal::keep;
    let propose = |renewal: Renewal, scope, secs| {
        let evidence = RefreshEvidence { scope, ..evidence(&token, secs) };
        let proposed = policy.propose_refresh(&evidence, &renewal, at(secs));
        proposed
            .map(|proposal| (proposal.claims, proposal.successor.iat))
            .map_err(|refusal| refusal.reason().clone())
    };
    let with = |scope: &str| json!({ "scope": scope }).to_string();
    for (renewal, scope, expected) in [
        (keep(), None, Ok(with("read write"))),
        (keep(), Some("write"), Ok(with("write"))),
        (keep().scope("read"), None, Ok(with("read"))),
        (keep().scope("read"), Some("write"), Err(Reason::InvalidScope)),
        (keep().audience(["elsewhere"]), None, Err(Reason::Declined)),
    ] {
        let proposed = propose(renewal, scope, 100);
        assert_eq!(proposed, expected.map(|claims| (claims, at(100))), "{scope:?}");
    }
    assert_eq!(propose(keep(), None, 6_000).err(), Some(Reason::SessionOver));
    // On a node whose clock is behind the session's start.
    let ahead = refresh_token(&policy, &json!({ "iat": at(5).as_secs(), "session_start": at(5).as_secs() }));
    let proposal = policy.propose_refresh(&evidence(&ahead, 2), &keep(), at(2));
    assert_eq!(proposal.map(|proposal| proposal.successor.iat).ok(), Some(at(5)));
}
