//! Rule 1: a request carries one credential, and one place is looked at.

use http::{Method, Request};
use tower_reissue::{Cookie, ManualClock, Reason, ReissueLayer, RequestHead, Source};

use crate::support::guarded::*;
use crate::support::*;

/// Over a token that is due, so that a successor shows the way it takes.
fn guarded() -> Guarded {
    Guarded::by(layer())
}

fn layer() -> ReissueLayer {
    ReissueLayer::new(builder(&ManualClock::at(NOW + 500)).build().unwrap())
}

fn cookie() -> Source {
    Source::cookie(Cookie::new("session").unwrap())
}

fn custom() -> Source {
    Source::custom(|head: &RequestHead<'_>| {
        head.headers().get("x-token").map(|value| value.to_str().unwrap().to_owned())
    })
}

fn web_socket(query: &str) -> Request<()> {
    Request::get(format!("/chat?{query}")).header("upgrade", "websocket").body(()).unwrap()
}

#[test]
fn none_is_a_bare_challenge() {
    let everywhere = Guarded::by(layer().read_from([
        Source::authorization(),
        cookie(),
        Source::websocket_query("token"),
        custom(),
    ]));
    for guarded in [guarded(), everywhere] {
        for authorization in ["", "Basic dXNlcjpwYXNz", "Digest a=b, c=d", "Bearers abc", "Token abc"] {
            let answer = guarded.send(request(&[("authorization", authorization.as_bytes())]));
            answer.assert_refused(401, &authorization);
            assert_eq!(answer.challenge(), r#"Bearer realm="api""#, "{authorization}");
        }
        let answer = guarded.send(request(&[]));
        answer.assert_refused(401, &"no header");
        assert_eq!(answer.challenge(), r#"Bearer realm="api""#);
    }
}

#[test]
fn the_scheme_is_read_in_any_case() {
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} {}", mint(&claims()));
        let answer = guarded().send(request(&[("authorization", value.as_bytes())]));
        assert!(answer.is_admitted() && answer.successor.is_some(), "{scheme}: {answer:?}");
    }
}

