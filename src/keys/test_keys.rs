//! Key pairs made for these tests, in the formats keys come in. Published with the source: never use them elsewhere.

macro_rules! test_key {
    ($name:ident, $file:literal) => {
        pub(crate) const $name: &[u8] = include_bytes!(concat!("../../tests/keys/", $file));
    };
}

test_key!(RSA_2048, "rsa2048.pem");
test_key!(RSA_2048_PKCS1, "rsa2048.pkcs1.pem");
test_key!(RSA_2048_JWK, "rsa2048.jwk.json");
test_key!(RSA_2048_PUBLIC, "rsa2048.public.pem");
test_key!(RSA_2048_PUBLIC_PKCS1, "rsa2048.public.pkcs1.pem");
test_key!(RSA_2048_CERTIFICATE, "rsa2048.certificate.pem");
test_key!(RSA_2048_E3, "rsa2048-e3.pem");
test_key!(RSA_1024, "rsa1024.pem");
test_key!(RSA_1024_PUBLIC, "rsa1024.public.pem");
test_key!(P256, "p256.pem");
test_key!(P256_SEC1, "p256.sec1.pem");
test_key!(P256_PUBLIC, "p256.public.pem");
test_key!(P256_ENCRYPTED, "p256.encrypted.pem");
test_key!(P256_CERTIFICATE, "p256.certificate.pem");
test_key!(P384, "p384.pem");
test_key!(P384_SEC1, "p384.sec1.pem");
test_key!(P384_PUBLIC, "p384.public.pem");
test_key!(P521, "p521.pem");
test_key!(ED25519, "ed25519.pem");
test_key!(ED25519_CERTIFICATE, "ed25519.certificate.pem");
test_key!(ED25519_PUBLIC, "ed25519.public.pem");
