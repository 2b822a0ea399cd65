//! Rule 19: whoever signs out is signed out, late ones too, and is handed nothing in farewell.

use std::time::Duration;

use http::{Method, Request};
use serde_json::json;
use tower::ServiceExt;
use tower_reissue::store::{Page, StoreErrorKind};
use tower_reissue::{
    Authority, Cookie, Login, ManualClock, MemoryStore, Reason, RevokeEndpoint, SignOutError, Source,
};

use crate::support::guarded::*;
use crate::support::*;

fn recording(clock: &ManualClock) -> Authority {
    builder(clock).store(CountingStore::default()).build().unwrap()
}

fn refusal(authority: &Authority, token: &str) -> Option<Reason> {
    match at_once(authority.sign_out(token)) {
        Ok(()) => None,
        Err(SignOutError::Refused(refusal)) => Some(refusal.reason().clone()),
        Err(other) => panic!("{other}"),
    }
}

/// A token of the same session that would be good at any instant of these tests.
fn sibling() -> String {
    mint(&claims_with(json!({"sid": "s-1", "jti": "sibling", "exp": NOW + 43_200})))
}

fn of_session() -> String {
    mint(&claims_with(json!({"sid": "s-1", "session_start": NOW})))
}

#[test]
fn a_token_ends_its_session_expired_or_not() {
    for after in [0, 500, 599, 600, 601, 659, 660, 5_000, 43_199] {
        let clock = ManualClock::at(NOW + after);
        let authority = recording(&clock);
        let guarded = Guarded::new(&authority);
        assert!(guarded.bearer(&sibling()).is_admitted(), "{after}");
        assert_eq!(refusal(&authority, &of_session()), None, "{after}");
        assert_eq!(guarded.bearer(&sibling()).reason, Some(Reason::Revoked), "{after}");
        // Twice is as good as once.
        assert_eq!(refusal(&authority, &of_session()), None, "{after}");
        assert_eq!(refusal(&authority, &sibling()), None, "{after}");
    }
}

#[test]
fn past_the_stores_horizon_there_is_nothing_left_to_end() {
    // The session limit and the in-flight allowance.
    for (after, over) in
        [(43_199, false), (43_200, false), (43_259, false), (43_260, true), (1_000_000, true)]
    {
        let clock = ManualClock::at(NOW + after);
        let reason = over.then_some(Reason::SessionOver);
        assert_eq!(refusal(&recording(&clock), &of_session()), reason, "{after}");
    }
}

/// Minted elsewhere, without the claim: a stale token's `sid` may go on in a younger one.
#[test]
fn a_stale_token_ends_what_goes_on_under_its_sid() {
    let clock = ManualClock::at(NOW + 100_000);
    let authority = recording(&clock);
    let young = json!({"sid": "s-1", "jti": "young", "iat": NOW + 100_000, "exp": NOW + 100_600});
    let young = mint(&claims_with(young));
    assert!(Guarded::new(&authority).bearer(&young).is_admitted());
    assert_eq!(refusal(&authority, &mint(&claims_with(json!({"sid": "s-1"})))), None);
    assert_eq!(Guarded::new(&authority).bearer(&young).reason, Some(Reason::Revoked));
}

#[test]
fn a_service_with_a_shorter_limit_ends_a_session_that_lives_on_a_longer_one() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let of = |limit| {
        builder(&clock).max_session_lifetime(Duration::from_secs(limit)).store(store.clone()).build().unwrap()
    };
    let (long, short) = (of(43_200), of(3_600));
    clock.set(NOW + 10_000);
    let guarded = Guarded::new(&long);
    assert!(guarded.bearer(&sibling()).is_admitted());
    assert_eq!(refusal(&short, &of_session()), None);
    assert_eq!(guarded.bearer(&sibling()).reason, Some(Reason::Revoked));
    // What lives on neither is over.
    clock.set(NOW + 43_260);
    assert_eq!(refusal(&short, &of_session()), Some(Reason::SessionOver));
}

