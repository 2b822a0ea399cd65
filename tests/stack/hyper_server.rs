//! Bare hyper 1, over both protocols.

use tower::{Layer, service_fn};

use crate::support::*;
use crate::wire::*;

#[tokio::test]
async fn a_bare_hyper_server_admits_renews_exchanges_and_refuses() {
    let token = mint(&claims());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (at, status, carries) in [(0, 200, false), (500, 200, true), (630, 401, true), (700, 401, false)]
        {
            let server = serve(layer(at).layer(service_fn(whoami))).await;
            let response = fetch(server, protocol, get("/", Some(&token))).await;
            assert_eq!(response.status(), status, "{protocol:?} at {at}");
            assert_eq!(renewed(&response), carries, "{protocol:?} at {at}");
            if carries {
                assert_eq!(response.headers()["cache-control"], "no-store");
                let successor = response.headers()[HEADER].to_str().unwrap().to_owned();
                let again = fetch(server, protocol, get("/", Some(&successor))).await;
                assert_eq!(again.status(), 200, "the successor is good");
            }
            let response = fetch(server, protocol, get("/", None)).await;
            assert_eq!(response.status(), 401);
            assert_eq!(text(response), "{}");
        }
    }
}
