//! How keys are written: PEM, DER, JWK, secrets. From text and bytes to what a key is made of.

pub(crate) mod der;
pub(crate) mod jwk;
pub(crate) mod jwk_set;
pub(crate) mod known_secrets;
pub(crate) mod pem;
pub(crate) mod pkcs8;
pub(crate) mod placeholder;
pub(crate) mod secret;
pub(crate) mod text;
