//! JWK sets (RFC 7517 §5).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::jwk::{Jwk, JwkOptions};
use crate::keys::format::text::not_json;
use crate::keys::key_set::KeySet;
use crate::keys::signing_key::SigningKey;
use crate::keys::verifying_key::VerifyingKey;

/// More than any issuer publishes. Each key takes time to load, and again for every token without `kid`.
pub(super) const MAX_KEYS: usize = 256;
/// In bytes. A `kid` is part of every token's header.
const MAX_KID: usize = 256;

impl KeySet {
    /// A set that another party publishes. Its keys verify. A key that does not load is listed in
    /// [`skipped`](Self::skipped), and the others are used. A key that is marked for encryption (`use`, `key_ops` or
    /// `alg`) is ignored silently, because many sets have one. A set without entries is empty: its issuer has
    /// withdrawn all its keys.
    ///
    /// Two keys may share a `kid` if their algorithms differ: a token's `alg` says which is meant (RFC 7517 §4.5).
    ///
    /// # Errors
    ///
    /// If the text is not a JWK set, has more than 256 entries, mixes secrets with public keys (whoever reads the set
    /// could sign with the secrets, so one of the two is a mistake), or has entries of which none loads. Skipped are
    /// keys with private members, keys with a `kid` of more than 256 bytes, and keys that share both `kid` and
    /// algorithm.
    pub fn from_jwk_set(text: &str) -> Result<Self, KeyError> {
        Self::published(text, None)
    }

