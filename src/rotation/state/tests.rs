use super::*;
use crate::keys::Algorithm;

const DELAY: u64 = 10;
const SPREAD: u64 = 5;
const OVERLAP: u64 = 100;
const STALE: u64 = 50;
const TIMING: Timing = Timing { activation_delay: DELAY, spread: SPREAD, overlap: OVERLAP, stale_for: STALE };

fn key(name: &str) -> SigningKey {
    let secret = format!("{name:-<64}");
    SigningKey::from_secret(Algorithm::HS256, secret.as_bytes()).unwrap().with_kid(name)
}

fn set(name: &str) -> KeySet {
    KeySet::signing(key(name))
}

/// The key of this name, as a JWK that may sign only for this issuer.
fn key_of(name: &str, issuer: &str) -> SigningKey {
    let k = crate::jose::base64::encode_url(format!("{name:-<64}"));
    let jwk = format!(r#"{{"kty":"oct","alg":"HS256","kid":"{name}","k":"{k}","issuer":"{issuer}"}}"#);
    SigningKey::from_jwk(&jwk).unwrap()
}

fn at(secs: u64) -> NumericDate {
    NumericDate::from_secs(1_000 + secs)
}

/// "signing | every key that verifies", at an instant.
fn ring(rotation: &mut RotationState, secs: u64) -> String {
    let ring = rotation.ring(at(secs));
    let signing = ring.signing_key().map_or("-", SigningKey::kid).to_owned();
    format!("{signing} | {}", ring.kids().collect::<Vec<_>>().join(" "))
}

fn trusting(timing: Timing, issuers: &[&str]) -> RotationState {
    let mut rotation = RotationState::new(timing);
    for (nth, issuer) in issuers.iter().enumerate() {
        assert_eq!(rotation.trust(Arc::new((*issuer).into()), None, at(0)).unwrap(), nth);
    }
    rotation
}

fn rotation(timing: Timing) -> RotationState {
    let mut rotation = trusting(timing, &["x"]);
    rotation.own_loaded(set("a"), at(0)).unwrap();
    assert_eq!(ring(&mut rotation, 0), "a | a");
    rotation
}

#[test]
fn a_key_verifies_at_once_signs_after_its_delay_and_verifies_on_for_its_overlap() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("b"), at(20)).unwrap();
    let activated = 20 + DELAY + 1;
    let gone = activated + SPREAD + OVERLAP;
    for (instant, expected) in [
        (20, "a | a b"),
        (activated - 1, "a | a b"),
        (activated, "b | b a"),
        (gone - 1, "b | b a"),
        (gone, "b | b"),
    ] {
        // The same key is loaded again and again.
        rotation.own_loaded(set("b"), at(instant)).unwrap();
        assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
    }
}

#[test]
fn without_a_delay_a_key_signs_at_once() {
    let mut rotation = rotation(Timing { activation_delay: 0, ..TIMING });
    rotation.own_loaded(set("b"), at(20)).unwrap();
    for (instant, expected) in
        [(20, "b | b a"), (20 + SPREAD + OVERLAP - 1, "b | b a"), (20 + SPREAD + OVERLAP, "b | b")]
    {
        assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
    }
}

#[test]
fn an_old_key_that_comes_back_signs_on_and_the_other_retires() {
    // Before the new one has signed here: on other nodes it may have.
    let mut early = rotation(TIMING);
    early.own_loaded(set("b"), at(20)).unwrap();
    assert_eq!(ring(&mut early, 25), "a | a b");
    early.own_loaded(set("a"), at(25)).unwrap();
    let gone = 25 + DELAY + SPREAD + OVERLAP;
    for (instant, expected) in [(25, "a | a b"), (gone - 1, "a | a b"), (gone, "a | a")] {
        assert_eq!(ring(&mut early, instant), expected, "at {instant}");
    }
    // After it.
    let mut late = rotation(TIMING);
    late.own_loaded(set("b"), at(20)).unwrap();
    assert_eq!(ring(&mut late, 40), "b | b a");
    late.own_loaded(set("a"), at(50)).unwrap();
    let activated = 50 + DELAY + 1;
    for (instant, expected) in [
        (50, "b | b a"),
        (activated, "a | a b"),
        (activated + SPREAD + OVERLAP - 1, "a | a b"),
        (activated + SPREAD + OVERLAP, "a | a"),
    ] {
        assert_eq!(ring(&mut late, instant), expected, "at {instant}");
    }
}

