//! The manifests of the manual's page on deploying, its rotation, and its table of log lines.
#![cfg(unix)]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod cluster;
mod manifests;
mod page;

/// What `openssl rand -hex 32` printed.
const SECRET: &str = "5f0a7be1c3d94286b7e0f1a25c6d8e934b17ac05d2f84e6093a1c7b85e2d4f60";
const RSA: &str = include_str!("../keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("../keys/rsa2048.public.pem");

/// The output of the command that stands in a manifest for it.
fn filled(text: &str) -> String {
    match text.trim_end() {
        "<openssl rand -hex 32>" => SECRET.to_owned(),
        "<openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048>" => RSA.to_owned(),
        "<openssl pkey -pubout>" => RSA_PUBLIC.to_owned(),
        other => {
            assert!(!other.contains('<'), "{other}");
            text.to_owned()
        }
    }
}