    /// `assumed` is the algorithm of keys that name none, if their type fits.
    pub(crate) fn published(text: &str, assumed: Option<Algorithm>) -> Result<Self, KeyError> {
        let entries = entries(text)?;
        let is_secret = |entry: &Result<Entry<'_>, KeyError>| entry.as_ref().ok().map(Entry::is_secret);
        let secrets: Vec<bool> = entries.iter().filter_map(is_secret).collect();
        if secrets.contains(&true) && secrets.contains(&false) {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                "the JWK set mixes secrets with public keys; publish public keys only",
            ));
        }
        let options = JwkOptions { assumed, ..JwkOptions::default() };
        let is_empty = entries.is_empty();
        let (mut set, mut for_encryption) = (Self::default(), None);
        for entry in entries {
            match entry.and_then(|entry| entry.published_key(options)) {
                Ok(Purpose::Signatures(key)) => set.verifying.push(key),
                Ok(Purpose::Encryption(error)) => for_encryption = Some(error),
                Err(error) => set.skipped.push(error),
            }
        }
        set.skip_duplicates();
        if is_empty { Ok(set) } else { set.or_nothing_usable(for_encryption) }
    }

    /// A set of own keys, as in a file. Its first private or `oct` key signs, every other key verifies. A key that
    /// does not load is listed in [`skipped`](Self::skipped), and the others are used. A key that is marked for
    /// encryption is ignored. A secret with `"key_ops": ["verify"]` only verifies.
    ///
    /// # Errors
    ///
    /// If the text is not a JWK set, has more than 256 entries, or has entries of which none loads; if its first private or `oct`
    /// key does not load (also for a `kid` of more than 256 bytes), or an entry before it that may be the one meant to sign:
    /// it is not a JWK, repeats a member, or is of no known `kty`.
    pub fn from_own_jwk_set(text: &str) -> Result<Self, KeyError> {
        Self::own(text, JwkOptions::default())
    }

    pub(crate) fn own(text: &str, options: JwkOptions) -> Result<Self, KeyError> {
        let entries = entries(text)?;
        let is_empty = entries.is_empty();
        let (mut set, mut for_encryption) = (Self::default(), None);
        // Why an entry did not load that may be the key that should sign. No later one signs in its place.
        let mut unread_signer = None;
        for entry in entries {
            let is_public = entry.as_ref().is_ok_and(|entry| entry.jwk.is_public());
            let key = match entry {
                Ok(entry) if entry.jwk.is_for_encryption() => {
                    for_encryption = Some(entry.for_encryption());
                    continue;
                }
                Ok(entry) if set.signing.is_none() && entry.jwk.is_for_signing() => {
                    let key = entry.signing_key(options)?;
                    set.signing = Some(unread_signer.take().map_or(Ok(key), Err)?);
                    continue;
                }
                Ok(entry) => entry.retired_key(options),
                Err(error) => Err(error),
            };
            match key {
                Ok(key) => set.verifying.push(key),
                Err(error) => {
                    if !is_public {
                        unread_signer.get_or_insert_with(|| error.clone());
                    }
                    set.skipped.push(error);
                }
            }
        }
        set.skip_duplicates();
        if is_empty { Ok(set) } else { set.or_nothing_usable(for_encryption) }
    }

    /// Skips keys that share both name and algorithm, because a token does not tell them apart. The signing key stays.
    fn skip_duplicates(&mut self) {
        let mut fingerprints: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        let signing = self.signing.as_ref().map(|key| (key.kid(), key.alg(), key.fingerprint()));
        let keys = self.verifying.iter().map(|key| (key.kid(), key.alg(), key.fingerprint())).chain(signing);
        for (kid, alg, fingerprint) in keys {
            let known = fingerprints.entry((kid, alg)).or_default();
            if !known.contains(&fingerprint) {
                known.push(fingerprint);
            }
        }
        let ambiguous: Vec<(String, String)> = fingerprints
            .iter()
            .filter(|(_, known)| known.len() > 1)
            .map(|((kid, alg), _)| ((*kid).to_owned(), (*alg).to_owned()))
            .collect();
        let is_ambiguous =
            |key: &VerifyingKey| ambiguous.iter().any(|(kid, alg)| kid == key.kid() && alg == key.alg());
        self.verifying.retain(|key| !is_ambiguous(key));
        self.skipped.extend(ambiguous.iter().map(|(kid, alg)| {
            let message = format!("several {alg} keys of the set have this `kid`; give each its own");
            KeyError::new(KeyErrorKind::DuplicateKid, message).about(kid)
        }));
        let mut kept: Vec<VerifyingKey> = Vec::new();
        for key in std::mem::take(&mut self.verifying) {
            // The same key twice is not ambiguous.
            if !kept.iter().any(|held| held.is_same(&key)) {
                kept.push(key);
            }
        }
        self.verifying = kept;
    }

    fn or_nothing_usable(self, for_encryption: Option<KeyError>) -> Result<Self, KeyError> {
        if self.signing.is_some() || !self.verifying.is_empty() {
            return Ok(self);
        }
        let error = KeyError::new(KeyErrorKind::Ring, "the JWK set holds no key that can be used");
        Err(match self.skipped.into_iter().next().or(for_encryption) {
            Some(first) => error.because(first),
            None => error,
        })
    }
}

/// What a key of a set is for. Of one for encryption, what is to be said where there is no other.
enum Purpose {
    Signatures(VerifyingKey),
    Encryption(KeyError),
}

struct Entry<'a> {
    at: usize,
    jwk: Jwk<'a>,
}

impl Entry<'_> {
    fn is_secret(&self) -> bool {
        self.jwk.is_secret()
    }

    fn published_key(&self, options: JwkOptions) -> Result<Purpose, KeyError> {
        if !self.is_secret() && self.jwk.is_private() {
            return Err(self.named(KeyError::new(
                KeyErrorKind::WrongType,
                "it is published with its private members: whoever reads the set can sign with it; withdraw it",
            )));
        }
        if self.jwk.is_for_encryption() {
            return Ok(Purpose::Encryption(self.for_encryption()));
        }
        self.verifying_key(options).map(Purpose::Signatures)
    }

    fn verifying_key(&self, options: JwkOptions) -> Result<VerifyingKey, KeyError> {
        self.refuse_long_kid()?;
        self.jwk.verifying_key(options).map_err(|error| self.named(error))
    }

    /// A key beside the one that signs. The private half is checked, and then dropped.
    fn retired_key(&self, options: JwkOptions) -> Result<VerifyingKey, KeyError> {
        if self.jwk.is_private() && !self.is_secret() {
            return self.signing_key(options).map(VerifyingKey::from);
        }
        self.verifying_key(options)
    }

    fn signing_key(&self, options: JwkOptions) -> Result<SigningKey, KeyError> {
        self.refuse_long_kid()?;
        self.jwk.signing_key(options).map_err(|error| self.named(error))
    }

    fn for_encryption(&self) -> KeyError {
        self.named(KeyError::new(KeyErrorKind::WrongUse, "it is for encryption, and verifies no signature"))
    }

    fn refuse_long_kid(&self) -> Result<(), KeyError> {
        self.jwk.kid().map_or(Ok(()), |kid| refuse_long_kid(&kid)).map_err(|error| self.named(error))
    }

    fn named(&self, error: KeyError) -> KeyError {
        match self.jwk.kid() {
            Some(kid) => error.about(&kid),
            None => error.at(format_args!("entry {} of the set", self.at)),
        }
    }
}

