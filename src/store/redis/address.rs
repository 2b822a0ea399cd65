//! The addresses of the servers, read from URLs.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisResult};
use url::Url;

use crate::error::ConfigError;

const EXPECTED: &str = "`redis://[[user]:password@]host[:port][/database]` is expected, `rediss://` for TLS; a password's \
                     `/ ? # @ : %` and spaces are percent-encoded";

/// A peer that acknowledges nothing for so long is gone. Without this limit, a connection that was cut silently would
/// be written to until the operating system gives up, after a quarter of an hour.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// One server, or some nodes of one cluster.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
    #[cfg(feature = "redis-tls")]
    pub(super) certificates: Option<redis::TlsCertificates>,
}

impl Servers {
    pub(super) fn client(&self, node: ConnectionInfo) -> RedisResult<Client> {
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = &self.certificates {
            return Client::build_with_tls(node, certificates.clone());
        }
        Client::open(node)
    }

    /// Checks what can be checked without connecting.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let [first, others @ ..] = &*self.nodes else {
            return Err(ConfigError::new("no Redis URL: give that of one node at least"));
        };
        // The library takes the first one's for all.
        if others.iter().any(|node| is_tls(node) != is_tls(first)) {
            return Err(ConfigError::new(
                "some of the Redis URLs ask for TLS and some don't: give all `rediss://`",
            ));
        }
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = &self.certificates {
            check_certificates(certificates)?;
            if let Err(error) = self.client(first.clone()) {
                return Err(ConfigError::new(format!("the TLS settings can't be used: {error}")));
            }
        }
        Ok(())
    }

    pub(super) fn are_tls(&self) -> bool {
        self.nodes.first().is_some_and(is_tls)
    }

    /// The address without credentials.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.addr().to_string()).collect()
    }
}

fn is_tls(node: &ConnectionInfo) -> bool {
    matches!(node.addr(), ConnectionAddr::TcpTls { .. })
}

#[cfg(feature = "redis-tls")]
fn check_certificates(certificates: &redis::TlsCertificates) -> Result<(), ConfigError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let counts = |pem: &[u8]| CertificateDer::pem_slice_iter(pem).filter(Result::is_ok).count();
    let client = certificates.client_tls.as_ref().map(|client| &*client.client_cert);
    for (pem, which) in [(certificates.root_cert.as_deref(), "root"), (client, "client")] {
        if pem.is_some_and(|pem| counts(pem) == 0) {
            return Err(ConfigError::new(format!(
                "the {which} certificate is not a PEM file with certificates"
            )));
        }
    }
    Ok(())
}

/// Reads a URL. The error repeats no part of it: in one that is wrong, a password may stand anywhere.
pub(super) fn read(url: &str) -> Result<ConnectionInfo, ConfigError> {
    let wrong = |what: &str| ConfigError::new(format!("the Redis URL {what}: {EXPECTED}"));
    let url = Url::parse(url).map_err(|error| wrong(&format!("can't be read ({error})")))?;
    match url.scheme() {
        "redis" | "valkey" | "unix" | "redis+unix" | "valkey+unix" => {}
        "rediss" | "valkeys" => check_tls()?,
        _ => {
            return Err(wrong(
                "has another scheme than `redis`, `rediss`, `valkey`, `valkeys` or `redis+unix`",
            ));
        }
    }
    if url.fragment() == Some("insecure") {
        return Err(wrong("ends in `#insecure`, and certificates are always verified"));
    }
    if url.fragment().is_some() {
        return Err(wrong("has a fragment (`#…`), which means nothing in it"));
    }
    if !url.username().is_empty() && url.password().is_none() {
        return Err(wrong("has a user and no password (without a user it is `redis://:password@host`)"));
    }
    if url
        .query_pairs()
        .any(|(name, value)| name == "protocol" && !matches!(&*value, "2" | "3" | "resp2" | "resp3"))
    {
        return Err(wrong("names a protocol other than `protocol=2` and `protocol=3`"));
    }
    let info = url.into_connection_info().map_err(|error| wrong(&format!("can't be used ({error})")))?;
    Ok(info.set_tcp_settings(tcp_settings()))
}

pub(super) fn tcp_settings() -> TcpSettings {
    let alive = TcpKeepalive::new().with_time(GONE_AFTER).with_interval(Duration::from_secs(1));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(alive);
    #[cfg(all(any(target_os = "android", target_os = "fuchsia", target_os = "linux"), not(assume_not_unix)))]
    let settings = settings.set_user_timeout(GONE_AFTER);
    settings
}

