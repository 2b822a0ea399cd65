//! Rotations of one token, all at once, in one process.

use std::collections::BTreeSet;

use tower_reissue::store::{ClaimsStore as _, Page, Rotated};

use crate::driver::Scene;
use crate::places::Ground;

pub async fn rotations(ground: Ground) {
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(ground.place.open().await);
    }
    for round in 0..crate::rounds() {
        let scene = Scene::new(round);
        // Half the sessions are on record, half are not.
        if round.is_multiple_of(2) {
            assert_eq!(nodes[0].rotate(scene.sign_in(0)).await.unwrap(), Rotated::Recorded);
        }
        let rivals = (1..=1_000_u64).map(|rival| {
            let store = nodes[rival as usize % nodes.len()].clone();
            let rotation = scene.renewal(0, rival);
            tokio::spawn(async move { (rotation.claims.clone(), store.rotate(rotation).await.unwrap()) })
        });
        let mut recorded = Vec::new();
        let mut learnt = BTreeSet::new();
        for rival in rivals.collect::<Vec<_>>() {
            match rival.await.unwrap() {
                (claims, Rotated::Recorded) => recorded.push(claims),
                (_, Rotated::Superseded { head }) => _ = learnt.insert(head),
                (_, other) => panic!("round {round}: {other:?}"),
            }
        }
        assert_eq!(recorded.len(), 1, "round {round}");
        assert_eq!(Vec::from_iter(learnt), recorded, "round {round}");
        let listed = nodes[1].sessions(scene.subject(), scene.now, Page::default()).await.unwrap();
        let listed = listed.sessions.into_iter().map(|session| session.claims).collect::<Vec<_>>();
        assert_eq!(listed, recorded, "round {round}");
    }
    eprintln!("{} rounds of 1,000 rotations", crate::rounds());
}
