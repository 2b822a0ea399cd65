//! One token's life through the layer, in memory.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use support::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::{ManualClock, ReissueLayer, VerifiedToken};

#[tokio::test]
async fn a_token_lives() {
    let clock = ManualClock::at(NOW);
    let layer = ReissueLayer::new(builder(&clock).build().unwrap());
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        let token: &VerifiedToken = request.extensions().get().unwrap();
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(
            token.subject().unwrap().to_owned(),
        ))))
    }));
    let token = mint(&claims());
    for (at, status, renewed) in [
        (0, 200, false),
        (479, 200, false),
        (480, 200, true),
        (599, 200, true),
        (600, 401, true),
        (659, 401, true),
        (660, 401, false),
    ] {
        clock.set(NOW + at);
        let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(
            response.status(),
            StatusCode::from_u16(status).unwrap(),
            "at {at}: {:?}",
            response.headers()
        );
        let successor = response.headers().get("refreshed-api-token");
        assert_eq!(successor.is_some(), renewed, "at {at}");
        if let Some(successor) = successor {
            let claims = payload(successor.to_str().unwrap());
            assert_eq!(claims["exp"], NOW + 480 + 600);
        }
    }
}
