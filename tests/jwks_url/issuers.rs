//! A service that trusts issuers with real servers: new keys, dead servers, keys taken back.

use tower_reissue::keys::{KeyRotation, KeySet};
use tower_reissue::{Authority, KeyEvent, Login, ReissueLayer};

use super::*;
use crate::eventually::eventually;

/// An issuer with a server of its own, and a key that it publishes.
struct Issuer {
    name: String,
    server: Server,
    published: SigningKey,
}

impl Issuer {
    async fn start(name: &str) -> Self {
        let published = SigningKey::generate(Algorithm::EdDSA).unwrap();
        let set = format!(r#"{{"keys":[{}]}}"#, published.verifying_key().to_jwk().unwrap());
        let server = Server::plain(move |_, _| ok(set.clone())).await;
        Self { name: name.to_owned(), server, published }
    }

    async fn token(&self, key: &SigningKey) -> String {
        let issuer = Authority::builder(key.clone()).issuer(&self.name).audience("orders");
        let issuer = issuer.max_session_lifetime(Duration::from_secs(3600)).build().unwrap();
        issuer.issue(Login::new("alice")).await.unwrap().as_str().to_owned()
    }

    /// A token under a key that nobody has seen.
    async fn strange_token(&self) -> String {
        self.token(&SigningKey::generate(Algorithm::EdDSA).unwrap()).await
    }
}

async fn trusting(issuers: &[&Issuer], cooldown: Duration) -> Authority {
    let own = KeySet::signing(SigningKey::generate(Algorithm::EdDSA).unwrap());
    let rotation = KeyRotation::new(own).cooldown(cooldown).reload_every(Duration::from_secs(3600));
    let rotation = issuers
        .iter()
        .fold(rotation, |rotation, issuer| rotation.trust(&issuer.name, issuer.server.source()));
    let keys = rotation.start().await.unwrap();
    let authority = Authority::builder(keys).issuer("https://orders.example").audience("orders");
    authority.max_session_lifetime(Duration::from_secs(3600)).build().unwrap()
}

async fn status_of(authority: &Authority, token: String) -> StatusCode {
    use tower::{Layer, ServiceExt};
    let handler = tower::service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    let service = ReissueLayer::new(authority.clone()).layer(handler);
    let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
    service.oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn of_two_issuers_one_dead_only_the_dead_ones_unknown_kid_is_a_503() {
    let (lives, dies) =
        (Issuer::start("https://lives.example").await, Issuer::start("https://dies.example").await);
    let authority = trusting(&[&lives, &dies], Duration::from_secs(600)).await;
    dies.server.die().await;
    let hits = || (lives.server.hits(), dies.server.hits());
    assert_eq!(hits(), (1, 1));
    for issuer in [&lives, &dies] {
        assert_eq!(status_of(&authority, issuer.token(&issuer.published).await).await, StatusCode::OK);
    }
    for _ in 0..3 {
        let token = dies.strange_token().await;
        assert_eq!(status_of(&authority, token).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status_of(&authority, lives.strange_token().await).await, StatusCode::UNAUTHORIZED);
        assert_eq!(hits(), (2, 1), "one fetch of the one, and none reaches the other");
    }
    // The one's key under the name of the other: the other may publish it too by now.
    let token = dies.token(&lives.published).await;
    assert_eq!(status_of(&authority, token).await, StatusCode::SERVICE_UNAVAILABLE);
    let stranger = Issuer { name: "https://stranger.example".to_owned(), ..lives };
    assert_eq!(status_of(&authority, stranger.strange_token().await).await, StatusCode::UNAUTHORIZED);
    assert_eq!((stranger.server.hits(), dies.server.hits()), (2, 1));
}

#[tokio::test]
async fn an_issuer_that_publishes_an_empty_set_has_taken_its_keys_back_and_an_outage_brings_none_back() {
    let signing = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let published = format!(r#"{{"keys":[{}]}}"#, signing.verifying_key().to_jwk().unwrap());
    let answers = Arc::new(Mutex::new(published.clone()));
    let server = Server::plain({
        let answers = answers.clone();
        move |_, _| match answers.lock().unwrap().as_str() {
            "" => status(503),
            text => ok(text.to_owned()),
        }
    })
    .await;
    let name = "https://partner.example";
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let keys = KeyRotation::new(KeySet::signing(SigningKey::generate(Algorithm::EdDSA).unwrap()))
        .reload_every(Duration::from_millis(10))
        .trust(name, server.source())
        .on_event(move |event| match event {
            KeyEvent::EmptyKeySet { source, issuer, .. } => {
                seen.lock().unwrap().push(format!("{issuer} {source}"))
            }
            KeyEvent::LoadFailed { .. } => seen.lock().unwrap().push("failed".to_owned()),
            _ => {}
        })
        .start()
        .await
        .unwrap();
    let builder = Authority::builder(keys).issuer("https://orders.example").audience("orders");
    let authority = builder.max_session_lifetime(Duration::from_secs(3600)).build().unwrap();
    let issuer = Issuer { name: name.to_owned(), server, published: signing };
    let token = issuer.token(&issuer.published).await;
    let asked_anew = || async {
        let (before, begun) = (issuer.server.hits(), Instant::now());
        while issuer.server.hits() < before + 3 && begun.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!(status_of(&authority, token.clone()).await, StatusCode::OK);
    *answers.lock().unwrap() = r#"{"keys":[]}"#.to_owned();
    asked_anew().await;
    assert_eq!(status_of(&authority, token.clone()).await, StatusCode::UNAUTHORIZED);
    let expected = format!("{name} the JWK set at {}", issuer.server.url("/jwks.json"));
    eventually(|| !told.lock().unwrap().is_empty()).await;
    assert_eq!(*told.lock().unwrap(), [expected], "once, and no failure");

    answers.lock().unwrap().clear();
    asked_anew().await;
    eventually(|| told.lock().unwrap().contains(&"failed".to_owned())).await;
    assert_ne!(status_of(&authority, token.clone()).await, StatusCode::OK);
    *answers.lock().unwrap() = published;
    for _ in 0..2_000 {
        if status_of(&authority, token.clone()).await == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("its keys never came back");
}

#[tokio::test]
async fn a_thousand_unknown_kids_of_two_issuers_are_one_fetch_of_each_per_cooldown() {
    const COOLDOWN: Duration = Duration::from_secs(1);
    let issuers = [Issuer::start("https://a.example").await, Issuer::start("https://b.example").await];
    let authority = trusting(&issuers.each_ref(), COOLDOWN).await;
    let hits = || issuers.each_ref().map(|issuer| issuer.server.hits());
    assert_eq!(hits(), [1, 1]);
    let began = Instant::now();
    for n in 0..1_000 {
        let token = issuers[n % 2].strange_token().await;
        assert_eq!(status_of(&authority, token).await, StatusCode::UNAUTHORIZED);
    }
    let cooldowns = began.elapsed().as_millis() / COOLDOWN.as_millis() + 1;
    for hits in hits() {
        assert!((2..=1 + cooldowns as usize).contains(&hits), "{hits} fetches in {cooldowns} cooldowns");
    }
    tokio::time::sleep(COOLDOWN).await;
    let before = hits();
    assert_eq!(status_of(&authority, issuers[1].strange_token().await).await, StatusCode::UNAUTHORIZED);
    assert_eq!(hits(), [before[0], before[1] + 1]);
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_asked_again_soon() {
    let published = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let set = format!(r#"{{"keys":[{}]}}"#, published.verifying_key().to_jwk().unwrap());
    let server = Server::plain(move |_, number| if number < 3 { status(503) } else { ok(set.clone()) }).await;
    let issuer = Issuer { name: "https://login.example".to_owned(), server, published };
    // The reload interval is an hour, and the cooldown too.
    let authority = trusting(&[&issuer], Duration::from_secs(3600)).await;
    let begun = Instant::now();
    while status_of(&authority, issuer.token(&issuer.published).await).await != StatusCode::OK {
        assert!(begun.elapsed() < Duration::from_secs(20), "asked {} times", issuer.server.hits());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "it backs off");
}

/// An issuer whose configuration names another issuer's set, which it may: the host is not compared. So it lends its own name to
/// the other's keys, and gains nothing: not the other's name for its keys, and no token of the other.
#[tokio::test]
async fn an_issuer_that_names_anothers_keys_lets_them_sign_as_itself_and_no_more() {
    let honest = Issuer::start("https://honest.example").await;
    let mallorys = Issuer::start("https://mallory.example").await.published;
    let jwks_uri = honest.server.url("/jwks.json");
    let server = Server::plain(move |request, _| {
        let issuer = format!("http://{}", request.headers()["host"].to_str().unwrap());
        ok(json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string())
    })
    .await;
    let mallory = Issuer { name: server.url(""), server, published: mallorys };
    let source = JwksUrl::discover(&mallory.name).unwrap();
    let keys = KeyRotation::verify_only()
        .trust(&honest.name, honest.server.source())
        .trust(&mallory.name, source)
        .require_trusted_issuers()
        .start()
        .await
        .unwrap();
    let authority = Authority::builder(keys).audience("orders").build().unwrap();
    for (issuer, key, admitted) in [
        (&honest, &honest.published, true),
        (&mallory, &honest.published, true),
        (&honest, &mallory.published, false),
        (&mallory, &mallory.published, false),
    ] {
        let verdict = authority.admit(&issuer.token(key).await).await;
        assert_eq!(verdict.is_ok(), admitted, "{} {verdict:?}", issuer.name);
        if let Ok(token) = verdict {
            assert_eq!(token.issuer(), Some(&*issuer.name));
        }
    }
    // Without the one, its name goes, and the other's keys stay.
    assert!(authority.distrust_issuer(&mallory.name));
    assert!(authority.admit(&mallory.token(&honest.published).await).await.is_err());
    assert!(authority.admit(&honest.token(&honest.published).await).await.is_ok());
}

/// An issuer that publishes a key of its own under another's `kid`, before or after the other.
#[tokio::test]
async fn a_key_under_anothers_kid_neither_signs_for_it_nor_hides_its_key() {
    let honest = Issuer::start("https://honest.example").await;
    let mallory = Issuer::start("https://mallory.example").await;
    let kid = honest.published.verifying_key().kid().to_owned();
    let published = mallory.published.clone().with_kid(kid);
    let set = format!(r#"{{"keys":[{}]}}"#, published.verifying_key().to_jwk().unwrap());
    let server = Server::plain(move |_, _| ok(set.clone())).await;
    let mallory = Issuer { server, published, ..mallory };
    for issuers in [[&honest, &mallory], [&mallory, &honest]] {
        let authority = trusting(&issuers, Duration::from_secs(600)).await;
        for (issuer, key, status) in [
            (&honest, &honest.published, StatusCode::OK),
            (&mallory, &mallory.published, StatusCode::OK),
            (&honest, &mallory.published, StatusCode::UNAUTHORIZED),
            (&mallory, &honest.published, StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(status_of(&authority, issuer.token(key).await).await, status, "{}", issuer.name);
        }
    }
}