pub(super) fn refuse_long_kid(kid: &str) -> Result<(), KeyError> {
    if kid.len() <= MAX_KID {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::Malformed,
        format!("its `kid` has {} bytes, and {MAX_KID} are the most", kid.len()),
    ))
}

fn entries<'a>(text: &'a str) -> Result<Vec<Result<Entry<'a>, KeyError>>, KeyError> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    let text = text.trim_start_matches('\u{feff}');
    // The parser's own error may quote what it stumbled on: not passed on.
    let set: Set<'a> = serde_json::from_str(text).map_err(|_| {
        let message =
            format!("it is not a JWK set, a JSON object whose `keys` is an array{}", what_else(text));
        KeyError::new(KeyErrorKind::Malformed, message)
    })?;
    if set.keys.len() > MAX_KEYS {
        return Err(KeyError::new(
            KeyErrorKind::Ring,
            format!("the JWK set has {} keys, and {MAX_KEYS} are the most", set.keys.len()),
        ));
    }
    let entry = |(at, raw): (usize, &'a RawValue)| match Jwk::parse(raw.get()) {
        Ok(jwk) => Ok(Entry { at, jwk }),
        Err(error) => Err(error.at(format_args!("entry {at} of the set"))),
    };
    Ok(set.keys.into_iter().enumerate().map(entry).collect())
}

