//! X.509 certificates in PEM by `kid`, as Firebase publishes them.

use crate::jose::json;
use crate::jose::json::Member;
use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::jwk_set::{MAX_KEYS, refuse_long_kid};
use crate::keys::format::text;
use crate::keys::key_set::KeySet;
use crate::keys::verifying_key::VerifyingKey;

/// Reads a JSON object of certificates. A certificate that can't be used is skipped, as a key of a JWK set is.
pub(crate) fn by_kid(text: &str, algorithm: Algorithm) -> Result<KeySet, KeyError> {
    let members = json::members(text).map_err(|_| {
        let what = "it is not a JSON object of certificates in PEM by `kid`, in which no `kid` is repeated";
        KeyError::new(KeyErrorKind::Malformed, format!("{what}{}", text::not_json(text)))
    })?;
    if members.iter().any(|member| member.name == "keys" && member.value.starts_with('[')) {
        let what = "it is a JWK set, not certificates in PEM by `kid`: `JwksUrl::new` reads it";
        return Err(KeyError::new(KeyErrorKind::Malformed, what));
    }
    if members.len() > MAX_KEYS {
        return Err(KeyError::new(
            KeyErrorKind::Ring,
            format!("it has {} certificates, and {MAX_KEYS} are the most", members.len()),
        ));
    }
    let is_empty = members.is_empty();
    let mut set = KeySet::default();
    for member in members {
        match key(&member, algorithm) {
            Ok(key) => set.verifying.push(key),
            Err(error) => set.skipped.push(error.renamed(&member.name)),
        }
    }
    match set.skipped.pop() {
        Some(error) if set.verifying.is_empty() && !is_empty => Err(error),
        skipped => {
            set.skipped.extend(skipped);
            Ok(set)
        }
    }
}

fn key(member: &Member<'_>, algorithm: Algorithm) -> Result<VerifyingKey, KeyError> {
    refuse_long_kid(&member.name)?;
    let pem = json::string(member.value)
        .ok_or_else(|| KeyError::new(KeyErrorKind::Malformed, "its certificate is not a string of PEM"))?;
    Ok(VerifyingKey::from_pem(algorithm, pem.as_bytes())?.with_kid(&*member.name))
}
