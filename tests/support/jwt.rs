//! The calls of jsonwebtoken that compute. With both of its backends in the build it needs to be told which one to use, once
//! and before the first of these calls, whichever test makes it: so tests call these and not jsonwebtoken.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::errors::Error;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, TokenData, Validation};
use serde_json::Value;

fn choose_backend() {
    // An error says that a test before this one did it.
    let _ = DEFAULT_PROVIDER.install_default();
}

/// The signature, as base64url.
pub fn sign(message: &[u8], key: &EncodingKey, algorithm: Algorithm) -> String {
    choose_backend();
    jsonwebtoken::crypto::sign(message, key, algorithm).unwrap()
}

pub fn decode(token: &str, key: &DecodingKey, validation: &Validation) -> Result<TokenData<Value>, Error> {
    choose_backend();
    jsonwebtoken::decode(token, key, validation)
}

/// The public JWK of a key pair.
pub fn jwk_of(key: &EncodingKey, algorithm: Algorithm) -> Jwk {
    choose_backend();
    Jwk::from_encoding_key(key, algorithm).unwrap()
}
