//! Refreshes with one refresh token, all at once, through two nodes.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tower_reissue::keys::Algorithm;
use tower_reissue::store::Page;
use tower_reissue::{Authority, Login, ManualClock, Reason, Refresh, RefreshError, RefreshTokens, TokenPair};

use crate::places::Ground;
use crate::support::*;

pub async fn parallel(ground: Ground) {
    // Seconds apart, so that the nodes' proposals differ.
    let clocks = [NOW, NOW + 3].map(ManualClock::at);
    let mut nodes = Vec::new();
    for clock in &clocks {
        let node = Authority::builder(key_for(Algorithm::ES256)).issuer(ISSUER).audience(AUDIENCE);
        let node = node.max_session_lifetime(Duration::from_secs(43_200)).clock(clock.clone());
        // Longer than any queue of these tests on a machine that does other things too.
        let node = node.store_deadline(Duration::from_secs(60));
        let node = node.refresh_tokens(RefreshTokens::new("https://login.example/refresh"));
        nodes.push(node.store(ground.place.open().await).build().unwrap());
    }
    for round in 0..crate::rounds() {
        let user = format!("user-{round}");
        clocks.iter().zip([NOW + 100, NOW + 103]).for_each(|(clock, now)| clock.set(now));
        let login = Login::new(&*user).claims(&json!({ "scope": "read" }));
        let first = nodes[0].issue_pair(login).await.unwrap();
        let mut last = first.clone();
        // The second generation races on a head that was itself raced for.
        for _ in 0..2 {
            let refreshes = (0..500).map(|n| {
                let (node, token) = (nodes[n % 2].clone(), last.refresh.as_str().to_owned());
                tokio::spawn(async move { node.refresh(Refresh::new(token)).await.unwrap() })
            });
            let (mut refreshed, mut names) = (HashSet::new(), HashSet::new());
            let mut pair: Option<TokenPair> = None;
            for refresh in refreshes.collect::<Vec<_>>() {
                let got = refresh.await.unwrap();
                refreshed.insert(payload_text(got.refresh.as_str()));
                assert!(names.insert(got.access.jti().to_owned()), "each access token is a fresh one");
                pair = Some(got);
            }
            let sessions = nodes[0].sessions(&user, Page::default()).await.unwrap().sessions;
            let recorded = sessions.into_iter().map(|session| session.claims.to_string());
            assert_eq!(Vec::from_iter(refreshed), recorded.collect::<Vec<_>>(), "round {round}");
            last = pair.unwrap();
        }
        assert!(nodes[1].admit(last.access.as_str()).await.is_ok());
        // Two generations old, on every node at once: the session ends once and for all.
        let thieves = (0..100).map(|n| {
            let (node, token) = (nodes[n % 2].clone(), first.refresh.as_str().to_owned());
            tokio::spawn(async move { node.refresh(Refresh::new(token)).await })
        });
        for thief in thieves.collect::<Vec<_>>() {
            let Err(RefreshError::Refused(refusal)) = thief.await.unwrap() else { panic!("round {round}") };
            assert!(
                matches!(refusal.reason(), Reason::RefreshTokenReused | Reason::Revoked),
                "round {round}: {refusal}"
            );
        }
        for node in &nodes {
            assert!(node.refresh(Refresh::new(last.refresh.as_str())).await.is_err(), "round {round}");
            assert!(node.admit(last.access.as_str()).await.is_err(), "round {round}");
        }
    }
    eprintln!("{} rounds of 1,000 refreshes", crate::rounds());
}
