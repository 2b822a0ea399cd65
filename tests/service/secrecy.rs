//! Nothing of a token is echoed, reported or printed, save its `kid`, escaped and cut.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{Presented, Rotated, Rotation, SessionRecord};
use tower_reissue::{
    Cookie, Event, KeyRing, Login, ManualClock, MemoryStore, NumericDate, Reason, Refusal, ReissueLayer,
    RequestHead, RevokeEndpoint, Source,
};

use crate::kit::*;
use crate::support::*;

/// Words that stand only in the token.
const MARKS: [&str; 3] = ["subject-of-mine", "tellingvalue", "identity-1"];

fn marked() -> Value {
    claims_with(json!({ "sub": MARKS[0], "note": MARKS[1], "jti": MARKS[2] }))
}

/// `printed` holds no part of the token, no claim, and no secret.
fn assert_clean(what: &str, printed: &str, token: &str) {
    for part in token.split('.').filter(|part| part.len() > 8) {
        for cut in [&part[..part.len() / 2], &part[part.len() / 2..]] {
            assert!(!printed.contains(cut), "{what} prints the token: {printed}");
        }
    }
    for mark in MARKS {
        assert!(!printed.contains(mark), "{what} prints a claim: {printed}");
    }
    let secret = std::str::from_utf8(SECRET).unwrap();
    assert!(!printed.contains(&secret[..16]), "{what} prints the secret: {printed}");
    assert!(!printed.contains(&format!("{:?}", &SECRET[..8]).replace(['[', ']'], "")), "{what}: {printed}");
}

#[tokio::test]
async fn a_refusal_echoes_nothing_of_the_token() {
    let events = Events::default();
    let build = |at| {
        let clock = ManualClock::at(NOW + at);
        ReissueLayer::new(builder(&clock).on_event(events.observe()).build().unwrap())
    };
    let mut tokens = vec![mint(&marked())];
    for (name, value) in [("aud", json!(MARKS[1])), ("iss", json!(MARKS[1])), ("exp", json!(MARKS[1]))] {
        let mut claims = marked();
        claims[name] = value;
        tokens.push(mint(&claims));
    }
    tokens.push(format!("{}x", tokens[0]));
    tokens.push(mint_raw(&json!({ "alg": MARKS[1] }).to_string(), &marked().to_string()));
    tokens.push(mint_raw(&json!({ "alg": "HS256", "typ": MARKS[1] }).to_string(), &marked().to_string()));
    for token in tokens {
        for at in [0, 500, 630, 700] {
            let response = through(&build(at), request(&token), ok()).await;
            // The successor's value is sensitive, so it does not print either.
            assert_clean("the response", &format!("{response:?}"), &token);
            if response.status() != 200 {
                assert_clean("the body", &text(response).await, &token);
            }
        }
        assert_clean("an event", &events.debug(), &token);
    }
}

