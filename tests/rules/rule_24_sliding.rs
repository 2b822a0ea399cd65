//! Rule 24: the access token of a pair is renewed in responses only where that was asked for, and through the renewer.

use std::error::Error;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tower_reissue::{
    Authority, AuthorityBuilder, Cookie, Event, IssueError, Login, ManualClock, NotReissued, Reason, Refresh,
    RefreshTokens, ReissueLayer, Renewal, RenewalRequest, Source, TokenPair,
};

use crate::support::guarded::*;
use crate::support::*;

const REFRESH: &str = "https://login.example/refresh";

type Answer = Result<Renewal, Box<dyn Error + Send + Sync>>;

/// Authorities of one store, and how often their renewers were asked about access tokens.
struct Nodes {
    clock: ManualClock,
    store: CountingStore,
    asked: Arc<AtomicUsize>,
}

impl Nodes {
    fn new() -> Self {
        let (clock, store) = (ManualClock::at(NOW), CountingStore::default());
        Self { clock, store, asked: Arc::default() }
    }

    fn builder(
        &self,
        refresh_tokens: RefreshTokens,
        answer: impl Fn() -> Answer + Send + Sync + 'static,
    ) -> AuthorityBuilder {
        let asked = self.asked.clone();
        let renewer = move |request: RenewalRequest| {
            if !request.is_refresh() {
                asked.fetch_add(1, Ordering::SeqCst);
                assert_eq!(request.claim::<String>("role").unwrap().as_deref(), Some("admin"));
            }
            ready(answer())
        };
        let builder = builder(&self.clock).store(self.store.clone()).jitter_percent(0);
        builder.refresh_tokens(refresh_tokens).renew_with(renewer)
    }

    fn sliding(&self, answer: impl Fn() -> Answer + Send + Sync + 'static) -> AuthorityBuilder {
        self.builder(RefreshTokens::new(REFRESH).sliding_access_tokens(), answer)
    }

    fn keeping(&self) -> Authority {
        self.sliding(|| Ok(Renewal::keep())).build().unwrap()
    }