#[cfg(not(feature = "redis-tls"))]
fn check_tls() -> Result<(), ConfigError> {
    Err(ConfigError::new(
        "`rediss://` needs TLS, which is not compiled in: turn on tower-reissue's feature `redis-tls`",
    ))
}

/// The redis crate builds its TLS settings from rustls's process-wide provider and takes no other. Where none is
/// installed, rustls would install one for the whole process, or panic where two are compiled in.
#[cfg(feature = "redis-tls")]
fn check_tls() -> Result<(), ConfigError> {
    check_provider(rustls::crypto::CryptoProvider::get_default().map(|provider| &**provider))
}

#[cfg(feature = "redis-tls")]
fn check_provider(provider: Option<&rustls::crypto::CryptoProvider>) -> Result<(), ConfigError> {
    match provider {
        Some(provider) if cfg!(feature = "fips") && !provider.fips() => Err(ConfigError::new(
            "the feature `fips` is on, and rustls's process-wide crypto provider is not restricted to FIPS: install \
             `rustls::crypto::default_fips_provider()` in its place",
        )),
        Some(_) => Ok(()),
        None => Err(ConfigError::new(
            "`rediss://` needs rustls's process-wide crypto provider, and none is installed: call \
             `rustls::crypto::aws_lc_rs::default_provider().install_default()` once, at the start of `main`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "redis-tls")]
    #[test]
    fn tls_takes_the_provider_that_is_installed_and_one_of_fips_where_the_feature_is_on() {
        use rustls::crypto::{CryptoProvider, aws_lc_rs};

        let ours = aws_lc_rs::default_provider();
        // ChaCha20-Poly1305 is no algorithm of FIPS.
        let other = CryptoProvider { cipher_suites: aws_lc_rs::ALL_CIPHER_SUITES.to_vec(), ..ours.clone() };
        assert!(check_provider(Some(&ours)).is_ok());
        assert_eq!(check_provider(Some(&other)).is_err(), cfg!(feature = "fips"));
        assert!(check_provider(None).expect_err("none").to_string().contains("none is installed"));
    }

    #[test]
    fn a_url_that_is_wrong_is_told_by_what_is_wrong_and_never_repeated() {
        let mut failed = Vec::new();
        for (url, told) in [
            ("", "relative URL without a base"),
            ("hunter2", "relative URL without a base"),
            ("hunter2.example:6379", "another scheme"),
            ("http://hunter2.example", "another scheme"),
            ("redis//:hunter2@127.0.0.1", "relative URL without a base"),
            ("redis://:hunter2", "empty host"),
            // Not percent-encoded.
            ("redis://:hunter2/hunter2@127.0.0.1", "empty host"),
            ("redis://:hunter2#hunter2@127.0.0.1", "empty host"),
            ("redis://:hunter2?hunter2@127.0.0.1", "empty host"),
            ("redis://user:hunter2/hunter2@127.0.0.1", "invalid port number"),
            ("redis://127.0.0.1:65536/0", "invalid port number"),
            ("redis://127.0.0.1:6379/hunter2", "database"),
            ("redis://127.0.0.1:6379#hunter2", "fragment"),
            (
                "rediss://127.0.0.1:6379#insecure",
                if cfg!(feature = "redis-tls") { "install" } else { "`redis-tls`" },
            ),
            ("redis://127.0.0.1:6379#insecure", "#insecure"),
            ("redis://127.0.0.1:6379?protocol=hunter2", "protocol=2"),
            ("redis://hunter2@127.0.0.1:6379", "no password"),
            ("redis://:hunter2%ff@127.0.0.1:6379", "UTF-8"),
            ("redis://:hunter2@0.0.0.0:6379", "wildcard"),
        ] {
            let error = read(url).map(|_| ()).expect_err(url).to_string();
            if !error.contains(told) || error.contains("hunter2") {
                failed.push((url, told, error));
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
        for url in [
            "redis://localhost",
            "redis://127.0.0.1:6379/3",
            "redis://[::1]:6379",
            "redis://:p%40ss%2F@host",
            "redis://user:password@host:6380/0?protocol=3",
            "valkey://host",
            "redis+unix:///run/redis.sock?db=1",
        ] {
            assert!(read(url).is_ok(), "{url}");
        }
    }
}