#[test]
fn a_key_replaced_before_it_signed_verifies_on_too() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("b"), at(20)).unwrap();
    rotation.own_loaded(set("c"), at(25)).unwrap();
    assert_eq!(ring(&mut rotation, 25), "a | a c b");
    assert_eq!(ring(&mut rotation, 35), "a | a c b");
    assert_eq!(ring(&mut rotation, 36), "c | c a b");
    let b_gone = 25 + DELAY + SPREAD + OVERLAP;
    assert_eq!(ring(&mut rotation, b_gone - 1), "c | c a b");
    assert_eq!(ring(&mut rotation, b_gone), "c | c a");
}

#[test]
fn a_withdrawn_key_is_gone_at_once_whatever_it_was_doing() {
    let prepare = || {
        let mut rotation = rotation(TIMING);
        rotation.own_loaded(set("b").retiring(key("listed")), at(20)).unwrap();
        rotation.foreign_loaded(0, KeySet::verifying([key("f").into()]), at(20)).unwrap();
        assert_eq!(ring(&mut rotation, 20), "a | a b listed f");
        rotation
    };
    for (kid, expected) in [
        // The next one must not wait: nothing else can sign.
        ("a", "b | b listed f"),
        ("b", "a | a listed f"),
        ("listed", "a | a b f"),
        ("f", "a | a b listed"),
        (key("a").fingerprint(), "b | b listed f"),
        ("unknown", "a | a b listed f"),
    ] {
        let mut by_hand = prepare();
        by_hand.withdraw(kid);
        assert_eq!(ring(&mut by_hand, 20), expected, "{kid}");

        let mut by_source = prepare();
        let set = set("b").retiring(key("listed")).withdrawing(kid);
        assert_eq!(by_source.own_loaded(set, at(21)).is_err(), kid == "b", "{kid}");
        assert_eq!(ring(&mut by_source, 21), expected, "{kid}");
        // A list that is cut short for a moment brings nothing back.
        let _ = by_source.own_loaded(super::tests::set("b").retiring(key("listed")), at(22));
        assert_eq!(ring(&mut by_source, 22), expected, "{kid}");
    }
    let mut retiring = rotation(Timing { activation_delay: 0, ..TIMING });
    retiring.own_loaded(set("b"), at(20)).unwrap();
    assert_eq!(ring(&mut retiring, 20), "b | b a");
    retiring.own_loaded(set("b").withdrawing("a"), at(21)).unwrap();
    assert_eq!(ring(&mut retiring, 21), "b | b");
}

#[test]
fn a_withdrawn_signing_key_without_a_successor_leaves_none_until_one_comes() {
    let mut rotation = rotation(TIMING);
    rotation.withdraw("a");
    assert_eq!(ring(&mut rotation, 1), "- | ");
    assert_eq!(rotation.own_loaded(set("a"), at(2)).unwrap_err().kind(), KeyErrorKind::Ring);
    assert_eq!(ring(&mut rotation, 2), "- | ");
    rotation.own_loaded(set("b"), at(3)).unwrap();
    assert_eq!(ring(&mut rotation, 3), "b | b");
}

#[test]
fn a_key_withdrawn_under_one_name_is_withdrawn_under_all() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("b").retiring(key("a").with_kid("other")), at(20)).unwrap();
    assert_eq!(ring(&mut rotation, 20), "a | a b other");
    rotation.withdraw("other");
    assert_eq!(ring(&mut rotation, 20), "b | b");
}