    fn plain(&self) -> Authority {
        self.builder(RefreshTokens::new(REFRESH), || Ok(Renewal::keep())).build().unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn pair_of(authority: &Authority) -> TokenPair {
    let login = Login::new("alice").claims(&json!({ "role": "admin", "scope": "read write" }));
    at_once(authority.issue_pair(login)).unwrap()
}

fn refresh(authority: &Authority, token: &str) -> TokenPair {
    at_once(authority.refresh(Refresh::new(token))).unwrap()
}

#[test]
fn an_access_token_of_a_pair_is_renewed_where_that_was_asked_for() {
    for (is_asked_for, at, admitted, renewed) in [
        (false, 479, true, false),
        (false, 480, true, false),
        (false, 599, true, false),
        (false, 600, false, false),
        (true, 479, true, false),
        (true, 480, true, true),
        (true, 599, true, true),
        (true, 600, false, true),
        (true, 659, false, true),
        (true, 660, false, false),
    ] {
        let nodes = Nodes::new();
        let authority = if is_asked_for { nodes.keeping() } else { nodes.plain() };
        // Of a sign-in, and of a refresh in the same second.
        let first = pair_of(&authority);
        let second = refresh(&authority, first.refresh.as_str());
        nodes.clock.set(NOW + at);
        for pair in [first, second] {
            assert_eq!(
                payload(pair.access.as_str())["sliding"],
                if is_asked_for { json!("pair") } else { json!(false) }
            );
            let recorded = nodes.store.asked();
            let response = Guarded::new(&authority).bearer(pair.access.as_str());
            assert_eq!(response.is_admitted(), admitted, "{is_asked_for} {at}");
            assert_eq!(response.successor.is_some(), renewed, "{is_asked_for} {at}");
            // As it arrives, and before a successor goes out.
            let standings = if renewed { 2 } else { 1 };
            assert!(nodes.store.asked() <= recorded + standings, "no record: {is_asked_for} {at}");
        }
        assert_eq!(nodes.asked(), if renewed { 2 } else { 0 }, "{is_asked_for} {at}");
    }
}

#[test]
fn all_nodes_send_the_same_successor_which_keeps_the_claims_and_slides_on() {
    let nodes = Nodes::new();
    let [here, there] = [nodes.keeping(), nodes.keeping()];
    let pair = pair_of(&here);
    nodes.clock.set(NOW + 500);
    let next = Guarded::new(&here).bearer(pair.access.as_str()).into_successor();
    nodes.clock.set(NOW + 630);
    assert_eq!(Guarded::new(&there).bearer(pair.access.as_str()).into_successor(), next);
    let (mut before, mut after) = (payload(pair.access.as_str()), payload(&next));
    assert_eq!((&after["iat"], &after["exp"]), (&json!(NOW + 480), &json!(NOW + 1080)));
    for claims in [&mut before, &mut after] {
        claims.as_object_mut().unwrap().retain(|name, _| !["iat", "exp", "jti"].contains(&&**name));
    }
    assert_eq!(before, after);
    // On and on, beside the refreshes of the session.
    let refreshed = refresh(&there, pair.refresh.as_str());
    nodes.clock.set(NOW + 1000);
    let third = Guarded::new(&there).bearer(&next).into_successor();
    assert_eq!(payload(&third)["sid"], payload(refreshed.access.as_str())["sid"]);
    nodes.clock.set(NOW + 1300);
    refresh(&here, refreshed.refresh.as_str());
    // The session's limit ends it.
    let mut text = third;
    loop {
        nodes.clock.set(payload(&text)["exp"].as_u64().unwrap() - 60);
        let Some(next) = Guarded::new(&here).bearer(&text).successor else { break };
        text = next;
    }
    assert_eq!(payload(&text)["exp"], NOW + 12 * 3600);
}

#[test]
fn the_renewer_may_keep_or_refuse_and_its_failure_spends_nothing() {
    type Case = (fn() -> Answer, NotReissued, u16, Reason);
    let cases: [Case; 5] = [
        (|| Ok(Renewal::refuse("blocked")), NotReissued::Declined, 401, Reason::Expired),
        (|| Ok(Renewal::keep().scope("read")), NotReissued::RenewerFailed, 503, Reason::RenewerUnavailable),
        (|| Ok(Renewal::keep().audience([""; 0])), NotReissued::Declined, 401, Reason::Expired),
        (
            || Ok(Renewal::keep().claims(&json!({ "role": "clerk" }))),
            NotReissued::RenewerFailed,
            503,
            Reason::RenewerUnavailable,
        ),
        (|| Err("down".into()), NotReissued::RenewerFailed, 503, Reason::RenewerUnavailable),
    ];
    for (nth, (answer, why, status, reason)) in cases.into_iter().enumerate() {
        for admits in [false, true] {
            let nodes = Nodes::new();
            let told = Arc::new(Mutex::new(Vec::new()));
            let reported = told.clone();
            let builder = nodes.sliding(answer).on_event(move |event| {
                if let Event::NotReissued { why, .. } = event {
                    reported.lock().unwrap().push(*why);
                }
            });
            let builder = if admits { builder.admit_in_grace() } else { builder };
            let guarded = Guarded::new(&builder.build().unwrap());
            let keeping = nodes.keeping();
            let pair = pair_of(&keeping);
            nodes.clock.set(NOW + 500);
            let response = guarded.bearer(pair.access.as_str());
            assert!(response.is_admitted() && response.successor.is_none(), "{nth}: {response:?}");
            assert_eq!(*told.lock().unwrap(), [why], "{nth}");
            nodes.clock.set(NOW + 630);
            let refused = guarded.bearer(pair.access.as_str());
            refused.assert_refused(status, &nth);
            assert_eq!(refused.reason, Some(reason.clone()), "{nth}");
            // Elsewhere it is renewed, and refreshed.
            assert!(Guarded::new(&keeping).bearer(pair.access.as_str()).successor.is_some());
            refresh(&keeping, pair.refresh.as_str());
        }
    }
    let nodes = Nodes::new();
    let authority = nodes.sliding(|| Ok(Renewal::keep())).admit_in_grace().build().unwrap();
    let pair = pair_of(&authority);
    nodes.clock.set(NOW + 630);
    let response = Guarded::new(&authority).bearer(pair.access.as_str());
    assert!(response.is_admitted() && response.successor.is_some());
}

#[test]
fn a_session_that_ended_renews_no_access_token() {
    for (how, end) in [
        (
            "revoked",
            (|authority, _| at_once(authority.revoke_subject("alice")).unwrap())
                as fn(&Authority, &TokenPair),
        ),
        ("signed out", |authority, pair| at_once(authority.sign_out(pair.refresh.as_str())).unwrap()),
        ("reused", |authority, pair| drop(at_once(authority.refresh(Refresh::new(pair.refresh.as_str()))))),
    ] {
        for at in [500, 630] {
            let nodes = Nodes::new();
            let authority = nodes.keeping();
            let pair = pair_of(&authority);
            refresh(&authority, pair.refresh.as_str());
            nodes.clock.set(NOW + at);
            end(&authority, &pair);
            let refused = Guarded::new(&authority).bearer(pair.access.as_str());
            refused.assert_refused(401, &(how, at));
            assert_eq!(refused.reason, Some(Reason::Revoked), "{how} {at}");
        }
    }
}

#[test]
fn it_slides_only_at_an_authority_that_was_told_so() {
    let nodes = Nodes::new();
    let pair = pair_of(&nodes.keeping());
    let plain = nodes.plain();
    nodes.clock.set(NOW + 500);
    let response = Guarded::new(&plain).bearer(pair.access.as_str());
    assert!(response.is_admitted() && response.successor.is_none());
    nodes.clock.set(NOW + 630);
    Guarded::new(&plain).bearer(pair.access.as_str()).assert_refused(401, &"grace");
    // A token that was issued before stays as it was.
    nodes.clock.set(NOW);
    let older = pair_of(&plain);
    nodes.clock.set(NOW + 500);
    assert_eq!(Guarded::new(&nodes.keeping()).bearer(older.access.as_str()).successor, None);

    let unasked = builder(&nodes.clock).store(nodes.store.clone());
    let unasked = unasked.refresh_tokens(RefreshTokens::new(REFRESH).sliding_access_tokens());
    let message = unasked.build().unwrap_err().to_string();
    assert!(message.contains("`sliding_access_tokens`") && message.contains("`renew_with`"), "{message}");
}

#[test]
fn a_handler_gets_the_successor_in_the_window_and_as_it_is() {
    let nodes = Nodes::new();
    let authority = nodes.keeping();
    let pair = pair_of(&authority);
    let admitted = at_once(authority.admit(pair.access.as_str())).unwrap();
    let narrow = || Renewal::keep().scope("read");
    for at in [10, 479, 480] {
        nodes.clock.set(NOW + at);
        assert_eq!(
            at_once(authority.reissue_with(&admitted, narrow())).unwrap_err(),
            NotReissued::NotRenewable
        );
        let early = at_once(authority.reissue(&admitted));
        assert_eq!(early.is_ok(), at == 480, "{at}");
    }
    let made = at_once(authority.reissue(&admitted)).unwrap();
    assert_eq!(Guarded::new(&authority).bearer(pair.access.as_str()).into_successor(), made.as_str());
}

#[test]
fn a_sign_in_reports_an_access_token_that_no_response_could_carry() {
    let nodes = Nodes::new();
    let login = || Login::new("alice").claims(&json!({ "role": "admin", "of": "x".repeat(3_000) }));
    let refused = at_once(nodes.keeping().issue_pair(login())).err().unwrap();
    assert!(matches!(refused, IssueError::HeadTooLarge { .. }), "{refused}");
    assert!(at_once(nodes.keeping().issue_pair(login().allow_undeliverable())).is_ok());
    assert!(at_once(nodes.plain().issue_pair(login())).is_ok());
}

#[test]
fn an_access_token_that_a_renewer_made_too_long_for_responses_is_renewed_by_refreshes_alone() {
    let nodes = Nodes::new();
    let of = |bytes: usize| json!({ "role": "admin", "of": "x".repeat(bytes) });
    let adds = Arc::new(AtomicUsize::new(3_000));
    let added = adds.clone();
    let authority = nodes.sliding(move || Ok(Renewal::keep().claims(&of(added.load(Ordering::SeqCst)))));
    let reported = Arc::new(Mutex::new(Vec::new()));
    let seen = reported.clone();
    let authority = authority.on_event(move |event| {
        if let Event::NotReissued { why, .. } = event {
            seen.lock().unwrap().push(*why);
        }
    });
    let authority = authority.build().unwrap();
    let guarded = Guarded::new(&authority);
    let mut refreshed = pair_of(&authority);
    // Long, short and long again.
    for (nth, bytes) in [3_000, 100, 3_100].into_iter().enumerate() {
        adds.store(bytes, Ordering::SeqCst);
        let start = NOW + 1_000 * nth as u64;
        nodes.clock.set(start);
        refreshed = refresh(&authority, refreshed.refresh.as_str());
        let is_long = bytes > 1_000;
        let sliding = payload(refreshed.access.as_str())["sliding"].clone();
        assert_eq!(sliding, if is_long { json!(false) } else { json!("pair") }, "{bytes}");
        let why: Vec<_> = reported.lock().unwrap().drain(..).collect();
        assert_eq!(why, vec![NotReissued::HeadTooLarge; usize::from(is_long)], "{bytes}");
        if is_long {
            nodes.clock.set(start + 590);
            let in_window = guarded.bearer(refreshed.access.as_str());
            assert!(in_window.is_admitted() && in_window.successor.is_none(), "{bytes}");
            assert_eq!(*reported.lock().unwrap(), [], "{bytes}");
        }
    }
    // The same after a login that allowed it.
    let login = Login::new("bob").claims(&of(10)).allow_undeliverable();
    let allowed = at_once(authority.issue_pair(login)).unwrap();
    refresh(&authority, allowed.refresh.as_str());
    // It matters only where the access token is renewed in responses.
    let plain = nodes.builder(RefreshTokens::new(REFRESH), move || Ok(Renewal::keep().claims(&of(3_000))));
    refresh(&plain.build().unwrap(), refreshed.refresh.as_str());
}

#[test]
fn the_cookie_of_a_sliding_access_token_has_room_for_its_successor() {
    let nodes = Nodes::new();
    let authority = nodes.sliding(|| Ok(Renewal::keep())).max_added_head_bytes(8_000).build().unwrap();
    let cookie = Cookie::new("session").unwrap();
    let layer = ReissueLayer::new(authority.clone()).read_from([Source::cookie(cookie.clone())]);
    let guarded = Guarded::by(layer);
    let mut seen = [0, 0];
    for bytes in 2_660..2_760 {
        nodes.clock.set(NOW);
        let login = Login::new("alice").claims(&json!({ "role": "admin", "of": "x".repeat(bytes) }));
        let first = at_once(authority.issue_pair(login)).unwrap();
        let second = refresh(&authority, first.refresh.as_str());
        for pair in [first, second] {
            nodes.clock.set(NOW);
            let fits = authority.set_cookie(&cookie, &pair.access).is_ok();
            nodes.clock.set(NOW + 500);
            let sent = format!("__Host-session={}", pair.access.as_str());
            let response = guarded.send(request(&[("cookie", sent.as_bytes())]));
            assert!(response.is_admitted());
            assert_eq!(response.headers.contains_key("set-cookie"), fits, "{bytes}");
            seen[usize::from(fits)] += 1;
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

/// The store has no record of the token that could say it.
#[test]
fn a_session_that_is_signed_out_while_the_handler_or_the_renewer_runs_gets_no_successor() {
    for (at, in_handler, status) in [(500, true, 200), (500, false, 200), (630, false, 401)] {
        let nodes = Nodes::new();
        let signs_out: Arc<Mutex<Option<(Authority, String)>>> = Arc::default();
        let sign_out = {
            let signs_out = signs_out.clone();
            move || {
                if let Some((authority, token)) = signs_out.lock().unwrap().take() {
                    at_once(authority.sign_out(&token)).unwrap();
                }
            }
        };
        let in_renewer = sign_out.clone();
        let told = Arc::new(Mutex::new(Vec::new()));
        let events = told.clone();
        let authority = nodes.sliding(move || {
            if !in_handler {
                in_renewer();
            }
            Ok(Renewal::keep())
        });
        let authority = authority.on_event(move |event| {
            if let Event::NotReissued { why, .. } = event {
                events.lock().unwrap().push(*why);
            }
        });
        let authority = authority.build().unwrap();
        let pair = pair_of(&authority);
        nodes.clock.set(NOW + at);
        *signs_out.lock().unwrap() = Some((authority.clone(), pair.access.as_str().to_owned()));
        let guarded = Guarded::new(&authority).meanwhile(move || {
            if in_handler {
                sign_out();
            }
        });
        let response = guarded.bearer(pair.access.as_str());
        assert_eq!((response.status, &response.successor), (status, &None), "{at} {in_handler}");
        match status {
            200 => assert_eq!(*told.lock().unwrap(), [NotReissued::Revoked]),
            _ => assert_eq!(response.reason, Some(Reason::Revoked)),
        }
    }
}