#[test]
fn a_token_from_the_future_ends_no_session_and_fills_no_store() {
    let clock = ManualClock::at(NOW);
    let store = MemoryStore::new().with_max_entries(100);
    let authority = builder(&clock).store(store).build().unwrap();
    for (ahead, reason) in [
        (0, None),
        (11, None),
        (12, Some(Reason::NotYetValid("iat"))),
        (100 * 31_536_000, Some(Reason::NotYetValid("iat"))),
    ] {
        for n in 0..200 {
            let iat = NOW + ahead;
            let claims =
                json!({"sub": format!("u{n}"), "sid": format!("s{n}"), "iat": iat, "exp": iat + 600});
            if reason.is_some() || n == 0 {
                assert_eq!(refusal(&authority, &mint(&claims_with(claims))), reason, "{ahead}");
            }
        }
    }
    assert!(at_once(authority.issue(Login::new("bob"))).is_ok());
}

#[test]
fn a_forged_or_foreign_token_ends_nobodys_session() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let good = of_session();
    let other = mint(&claims_with(json!({"sub": "mallory"})));
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    for (token, reason) in [
        (forged, Reason::BadSignature),
        (good.replace('.', ".."), Reason::MalformedToken),
        (mint(&claims_with(json!({"sid": "s-1", "iss": "https://evil.example"}))), Reason::WrongIssuer),
        (mint(&claims_with(json!({"sid": "s-1", "aud": "payments"}))), Reason::WrongAudience),
        (mint_raw(r#"{"alg":"HS256","typ":"logout+jwt"}"#, &payload_text(&good)), Reason::WrongType),
        (String::new(), Reason::MalformedToken),
    ] {
        assert_eq!(refusal(&authority, &token), Some(reason), "{token}");
    }
    assert!(Guarded::new(&authority).bearer(&good).is_admitted());
}

#[test]
fn a_predecessor_signs_its_successors_out() {
    let clock = ManualClock::at(NOW + 500);
    let authority = recording(&clock);
    let guarded = Guarded::new(&authority);
    let token = mint(&claims());
    let successor = guarded.bearer(&token).into_successor();
    clock.set(NOW + 700);
    assert_eq!(refusal(&authority, &token), None);
    assert_eq!(guarded.bearer(&successor).reason, Some(Reason::Revoked));
    clock.set(NOW + 1_150);
    let answer = guarded.bearer(&successor);
    answer.assert_refused(401, &"in its grace");
}

#[test]
fn without_a_store_signing_out_is_an_error_and_not_a_comfort() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).build().unwrap();
    assert!(!authority.can_revoke());
    let token = at_once(authority.admit(&mint(&claims()))).unwrap();
    let stateless = |error: &tower_reissue::store::StoreError| error.kind() == StoreErrorKind::Stateless;
    assert!(matches!(
        at_once(authority.sign_out(&mint(&claims()))),
        Err(SignOutError::Store(error)) if stateless(&error)
    ));
    assert!(stateless(&at_once(authority.revoke_session(&token)).unwrap_err()));
    assert!(stateless(&at_once(authority.revoke_token(&token)).unwrap_err()));
    assert!(stateless(&at_once(authority.revoke_subject("alice")).unwrap_err()));
    assert!(stateless(&at_once(authority.sessions("alice", Page::default())).unwrap_err()));
    let error = RevokeEndpoint::new(authority).unwrap_err().to_string();
    assert!(error.contains("revoke endpoint") && error.contains("`store`"), "{error}");
}

fn post(fields: &[(&str, &str)]) -> Request<()> {
    let mut request =
        request(&fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Vec<_>>());
    *request.method_mut() = Method::POST;
    request
}

fn ask(endpoint: &RevokeEndpoint, request: Request<()>) -> http::response::Parts {
    at_once(endpoint.clone().oneshot(request.map(|()| String::new()))).unwrap().into_parts().0
}