#[test]
fn a_key_withdrawn_by_the_set_that_renames_it_is_withdrawn() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("a").retiring(key("old")), at(1)).unwrap();
    let renamed = set("a").retiring(key("old").with_kid("new")).withdrawing("old");
    rotation.own_loaded(renamed, at(2)).unwrap();
    assert_eq!(ring(&mut rotation, 2), "a | a");
    // Refused as the one to sign with, it does not sign under another name.
    let refused = rotation.own_loaded(set("b").withdrawing("b"), at(3)).unwrap_err();
    assert_eq!(refused.kind(), KeyErrorKind::Ring);
    let renamed = KeySet::signing(key("b").with_kid("c"));
    assert_eq!(rotation.own_loaded(renamed, at(4)).unwrap_err().kind(), KeyErrorKind::Ring);
    assert_eq!(ring(&mut rotation, 100), "a | a");
}

#[test]
fn a_foreign_key_withdrawn_under_one_name_is_withdrawn_under_all() {
    let named = |kid: &str| KeySet::verifying([key("f").with_kid(kid).into(), key("g").into()]);
    for by_hand in [true, false] {
        let mut rotation = rotation(TIMING);
        rotation.foreign_loaded(0, named("f"), at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), "a | a f g");
        if by_hand {
            rotation.withdraw("f");
            rotation.foreign_loaded(0, named("other"), at(1)).unwrap();
        } else {
            rotation.foreign_loaded(0, named("other").withdrawing("f"), at(1)).unwrap();
        }
        assert_eq!(ring(&mut rotation, 1), "a | a g", "by hand: {by_hand}");
        rotation.foreign_loaded(0, named("third"), at(2)).unwrap();
        assert_eq!(ring(&mut rotation, 2), "a | a g", "by hand: {by_hand}");
    }
}

#[test]
fn an_issuer_that_publishes_anothers_key_under_a_withdrawn_name_withdraws_its_own_entry_alone() {
    let named = |name: &str, kid: &str| KeySet::verifying([key(name).with_kid(kid).into()]);
    let old = key("old").fingerprint().to_owned();
    for name in ["old", &old] {
        let prepare = || {
            let mut rotation = trusting(TIMING, &["x", "x2", "y"]);
            rotation.own_loaded(set("new").retiring(key("old")), at(0)).unwrap();
            rotation.foreign_loaded(0, named("new", name), at(0)).unwrap();
            rotation.foreign_loaded(1, named("y", name), at(0)).unwrap();
            rotation.foreign_loaded(2, named("y", "y"), at(0)).unwrap();
            assert_eq!(ring(&mut rotation, 0), format!("new | new old {name} y"));
            rotation
        };
        let mut by_hand = prepare();
        by_hand.withdraw(name);
        assert_eq!(ring(&mut by_hand, 1), "new | new y");
        let mut by_source = prepare();
        by_source.own_loaded(set("new").withdrawing(name), at(1)).unwrap();
        assert_eq!(ring(&mut by_source, 1), "new | new y");
        // Nor does it matter which comes first, the withdrawal or the own key.
        let mut early = prepare();
        early.withdraw(name);
        early.own_loaded(set("newest"), at(2)).unwrap();
        early.foreign_loaded(0, named("newest", name), at(2)).unwrap();
        assert_eq!(ring(&mut early, 20), "newest | newest new y");
        // What was withdrawn of the issuer stays out, under any name; the own key is nobody else's, withdrawn.
        early.foreign_loaded(1, named("y", "other"), at(21)).unwrap();
        early.foreign_loaded(0, named("old", "other"), at(21)).unwrap();
        assert_eq!(ring(&mut early, 21), "newest | newest new y");
    }
}

#[test]
fn a_foreign_source_that_withdraws_its_last_key_withdraws_it() {
    let mut rotation = rotation(TIMING);
    let set = || KeySet::verifying([key("f").into(), key("g").into()]);
    rotation.foreign_loaded(0, set(), at(0)).unwrap();
    let last = KeySet::default().withdrawing("f");
    assert_eq!(rotation.foreign_loaded(0, last, at(1)).unwrap(), IssuerKeys::Emptied);
    assert_eq!(ring(&mut rotation, 1), "a | a");
    rotation.foreign_loaded(0, set(), at(2)).unwrap();
    assert_eq!(ring(&mut rotation, 2), "a | a g");
}

#[test]
fn retired_keys_of_the_source_survive_a_restart_and_go_when_they_are_no_longer_listed() {
    let mut rotation = RotationState::new(TIMING);
    rotation.own_loaded(set("b").retiring(key("a")), at(0)).unwrap();
    assert_eq!(ring(&mut rotation, 0), "b | b a");
    rotation.own_loaded(set("b"), at(2)).unwrap();
    assert_eq!(ring(&mut rotation, 2), "b | b");
}

