//! A subject's sessions: listed, and ended one by one or all but one.
#![allow(clippy::unwrap_used)]

#[path = "support/revocations.rs"]
mod revocations;
mod support;

use std::sync::Arc;

use support::*;
use tower_reissue::store::{MemoryStore, Page, StoreErrorKind};
use tower_reissue::{Login, ManualClock, Reason};

#[tokio::test]
async fn ending_all_other_sessions_spares_this_one_and_other_subjects() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).store(MemoryStore::new()).build().unwrap();
    let mut tokens = Vec::new();
    for subject in ["alice", "alice", "alice", "bob"] {
        tokens.push(authority.issue(Login::new(subject)).await.unwrap());
    }
    let [mine, others @ .., bobs] = &tokens[..] else { panic!("four") };
    let me = authority.admit(mine.as_str()).await.unwrap();
    authority.revoke_other_sessions(&me).await.unwrap();
    for other in others {
        assert_eq!(*authority.admit(other.as_str()).await.unwrap_err().reason(), Reason::Revoked);
    }
    for spared in [mine, bobs] {
        authority.admit(spared.as_str()).await.unwrap();
    }
    let listed = authority.sessions("alice", Page::default()).await.unwrap();
    assert_eq!(listed.sessions.iter().map(|record| record.session).collect::<Vec<_>>(), [mine.session()]);
}

#[tokio::test]
async fn a_stateless_authority_ends_no_other_sessions_and_says_so() {
    let authority = builder(&ManualClock::at(NOW)).build().unwrap();
    let token = authority.issue(Login::new("alice")).await.unwrap();
    let me = authority.admit(token.as_str()).await.unwrap();
    let error = authority.revoke_other_sessions(&me).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Stateless);
}

#[tokio::test]
async fn no_token_that_existed_at_a_revocation_is_ever_admitted_again_and_nobody_is_refused_after_it() {
    let mut renewed = 0;
    for seed in 1..=24 {
        let store = Arc::new(MemoryStore::new());
        let open = async || Arc::clone(&store);
        renewed +=
            revocations::no_token_that_existed_at_a_revocation_is_ever_admitted_again(open, NOW, seed, 300)
                .await;
    }
    assert!(renewed > 0, "no token was ever renewed");
}

#[tokio::test]
async fn revoking_up_to_now_spares_no_session_and_holds_up_nobody() {
    let store = Arc::new(MemoryStore::new());
    let open = async || Arc::clone(&store);
    revocations::revoking_up_to_now_spares_no_session_and_holds_up_nobody(open, || NOW).await;
}

/// Listed page by page, and ended in one step.
#[tokio::test]
async fn a_hundred_thousand_sessions_of_one_subject_are_listed_and_ended() {
    const SESSIONS: usize = 100_000;
    let clock = ManualClock::at(NOW);
    let store = MemoryStore::new().with_max_entries(2 * SESSIONS).with_max_bytes(1 << 30);
    let authority = builder(&clock).max_sessions_per_subject(SESSIONS).store(store).build().unwrap();
    let mut first = None;
    for n in 0..SESSIONS {
        clock.set(NOW + n as u64 / 200);
        let token = authority.issue(Login::new("alice")).await.unwrap();
        first.get_or_insert(token);
    }
    let (first, mine) = (first.unwrap(), authority.issue(Login::new("bob")).await.unwrap());
    let (mut listed, mut page) = (Vec::new(), Page::first(1_000));
    loop {
        let read = authority.sessions("alice", page).await.unwrap();
        listed.extend(read.sessions.iter().map(|record| record.cursor()));
        let Some(next) = read.next else { break };
        page = page.after(next);
    }
    assert_eq!(listed.len(), SESSIONS);
    assert!(listed.iter().is_sorted_by(|newer, older| newer > older), "the newest first, each once");
    let me = authority.admit(authority.issue(Login::new("alice")).await.unwrap().as_str()).await.unwrap();
    authority.revoke_other_sessions(&me).await.unwrap();
    assert_eq!(*authority.admit(first.as_str()).await.unwrap_err().reason(), Reason::Revoked);
    authority.admit(mine.as_str()).await.unwrap();
    let (mut listed, mut page) = (Vec::new(), Page::first(1_000));
    loop {
        let read = authority.sessions("alice", page).await.unwrap();
        listed.extend(read.sessions.iter().map(|record| record.session));
        let Some(next) = read.next else { break };
        page = page.after(next);
    }
    assert_eq!(listed, [me.session()]);
}
