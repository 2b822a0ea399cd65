//! Outages, through the layer.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_no_outage_is_anything_admitted_or_reissued_wrongly() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let service = Service::over(RedisStore::connect(server.url()).await.unwrap()).await;
    service.assert_well().await;

    server.kill();
    service.assert_out("killed").await;
    server.restart();
    service.assert_recovers("killed").await;

    server.freeze();
    service.assert_out("frozen").await;
    service.assert_out("frozen").await;
    server.thaw();
    service.assert_recovers("frozen").await;

    // Standing is known and the successor can't be recorded: the response goes out unharmed and unrenewed.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(service.ask(&service.unrenewed).await, (200, false, false), "out of memory");
    assert_eq!(service.ask(&service.unexchanged).await, (503, true, false), "out of memory");
    assert_eq!(service.ask(&service.revoked).await, (401, false, false), "out of memory");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    service.assert_well().await;

    // A session without a record has none to be spoilt.
    assert_eq!(service.ask(&service.unrenewed).await, (200, false, true));
    let keys = server.command(&["KEYS", "*:session:*"]);
    for key in keys.lines().filter(|line| line.starts_with("tower-reissue")) {
        server.command(&["HSET", key, "v", "3"]);
    }
    for token in [&service.due, &service.unrenewed, &service.grace, &service.revoked] {
        assert_eq!(service.ask(token).await, (503, true, false), "corrupt");
    }

    // Lost is not an outage: the answer is known, and it is no.
    server.command(&["FLUSHALL"]);
    for token in [&service.fresh, &service.revoked] {
        assert_eq!(service.ask(token).await, (401, false, false), "flushed");
    }
}

/// Slow, cut and black networks, under every policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_fault_of_the_network_admits_reissues_or_delays_wrongly() {
    let server = RedisServer::start(&[]);
    futures_util::future::join_all(Policy::ALL.map(async |policy| {
        let proxy = Proxy::before(server.port()).await;
        let connect = |url: String| RedisStore::connect(url).with_prefix(format!("{policy:?}"));
        let (through, elsewhere) =
            (connect(url(&proxy)).await.unwrap(), connect(server.url()).await.unwrap());
        outage::every_fault(policy, &proxy, through, elsewhere).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_the_network_forgot_are_replaced_at_the_first_silence() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::before(server.port()).await;
    let service = Service::over(RedisStore::connect(url(&proxy)).await.unwrap()).await;
    outage::forgotten_connections(&proxy, &service).await;
}

/// The store fails between a request's admission and its response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_fails_leaves_the_response_unharmed_and_unrenewed() {
    let server = RedisServer::start(&[]);
    let proxy = Arc::new(Proxy::before(server.port()).await);
    let service = Service::over(RedisStore::connect(url(&proxy)).await.unwrap()).await;
    let fails = Arc::clone(&proxy);
    let handler = service_fn(move |_: Request<()>| {
        fails.turn(Weather::Cut);
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) }
    });
    let layer = ReissueLayer::new(service.authority.clone());
    let request = Request::builder().header("authorization", format!("Bearer {}", service.unrenewed));
    let response = layer.layer(handler).oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!((response.status(), response.headers().get("refreshed-api-token")), (StatusCode::OK, None));
    proxy.turn(Weather::Clear);
    // It may or may not have been recorded; the next request is given the one that was.
    service.assert_recovers("cut in a rotation").await;
    let given = service.request(&service.unrenewed).await.successor.unwrap();
    assert_eq!(service.request(&service.unrenewed).await.successor, Some(given));
}