#[test]
fn a_retired_key_that_is_missing_while_something_does_not_load_verifies_on_for_its_overlap_and_no_longer() {
    let half_read = |set: KeySet| {
        let mut set = set;
        set.skipped.push(KeyError::unavailable("half written"));
        set
    };
    let mut rotation = RotationState::new(TIMING);
    rotation.own_loaded(half_read(set("b").retiring(key("a")).retiring(key("z"))), at(0)).unwrap();
    assert_eq!(ring(&mut rotation, 0), "b | b a z");
    let gone = 1 + SPREAD + OVERLAP;
    for (instant, expected) in
        [(1, "b | b a z"), (2, "b | b a z"), (gone - 1, "b | b a z"), (gone, "b | b"), (gone + 1, "b | b")]
    {
        // A README among the keys is skipped at every load.
        rotation.own_loaded(half_read(set("b")), at(instant)).unwrap();
        assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
    }
    // One that loads again is listed as before, and leaves as it would have.
    rotation.own_loaded(set("b").retiring(key("a")), at(gone + 2)).unwrap();
    rotation.own_loaded(half_read(set("b")), at(gone + 3)).unwrap();
    rotation.own_loaded(set("b").retiring(key("a")), at(gone + 4)).unwrap();
    assert_eq!(ring(&mut rotation, gone + 1_000), "b | b a");
    rotation.own_loaded(set("b"), at(gone + 1_000)).unwrap();
    assert_eq!(ring(&mut rotation, gone + 1_000), "b | b");
}

#[test]
fn a_key_that_signs_and_is_listed_is_one_key() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("a").retiring(key("a")).retiring(key("a")), at(1)).unwrap();
    assert_eq!(ring(&mut rotation, 1), "a | a");
    // It was replaced here, and the source lists it as well: it goes when both let go of it.
    rotation.own_loaded(set("b").retiring(key("a")), at(20)).unwrap();
    let long_after = 20 + DELAY + SPREAD + OVERLAP + 1_000;
    assert_eq!(ring(&mut rotation, 40), "b | b a");
    assert_eq!(ring(&mut rotation, long_after), "b | b a");
    rotation.own_loaded(set("b"), at(long_after)).unwrap();
    assert_eq!(ring(&mut rotation, long_after), "b | b");
}

#[test]
fn keys_that_share_a_name_are_all_tried() {
    let mut rotation = RotationState::new(Timing { activation_delay: 0, ..TIMING });
    for (n, name) in ["one", "two", "three"].into_iter().enumerate() {
        rotation.own_loaded(KeySet::signing(key(name).with_kid("main")), at(n as u64)).unwrap();
        let _ = rotation.ring(at(n as u64));
    }
    let ring = rotation.ring(at(3));
    assert_eq!(ring.candidates(Some("main"), "HS256", || None).count(), 3);
    rotation.withdraw(key("two").fingerprint());
    assert_eq!(rotation.ring(at(3)).candidates(Some("main"), "HS256", || None).count(), 2);
}

#[test]
fn a_source_without_a_signing_key_changes_nothing() {
    let mut rotation = rotation(TIMING);
    let error = rotation.own_loaded(KeySet::verifying([]), at(1)).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::WrongType);
    assert_eq!(ring(&mut rotation, 1), "a | a");
}

#[test]
fn a_failed_load_hands_its_withdrawals_on() {
    let failed = |kid: &str| KeySet {
        skipped: vec![KeyError::unavailable("current can't be read")],
        ..KeySet::default().withdrawing(kid)
    };
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("a").retiring(key("b")).retiring(key("c")), at(1)).unwrap();
    assert_eq!(ring(&mut rotation, 1), "a | a b c");
    let error = rotation.own_loaded(failed("b"), at(2)).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Unavailable);
    assert!(error.to_string().contains("current can't be read"), "{error}");
    assert_eq!(ring(&mut rotation, 2), "a | a c");
    rotation.own_loaded(failed("a"), at(3)).unwrap_err();
    assert_eq!(ring(&mut rotation, 3), "- | c");

    rotation.foreign_loaded(0, KeySet::verifying([key("f").into(), key("g").into()]), at(4)).unwrap();
    rotation.foreign_loaded(0, failed("f"), at(5)).unwrap_err();
    assert_eq!(ring(&mut rotation, 5), "- | c g");
}

