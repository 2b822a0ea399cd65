use crate::keys::Algorithm;

use super::*;

fn secret(n: u8) -> SigningKey {
    let bytes: Vec<u8> = (n..n + 64).collect();
    SigningKey::from_secret(Algorithm::HS256, bytes).unwrap()
}

fn found<'a>(ring: &'a KeyRing, kid: Option<&str>, alg: &'a str) -> Vec<&'a str> {
    ring.candidates(kid, alg, || Some("x")).map(|key| key.kid()).collect()
}

#[test]
fn a_kid_finds_its_key_and_no_other() {
    let ring = KeyRing::new(secret(1).with_kid("a")).retiring(secret(2).with_kid("b")).unwrap();
    assert_eq!(found(&ring, Some("a"), "HS256"), ["a"]);
    assert_eq!(found(&ring, Some("b"), "HS256"), ["b"]);
    for kid in ["", "A", "a ", "../a", "a\0", "c"] {
        assert!(found(&ring, Some(kid), "HS256").is_empty(), "{kid:?}");
        assert!(!ring.knows_kid(Some(kid), || None), "{kid:?}");
    }
    assert!(ring.knows_kid(Some("a"), || None) && ring.knows_kid(None, || None));
}

#[test]
fn only_the_exact_name_of_its_algorithm_finds_a_key() {
    let ring = KeyRing::new(secret(1).with_kid("a"));
    for alg in ["none", "None", "NONE", "", "hs256", "HS256 ", "HS384", "HS512", "RS256"] {
        assert!(found(&ring, Some("a"), alg).is_empty(), "{alg:?}");
        assert!(found(&ring, None, alg).is_empty(), "{alg:?}");
    }
    assert_eq!(found(&ring, None, "HS256"), ["a"]);
}

#[test]
fn without_a_kid_own_keys_come_first_and_eight_of_the_issuers_are_tried() {
    let foreign = (10..30).map(|n| secret(n).with_kid(format!("f{n}")).into());
    let ring = KeyRing::new(secret(1).with_kid("a")).trust("x", foreign).unwrap();
    let tried = found(&ring, None, "HS256");
    assert_eq!(tried.len(), 1 + MAX_TRIED);
    assert_eq!(tried[0], "a");
}

#[test]
fn own_keys_do_not_crowd_out_an_issuers() {
    let mut ring = KeyRing::new(secret(1));
    for n in 2..=9 {
        ring = ring.retiring(secret(n)).unwrap();
    }
    let ring = ring.trust("x", (11..=20).map(|n| secret(n).into())).unwrap();
    let whose = |issuer: &'static str| {
        let tried: Vec<_> = ring.candidates(None, "HS256", || Some(issuer)).map(|key| key.is_own()).collect();
        let own = tried.iter().filter(|own| **own).count();
        (own, tried.len() - own)
    };
    assert_eq!((whose("x"), whose("y")), ((8, 8), (8, 0)));
}

#[test]
fn a_further_kid_finds_every_key_that_shares_it_in_order() {
    let ring = KeyRing::new(secret(1).with_kid("new").also_known_as("not-used"))
        .retiring(secret(2).with_kid("old").also_known_as("not-used"))
        .unwrap();
    assert_eq!(found(&ring, Some("not-used"), "HS256"), ["new", "old"]);
    assert_eq!(found(&ring, Some("new"), "HS256"), ["new"]);
    // Said twice, or the same as its own kid, it counts once.
    let key = secret(3).with_kid("k").also_known_as("k").also_known_as("x").also_known_as("x");
    let ring = KeyRing::new(key);
    assert_eq!(found(&ring, Some("k"), "HS256"), ["k"]);
    assert_eq!(found(&ring, Some("x"), "HS256"), ["k"]);
}

#[test]
fn a_key_is_known_by_a_name_that_no_later_key_has() {
    let ring = KeyRing::new(secret(1).with_kid("chosen").also_known_as("further"))
        .retiring(secret(2).also_known_as("further"))
        .unwrap()
        .trust("x", [VerifyingKey::from(secret(3).with_kid("issuers")).also_known_as("further")])
        .unwrap();
    let own = secret(2);
    for kid in ["chosen", "further", "issuers", "else", secret(1).fingerprint()] {
        assert!(!ring.has_own_key(kid), "{kid}");
    }
    assert!(ring.has_own_key(own.kid()) && own.kid() == own.fingerprint());
    for kid in ["chosen", "further", "else", own.kid()] {
        assert!(!ring.has_key_of("x", kid), "{kid}");
    }
    assert!(ring.has_key_of("x", "issuers") && !ring.has_key_of("y", "issuers"));
}

#[test]
fn a_primary_kid_is_one_keys_alone_within_its_origin() {
    let ring = || KeyRing::new(secret(1).with_kid("a").also_known_as("further"));
    for clash in [
        secret(1),
        secret(2).with_kid("a"),
        secret(2).with_kid("further"),
        secret(2).with_kid("b").also_known_as("a"),
    ] {
        // The same key under its fingerprint does not clash with itself under another name.
        let is_new_name = clash.kid() == clash.fingerprint();
        let refused = ring().retiring(clash).map_err(|error| error.kind()).err();
        assert_eq!(refused, (!is_new_name).then_some(KeyErrorKind::DuplicateKid));
    }
    assert!(KeyRing::new(secret(1)).retiring(secret(1)).is_err());

    let error = ring().retiring(secret(2).with_kid("a")).unwrap_err().to_string();
    assert!(error.contains("key \"a\"") && error.contains("with_kid"), "{error}");
}