#[test]
fn odd_spacing_is_a_bad_request_everywhere() {
    let token = mint(&claims());
    for value in [
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer \t{token}"),
        format!("Bearer\t {token}"),
        format!(" Bearer {token}"),
        format!("\tBearer {token}"),
        format!("Bearer {token} "),
        format!("Bearer {token}\t"),
        "Bearer".to_owned(),
        "bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer  ".to_owned(),
        "Bearer\t".to_owned(),
        "Bearer a.b.c x".to_owned(),
        format!("Bearer {token} x"),
    ] {
        let answer = guarded().send(request(&[("authorization", value.as_bytes())]));
        answer.assert_refused(400, &value);
        assert!(answer.challenge().contains(r#"error="invalid_request""#), "{value}");
    }
    let in_cookie = Guarded::by(layer().read_from([cookie()]));
    for value in [
        format!("__Host-session= {token}"),
        format!("__Host-session ={token}"),
        format!("__Host-session={token} x"),
    ] {
        in_cookie.send(request(&[("cookie", value.as_bytes())])).assert_refused(400, &value);
    }
    // These can hold no token, so the cookie is removed.
    for value in ["__Host-session=", "a=b; __Host-session=; c=d", "__Host-session= x"] {
        in_cookie.send(request(&[("cookie", value.as_bytes())])).assert_removed(400, &value);
    }
    let in_query = Guarded::by(layer().read_from([Source::websocket_query("token")]));
    for query in [
        format!("token=%20{token}"),
        format!("token={token}+"),
        format!("token={token}%09"),
        "token=".to_owned(),
    ] {
        in_query.send(web_socket(&query)).assert_refused(400, &query);
    }
    let elsewhere = Guarded::by(layer().read_from([custom()]));
    let value = format!("{token} ");
    elsewhere.send(request(&[("x-token", value.as_bytes())])).assert_refused(400, &value);
}

#[test]
fn a_scheme_with_no_space_before_the_token_is_another_scheme() {
    let value = format!("Bearer{}", mint(&claims()));
    guarded().send(request(&[("authorization", value.as_bytes())])).assert_refused(401, &value);
}

#[test]
fn what_no_token_is_made_of_is_a_bad_token_and_not_a_bad_request() {
    let token = mint(&claims());
    let (head, signature) = token.rsplit_once('.').unwrap();
    for credential in [
        format!("{head}.?{signature}"),
        format!("{head}?.{signature}"),
        format!("{head}.{signature}?"),
        // Somebody else's tokens hold blanks so, and are to be refused with a 401.
        token.replacen('.', ". ", 1),
        token.replacen('.', "\t.", 1),
        format!("{head}. {signature}"),
        format!("\"{token}\""),
        r#"{"payload":"Zm9v","signatures":[{"protected":"eyJ9","signature":"Zm9v"}]}"#.to_owned(),
        "\u{fc}\u{fc}.\u{fc}.\u{fc}".to_owned(),
    ] {
        let answer = guarded().bearer(&credential);
        answer.assert_refused(401, &credential);
        assert!(answer.challenge().contains(r#"error="invalid_token""#), "{credential}");
    }
}

#[test]
fn several_credentials_are_a_bad_request() {
    let token = mint(&claims());
    let good = format!("Bearer {token}");
    let good = good.as_bytes();
    for (first, second) in [
        (good, good),
        (good, &b"Basic eA=="[..]),
        (b"Basic eA==", good),
        (b"Basic eA==", b"Digest a=b"),
        (b"DPoP a.b.c", good),
        (good, b""),
    ] {
        let answer = guarded().send(request(&[("authorization", first), ("authorization", second)]));
        answer.assert_refused(400, &"two headers");
        assert!(answer.challenge().contains(r#"error="invalid_request""#));
    }
    for value in [
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token},Bearer {token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token} , {token}"),
        format!("Bearer {token},"),
        format!("Bearer ,{token}"),
        format!("Bearer, Bearer {token}"),
        format!("Basic eA==, Bearer {token}"),
        format!("Basic eA==,bearer {token}"),
        format!("Basic eA==, Digest b, BEARER\t{token}"),
        format!("Basic eA==, DPoP {token}"),
        format!("DPoP {token}, Bearer {token}"),
        format!("Bearer {token}, DPoP {token}"),
        format!("Bearer {token}, Basic eA=="),
        // Joined with what no token is made of, on either side.
        format!("Bearer {token}, Bearer not?a=token!"),
        format!("Bearer {token}, \"quoted\""),
        format!("Bearer {token}, Digest username=\"a\", realm=\"b\""),
        format!("Bearer not?a:token, Bearer {token}"),
        format!("Bearer {token},\u{fc}"),
        format!("Bearer {{}}, Bearer {token}"),
        format!("Bearer {{}}, Bearer {token}, {{}}"),
    ] {
        let answer = guarded().send(request(&[("authorization", value.as_bytes())]));
        answer.assert_refused(400, &value);
        assert!(answer.challenge().contains(r#"error="invalid_request""#), "{value}");
    }
}

/// It is a token, though one that this service does not take: not even another place is looked at in its stead.
#[test]
fn a_dpop_credential_is_one_and_is_refused() {
    let token = mint(&claims());
    let cookie_too = Guarded::by(layer().read_from([Source::authorization(), cookie()]));
    let good_cookie = format!("__Host-session={token}");
    for value in
        [format!("DPoP {token}"), format!("dpop {token}"), "DPoP".to_owned(), format!("DPOP\t{token}")]
    {
        let answer = guarded().send(request(&[("authorization", value.as_bytes())]));
        answer.assert_refused(401, &value);
        assert_eq!(answer.reason, Some(Reason::UnsupportedScheme), "{value}");
        assert!(answer.challenge().contains(r#"error="invalid_token""#), "{}", answer.challenge());
        let both = request(&[("authorization", value.as_bytes()), ("cookie", good_cookie.as_bytes())]);
        cookie_too.send(both).assert_refused(401, &value);
    }
}

#[test]
fn a_duplicate_cookie_is_a_bad_request_in_one_field_or_in_two() {
    let guarded = Guarded::by(layer().read_from([cookie()]));
    let token = mint(&claims());
    let pair = format!("__Host-session={token}");
    for fields in [
        vec![format!("{pair}; {pair}")],
        vec![format!("{pair};{pair}")],
        vec![format!("{pair}; other=1; __Host-session=")],
        vec![pair.clone(), pair.clone()],
        vec![format!("a=b; {pair}"), format!("c=d; {pair}")],
    ] {
        let fields: Vec<_> = fields.iter().map(|field| ("cookie", field.as_bytes())).collect();
        guarded.send(request(&fields)).assert_refused(400, &fields);
    }
    // Another name that merely looks alike is no duplicate.
    let field = format!("session={token}; __host-session={token}; x__Host-session=1; {pair}");
    assert!(guarded.send(request(&[("cookie", field.as_bytes())])).is_admitted());
}

#[test]
fn a_duplicate_parameter_is_a_bad_request_however_it_is_spelled() {
    let guarded = Guarded::by(layer().read_from([Source::websocket_query("token")]));
    let token = mint(&claims());
    for query in [
        format!("token={token}&token={token}"),
        format!("token={token}&%74oken={token}"),
        format!("a=b&%74%6F%6b%65%6E={token}&c=d&token="),
        format!("token&token={token}"),
    ] {
        guarded.send(web_socket(&query)).assert_refused(400, &query);
    }
    assert!(guarded.send(web_socket(&format!("%74oken={token}&Token=1"))).is_admitted());
}

#[test]
fn a_query_is_read_on_a_web_socket_upgrade_only_and_not_answered_with_a_successor() {
    let guarded = Guarded::by(layer().read_from([Source::websocket_query("token")]));
    let query = format!("token={}", mint(&claims()));
    let answer = guarded.send(web_socket(&query));
    assert!(answer.is_admitted(), "{answer:?}");
    assert_eq!(answer.successor, None);
    let extended_connect = Request::connect(format!("http://a.example/chat?{query}"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    assert!(guarded.send(extended_connect).is_admitted());

    let plain = Request::get(format!("/chat?{query}")).body(()).unwrap();
    let posted = Request::post(format!("/chat?{query}")).header("upgrade", "websocket").body(()).unwrap();
    let other = Request::get(format!("/chat?{query}")).header("upgrade", "h2c").body(()).unwrap();
    for request in [plain, posted, other] {
        let what = format!("{request:?}");
        let answer = guarded.send(request);
        answer.assert_refused(401, &what);
        assert_eq!(answer.challenge(), r#"Bearer realm="api""#);
    }
}

#[test]
fn a_query_that_arrives_in_the_grace_is_not_answered_with_a_successor_either() {
    let layer = ReissueLayer::new(builder(&ManualClock::at(NOW + 600)).build().unwrap());
    let guarded = Guarded::by(layer.read_from([Source::websocket_query("token")]));
    guarded.send(web_socket(&format!("token={}", mint(&claims())))).assert_refused(401, &"in grace");
}

#[test]
fn a_cookies_successor_goes_back_as_the_same_cookie() {
    let guarded = Guarded::by(layer().read_from([cookie()]));
    let field = format!("theme=dark; __Host-session={}; lang=de", mint(&claims()));
    let answer = guarded.send(request(&[("cookie", field.as_bytes())]));
    assert!(answer.is_admitted(), "{answer:?}");
    assert_eq!(answer.successor, None, "not in the header as well");
    let set: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(set.len(), 1);
    assert!(set[0].is_sensitive());
    let set = set[0].to_str().unwrap();
    let (token, attributes) =
        set.strip_prefix("__Host-session=").and_then(|rest| rest.split_once(';')).unwrap();
    // Made at NOW + 480, it lives to NOW + 1080 and may be exchanged for 60 s more.
    assert_eq!(attributes, " Max-Age=640; Path=/; Secure; HttpOnly; SameSite=Lax");
    assert_eq!(payload(token)["exp"], NOW + 1_080);

    // A cookie of another name is none, and neither is an Authorization header that nobody was told to read.
    let bearer = format!("Bearer {}", mint(&claims()));
    let unread = request(&[("cookie", b"session=x"), ("authorization", bearer.as_bytes())]);
    guarded.send(unread).assert_refused(401, &"an unread header");
}

#[test]
fn a_custom_sources_successor_goes_back_in_the_header() {
    let guarded = Guarded::by(layer().read_from([custom()]));
    let answer = guarded.send(request(&[("x-token", mint(&claims()).as_bytes())]));
    assert!(answer.is_admitted());
    assert!(answer.successor.is_some());
    // Empty is a credential; absent is none.
    let empty = guarded.send(request(&[("x-token", b"")]));
    empty.assert_refused(400, &"empty");
    assert!(empty.challenge().contains("invalid_request"));
    assert_eq!(guarded.send(request(&[])).challenge(), r#"Bearer realm="api""#);
}

#[test]
fn the_first_source_that_holds_anything_is_the_only_one_read() {
    let good = mint(&claims());
    let bearer = format!("Bearer {good}");
    let good_cookie = format!("__Host-session={good}");
    let header_first = Guarded::by(layer().read_from([Source::authorization(), cookie()]));
    let cookie_first = Guarded::by(layer().read_from([cookie(), Source::authorization()]));

    // What stands first is malformed or empty: the good one behind it saves nobody.
    for (first, status) in [
        ("Bearer ", 400),
        ("Bearer", 400),
        ("Bearer x", 401),
        ("Bearer a.b.c", 401),
        ("Bearer a,b", 400),
        ("Bearer  a.b.c", 400),
    ] {
        let both = request(&[("authorization", first.as_bytes()), ("cookie", good_cookie.as_bytes())]);
        header_first.send(both).assert_refused(status, &first);
    }
    for (first, status) in [("__Host-session=", 400), ("__Host-session=x", 401), ("__Host-session= x", 400)] {
        let both = request(&[("cookie", first.as_bytes()), ("authorization", bearer.as_bytes())]);
        cookie_first.send(both).assert_removed(status, &first);
    }
    let nothing_in_query = Guarded::by(layer().read_from([Source::websocket_query("token"), custom()]));
    let mut both = web_socket("token=");
    both.headers_mut().insert("x-token", good.parse().unwrap());
    nothing_in_query.send(both).assert_refused(400, &"an empty parameter");

    // What stands first is good: a bad one behind it harms nobody, and the way back is the first one's.
    let both = request(&[("authorization", bearer.as_bytes()), ("cookie", b"__Host-session=bad")]);
    let answer = header_first.send(both);
    assert!(answer.is_admitted() && answer.successor.is_some());
    assert!(!answer.headers.contains_key("set-cookie"));
    let both = request(&[("authorization", b"Bearer bad"), ("cookie", good_cookie.as_bytes())]);
    let answer = cookie_first.send(both);
    assert!(answer.is_admitted() && answer.successor.is_none());
    assert!(answer.headers.contains_key("set-cookie"));

    // Another scheme is not a credential: the next source is looked at.
    let both = request(&[("authorization", b"Basic eA=="), ("cookie", good_cookie.as_bytes())]);
    assert!(header_first.send(both).is_admitted());
}

#[test]
fn an_expired_token_in_one_place_is_not_mended_by_another_token_elsewhere() {
    let layer = ReissueLayer::new(builder(&ManualClock::at(NOW + 1_000)).build().unwrap());
    let guarded = Guarded::by(layer.read_from([Source::authorization(), cookie()]));
    let dead = format!("Bearer {}", mint(&claims()));
    let forged = mint(&claims_with(serde_json::json!({"sub": "mallory", "exp": NOW + 1_500})));
    let forged = format!("__Host-session={}x", forged);
    let both = request(&[("authorization", dead.as_bytes()), ("cookie", forged.as_bytes())]);
    guarded.send(both).assert_refused(401, &"expired here, forged there");
}

#[test]
fn a_preflight_is_refused_unless_it_is_let_pass_and_then_without_claims() {
    let preflight = |method: Method| {
        let mut request =
            request(&[("origin", b"https://app.example"), ("access-control-request-method", b"PUT")]);
        *request.method_mut() = method;
        request
    };
    guarded().send(preflight(Method::OPTIONS)).assert_refused(401, &"by default");
    let passing = Guarded::by(layer().pass_preflight());
    let answer = passing.send(preflight(Method::OPTIONS));
    assert!(answer.is_admitted() && answer.successor.is_none());
    passing.send(preflight(Method::GET)).assert_refused(401, &"not OPTIONS");
    for missing in ["origin", "access-control-request-method"] {
        let mut request = preflight(Method::OPTIONS);
        request.headers_mut().remove(missing);
        passing.send(request).assert_refused(401, &missing);
    }
}