#[test]
fn a_withdrawal_that_no_key_ever_answered_to_is_told() {
    let mut rotation = rotation(TIMING);
    rotation.foreign_loaded(0, KeySet::verifying([key("f").into()]), at(0)).unwrap();
    // `[f]` and what is read in it are one entry.
    let names = ["a", "[f]", "f", "typo"].map(str::to_owned);
    let set = names.iter().fold(set("b"), |set, name| set.withdrawing(name));
    rotation.own_loaded(set.clone(), at(1)).unwrap();
    let told = |rotation: &mut RotationState| {
        let errors = rotation.unknown_withdrawals(&names);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(told(&mut rotation).starts_with("key \"typo\""), "{}", told(&mut rotation));
    // Long after the keys are gone from every source, too.
    assert_eq!(ring(&mut rotation, 10_000), "b | b");
    rotation.foreign_loaded(0, KeySet::verifying([key("g").into()]), at(10_001)).unwrap();
    assert_eq!(rotation.unknown_withdrawals(&names).len(), 1);
    // Nor is the key that the source would sign with unknown.
    rotation.own_loaded(set.withdrawing("b"), at(10_002)).unwrap_err();
    assert!(rotation.unknown_withdrawals(&["b".to_owned()]).is_empty());
}

#[test]
fn of_a_line_that_withdraws_keys_every_other_word_is_told_of() {
    let fingerprint = key("f").fingerprint().to_owned();
    let remark = "stands beside another name";
    let unknown = "is it misspelt?";
    // What the reader makes of the lines of a file, and which errors that gives.
    for (names, expected) in [
        (&["d c", "d"][..], &[][..]),
        (&["f, typo", "f", "typo"], &[("\"typo\"", unknown)]),
        (&["f replaced by a", "f"], &[("\"replaced by a\"", remark)]),
        (&["verifies HS256 <f> kid=f, verifies HS256 typo", "<f>", "typo"], &[("\"typo\"", unknown)]),
        (&["verifies HS256 <f> kid=f, signs HS256 b kid=b", "<f>", "b"], &[]),
        (&["typo of f", "typo"], &[("\"typo of f\"", unknown)]),
        (&["typo of that", "typo"], &[("\"typo of that\"", unknown)]),
        (&["kid=CN=a,O=b", "CN=a,O=b", "CN=a", "O=b"], &[]),
        (&["HS256 CN=a,O=b leaked", "CN=a,O=b", "CN=a", "O=b"], &[("\"leaked\"", remark)]),
        (&["f,typo leaked", "f,typo", "f", "typo"], &[("\"typo\"", unknown), ("\"leaked\"", remark)]),
    ] {
        let mut rotation = rotation(TIMING);
        rotation
            .foreign_loaded(0, KeySet::verifying(["f", "d c", "CN=a,O=b"].map(|kid| key(kid).into())), at(0))
            .unwrap();
        let names: Vec<_> = names.iter().map(|name| name.replace("<f>", &fingerprint)).collect();
        let set = set("a").retiring(key("b"));
        let set = names.iter().fold(set, |set, name| set.withdrawing(name));
        rotation.own_loaded(set, at(1)).unwrap();
        let told: Vec<_> = rotation.unknown_withdrawals(&names).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{names:?}: {told:?}");
        for (told, (word, what)) in told.iter().zip(expected) {
            assert!(told.contains(word) && told.contains(what), "{names:?}: {told}");
        }
    }
}

#[test]
fn foreign_keys_are_replaced_whole_and_serve_on_for_a_time_while_their_source_fails() {
    let mut rotation = rotation(TIMING);
    let foreign = |name: &str| KeySet::verifying([key(name).into()]);
    rotation.foreign_loaded(0, foreign("f"), at(0)).unwrap();
    assert_eq!(ring(&mut rotation, 0), "a | a f");
    rotation.foreign_loaded(0, foreign("g"), at(1)).unwrap();
    assert_eq!(ring(&mut rotation, 1), "a | a g");
    rotation.foreign_failed(0, at(10));
    rotation.foreign_failed(0, at(30));
    let unread = KeySet { skipped: vec![KeyError::unavailable("it can't be read")], ..KeySet::default() };
    let error = rotation.foreign_loaded(0, unread, at(40)).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Unavailable);
    for (instant, expected) in [(10, "a | a g"), (10 + STALE - 1, "a | a g"), (10 + STALE, "a | a")] {
        assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
    }
    rotation.foreign_loaded(0, foreign("g"), at(100)).unwrap();
    assert_eq!(ring(&mut rotation, 100 + STALE), "a | a g");
}