#[test]
fn two_issuers_may_use_one_kid() {
    let ring = KeyRing::new(secret(1).with_kid("1"))
        .trust("x", [secret(2).with_kid("1").into()])
        .unwrap()
        .trust("y", [secret(3).with_kid("1").into()])
        .unwrap();
    for (claimed, expected) in [
        (Some("x"), &[None, Some("x")][..]),
        (Some("y"), &[None, Some("y")]),
        (Some("z"), &[None]),
        (None, &[None]),
    ] {
        let candidates = ring.candidates(Some("1"), "HS256", || claimed);
        assert_eq!(candidates.map(|key| key.issuer()).collect::<Vec<_>>(), expected, "{claimed:?}");
    }
    assert!(ring.trust("x", [secret(4).with_kid("1").into()]).is_err());
}

#[test]
fn any_number_of_issuers_may_use_one_kid() {
    let mut ring = KeyRing::new(secret(1).with_kid("own"));
    for n in 2..40 {
        ring = ring.trust(format!("issuer {n}"), [secret(n).with_kid("1").into()]).unwrap();
    }
    for n in 2..40 {
        let issuer = format!("issuer {n}");
        let candidates: Vec<_> = ring.candidates(Some("1"), "HS256", || Some(issuer.as_str())).collect();
        assert!(matches!(candidates[..], [key] if key.issuer() == Some(issuer.as_str())), "{candidates:?}");
    }
    assert!(!ring.knows_kid(Some("1"), || Some("nobody")));
}

#[test]
fn the_claimed_issuer_is_asked_for_only_where_it_decides() {
    let asked = std::cell::Cell::new(0);
    let ring = KeyRing::new(secret(1).with_kid("a")).retiring(secret(2).with_kid("b")).unwrap();
    let count = |ring: &KeyRing, kid| {
        let issuer = || {
            asked.set(asked.get() + 1);
            None
        };
        ring.candidates(kid, "HS256", issuer).count()
    };
    assert_eq!(count(&ring, None), 2);
    let ring = ring.trust("x", [secret(3).with_kid("c").into()]).unwrap();
    assert_eq!([count(&ring, Some("a")), count(&ring, Some("c"))], [1, 1]);
    assert_eq!(asked.get(), 0);
    assert_eq!((count(&ring, None), asked.get()), (2, 1));
}

#[test]
fn more_keys_for_a_kid_than_are_tried_are_refused() {
    let mut ring = KeyRing::new(secret(1).also_known_as("not-used"));
    for n in 2..=8 {
        ring = ring.retiring(secret(n).also_known_as("not-used")).unwrap();
    }
    let error = ring.clone().retiring(secret(9).also_known_as("not-used")).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Ring);
    assert!(ring.retiring(secret(9)).is_ok());
}

#[test]
fn an_issuer_needs_a_name_and_a_key() {
    let ring = || KeyRing::new(secret(1));
    assert_eq!(ring().trust("", [secret(2).into()]).unwrap_err().kind(), KeyErrorKind::Ring);
    assert_eq!(ring().trust("x", []).unwrap_err().kind(), KeyErrorKind::Ring);
}

#[test]
fn a_swapped_ring_holds_a_key_by_what_it_is_and_whose_it_is() {
    let old = KeyRing::new(secret(1)).trust("x", [secret(2).into()]).unwrap();
    let [own, foreign] = &old.keys[..] else { panic!("two keys") };
    assert!(own.is_own() && own.issuer().is_none());
    assert!(!foreign.is_own() && foreign.issuer() == Some("x"));

    let renamed = KeyRing::new(secret(3)).retiring(secret(1).with_kid("renamed")).unwrap();
    assert!(renamed.holds(own, None) && !renamed.holds(foreign, Some("x")));
    let adopted = KeyRing::new(secret(2));
    assert!(!adopted.holds(foreign, Some("x")), "an own key is not the issuer's");
    let bytes: Vec<u8> = (1..65).collect();
    let other_algorithm = SigningKey::from_secret(Algorithm::HS512, bytes).unwrap();
    assert!(!KeyRing::new(other_algorithm).holds(own, None));
}

#[test]
fn an_issuers_key_is_held_for_the_tenants_that_it_has_now_under_the_terms_that_it_had() {
    let tenants = |these: &[&str]| TrustedIssuer::tenants("https://x/{tid}", these.iter().copied());
    let trusting = |issuer: TrustedIssuer| KeyRing::verify_only().trust(issuer, [secret(2).into()]).unwrap();
    let old = trusting(tenants(&["a"]));
    let key = &old.keys[0];
    for (now, of_a, of_b) in [
        (tenants(&["a"]), true, false),
        (tenants(&["a", "b"]), true, true),
        (tenants(&["b"]), false, true),
        (TrustedIssuer::every_tenant("https://x/{tid}"), true, true),
        (tenants(&["a"]).audience("other"), false, false),
        (TrustedIssuer::new("https://x/a"), false, false),
    ] {
        let ring = trusting(now.clone());
        let held = ["https://x/a", "https://x/b"].map(|iss| ring.holds(key, Some(iss)));
        assert_eq!((held, ring.holds(key, None)), ([of_a, of_b], false), "{now:?}");
    }
}

#[test]
fn a_ring_prints_names_and_algorithms_only() {
    let ring =
        KeyRing::new(secret(b'A').with_kid("a")).trust("x", [secret(b'a').with_kid("b").into()]).unwrap();
    assert_eq!(
        format!("{ring:?}"),
        "KeyRing { keys: [RingKey { kid: \"a\", algorithm: HS256, .. }, \
         RingKey { kid: \"b\", algorithm: HS256, issuer: \"x\", .. }], .. }"
    );
    assert_eq!(ring.kids().collect::<Vec<_>>(), ["a", "b"]);
}
