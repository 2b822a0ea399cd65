//! The layer in real stacks: axum, hyper, tower-http's layers on either side, tonic; over sockets where it matters.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod axum_router;
mod grpc_clients;
mod hyper_server;
mod nginx;
#[path = "../support/mod.rs"]
mod support;
mod tonic_server;
mod tower_http_layers;
mod wire;