#[test]
fn the_endpoint_answers_204_again_and_again_and_never_with_a_successor() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let endpoint = RevokeEndpoint::new(authority.clone()).unwrap();
    let issued = at_once(authority.issue(Login::new("alice"))).unwrap();
    let bearer = format!("Bearer {}", issued.as_str());
    // In the window, in the grace, past it: a layer would renew the first two.
    for after in [500, 550, 630, 10_000] {
        clock.set(NOW + after);
        let response = ask(&endpoint, post(&[("authorization", &bearer)]));
        assert_eq!(response.status, 204, "{after}");
        assert!(!response.headers.contains_key("refreshed-api-token"));
        assert!(!response.headers.contains_key("set-cookie"));
        assert_eq!(response.headers["cache-control"], "no-store");
    }
    clock.set(NOW + 550);
    Guarded::new(&authority).bearer(issued.as_str()).assert_refused(401, &"after the sign-out");
    assert_eq!(at_once(authority.sessions("alice", Page::default())).unwrap().sessions.len(), 0);
}

#[test]
fn the_endpoint_refuses_what_is_no_token_of_its_own() {
    let clock = ManualClock::at(NOW);
    let endpoint = RevokeEndpoint::new(recording(&clock)).unwrap();
    let status = |fields: &[(&str, &str)]| ask(&endpoint, post(fields)).status.as_u16();
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&[("authorization", "Basic eA==")]), 401);
    assert_eq!(status(&[("authorization", "Bearer a.b.c")]), 401);
    assert_eq!(status(&[("authorization", "Bearer ")]), 400);
    assert_eq!(status(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]), 400);
}

#[test]
fn the_endpoint_takes_a_post_only() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let endpoint = RevokeEndpoint::new(authority.clone()).unwrap();
    let bearer = format!("Bearer {}", mint(&claims()));
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let mut request = post(&[("authorization", &bearer)]);
        *request.method_mut() = method.clone();
        let response = ask(&endpoint, request);
        assert_eq!(
            (response.status.as_u16(), &response.headers["allow"]),
            (405, &"POST".parse().unwrap()),
            "{method}"
        );
    }
    assert!(Guarded::new(&authority).bearer(&mint(&claims())).is_admitted(), "nobody was signed out");
}

const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

fn by_cookie(at: u64) -> RevokeEndpoint {
    let endpoint = RevokeEndpoint::new(recording(&ManualClock::at(NOW + at))).unwrap();
    endpoint.read_from([Source::cookie(Cookie::new("session").unwrap())])
}

#[test]
fn the_endpoint_removes_the_cookie_that_held_the_token() {
    let endpoint = by_cookie(630);
    let cookie = format!("__Host-session={}", mint(&claims()));
    let response = ask(&endpoint, post(&[SAME_ORIGIN, ("cookie", &cookie)]));
    assert_eq!(response.status, 204);
    let removal = response.headers["set-cookie"].to_str().unwrap();
    assert!(removal.starts_with("__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly"), "{removal}");
    // One that is no token is removed too, whatever its bytes are.
    let mut strange = request(&[
        ("sec-fetch-site", b"same-origin".as_slice()),
        ("cookie", b"__Host-session=\xff.\x80.\xc3"),
    ]);
    *strange.method_mut() = Method::POST;
    let response = ask(&endpoint, strange);
    assert_eq!(response.status, 401);
    assert_eq!(response.headers["set-cookie"].to_str().unwrap(), removal);
    for empty in ["__Host-session=", "__Host-session=a.b.c d"] {
        let response = ask(&endpoint, post(&[SAME_ORIGIN, ("cookie", empty)]));
        assert_eq!(
            (response.status.as_u16(), response.headers["set-cookie"].to_str().unwrap()),
            (400, removal)
        );
    }
}

