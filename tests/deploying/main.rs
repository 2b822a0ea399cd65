//! The manifests of the manual's page on deploying, its rotation, and its table of log lines.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod cluster;
mod manifests;
mod page;
mod rotation;
#[path = "../support/mod.rs"]
mod support;
mod troubleshooting;

/// What `openssl rand -hex 32` printed.
const SECRET: &str = "5f0a7be1c3d94286b7e0f1a25c6d8e934b17ac05d2f84e6093a1c7b85e2d4f60";
/// The one before it.
const PREVIOUS: &str = "c41f9e60a7d3582b1e96f07c8ad245b39f0e6c1d7b8253a4e09f61d8c7b2a350";
const RSA: &str = include_str!("../keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("../keys/rsa2048.public.pem");

/// The output of the command that stands in a manifest for it.
fn filled(text: &str) -> String {
    match text.trim_end() {
        "<openssl rand -hex 32>" => SECRET.to_owned(),
        "<the secret before>" => PREVIOUS.to_owned(),
        "<openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048>" => RSA.to_owned(),
        "<openssl pkey -pubout>" => RSA_PUBLIC.to_owned(),
        other => {
            assert!(!other.contains('<'), "{other}");
            text.to_owned()
        }
    }
}