#[test]
fn keys_whose_source_is_replaced_again_and_again_go_like_those_of_one_that_fails() {
    let mut rotation = rotation(TIMING);
    rotation.foreign_loaded(0, KeySet::verifying([key("f").into()]), at(0)).unwrap();
    assert_eq!(ring(&mut rotation, 5), "a | a f");
    let (mut number, mut now) = (0, 10);
    while now < 10 + STALE {
        assert_eq!(ring(&mut rotation, now), "a | a f", "at {now}");
        number = rotation.trust(Arc::new("issuer".into()), Some(number), at(now)).unwrap();
        now += 7;
    }
    assert_eq!(ring(&mut rotation, 10 + STALE), "a | a");
    // Any answer ends it.
    rotation.foreign_loaded(number, KeySet::verifying([key("f").into()]), at(10 + STALE)).unwrap();
    assert_eq!(ring(&mut rotation, 10 + 3 * STALE), "a | a f");
}

#[test]
fn the_same_keys_in_another_order_are_no_new_ring() {
    let (mut rotation, mut own) = (rotation(TIMING), rotation(TIMING));
    let foreign = |names: &[&str]| KeySet::verifying(names.iter().map(|name| key(name).into()));
    for (names, expected) in [
        (["f", "g"], "a | a f g"),
        (["g", "f"], "a | a f g"),
        // A key fewer, though the set is as long.
        (["g", "g"], "a | a g"),
        (["g", "h"], "a | a g h"),
    ] {
        rotation.foreign_loaded(0, foreign(&names), at(0)).unwrap();
        assert_eq!(ring(&mut rotation, 0), expected, "{names:?}");
        let [one, two] = names.map(key);
        own.own_loaded(set("a").retiring(one).retiring(two), at(0)).unwrap();
        assert_eq!(ring(&mut own, 0), expected, "own {names:?}");
    }
}

#[test]
fn an_issuer_that_publishes_an_empty_set_has_taken_its_keys_back() {
    let mut rotation = rotation(TIMING);
    let foreign = || KeySet::verifying([key("f").into()]);
    let mut load = |set: KeySet, secs| {
        let loaded = rotation.foreign_loaded(0, set, at(secs)).unwrap();
        (loaded, ring(&mut rotation, secs))
    };
    let (without, with) = ("a | a".to_owned(), "a | a f".to_owned());
    // Told at the first sight alone, the start's included.
    assert_eq!(load(KeySet::default(), 0), (IssuerKeys::Emptied, without.clone()));
    assert_eq!(load(KeySet::default(), 1), (IssuerKeys::StillEmpty, without.clone()));
    assert_eq!(load(foreign(), 2), (IssuerKeys::Held, with.clone()));
    assert_eq!(load(KeySet::default(), 3), (IssuerKeys::Emptied, without.clone()));
    rotation.foreign_failed(0, at(4));
    assert_eq!(ring(&mut rotation, 5), without, "an outage brings nothing back");
}

#[test]
fn an_own_set_that_holds_no_key_that_signs_changes_nothing() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("a").retiring(key("listed")), at(1)).unwrap();
    for unusable in [KeySet::default(), KeySet::verifying([key("file of a retired key").into()])] {
        let error = rotation.own_loaded(unusable, at(2)).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::WrongType);
    }
    let failed = KeySet { skipped: vec![KeyError::unavailable("it can't be read")], ..KeySet::default() };
    rotation.own_loaded(failed, at(3)).unwrap_err();
    for secs in [3, 100_000] {
        assert_eq!(ring(&mut rotation, secs), "a | a listed");
    }
}

