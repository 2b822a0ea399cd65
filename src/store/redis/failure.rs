//! Maps the redis crate's errors to this crate's: who must act, and what to do.

use std::error::Error as StdError;
use std::fmt;

use redis::{ErrorKind, RedisError};

use super::address::Servers;
use crate::store::{StoreError, StoreErrorKind};

/// Who must act on it. An outage is never a verdict.
pub(super) fn failure(error: RedisError) -> StoreError {
    told(None, error)
}

/// The same, of servers that were not reached yet.
pub(super) fn failure_at(servers: &Servers, error: RedisError) -> StoreError {
    told(Some(servers), error)
}

fn told(servers: Option<&Servers>, error: RedisError) -> StoreError {
    let says = |word: &str| {
        error.code() == Some(word)
            // Before version 7 a script's error is wrapped in another. A cluster wraps its nodes'.
            || error.detail().is_some_and(|detail| detail.contains(word))
    };
    let text = error.to_string();
    let is_tls = servers.map(Servers::are_tls);
    let (kind, remedy) = if error.is_timeout() {
        // A server without TLS waits for more, because it reads the handshake as an incomplete command.
        let remedy = "the port may not speak TLS: use the TLS port, or a `redis://` URL";
        (StoreErrorKind::Timeout, (is_tls == Some(true)).then_some(remedy))
    } else if says("OOM") {
        (StoreErrorKind::Full, None)
    } else if says("WRONGTYPE") || says("CORRUPT") {
        (StoreErrorKind::Corrupt, None)
    } else if says("NOAUTH") {
        (StoreErrorKind::Misconfigured, Some("the URL needs the password: `redis://[user]:password@host`"))
    } else if error.kind() == ErrorKind::AuthenticationFailed || says("WRONGPASS") {
        (StoreErrorKind::Misconfigured, Some("the server refuses the URL's user and password"))
    } else if says("NOPERM") || text.contains("has no permissions") {
        (StoreErrorKind::Misconfigured, Some("the server's ACL must allow it"))
    } else if says("MOVED") || says("CROSSSLOT") {
        (
            StoreErrorKind::Misconfigured,
            Some("the server belongs to a cluster: use `RedisStore::connect_cluster`"),
        )
    } else if text.contains("cluster support disabled") {
        (StoreErrorKind::Misconfigured, Some("the server belongs to no cluster: use `RedisStore::connect`"))
    } else if text.contains("InvalidContentType") {
        (
            StoreErrorKind::Misconfigured,
            Some("the port does not speak TLS: use the TLS port, or a `redis://` URL"),
        )
    } else if text.contains("UnknownIssuer") {
        (
            StoreErrorKind::Misconfigured,
            Some("add the server's certificate authority with `root_certificate`"),
        )
    } else if text.contains("invalid peer certificate") {
        (StoreErrorKind::Misconfigured, Some("the server's certificate must be valid for the URL's host"))
    } else if error.kind() == ErrorKind::Parse {
        (
            StoreErrorKind::Misconfigured,
            Some("the port does not speak Redis's protocol: use the port of a Redis server"),
        )
    } else if says("READONLY") || says("MASTERDOWN") {
        (StoreErrorKind::Unavailable, Some("the server is a replica: the primary is needed"))
    } else if is_tls == Some(false) && error.is_connection_dropped() && !error.is_connection_refusal() {
        (
            StoreErrorKind::Unavailable,
            Some("it may not be the port of a Redis server; if it expects TLS, use a `rediss://` URL"),
        )
    } else {
        (StoreErrorKind::Unavailable, None)
    };
    let place = servers.map(|servers| servers.addresses().join(", "));
    StoreError::with_source(kind, Failure { place, error, remedy })
}

#[derive(Debug)]
struct Failure {
    place: Option<String>,
    error: RedisError,
    remedy: Option<&'static str>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.error)?;
        self.remedy.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}
