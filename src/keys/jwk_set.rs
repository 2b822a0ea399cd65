//! JWK sets (RFC 7517 §5).

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::{KeyError, KeyErrorKind};
use super::jwk;
use super::source::KeySet;
use super::{SigningKey, VerifyingKey};

/// More than any issuer publishes. Each key is prepared, and looked through for every token without `kid`.
const MAX_KEYS: usize = 256;
/// In bytes. A `kid` is a name, and stands in every token's header.
const MAX_KID: usize = 256;

impl KeySet {
    /// A set that another party publishes: its keys verify. A key that does not load is named in
    /// [`skipped`](Self::skipped), and the others serve. One without any entry is an empty set: its issuer has taken all its
    /// keys back.
    ///
    /// # Errors
    ///
    /// When the text is no JWK set, when it has more than 256 entries, when it mixes secrets with public keys (whoever
    /// reads the set could sign with the secrets, so one of the two is a mistake), or when it has entries and none of them
    /// loads. A key that comes with its private members or a `kid` of more than 256 bytes is skipped, and so is every key
    /// whose `kid` another one has.
    pub fn from_jwk_set(text: &str) -> Result<Self, KeyError> {
        let entries = entries(text)?;
        let is_secret = |entry: &Result<Entry<'_>, KeyError>| entry.as_ref().ok().map(Entry::is_secret);
        let secrets: Vec<bool> = entries.iter().filter_map(is_secret).collect();
        if secrets.contains(&true) && secrets.contains(&false) {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                "the JWK set mixes secrets with public keys; publish public keys only",
            ));
        }
        let is_empty = entries.is_empty();
        let mut set = Self::default();
        for entry in entries {
            match entry.and_then(|entry| entry.published_key()) {
                Ok(key) => set.verifying.push(key),
                Err(error) => set.skipped.push(error),
            }
        }
        set.skip_duplicates();
        if is_empty { Ok(set) } else { set.or_nothing_usable() }
    }

    /// A set of one's own, as in a file: its first private or `oct` key signs, every other key verifies. A key that does
    /// not load is named in [`skipped`](Self::skipped), and the others serve.
    ///
    /// # Errors
    ///
    /// When the text is no JWK set, when it has more than 256 entries, when its first private or `oct` key does not load (a
    /// `kid` of more than 256 bytes is a reason too), or when it has entries and none of them loads.
    pub fn from_own_jwk_set(text: &str) -> Result<Self, KeyError> {
        let entries = entries(text)?;
        let is_empty = entries.is_empty();
        let mut set = Self::default();
        for entry in entries {
            match entry {
                Ok(entry) if entry.is_secret() || jwk::is_private(entry.text) => {
                    match (entry.signing_key(), &set.signing) {
                        (Ok(key), None) => set.signing = Some(key),
                        // Another key must not sign in its place.
                        (Err(error), None) => return Err(error),
                        (Ok(key), Some(_)) => set.verifying.push(key.into()),
                        (Err(error), Some(_)) => set.skipped.push(error),
                    }
                }
                Ok(entry) => match entry.verifying_key() {
                    Ok(key) => set.verifying.push(key),
                    Err(error) => set.skipped.push(error),
                },
                Err(error) => set.skipped.push(error),
            }
        }
        set.skip_duplicates();
        if is_empty { Ok(set) } else { set.or_nothing_usable() }
    }

    /// Which of two keys of one name is meant, nobody can say: both go. The one that signs stays.
    fn skip_duplicates(&mut self) {
        let mut fingerprints: HashMap<&str, Vec<&str>> = HashMap::new();
        let signing = self.signing.as_ref().map(|key| (key.kid(), key.fingerprint()));
        let keys = self.verifying.iter().map(|key| (key.kid(), key.fingerprint())).chain(signing);
        for (kid, fingerprint) in keys {
            let known = fingerprints.entry(kid).or_default();
            if !known.contains(&fingerprint) {
                known.push(fingerprint);
            }
        }
        let ambiguous: Vec<String> = fingerprints
            .iter()
            .filter(|(_, known)| known.len() > 1)
            .map(|(kid, _)| (*kid).to_owned())
            .collect();
        self.verifying.retain(|key| !ambiguous.iter().any(|kid| kid == key.kid()));
        self.skipped.extend(ambiguous.iter().map(|kid| {
            KeyError::new(
                KeyErrorKind::DuplicateKid,
                "several keys of the set have this `kid`; give each its own",
            )
            .about(kid)
        }));
        let mut kept: Vec<VerifyingKey> = Vec::new();
        for key in std::mem::take(&mut self.verifying) {
            // One key twice is no contradiction.
            if !kept.iter().any(|held| held.is_same(&key)) {
                kept.push(key);
            }
        }
        self.verifying = kept;
    }

    fn or_nothing_usable(self) -> Result<Self, KeyError> {
        if self.signing.is_some() || !self.verifying.is_empty() {
            return Ok(self);
        }
        let error = KeyError::new(KeyErrorKind::Ring, "the JWK set holds no key that can be used");
        Err(match self.skipped.into_iter().next() {
            Some(first) => error.because(first),
            None => error,
        })
    }
}