/// What the text is in place of a set, where it shows.
fn what_else(text: &str) -> &'static str {
    let has = |member: &str| {
        crate::jose::json::members(text).is_ok_and(|members| members.iter().any(|found| found.name == member))
    };
    if has("jwks_uri") {
        "; it is a provider's configuration, whose `jwks_uri` names the set: `JwksUrl::discover` reads it"
    } else if has("kty") {
        "; it is one JWK: put it into `{\"keys\":[…]}`, or read it with `KeyFormat::jwk`"
    } else if text.contains("-----BEGIN ") {
        "; it holds PEM: certificates by `kid` are read by `JwksUrl::certificates`, and most providers that publish them publish a \
         JWK set at another URL"
    } else {
        not_json(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::Algorithm;
    use crate::keys::test_keys::RSA_2048_JWK;

    fn ed25519(kid: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "Tbe0QQmrk-ZX3mjJiJ2GGI7IDArI6jai9byAvyst2c8"})
    }

    fn private(kid: &str) -> Value {
        let mut key = ed25519(kid);
        key["d"] = json!("Jh7KH8i0OUwbzl3rOL4TIvTevhKJ0jdLOVxC5NPNBp0");
        key
    }

    fn oct(kid: &str) -> Value {
        json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": "-ebuDNsVZ2iJtoZ-akfXTSCt4UO2cruLCsbWlBinggF4Yd2JKbO7fy6GcVx0wnC5zTqhS3mEupRXo1HkaILvDQ"})
    }

    fn set(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    fn kids(set: &KeySet) -> Vec<&str> {
        set.verifying.iter().map(VerifyingKey::kid).collect()
    }

    /// Whatever is wrong with the entry that should sign, the next one does not sign in its place.
    #[test]
    fn no_other_key_signs_in_place_of_the_first() {
        let change = |name: &str, value: Value| {
            let mut key = oct("new");
            key[name] = value;
            key.to_string()
        };
        let text = oct("new").to_string();
        for broken in [
            text.replacen('{', r#"{"use":"sig","use":"sig","#, 1),
            text.replacen('{', r#"{"kid":"a","#, 1),
            change("k", json!("c2hvcnQ")),
            change("k", json!(7)),
            change("kty", json!(7)),
            change("kty", json!("OCT")),
            change("kty", json!("oct ")),
            change("kty", json!(null)),
            change("kid", json!(7)),
            change("kid", json!("k".repeat(257))),
            change("use", json!("tls")),
            change("use", json!(7)),
            change("alg", json!(null)),
            change("issuer", json!(7)),
            "null".to_owned(),
            "7".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
        ] {
            for after in [oct("old"), private("old")] {
                let text = format!(r#"{{"keys":[{broken},{after}]}}"#);
                let read = KeySet::from_own_jwk_set(&text).map(|set| set.signing);
                assert!(read.is_err(), "{broken}: {read:?}");
                // After the key that signs, it is one of the others.
                let text = format!(r#"{{"keys":[{after},{broken}]}}"#);
                let set = KeySet::from_own_jwk_set(&text).unwrap();
                assert_eq!((set.signing.unwrap().kid(), set.skipped.len()), ("old", 1), "{broken}");
            }
        }
        // A public key never signs, and one for encryption is not for signatures.
        for harmless in [
            ed25519("public"),
            json!({"kty": "RSA", "kid": "weak", "alg": "RS256", "n": "AQAB", "e": "AQAB"}),
            {
                let mut key = oct("encrypts");
                key["use"] = json!("enc");
                key
            },
        ] {
            let read = KeySet::from_own_jwk_set(&set(&[harmless, oct("old")])).unwrap();
            assert_eq!(read.signing.unwrap().kid(), "old");
        }
    }

    #[test]
    fn one_bad_key_is_named_and_the_others_serve() {
        let bad = [
            json!({"kty": "RSA", "kid": "weak", "alg": "RS256", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "future", "kid": "unknown"}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "other", "use": "tls", "x": "Tbe0QQmrk-ZX3mjJiJ2GGI7IDArI6jai9byAvyst2c8"}),
        ];
        let keys: Vec<Value> = bad.into_iter().chain([ed25519("good")]).collect();
        let read = KeySet::from_jwk_set(&set(&keys)).unwrap();
        assert_eq!(kids(&read), ["good"]);
        let skipped: Vec<String> = read.skipped.iter().map(ToString::to_string).collect();
        for kid in ["weak", "unknown", "other"] {
            assert!(skipped.iter().any(|text| text.contains(kid)), "{kid}: {skipped:?}");
        }
        let nameless = KeySet::from_jwk_set(&set(&[json!({"kty": "future"}), ed25519("good")])).unwrap();
        assert!(nameless.skipped[0].to_string().contains("entry 0"), "{}", nameless.skipped[0]);
        assert!(KeySet::from_jwk_set(&set(&[json!("no key"), json!(7), ed25519("good")])).is_ok());
    }

    #[test]
    fn a_set_without_a_usable_key_is_refused() {
        let unusable = set(&[json!({"kty": "future"})]);
        assert_eq!(KeySet::from_jwk_set(&unusable).unwrap_err().kind(), KeyErrorKind::Ring);
        assert_eq!(KeySet::from_own_jwk_set(&unusable).unwrap_err().kind(), KeyErrorKind::Ring);
        for text in ["", "{", "[]", "{}", "null", r#"{"keys":7}"#, &set(&[ed25519("a")])[..40]] {
            assert_eq!(KeySet::from_jwk_set(text).unwrap_err().kind(), KeyErrorKind::Malformed, "{text}");
        }
    }

    #[test]
    fn a_set_without_entries_is_empty() {
        for set in [KeySet::from_jwk_set(&set(&[])), KeySet::from_own_jwk_set(&set(&[]))] {
            let set = set.unwrap();
            assert!(set.signing.is_none() && set.verifying.is_empty() && set.skipped.is_empty());
        }
    }

    #[test]
    fn a_set_of_more_keys_than_anybody_publishes_is_refused_with_their_number() {
        let keys: Vec<Value> = (0..MAX_KEYS + 1).map(|n| ed25519(&format!("k{n}"))).collect();
        assert_eq!(kids(&KeySet::from_jwk_set(&set(&keys[1..])).unwrap()).len(), MAX_KEYS);
        for refused in [KeySet::from_jwk_set(&set(&keys)), KeySet::from_own_jwk_set(&set(&keys))] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("257 keys") && refused.contains("256 are the most"), "{refused}");
        }
    }

    #[test]
    fn a_key_with_a_kid_longer_than_a_name_is_skipped_and_never_signed_around() {
        let long = "k".repeat(MAX_KID + 1);
        let text = set(&[ed25519(&long), ed25519(&long[1..])]);
        for read in [KeySet::from_jwk_set(&text).unwrap(), KeySet::from_own_jwk_set(&text).unwrap()] {
            assert_eq!(kids(&read), [&long[1..]]);
            let told = read.skipped[0].to_string();
            assert!(told.contains("257 bytes") && !told.contains(&long), "{told}");
        }
        let own = KeySet::from_own_jwk_set(&set(&[private(&long), oct("another")]));
        assert!(own.unwrap_err().to_string().contains("257 bytes"));
    }

    #[test]
    fn a_fetched_set_of_secrets_and_public_keys_is_refused_and_an_own_one_is_not() {
        let mixed = set(&[oct("secret"), ed25519("public")]);
        assert_eq!(KeySet::from_jwk_set(&mixed).unwrap_err().kind(), KeyErrorKind::Ring);
        let own = KeySet::from_own_jwk_set(&mixed).unwrap();
        assert_eq!(own.signing.as_ref().unwrap().kid(), "secret");
        assert_eq!(kids(&own), ["public"]);
        assert_eq!(kids(&KeySet::from_jwk_set(&set(&[oct("secret")])).unwrap()), ["secret"]);
    }

    #[test]
    fn a_published_private_key_is_skipped() {
        let read = KeySet::from_jwk_set(&set(&[private("leaked"), ed25519("good")])).unwrap();
        assert_eq!(kids(&read), ["good"]);
        assert!(read.skipped[0].to_string().contains("leaked"));
    }

    #[test]
    fn two_keys_of_one_name_are_both_skipped_and_one_key_twice_is_one() {
        let mut other = ed25519("same");
        other["x"] = json!("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
        let read = KeySet::from_jwk_set(&set(&[ed25519("same"), other, ed25519("good")])).unwrap();
        assert_eq!(kids(&read), ["good"]);
        assert_eq!(read.skipped[0].kind(), KeyErrorKind::DuplicateKid);
        let twice = KeySet::from_jwk_set(&set(&[ed25519("a"), ed25519("a")])).unwrap();
        assert_eq!((kids(&twice), twice.skipped.len()), (vec!["a"], 0));
    }

    macro_rules! case {
        ($name:literal) => {
            include_str!(concat!("../../../tests/cases/", $name))
        };
    }

    #[test]
    fn the_sets_that_providers_publish_load_without_a_word() {
        let rs256 = Some(Algorithm::RS256);
        for (name, text, assumed, expected) in [
            ("adfs", case!("set.adfs.json"), None, &[("FjiRhQ2Vtl_fZ4xlPHnV9D8OlM8", Algorithm::RS256)][..]),
            ("ed25519", case!("set.ed25519_rfc9864.json"), None, &[("ed-1", Algorithm::EdDSA)]),
            // A realm's other key is for encryption.
            ("keycloak", case!("set.keycloak.json"), None, &[("sig-1", Algorithm::RS256)]),
            ("entra", case!("set.entra.json"), rs256, &[("k-1", Algorithm::RS256)]),
            ("null members", case!("set.null_members.json"), rs256, &[("k-1", Algorithm::RS256)]),
            ("byte order mark", case!("set.bom.json"), None, &[("k-1", Algorithm::RS256)]),
            ("x5c is a string", case!("set.x5c_string.json"), None, &[("k-1", Algorithm::RS256)]),
            ("key_ops is a string", case!("set.key_ops_string.json"), None, &[("k-1", Algorithm::RS256)]),
            ("no use", case!("set.onelogin_no_use.json"), None, &[("k-1", Algorithm::RS256)]),
            (
                "one kid, two key types",
                case!("set.one_kid_two_kty.json"),
                None,
                &[("2026-01", Algorithm::RS256), ("2026-01", Algorithm::ES256)],
            ),
        ] {
            let set = KeySet::published(text, assumed).unwrap_or_else(|error| panic!("{name}: {error}"));
            let keys: Vec<_> = set.verifying.iter().map(|key| (key.kid(), key.algorithm())).collect();
            assert_eq!((keys.as_slice(), set.skipped.len()), (expected, 0), "{name}: {:?}", set.skipped);
        }
        let key = SigningKey::from_jwk(case!("jwk.ed.webcrypto.json")).unwrap();
        assert_eq!(key.algorithm(), Algorithm::EdDSA);
        let published = KeySet::from_jwk_set(case!("set.ed25519_rfc9864.json")).unwrap();
        assert_eq!(published.verifying[0].fingerprint(), key.fingerprint());
    }

    #[test]
    fn what_keeps_a_set_from_loading_is_named_with_its_remedy() {
        for (text, says) in [
            (case!("set.entra.json"), "`JwksUrl::assume_algorithm`"),
            (case!("set.null_members.json"), "`JwksUrl::assume_algorithm`"),
            (case!("set.numeric_kid.json"), "its `kid` is a number"),
            (r#"{"keys":[{"kty":"RSA","alg":["RS256"],"n":"AQAB","e":"AQAB"}]}"#, "its `alg` is an array"),
            (r#"{"keys":[{"kty":"RSA","alg":"RS256","n":{},"e":"AQAB"}]}"#, "its `n` is an object"),
            (r#"{"keys":[{"kty":"RSA","alg":"RS256","e":"AQAB"}]}"#, "it has no `n`"),
            (r#"{"keys":[{"kty":"RSA","alg":"RS256","use":true}]}"#, "its `use` is a boolean"),
            (r#"{"keys":[{"kty":"RSA","alg":"RS256","key_ops":7}]}"#, "its `key_ops` is not an array"),
            (r#"{"keys":[{"alg":"RS256"}]}"#, "it has no `kty`"),
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"ES512"}]}"#, "\"ES512\", is not a supported"),
            (r#"{"keys":[{"kty":"RSA","alg":"RSA-OAEP"}]}"#, "it is for encryption"),
            ("", "it is empty"),
            (" <!DOCTYPE html>", "it is HTML"),
            (r#"{"issuer":"x","jwks_uri":"y"}"#, "`JwksUrl::discover`"),
            (case!("jwk.ed.webcrypto.json"), "it is one JWK"),
            (r#"{"1":"-----BEGIN CERTIFICATE-----"}"#, "it holds PEM"),
            ("/etc/orders/jwks.json", "the path of a file"),
        ] {
            for refused in [KeySet::from_jwk_set(text), KeySet::from_own_jwk_set(text)] {
                match refused {
                    Err(error) => assert!(error.to_string().contains(says), "{says}: {error}"),
                    // The own set may hold a private key that is the only one.
                    Ok(_) => panic!("{text} loads"),
                }
            }
        }
    }

    #[test]
    fn a_key_for_encryption_is_left_out_in_silence_and_a_leaked_one_is_not() {
        let marks = [
            json!({"use": "enc"}),
            json!({"key_ops": ["wrapKey", "encrypt"]}),
            json!({"alg": "ECDH-ES+A256KW"}),
        ];
        for mark in marks {
            let mut key = ed25519("enc");
            key.as_object_mut().unwrap().extend(mark.as_object().unwrap().clone());
            for read in [KeySet::from_jwk_set, KeySet::from_own_jwk_set] {
                let read = read(&set(&[key.clone(), ed25519("sig")])).unwrap();
                assert_eq!((kids(&read), read.skipped.len()), (vec!["sig"], 0), "{mark}");
            }
            key["d"] = json!("Jh7KH8i0OUwbzl3rOL4TIvTevhKJ0jdLOVxC5NPNBp0");
            let read = KeySet::from_jwk_set(&set(&[key.clone(), ed25519("sig")])).unwrap();
            assert!(read.skipped[0].to_string().contains("private members"), "{mark}");
            // It was never to sign.
            let own = KeySet::from_own_jwk_set(&set(&[key, private("sig")])).unwrap();
            assert_eq!(own.signing.unwrap().kid(), "sig");
        }
    }

    #[test]
    fn a_kid_is_shared_by_keys_of_two_algorithms_and_by_no_two_of_one() {
        let mut p256 = json!({"kty": "EC", "crv": "P-256", "kid": "same",
            "x": "PYuOb9vqx27AaiU66RtIfLaT0Se05WNk7bwA3idYM5c",
            "y": "5BrIlc2Rfm-D98snEcccyx9tJRQeCgcolcOhhmkwfEg"});
        let both = KeySet::from_jwk_set(&set(&[ed25519("same"), p256.clone()])).unwrap();
        assert_eq!((kids(&both), both.skipped.len()), (vec!["same", "same"], 0));
        p256["kid"] = json!("other");
        let mut second = ed25519("same");
        second["x"] = json!("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
        let clash = KeySet::from_jwk_set(&set(&[ed25519("same"), second, p256])).unwrap();
        assert_eq!(kids(&clash), ["other"]);
        assert!(clash.skipped[0].to_string().contains("several EdDSA keys"), "{}", clash.skipped[0]);
    }

    #[test]
    fn the_first_private_key_of_an_own_set_signs_and_none_in_its_place() {
        let read = KeySet::from_own_jwk_set(&set(&[ed25519("old"), private("new"), oct("older")])).unwrap();
        assert_eq!(read.signing.as_ref().unwrap().kid(), "new");
        assert_eq!(kids(&read), ["old", "older"]);
        let mut broken = private("new");
        broken["d"] = json!("AAAA");
        assert!(KeySet::from_own_jwk_set(&set(&[broken, oct("older")])).is_err());
    }

    #[test]
    fn private_jwks_of_every_kind_sign() {
        for (algorithm, jwk) in [
            (Algorithm::EdDSA, private("a")),
            (Algorithm::HS256, oct("a")),
            (
                Algorithm::ES256,
                json!({"kty": "EC", "crv": "P-256", "kid": "a",
                "x": "PYuOb9vqx27AaiU66RtIfLaT0Se05WNk7bwA3idYM5c",
                "y": "5BrIlc2Rfm-D98snEcccyx9tJRQeCgcolcOhhmkwfEg",
                "d": "gkegx1b4XQoW55nttkOiYZ2DWD67g_u5UQDir4a6IXQ"}),
            ),
            (Algorithm::RS256, rsa()),
        ] {
            let key = SigningKey::from_jwk(&jwk.to_string()).unwrap();
            assert_eq!((key.algorithm(), key.kid()), (algorithm, "a"));
            assert!(key.verifying_key().verify(b"message", &key.sign(b"message").unwrap()));
            let public = VerifyingKey::from_jwk(&jwk.to_string()).unwrap();
            assert_eq!(public.fingerprint(), key.fingerprint());

            let mut other = jwk.clone();
            other["key_ops"] = json!(["verify"]);
            assert_eq!(SigningKey::from_jwk(&other.to_string()).unwrap_err().kind(), KeyErrorKind::WrongUse);
            if algorithm != Algorithm::HS256 {
                let mut public = jwk.clone();
                public.as_object_mut().unwrap().remove("d");
                assert_eq!(
                    SigningKey::from_jwk(&public.to_string()).unwrap_err().kind(),
                    KeyErrorKind::WrongType
                );
                let mut wrong = jwk.clone();
                wrong["d"] = json!("Jh7KH8i0OUwbzl3rOL4TIvTevhKJ0jdLOVxC5NPNBp1");
                let refused = SigningKey::from_jwk(&wrong.to_string()).unwrap_err().to_string();
                assert!(!refused.contains("nWGx"), "{refused}");
            }
        }
    }

    fn rsa() -> Value {
        serde_json::from_slice(RSA_2048_JWK).unwrap()
    }
}