#[test]
fn a_cookie_that_holds_a_token_stays_whatever_is_wrong_with_it() {
    let good = mint(&claims());
    let repeated = format!(r#"{},"x":1,"x":2}}"#, claims().to_string().trim_end_matches('}'));
    for (value, status) in [
        (format!("\"{good}\""), 401),
        (format!("{good}="), 401),
        (format!("{good} "), 400),
        (format!(" {good}"), 400),
        (format!("{good} x"), 400),
        (format!("Bearer {good}"), 401),
        (format!("%22{good}%22"), 401),
        (format!("j%3A%22{good}%22"), 401),
        (format!("Bearer%20{}", good.replace('.', "%2E")), 401),
        (good.rsplit_once('.').unwrap().0.to_owned(), 401),
        (mint_raw(r#"{"alg":"HS256"}"#, &repeated), 401),
    ] {
        let cookie = format!("__Host-session={value}; a=b");
        let response = ask(&by_cookie(0), post(&[SAME_ORIGIN, ("cookie", &cookie)]));
        assert_eq!(response.status, status, "{value}");
        assert!(!response.headers.contains_key("set-cookie"), "{value}");
    }
}

#[test]
fn a_cookie_stays_where_its_session_may_live_on_and_goes_where_it_is_over() {
    let unknown_key = mint_raw(r#"{"alg":"HS256","kid":"of another node"}"#, &claims().to_string());
    let (head, _) =
        mint(&claims()).rsplit_once('.').map(|(head, tail)| (head.to_owned(), tail.len())).unwrap();
    let other_audience = mint(&claims_with(json!({"aud": "payments"})));
    for (at, token, removed) in [
        (0, unknown_key, false),
        (0, format!("{head}.{}", "A".repeat(43)), false),
        (899, other_audience.clone(), false),
        // No service accepts it any more, and here it can't sign out.
        (900, other_audience, true),
        (43_260, mint(&claims()), true),
        // However long its token goes on.
        (43_260, mint(&claims_with(json!({"exp": NOW + 100_000}))), true),
    ] {
        let response =
            ask(&by_cookie(at), post(&[SAME_ORIGIN, ("cookie", &format!("__Host-session={token}"))]));
        assert_eq!(response.status, 401, "{token}");
        assert_eq!(response.headers.contains_key("set-cookie"), removed, "{token}");
    }
}

#[test]
fn only_a_page_of_the_own_or_an_allowed_origin_signs_out_with_a_cookie() {
    let cookie = format!("__Host-session={}", mint(&claims()));
    let of = |endpoint: &RevokeEndpoint, fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().copied().chain([("cookie", &*cookie)]).collect();
        let response = ask(endpoint, post(&fields));
        let removes = response.headers.contains_key("set-cookie");
        assert_eq!(removes, response.status == 204, "{fields:?}");
        response.status.as_u16()
    };
    let app = ("origin", "https://app.example");
    for (fields, strict, allowing) in [
        (&[SAME_ORIGIN][..], 204, 204),
        (&[SAME_ORIGIN, app], 204, 204),
        (&[], 403, 403),
        (&[("sec-fetch-site", "same-site"), ("origin", "https://evil.app.example")], 403, 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", "null")], 403, 403),
        (&[("sec-fetch-site", "cross-site"), app], 403, 204),
        (&[app], 403, 204),
        (&[app, ("host", "app.example")], 403, 204),
    ] {
        assert_eq!(of(&by_cookie(0), fields), strict, "{fields:?}");
        let allowing_app = by_cookie(0).allow_origin("https://app.example").unwrap();
        assert_eq!(of(&allowing_app, fields), allowing, "{fields:?}");
    }
    // A header is sent by nobody's page unasked.
    let endpoint = RevokeEndpoint::new(recording(&ManualClock::at(NOW))).unwrap();
    let bearer = format!("Bearer {}", mint(&claims()));
    assert_eq!(ask(&endpoint, post(&[("authorization", &bearer)])).status, 204);
    let wrong = by_cookie(0).allow_origin("app.example").unwrap_err().to_string();
    assert!(wrong.contains("app.example"), "{wrong}");
}