#[test]
fn a_key_that_may_not_sign_for_each_own_issuer_changes_nothing_but_what_it_withdraws() {
    let own = |issuer: &'static str| Some(Arc::from(issuer));
    for (issuers, named, allowed) in [
        (vec![], "i", true),
        (vec![own("i"), own("i")], "i", true),
        (vec![own("i")], "i/", false),
        (vec![own("i"), own("j")], "i", false),
        (vec![own("x-i"), own("x-j")], "x-{any}", true),
        (vec![None], "i", false),
    ] {
        let mut rotation = rotation(TIMING);
        let listed = || set("a").retiring(key("listed")).retiring(key("leaked"));
        rotation.own_loaded(listed(), at(1)).unwrap();
        for issuer in &issuers {
            rotation.sign_for(issuer.as_ref()).unwrap();
        }
        let set = KeySet::signing(key_of("b", named)).withdrawing("leaked");
        let refusal = rotation.own_loaded(set, at(2)).err().map(|error| error.kind());
        assert_eq!(refusal, (!allowed).then_some(KeyErrorKind::WrongUse), "{issuers:?} {named}");
        let activated = 2 + DELAY + 1;
        for (instant, expected) in if allowed {
            [(2, "a | a b"), (activated, "b | b a")]
        } else {
            [2, activated].map(|at| (at, "a | a listed"))
        } {
            assert_eq!(ring(&mut rotation, instant), expected, "{issuers:?} {named} at {instant}");
        }
        // One that waits to sign counts as well.
        let mut waiting = self::rotation(TIMING);
        waiting.own_loaded(KeySet::signing(key_of("b", named)), at(2)).unwrap();
        let fits = issuers.iter().all(|issuer| waiting.sign_for(issuer.as_ref()).is_ok());
        assert_eq!(fits, allowed, "{issuers:?} {named}");
    }
    // It is known by its other names, too.
    let mut rotation = rotation(TIMING);
    rotation.sign_for(None).unwrap();
    rotation.own_loaded(KeySet::signing(key_of("b", "i")).withdrawing("b"), at(2)).unwrap_err();
    rotation.own_loaded(set("a").retiring(key("b").with_kid("other")), at(3)).unwrap();
    assert_eq!(ring(&mut rotation, 3), "a | a");
}

#[test]
fn an_own_key_that_an_issuer_publishes_is_not_the_issuers() {
    let mut rotation = rotation(TIMING);
    let names = ["a", "f", "b", "listed"].map(|name| key(name).with_kid(format!("x-{name}")).into());
    rotation.foreign_loaded(0, KeySet::verifying(names), at(1)).unwrap();
    assert_eq!(ring(&mut rotation, 1), "a | a x-f x-b x-listed");
    rotation.own_loaded(set("b").retiring(key("listed")), at(2)).unwrap();
    assert_eq!(ring(&mut rotation, 2), "a | a b listed x-f");
    assert_eq!(rotation.ring(at(2)).candidates(Some("x-a"), "HS256", || Some("x")).count(), 0);
    let told: Vec<_> = rotation.own_keys_of(0).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for kid in ["x-a", "x-b", "x-listed"] {
        assert!(told.iter().any(|line| line.contains(kid) && line.contains("\"x\"")), "{told:?}");
    }
}

#[test]
fn what_a_foreign_source_withdraws_is_its_own() {
    let mut rotation = rotation(TIMING);
    let set = KeySet::verifying([key("f").into(), key("g").into()]).withdrawing("f").withdrawing("a");
    rotation.foreign_loaded(0, set, at(0)).unwrap();
    assert_eq!(ring(&mut rotation, 0), "a | a g");
}

#[test]
fn a_clock_that_steps_back_changes_nothing() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("b"), at(20)).unwrap();
    assert_eq!(ring(&mut rotation, 31), "b | b a");
    assert_eq!(ring(&mut rotation, 0), "b | b a");
    rotation.own_loaded(set("c"), at(5)).unwrap();
    assert_eq!(ring(&mut rotation, 31 + DELAY), "b | b c a");
    assert_eq!(ring(&mut rotation, 31 + DELAY + 1), "c | c b a");
}