struct Entry<'a> {
    text: &'a str,
    at: usize,
    jwk: Jwk,
}

impl Entry<'_> {
    fn is_secret(&self) -> bool {
        matches!(self.jwk.algorithm, AlgorithmParameters::OctetKey(_))
    }

    fn published_key(&self) -> Result<VerifyingKey, KeyError> {
        if !self.is_secret() && jwk::is_private(self.text) {
            return Err(self.named(KeyError::new(
                KeyErrorKind::WrongType,
                "it is published with its private members: whoever reads the set can sign with it; withdraw it",
            )));
        }
        self.verifying_key()
    }

    fn verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        self.refuse_long_kid()?;
        VerifyingKey::from_jwk(&self.jwk).map_err(|error| self.named(error))
    }

    fn signing_key(&self) -> Result<SigningKey, KeyError> {
        self.refuse_long_kid()?;
        SigningKey::from_jwk(self.text).map_err(|error| self.named(error))
    }

    fn refuse_long_kid(&self) -> Result<(), KeyError> {
        match &self.jwk.common.key_id {
            Some(kid) if kid.len() > MAX_KID => Err(self.named(KeyError::new(
                KeyErrorKind::Malformed,
                format!("its `kid` has {} bytes, and {MAX_KID} are the most", kid.len()),
            ))),
            _ => Ok(()),
        }
    }

    fn named(&self, error: KeyError) -> KeyError {
        match &self.jwk.common.key_id {
            Some(kid) => error.about(kid),
            None => error.at(format_args!("entry {} of the set", self.at)),
        }
    }
}

fn entries<'a>(text: &'a str) -> Result<Vec<Result<Entry<'a>, KeyError>>, KeyError> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    // The parser's own error may quote what it stumbled on: not passed on.
    let set: Set<'a> = serde_json::from_str(text).map_err(|_| {
        KeyError::new(KeyErrorKind::Malformed, "it is no JWK set, a JSON object whose `keys` is an array")
    })?;
    if set.keys.len() > MAX_KEYS {
        return Err(KeyError::new(
            KeyErrorKind::Ring,
            format!("the JWK set has {} keys, and {MAX_KEYS} are the most", set.keys.len()),
        ));
    }
    let entry = |(at, raw): (usize, &'a RawValue)| match jwk::parse(raw.get()) {
        Ok(jwk) => Ok(Entry { text: raw.get(), at, jwk }),
        Err(error) => Err(match kid(raw.get()) {
            Some(kid) => error.about(&kid),
            None => error.at(format_args!("entry {at} of the set")),
        }),
    };
    Ok(set.keys.into_iter().enumerate().map(entry).collect())
}

/// The name of an entry that is no key otherwise.
fn kid(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        kid: String,
    }
    serde_json::from_str::<Named>(text).ok().map(|named| named.kid)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Algorithm;
    use crate::keys::test_keys::RSA_2048_JWK;

    fn ed25519(kid: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    /// RFC 8037, appendix A.1.
    fn private(kid: &str) -> Value {
        let mut key = ed25519(kid);
        key["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        key
    }

    fn oct(kid: &str) -> Value {
        json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"})
    }

    fn set(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    fn kids(set: &KeySet) -> Vec<&str> {
        set.verifying.iter().map(VerifyingKey::kid).collect()
    }

    #[test]
    fn one_bad_key_is_named_and_the_others_serve() {
        let bad = [
            json!({"kty": "RSA", "kid": "weak", "alg": "RS256", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "future", "kid": "unknown"}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "enc", "use": "enc", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        ];
        let keys: Vec<Value> = bad.into_iter().chain([ed25519("good")]).collect();
        let read = KeySet::from_jwk_set(&set(&keys)).unwrap();
        assert_eq!(kids(&read), ["good"]);
        let skipped: Vec<String> = read.skipped.iter().map(ToString::to_string).collect();
        for kid in ["weak", "unknown", "enc"] {
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
            // RFC 7515, appendix A.3.1.
            (
                Algorithm::ES256,
                json!({"kty": "EC", "crv": "P-256", "kid": "a",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}),
            ),
            (Algorithm::RS256, rsa()),
        ] {
            let key = SigningKey::from_jwk(&jwk.to_string()).unwrap();
            assert_eq!((key.algorithm(), key.kid()), (algorithm, "a"));
            assert!(key.verifying_key().verify(b"message", &key.sign(b"message").unwrap()));
            let public = VerifyingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap();
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
                wrong["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2B");
                let refused = SigningKey::from_jwk(&wrong.to_string()).unwrap_err().to_string();
                assert!(!refused.contains("nWGx"), "{refused}");
            }
        }
    }

    fn rsa() -> Value {
        serde_json::from_slice(RSA_2048_JWK).unwrap()
    }
}
