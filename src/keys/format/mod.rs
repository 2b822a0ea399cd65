//! The formats of keys: PEM, DER, JWK and secrets. They read text or bytes into the parts of a key.

#[cfg(feature = "jwks-no-provider")]
pub(crate) mod certificates;
pub(crate) mod der;
pub(crate) mod jwk;
pub(crate) mod jwk_set;
pub(crate) mod known_secrets;
pub(crate) mod pem;
pub(crate) mod pkcs8;
pub(crate) mod placeholder;
pub(crate) mod secret;
pub(crate) mod text;