#[test]
fn a_clock_that_was_far_ahead_for_once_freezes_nothing() {
    let mut rotation = rotation(TIMING);
    rotation.own_loaded(set("b"), NumericDate::MAX).unwrap();
    let ring_at = |rotation: &mut RotationState, now| {
        let ring = rotation.ring(now);
        (ring.signing_key().unwrap().kid().to_owned(), ring.kids().count())
    };
    assert_eq!(ring_at(&mut rotation, NumericDate::MAX), ("a".to_owned(), 2));
    // It is right again: the waits that began go on.
    let activated = DELAY + 1;
    for (instant, expected) in [
        (0, "a | a b"),
        (activated - 1, "a | a b"),
        (activated, "b | b a"),
        (activated + SPREAD + OVERLAP - 1, "b | b a"),
        (activated + SPREAD + OVERLAP, "b | b"),
    ] {
        assert_eq!(ring(&mut rotation, instant), expected, "at {instant}");
    }
}

#[test]
fn times_without_end_do_not_overflow() {
    let endless = u64::MAX;
    let timing = Timing { activation_delay: endless, spread: endless, overlap: endless, stale_for: endless };
    let mut rotation = rotation(timing);
    rotation.own_loaded(set("b"), at(1)).unwrap();
    rotation.own_loaded(set("c"), at(2)).unwrap();
    rotation.foreign_failed(0, at(2));
    assert_eq!(ring(&mut rotation, 1_000_000), "a | a c b");
}

#[test]
fn the_last_sixteen_keys_that_were_retired_and_not_withdrawn_are_remembered() {
    let mut rotation = rotation(TIMING);
    let retired = |rotation: &mut RotationState, name: &str, secs: u64| {
        rotation.retired(name, at(secs)).into_iter().map(|retired| retired.for_secs).collect::<Vec<_>>()
    };
    rotation.own_loaded(set("b"), at(20)).unwrap();
    let gone = 20 + DELAY + 1 + SPREAD + OVERLAP;
    ring(&mut rotation, 20 + DELAY + 1);
    ring(&mut rotation, gone - 1);
    assert!(retired(&mut rotation, "a", gone - 1).is_empty(), "it verifies");
    ring(&mut rotation, gone);
    assert_eq!(retired(&mut rotation, "a", gone), [0]);
    assert_eq!(retired(&mut rotation, "a", gone + 7), [7]);
    assert!(retired(&mut rotation, "b", gone).is_empty() && retired(&mut rotation, "c", gone).is_empty());
    // It comes back, and goes again.
    rotation.own_loaded(set("a"), at(gone + 10)).unwrap();
    ring(&mut rotation, gone + 10);
    assert!(retired(&mut rotation, "a", gone + 10).is_empty());
    // A listed key that its source lists no more has gone as well.
    let listing = |listed: &[&str]| KeySet {
        verifying: listed.iter().map(|name| key(name).into()).collect(),
        ..set("a")
    };
    let names: Vec<String> = (0..20).map(|n| format!("listed-{n}")).collect();
    let mut secs = gone + 1_000;
    for name in &names {
        rotation.own_loaded(listing(&[name]), at(secs)).unwrap();
        ring(&mut rotation, secs);
        secs += 1;
    }
    rotation.own_loaded(listing(&[]), at(secs)).unwrap();
    ring(&mut rotation, secs);
    let remembered: Vec<_> =
        names.iter().filter(|name| !retired(&mut rotation, name, secs).is_empty()).collect();
    assert_eq!(remembered, names.iter().skip(4).collect::<Vec<_>>());
    // By whatever name it is withdrawn.
    rotation.withdraw("listed-10");
    rotation.withdraw(key("listed-11").fingerprint());
    for name in ["listed-10", "listed-11"] {
        assert!(retired(&mut rotation, name, secs).is_empty(), "{name}");
    }
    assert!(rotation.unknown_withdrawals(&["listed-10".to_owned()]).is_empty(), "it was met");
}
