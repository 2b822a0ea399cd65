//! Requests with the two texts of one ES256 token, all at once, through the layers of two nodes.

use std::collections::HashSet;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use serde_json::json;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_reissue::keys::Algorithm;
use tower_reissue::{Authority, ManualClock, ReissueLayer};

use crate::places::Ground;
use crate::support::*;

pub async fn requests(ground: Ground) {
    // The nodes' clocks are seconds apart, within the tolerance, so that their proposals differ.
    let mut nodes = Vec::new();
    for second in [500, 503] {
        let clock = ManualClock::at(NOW + second);
        let node = Authority::builder(key_for(Algorithm::ES256)).issuer(ISSUER).audience(AUDIENCE);
        let node =
            node.max_session_lifetime(std::time::Duration::from_secs(43_200)).clock(clock).jitter_percent(0);
        // Longer than any queue of these tests on a machine that does other things too.
        let node = node.store_deadline(std::time::Duration::from_secs(60));
        nodes.push(node.store(ground.place.open().await).build().unwrap());
    }
    for round in 0..crate::rounds() {
        // Named by its jti, or by what was signed.
        let jti = if round.is_multiple_of(2) { json!("token") } else { json!(null) };
        let user = format!("user-{round}");
        let token = mint_with(Algorithm::ES256, &claims_with(json!({ "sub": user, "jti": jti })));
        let texts = [twin(&token), token];
        assert_ne!(texts[0], texts[1]);
        let requests = (0..1_000).map(|n| {
            let node = nodes[n % 2].clone();
            tokio::spawn(successor(node, texts[n / 2 % 2].clone()))
        });
        let mut given = HashSet::new();
        for request in requests.collect::<Vec<_>>() {
            given.insert(payload_text(&request.await.unwrap()));
        }
        let sessions =
            nodes[0].sessions(&user, tower_reissue::store::Page::default()).await.unwrap().sessions;
        let recorded = sessions.into_iter().map(|session| session.claims.to_string()).collect::<Vec<_>>();
        assert_eq!(recorded.len(), 1, "round {round}");
        assert_eq!(Vec::from_iter(given), recorded, "round {round}");
        // Revoked by the one text, it is revoked by the other.
        nodes[0].sign_out(&texts[0]).await.unwrap();
        assert_eq!(
            send(nodes[1].clone(), &texts[1]).await.status(),
            StatusCode::UNAUTHORIZED,
            "round {round}"
        );
    }
    eprintln!("{} rounds of 1,000 requests with a token and its twin", crate::rounds());
}

async fn successor(node: Authority, token: String) -> String {
    let response = send(node, &token).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.headers()["refreshed-api-token"].to_str().unwrap().to_owned()
}

async fn send(node: Authority, token: &str) -> Response<()> {
    let service = ReissueLayer::new(node).layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
    service.oneshot(request).await.unwrap().map(|_| ())
}
