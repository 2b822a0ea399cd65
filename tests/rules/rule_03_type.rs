//! Rule 3, its second half: what makes an access token is said in the builder.

use serde_json::{Value, json};
use tower_reissue::{Authority, AuthorityBuilder, Login, ManualClock, Reason};

use crate::support::guarded::*;
use crate::support::*;

fn typed(typ: Value) -> String {
    let mut header = json!({"alg": "HS256"});
    if !typ.is_null() {
        header["typ"] = typ;
    }
    mint_raw(&header.to_string(), &claims().to_string())
}

fn due(with: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder) -> Authority {
    with(builder(&ManualClock::at(NOW + 500))).build().unwrap()
}

#[test]
fn by_default_the_type_is_absent_jwt_or_at_jwt() {
    let guarded = Guarded::new(&due(|builder| builder));
    for typ in [
        json!(null),
        json!("JWT"),
        json!("jwt"),
        json!("Jwt"),
        json!("at+jwt"),
        json!("AT+JWT"),
        json!("application/at+jwt"),
        json!("Application/JWT"),
    ] {
        let answer = guarded.bearer(&typed(typ.clone()));
        assert!(answer.is_admitted(), "{typ}: {answer:?}");
        // A successor keeps it as it was written, its absence too.
        assert_eq!(header(&answer.into_successor())["typ"], typ);
    }
    for typ in [
        "refresh+jwt",
        "rt+jwt",
        "logout+jwt",
        "dpop+jwt",
        "id+jwt",
        "secevent+jwt",
        "JOSE",
        "JWE",
        "",
        " JWT",
        "JWT ",
        "at+jwt;v=1",
        "application/",
        "application/application/jwt",
        "text/jwt",
        "at+JWTs",
        "at jwt",
    ] {
        let answer = guarded.bearer(&typed(json!(typ)));
        answer.assert_refused(401, &typ);
        assert_eq!(answer.reason, Some(Reason::WrongType), "{typ}");
    }
    for typ in [json!(["JWT"]), json!(1), json!({"JWT": null}), json!(true)] {
        guarded.bearer(&typed(typ.clone())).assert_refused(401, &typ);
    }
    guarded
        .bearer(&mint_raw(r#"{"alg":"HS256","typ":null}"#, &claims().to_string()))
        .assert_refused(401, &"null");
}

#[test]
fn a_named_type_is_the_only_one() {
    let authority = due(|builder| builder.access_type("at+jwt").access_type("application/x.legacy"));
    let guarded = Guarded::new(&authority);
    for typ in ["at+jwt", "application/at+jwt", "X.Legacy", "application/x.legacy"] {
        let answer = guarded.bearer(&typed(json!(typ)));
        assert!(answer.is_admitted(), "{typ}");
        assert_eq!(header(&answer.into_successor())["typ"], typ);
    }
    for typ in [json!(null), json!("JWT"), json!("refresh+jwt")] {
        guarded.bearer(&typed(typ.clone())).assert_refused(401, &typ);
    }
    let issued = at_once(authority.issue(Login::new("alice"))).unwrap();
    assert_eq!(header(issued.as_str())["typ"], "at+jwt");
    assert!(guarded.bearer(issued.as_str()).is_admitted());
}

#[test]
fn without_a_named_type_jwt_is_issued() {
    let authority = due(|builder| builder);
    let issued = at_once(authority.issue(Login::new("alice"))).unwrap();
    assert_eq!(header(issued.as_str())["typ"], "JWT");
}

#[test]
fn a_refresh_token_under_the_same_key_is_refused_by_its_claim() {
    let authority = due(|builder| builder.access_claim("type", "access"));
    let guarded = Guarded::new(&authority);
    for kind in [
        json!("refresh"),
        json!("id"),
        json!("Access"),
        json!("access "),
        json!(""),
        json!(null),
        json!(["access"]),
        json!({"access": true}),
        json!(true),
        json!(1),
    ] {
        let token = mint(&claims_with(json!({"type": kind})));
        let answer = guarded.bearer(&token);
        answer.assert_refused(401, &kind);
        assert_eq!(answer.reason, Some(Reason::WrongType), "{kind}");
    }
    let null = claims().to_string().replacen('{', r#"{"type":null,"#, 1);
    guarded.bearer(&mint_raw(r#"{"alg":"HS256"}"#, &null)).assert_refused(401, &"null");

    let answer = guarded.bearer(&mint(&claims_with(json!({"type": "access"}))));
    assert!(answer.is_admitted());
    assert_eq!(payload(&answer.into_successor())["type"], "access");
    let issued = at_once(authority.issue(Login::new("alice"))).unwrap();
    assert_eq!(payload(issued.as_str())["type"], "access");
    assert!(guarded.bearer(issued.as_str()).is_admitted());
}