#[tokio::test]
async fn no_public_type_prints_a_token_a_claim_or_a_secret() {
    let (authority, _, events) = storing(0, MemoryStore::new());
    let layer = ReissueLayer::new(authority.clone())
        .read_from([Source::authorization(), Source::cookie(Cookie::new("session").unwrap())]);
    let login = Login::new(MARKS[0]).claims(&json!({ "note": MARKS[1] }));
    let mut printed = vec![("Login", format!("{login:?}"))];
    let issued = authority.issue(login).await.unwrap();
    let token = issued.as_str().to_owned();
    let kept: Arc<Mutex<Vec<(&'static str, String)>>> = Arc::default();
    let seen = Arc::clone(&kept);
    let handler = service_fn(move |request: http::Request<()>| {
        let token = token_of(&request).unwrap();
        let mut seen = seen.lock().unwrap();
        seen.push(("VerifiedToken", format!("{token:?}")));
        seen.push(("PrivateClaims", format!("{:?}", token.claims())));
        seen.push(("SessionId", format!("{:?}", token.session())));
        async { Ok::<_, std::convert::Infallible>(ok()) }
    });
    let mut request = request(&token);
    *request.uri_mut() = format!("/?token={token}").parse().unwrap();
    let presented = Presented::new(
        issued.session(),
        tower_reissue::store::TokenId::from_bytes([1; 32]),
        None,
        NumericDate::from_secs(NOW),
        NumericDate::from_secs(NOW),
    );
    let claims = marked().to_string();
    let until = NumericDate::from_secs(NOW);
    let call = layer.layer(handler).oneshot(request.clone());
    printed.extend([
        ("IssuedToken", format!("{issued:?}")),
        ("Authority", format!("{authority:?}")),
        ("AuthorityBuilder", format!("{:?}", builder(&ManualClock::at(0)))),
        ("DangerousBuilder", format!("{:?}", builder(&ManualClock::at(0)).dangerous())),
        ("ReissueLayer", format!("{layer:?}")),
        ("Reissue", format!("{:?}", layer.layer(()))),
        (
            "ResponseFuture",
            format!(
                "{:?}",
                tower::Service::call(&mut layer.layer(service_fn(crate::kit::handler)), request.clone())
            ),
        ),
        ("RequestHead", format!("{:?}", RequestHead::of(&request))),
        ("RevokeEndpoint", format!("{:?}", RevokeEndpoint::new(authority.clone()).unwrap())),
        ("KeyRing", format!("{:?}", KeyRing::new(key()))),
        ("SigningKey", format!("{:?} {:?}", key(), key().verifying_key())),
        ("MemoryStore", format!("{:?}", MemoryStore::new())),
        ("Rotation", format!("{:?}", Rotation::sign_in(presented, claims.as_str(), until))),
        ("Rotated", format!("{:?}", Rotated::Superseded { head: claims.as_str().into() })),
        (
            "SessionRecord",
            format!("{:?}", SessionRecord::new(issued.session(), until, until, claims.as_str())),
        ),
    ]);
    let response = call.await.unwrap();
    printed.push(("ResponseBody", format!("{:?}", response.body())));
    printed.push(("SignOutError", format!("{:?}", authority.sign_out(&token[1..]).await)));
    printed.push(("Refusal", format!("{:?}", authority.admit(&format!("{token}A")).await)));
    printed.push(("Event", events.debug()));
    printed.extend(kept.lock().unwrap().drain(..));
    for (what, printed) in &printed {
        assert!(!printed.is_empty());
        assert_clean(what, printed, &token);
    }
    fn prints<T: Debug>() {}
    prints::<Event<'_>>();
    prints::<Reason>();
}

#[tokio::test]
async fn a_kid_is_reported_escaped_and_cut_and_never_sent_back() {
    let kids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&kids);
    let authority = builder(&ManualClock::at(NOW))
        .on_event(move |event| {
            if let Event::Refused { refusal, ring, .. } = event {
                let ring: Vec<_> = ring.kids().map(str::to_owned).collect();
                seen.lock().unwrap().push((refusal.kid().map(str::to_owned), ring));
            }
        })
        .build()
        .unwrap();
    let hostile = format!("../../etc\r\nset-cookie: a=b\u{0}{}", "k".repeat(3_000));
    let token = mint_raw(&json!({ "alg": "HS256", "kid": hostile }).to_string(), &marked().to_string());
    let response = present(&authority, &token).await;
    assert_status(&response, 401);
    assert!(!format!("{:?}", response.headers()).contains("etc"));
    assert_eq!(response.extensions().get::<Refusal>().unwrap().reason(), &Reason::UnknownKey);
    assert!(!text(response).await.contains("etc"));
    let (kid, ring) = kids.lock().unwrap().pop().unwrap();
    let kid = kid.unwrap();
    assert!(kid.len() <= 64 && kid.starts_with(r"../../etc\r\nset-cookie: a=b\u{0}k"), "{kid}");
    // "Two processes hold different secrets" reads from one line: this kid, and those of the ring.
    assert_eq!(ring, [key().kid()]);
}

#[tokio::test]
async fn an_error_of_a_sign_in_prints_no_claim() {
    #[derive(serde::Deserialize)]
    struct Numbered {
        #[allow(dead_code, reason = "it is read, and no more")]
        note: u64,
    }
    struct Unwritable;
    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom(MARKS[1]))
        }
    }
    let clock = ManualClock::at(NOW);
    let typed = builder(&clock).private_claims::<Numbered>().build().unwrap();
    let unreadable = typed.issue(Login::new("alice").claims(&json!({ "note": MARKS[1] }))).await.unwrap_err();
    let unwritable = typed.issue(Login::new("alice").claims(&Unwritable)).await.unwrap_err();
    for error in [unreadable, unwritable] {
        let mut printed = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            printed += &format!(" {cause} {cause:?}");
            source = cause.source();
        }
        assert_clean("the error", &printed, "");
    }
}
