//! [`JwksUrl`]: a JWK set fetched over HTTPS.
//!
//! It uses hyper-util's client with hyper-rustls, which reqwest is built on too. reqwest's redirects and cookies are not needed
//! for a fetch every few minutes, and without them nothing can be sent to the wrong place.

mod body;
mod connector;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AGE, AUTHORIZATION, CACHE_CONTROL, ETAG, IF_NONE_MATCH, USER_AGENT,
};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::certificates;
use crate::keys::format::text;
use crate::keys::key_set::KeySet;
use crate::rotation::source::KeySource;
use crate::rotation::source::given;
use crate::rotation::source::jwks_url::connector::Connector;
use crate::rotation::source::jwks_url::connector::Proxy;
use crate::rotation::source::snapshot;
use crate::rotation::source::snapshot::blocking;
use crate::time::clamped;

/// The keys that another service publishes at a URL, as a JWK set.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_reissue::keys::{JwksUrl, KeySource};
///
/// # async fn load() -> Result<(), tower_reissue::keys::KeyError> {
/// let source = JwksUrl::new("https://login.example/.well-known/jwks.json")?.timeout(Duration::from_secs(3));
/// let keys = source.load().await?;
/// # Ok(())
/// # }
/// ```
///
/// A wrong URL is found at the first load. [`KeyRotation::start`](crate::keys::KeyRotation::start) reports it as an event and
/// continues, unless [`require_trusted_issuers`](crate::keys::KeyRotation::require_trusted_issuers) was called.
///
/// One load is one `GET`. With [`discover`](Self::discover) it is two, or up to four if the first addresses have no
/// configuration. It must be complete within [`timeout`](Self::timeout), and each response has at most
/// [`max_bytes`](Self::max_bytes). Nothing of a token is sent: the URL, the header fields and the trusted
/// certificates are all configured here. Redirects are not followed, and cookies are not kept. A response may be
/// compressed with gzip or deflate.
///
/// An `https` URL is fetched through the proxy that `HTTPS_PROXY` or `ALL_PROXY` names, in upper or lower case,
/// unless `NO_PROXY` names the host, as in curl, or the host is a loopback address. [`proxy`](Self::proxy) and
/// [`without_proxy`](Self::without_proxy) override this. The proxy opens a tunnel (`CONNECT`) with TLS inside, so it
/// can neither read nor replace keys.
///
/// Anything other than a 200 with a JWK set is an error, and the current keys stay in use. Also an error are a set in
/// which no key can be used, a set of more than 256 keys, and a set with a secret in it, because a published secret
/// is not secret. An empty set is an answer: the issuer has withdrawn all its keys.
///
/// `ETag` is used to ask only for changes. `Cache-Control`, less `Age`, becomes [`KeySet::fresh_for`], at least 60
/// seconds and at most 24 hours. `no-store`, `no-cache` and a `max-age` that can't be read count as 60 seconds.
///
/// TLS is rustls, version 1.2 and later, with the crypto provider that the application installed. Otherwise it uses
/// aws-lc-rs, which the feature `jwks` includes and `jwks-no-provider` does not. This crate installs no provider.
/// With the feature `fips` an installed provider must be restricted to FIPS. The platform's root certificates are
/// trusted (`SSL_CERT_FILE` and `SSL_CERT_DIR` are respected), and those added with
/// [`root_certificate`](Self::root_certificate).
#[must_use = "a source does nothing until a `KeyRotation` reads it"]
pub struct JwksUrl {
    location: Location,
    assumed: Option<Algorithm>,
    timeout: Duration,
    max_bytes: usize,
    plain_http: bool,
    roots: Vec<CertificateDer<'static>>,
    proxy: Proxy,
    bearer: Option<Bearer>,
    /// The response is a map of certificates, for keys of this algorithm.
    certificates_for: Option<Algorithm>,
    client: OnceLock<HttpClient>,
    last: Mutex<Option<Last>>,
}

type HttpClient = Client<HttpsConnector<Connector>, String>;

/// The bearer token for a protected JWK set, or the file that holds it.
enum Bearer {
    Value(Zeroizing<String>),
    File(PathBuf),
}

enum Location {
    Keys(Uri),
    /// A configuration names the URL of the keys. It is at the first of these addresses that has one.
    Issuer {
        issuer: String,
        configuration: Uri,
        elsewhere: Vec<Uri>,
    },
}

impl Location {
    fn first(&self) -> &Uri {
        let (Self::Keys(uri) | Self::Issuer { configuration: uri, .. }) = self;
        uri
    }
}

/// The set that was loaded last, to use it again after a 304.
struct Last {
    uri: Uri,
    tag: HeaderValue,
    set: KeySet,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_MAX_BYTES: usize = 256 * 1024;
const LEAST_FRESH: Duration = Duration::from_secs(60);
const MOST_FRESH: Duration = Duration::from_secs(24 * 3600);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tower-reissue/", env!("CARGO_PKG_VERSION")));

impl JwksUrl {
    /// The set at an `https` URL. `http` is accepted only for a loopback address (`127.0.0.1`, `[::1]`, `localhost`).
    ///
    /// # Errors
    ///
    /// If it is not such a URL, or has a user name or password.
    pub fn new(url: impl AsRef<str>) -> Result<Self, KeyError> {
        Self::load_from(Location::Keys(parse(url.as_ref())?), false)
    }

    /// The set that an issuer's configuration names. The OpenID Connect configuration is tried first
    /// (`{issuer}/.well-known/openid-configuration`, OpenID Connect Discovery 1.0 §4), then that of RFC 8414 §3.1,
    /// where the well-known part comes before the issuer's path: `/.well-known/oauth-authorization-server/{path}` and
    /// `/.well-known/openid-configuration/{path}` (§5). The next is tried only if the one before is answered with a
    /// status from 400 to 499.
    ///
    /// The configuration is fetched before each fetch of the keys. Its `issuer` must equal this one exactly, and its
    /// `jwks_uri` must follow the rules of [`new`](Self::new); it may be on another host.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new). The issuer must not have a query.
    pub fn discover(issuer: impl Into<String>) -> Result<Self, KeyError> {
        Self::load_from(configurations_of(issuer.into())?, false)
    }

    /// The certificates at an `https` URL: a JSON object of X.509 certificates in PEM by `kid`, as Firebase publishes
    /// them. Their keys verify signatures of this algorithm. A certificate is only a container for its key: its
    /// dates, signature and chain are not checked, because the URL is trusted.
    ///
    /// A certificate that can't be used, or has a `kid` of more than 256 bytes, is listed in [`KeySet::skipped`], and the others
    /// are used. More than 256 certificates are an error, and so is a `kid` that is repeated.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn certificates(url: impl AsRef<str>, algorithm: Algorithm) -> Result<Self, KeyError> {
        Ok(Self { certificates_for: Some(algorithm), ..Self::new(url)? })
    }

    /// Ways to fetch keys that weaken them.
    pub fn dangerous() -> DangerousJwksUrl {
        DangerousJwksUrl { _private: () }
    }

    /// The algorithm of keys that name none and could be of it. Without this, RSA keys without `alg` are skipped,
    /// because several algorithms would accept them. Some providers publish their RS256 keys this way.
    pub fn assume_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.assumed = Some(algorithm);
        self
    }

    /// Fetches through this proxy, whatever the environment says: an `http` URL, with user name and password if the
    /// proxy needs them. Only `https` URLs are fetched through it.
    ///
    /// # Errors
    ///
    /// If it is not an `http` URL. TLS and SOCKS proxies are not supported.
    pub fn proxy(mut self, url: impl AsRef<str>) -> Result<Self, KeyError> {
        self.proxy = Proxy::at(url.as_ref())?;
        Ok(self)
    }

    /// Fetches directly, whatever the environment says.
    pub fn without_proxy(mut self) -> Self {
        self.proxy = Proxy::None;
        self
    }

    /// Sends this token as `Authorization: Bearer`, for a JWK set that is not public. It is sent only to the scheme,
    /// host and port of the URL given here, so that an issuer's configuration can't direct it elsewhere.
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(Bearer::Value(Zeroizing::new(token.into())));
        self
    }

    /// The same with the token in this file, which is read before each fetch. Kubernetes replaces its own
    /// (`/var/run/secrets/kubernetes.io/serviceaccount/token`) about every hour.
    pub fn bearer_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.bearer = Some(Bearer::File(given::path(path)));
        self
    }

    /// How long one load may take, from the name look-up to the last byte. Default 5 seconds, at most ten years. A
    /// [`KeyRotation`](crate::keys::KeyRotation) waits at most 15 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = clamped(timeout);
        self
    }

    /// The longest response, in bytes. Default 256 KiB. A longer one is an error.
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Trusts one or several certificate authorities, in PEM, in addition to the platform's: for issuers inside a
    /// company.
    ///
    /// # Errors
    ///
    /// If the text holds no certificate, or one that can't be read.
    pub fn root_certificate(mut self, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let unreadable = || {
            KeyError::new(KeyErrorKind::Malformed, "the root certificate is not a PEM file with certificates")
        };
        let before = self.roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_ref()) {
            let certificate = certificate.map_err(|error| unreadable().because(error))?;
            RootCertStore::empty().add(certificate.clone()).map_err(|error| unreadable().because(error))?;
            self.roots.push(certificate);
        }
        if self.roots.len() == before {
            return Err(unreadable());
        }
        Ok(self)
    }

    fn load_from(location: Location, plain_http: bool) -> Result<Self, KeyError> {
        require_secure(location.first(), plain_http)?;
        Ok(Self {
            location,
            assumed: None,
            timeout: DEFAULT_TIMEOUT,
            max_bytes: DEFAULT_MAX_BYTES,
            plain_http,
            roots: Vec::new(),
            proxy: Proxy::Environment,
            bearer: None,
            certificates_for: None,
            client: OnceLock::new(),
            last: Mutex::new(None),
        })
    }

    async fn fetch(&self) -> Result<KeySet, KeyError> {
        let uri = match &self.location {
            Location::Keys(uri) => uri.clone(),
            Location::Issuer { issuer, configuration, elsewhere } => {
                let (configuration, response) = self.first_configuration(configuration, elsewhere).await?;
                self.discovered(issuer, configuration, response).await?
            }
        };
        let last = self.remembered(&uri);
        let response = self.get(&uri, last.as_ref().map(|(tag, _)| tag.clone())).await?;
        let fresh_for = fresh_for(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED {
            // A 304 is only valid as an answer to `If-None-Match`.
            let (_, set) =
                last.ok_or_else(|| unfit(&uri, "it answered 304 to a request without `If-None-Match`"))?;
            return Ok(KeySet { fresh_for, ..set });
        }
        let tag = response.headers().get(ETAG).filter(|tag| tag.len() <= 1024).cloned();
        let text = self.read(&uri, response).await?;
        let set =
            self.parse_set(&text).map_err(|error| unfit(&uri, "its keys can't be used").because(error))?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            tag.map(|tag| Last { uri, tag, set: set.clone() });
        Ok(KeySet { fresh_for, ..set })
    }

    async fn discovered(
        &self,
        issuer: &str,
        configuration: &Uri,
        response: Response<Incoming>,
    ) -> Result<Uri, KeyError> {
        #[derive(Deserialize)]
        struct Configuration {
            issuer: Option<String>,
            jwks_uri: Option<String>,
        }
        let text = self.read(configuration, response).await?;
        // The parser's own error may quote the answer at any length: not passed on.
        let found: Configuration = serde_json::from_str(&text).map_err(|_| {
            let what = if text.trim_start().starts_with('<') {
                "it is HTML or XML, not a configuration: is the issuer the right one?"
            } else {
                "it is not an OpenID configuration with `issuer` and `jwks_uri`"
            };
            unfit(configuration, what)
        })?;
        let lacks = |name| unfit(configuration, format!("it is no OpenID configuration: it has no `{name}`"));
        let found_issuer = found.issuer.ok_or_else(|| lacks("issuer"))?;
        let jwks_uri = found.jwks_uri.ok_or_else(|| lacks("jwks_uri"))?;
        if found_issuer != issuer {
            return Err(unfit(
                configuration,
                format!(
                    "its `issuer` is \"{}\", and \"{}\" is configured: they must be equal to the letter, also a slash at \
                     the end; trust the one in the `iss` of the tokens",
                    shown(&found_issuer),
                    shown(issuer)
                ),
            ));
        }
        let checked = parse(&jwks_uri).and_then(|uri| {
            require_secure(&uri, self.plain_http)?;
            // A configuration that was read over TLS must not name a loopback address, where any local user may listen.
            if configuration.scheme_str() == Some("https") && uri.scheme_str() != Some("https") {
                return Err(unfit(&uri, "an `https` configuration names it, but it is not `https`"));
            }
            Ok(uri)
        });
        checked.map_err(|error| unfit(configuration, "its `jwks_uri` can't be used").because(error))
    }

    /// The response of the first address that has a configuration, or the first error if none has one.
    async fn first_configuration<'a>(
        &self,
        configuration: &'a Uri,
        elsewhere: &'a [Uri],
    ) -> Result<(&'a Uri, Response<Incoming>), KeyError> {
        let response = self.send(configuration, None).await?;
        let mut is_elsewhere = response.status().is_client_error();
        let first = match usable(configuration, response) {
            Ok(response) => return Ok((configuration, response)),
            Err(error) => error,
        };
        let mut rest = elsewhere.iter();
        while let Some(uri) = rest.next().filter(|_| is_elsewhere) {
            let response = self.send(uri, None).await?;
            is_elsewhere = response.status().is_client_error();
            if let Ok(response) = usable(uri, response) {
                return Ok((uri, response));
            }
        }
        Err(first)
    }

    /// Sends one request and checks the status: 200, or 304 if `known` was sent.
    async fn get(&self, uri: &Uri, known: Option<HeaderValue>) -> Result<Response<Incoming>, KeyError> {
        usable(uri, self.send(uri, known).await?)
    }

    async fn send(&self, uri: &Uri, known: Option<HeaderValue>) -> Result<Response<Incoming>, KeyError> {
        let mut request = Request::new(String::new());
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(tag) = known {
            headers.insert(IF_NONE_MATCH, tag);
        }
        if self.bearer.is_some() && uri.scheme() != Some(&Scheme::HTTPS) && !connector::is_loopback(uri) {
            return Err(unfit(uri, "a token would be sent to it in the clear; give the https URL"));
        }
        if let Some(bearer) = self.bearer.as_ref().filter(|_| self.is_own_origin(uri)) {
            headers.insert(
                AUTHORIZATION,
                bearer
                    .field()
                    .await
                    .map_err(|error| unfit(uri, "there is no token to send").because(error))?,
            );
        }
        self.client().await?.request(request).await.map_err(|error| {
            let what = if error.is_connect() { "no connection could be made" } else { "the request failed" };
            unfit(uri, what).because(error)
        })
    }

    /// Reads a body to its end, up to the limit.
    async fn read(&self, uri: &Uri, response: Response<Incoming>) -> Result<String, KeyError> {
        if response.status() != StatusCode::OK {
            return Err(unfit(uri, format!("it answered {}, not 200", response.status())));
        }
        body::read(response, self.max_bytes).await.map_err(|error| match error {
            body::Error::TooLong => unfit(uri, format!("its answer has more than {} bytes", self.max_bytes)),
            body::Error::Coding(coding) => unfit(
                uri,
                format!(
                    "its `Content-Encoding` is \"{}\": gzip, deflate and plain JSON are read",
                    shown(&coding)
                ),
            ),
            body::Error::NotCoded(coding) => unfit(
                uri,
                format!(
                    "its `Content-Encoding` is \"{}\", and its body is not: does a proxy decompress it and keep the header?",
                    shown(&coding)
                ),
            ),
            body::Error::Broken(error) => unfit(uri, "its answer broke off").because(error),
            body::Error::NotText(error) => unfit(uri, "its answer is not text").because(error),
        })
    }

    fn is_own_origin(&self, uri: &Uri) -> bool {
        let own = self.location.first();
        let port = |uri: &Uri| {
            uri.port_u16().or(if uri.scheme() == Some(&Scheme::HTTPS) { Some(443) } else { Some(80) })
        };
        let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
        (uri.scheme(), host(uri), port(uri)) == (own.scheme(), host(own), port(own))
    }

    fn parse_set(&self, text: &str) -> Result<KeySet, KeyError> {
        if let Some(algorithm) = self.certificates_for {
            return certificates::by_kid(text, algorithm);
        }
        let set = KeySet::published(text, self.assumed)?;
        if let Some(secret) = set.verifying.iter().find(|key| key.algorithm().is_hmac()) {
            return Err(KeyError::new(
                KeyErrorKind::WrongType,
                "it is a secret that everybody can read and then sign with; ask its owner to replace it",
            )
            .about(secret.kid()));
        }
        Ok(set)
    }

    fn remembered(&self, uri: &Uri) -> Option<(HeaderValue, KeySet)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|last| last.uri == *uri).map(|last| (last.tag.clone(), last.set.clone()))
    }

    async fn client(&self) -> Result<&HttpClient, KeyError> {
        // Two concurrent first loads may each make one. The first is kept.
        match self.client.get() {
            Some(client) => Ok(client),
            None => {
                let client = self.connect().await?;
                Ok(self.client.get_or_init(|| client))
            }
        }
    }

    async fn connect(&self) -> Result<HttpClient, KeyError> {
        let mut roots = RootCertStore::empty();
        let platform = blocking(|| Ok(rustls_native_certs::load_native_certs())).await?;
        roots.add_parsable_certificates(platform.certs);
        roots.add_parsable_certificates(self.roots.iter().cloned());
        if roots.is_empty() && !self.plain_http {
            let error = KeyError::new(
                KeyErrorKind::Unavailable,
                "the platform has no root certificates; install them (`ca-certificates`), or give a `root_certificate`",
            );
            return Err(match platform.errors.into_iter().next() {
                Some(first) => error.because(first),
                None => error,
            });
        }
        // Chosen here: rustls would install its own choice for the process, and panics if two providers are compiled in.
        let provider = CryptoProvider::get_default().cloned().or_else(own_provider).ok_or_else(|| {
            KeyError::new(
                KeyErrorKind::Unavailable,
                "TLS needs a crypto provider: install one for the process, by `CryptoProvider::install_default` of \
                 rustls, or turn on the feature `jwks`",
            )
        })?;
        let tls = tls(provider, roots)?;
        let connector = Connector::new(&self.proxy, self.timeout);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // No connection is kept, because minutes pass between two fetches.
        Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }
}

impl KeySource for JwksUrl {
    fn describe(&self) -> String {
        match &self.location {
            Location::Keys(uri) => format!("the JWK set at {}", Shown(uri)),
            Location::Issuer { .. } => {
                format!("the JWK set that {} names", Shown(self.location.first()))
            }
        }
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        tokio::time::timeout(self.timeout, self.fetch()).await.unwrap_or_else(|elapsed| {
            let uri = self.location.first();
            Err(unfit(uri, format!("it did not answer in full within {:?}", self.timeout)).because(elapsed))
        })
    }
}

impl Bearer {
    async fn field(&self) -> Result<HeaderValue, KeyError> {
        let unfit = |what: String| KeyError::new(KeyErrorKind::Unavailable, what);
        let read;
        let token = match self {
            Self::Value(token) => token,
            Self::File(path) => {
                let bytes = blocking({
                    let path = path.clone();
                    move || snapshot::read(&path)
                });
                let text = text::plain(&bytes.await?);
                read = text.ok_or_else(|| unfit(format!("{} is not text", path.display())))?;
                &read
            }
        };
        // A file usually ends with a line end.
        let token = token.trim();
        if token.is_empty() {
            return Err(unfit("it is empty".to_owned()));
        }
        let value = Zeroizing::new(format!("Bearer {token}"));
        let mut field = HeaderValue::from_str(&value)
            .map_err(|_| unfit("it holds a character that no header field can".to_owned()))?;
        field.set_sensitive(true);
        Ok(field)
    }
}

/// The URL without its query, which may hold a secret.
impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JwksUrl").field(&self.describe()).finish()
    }
}

/// Ways to fetch keys that weaken them. Made by [`JwksUrl::dangerous`].
#[must_use = "a source does nothing until a `KeyRotation` reads it"]
#[derive(Debug)]
pub struct DangerousJwksUrl {
    _private: (),
}

impl DangerousJwksUrl {
    /// The set at an `http` URL of any host.
    ///
    /// Costs: whoever is on the network path can replace the keys with their own, and so sign any token. Use it only
    /// in a network in which everybody is trusted that far.
    ///
    /// # Errors
    ///
    /// As for [`JwksUrl::new`].
    pub fn plain_http(self, url: impl AsRef<str>) -> Result<JwksUrl, KeyError> {
        JwksUrl::load_from(Location::Keys(parse(url.as_ref())?), true)
    }

    /// The set that the configuration of an issuer at an `http` URL of any host names. The set may be at an `http`
    /// URL too. It costs what [`plain_http`](Self::plain_http) costs.
    ///
    /// # Errors
    ///
    /// As for [`JwksUrl::discover`].
    pub fn discover_plain_http(self, issuer: impl Into<String>) -> Result<JwksUrl, KeyError> {
        JwksUrl::load_from(configurations_of(issuer.into())?, true)
    }
}

fn configurations_of(issuer: String) -> Result<Location, KeyError> {
    let uri = parse(&issuer)?;
    if uri.query().is_some() {
        return Err(refused_url("an issuer has no query; use its `iss` as it is in its tokens"));
    }
    let base = issuer.trim_end_matches('/');
    let path = uri.path().trim_end_matches('/');
    let origin = base.strip_suffix(path).unwrap_or(base);
    let configuration = parse(&format!("{base}/.well-known/openid-configuration"))?;
    let mut elsewhere = vec![parse(&format!("{origin}/.well-known/oauth-authorization-server{path}"))?];
    if !path.is_empty() {
        elsewhere.push(parse(&format!("{origin}/.well-known/openid-configuration{path}"))?);
    }
    Ok(Location::Issuer { issuer, configuration, elsewhere })
}

fn usable(uri: &Uri, response: Response<Incoming>) -> Result<Response<Incoming>, KeyError> {
    match response.status() {
        StatusCode::OK | StatusCode::NOT_MODIFIED => Ok(response),
        status if status.is_redirection() => Err(unfit(
            uri,
            format!("it answered {status}, and redirects are not followed; give the URL it leads to"),
        )),
        status => Err(unfit(uri, format!("it answered {status}, not 200"))),
    }
}

/// The provider of the feature `jwks`.
fn own_provider() -> Option<Arc<CryptoProvider>> {
    #[cfg(any(feature = "jwks", feature = "fips"))]
    return Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "jwks", feature = "fips")))]
    None
}

fn tls(provider: Arc<CryptoProvider>, roots: RootCertStore) -> Result<ClientConfig, KeyError> {
    let unavailable = |message| KeyError::new(KeyErrorKind::Unavailable, message);
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unavailable("TLS can't be set up").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if cfg!(feature = "fips") && !tls.fips() {
        return Err(unavailable(
            "the feature `fips` is on, and the process's default rustls provider is not restricted to FIPS; install \
             `rustls::crypto::default_fips_provider()`, or none",
        ));
    }
    Ok(tls)
}

fn parse(url: &str) -> Result<Uri, KeyError> {
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| {
        refused_url("it is not a URL that begins with https://").because(error)
    })?;
    let Some(authority) = uri.authority() else {
        return Err(refused_url("it is not absolute; begin it with https://"));
    };
    if authority.as_str().contains('@') {
        return Err(refused_url("it holds a user name or password, which would not be sent; leave it out"));
    }
    Ok(uri)
}

fn require_secure(uri: &Uri, plain_http: bool) -> Result<(), KeyError> {
    let is_loopback = connector::is_loopback(uri);
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => Ok(()),
        Some(scheme) if *scheme == Scheme::HTTP && (plain_http || is_loopback) => Ok(()),
        Some(scheme) if *scheme == Scheme::HTTP => Err(refused_url(format!(
            "{} is not an https URL: whoever is on the network path can replace the keys and sign any token; use the https URL, or, in a \
             network where everybody is trusted that much, `JwksUrl::dangerous().plain_http(..)` or \
             `discover_plain_http(..)`",
            Shown(uri)
        ))),
        _ => Err(refused_url(format!("{} is not an https URL", Shown(uri)))),
    }
}

/// How long the response is fresh (RFC 9111 §4.2), within this source's bounds.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(LEAST_FRESH),
            "max-age" if max_age.is_none() => max_age = Some(seconds(value.trim().trim_matches('"'))),
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).map_or(0, seconds);
    let fresh = Duration::from_secs(max_age?.saturating_sub(age));
    Some(fresh.clamp(LEAST_FRESH, MOST_FRESH))
}

/// A number that can't be read counts as stale, and one with too many digits as very long.
fn seconds(digits: &str) -> u64 {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().unwrap_or(u64::MAX) } else { 0 }
}

/// A URL without its query. (A user name or password was refused before.)
struct Shown<'a>(&'a Uri);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(uri) = self;
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}{}", uri.path())
    }
}

/// Text of another party, escaped and cut for an error.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

fn refused_url(why: impl fmt::Display) -> KeyError {
    KeyError::new(KeyErrorKind::Unavailable, format!("the URL of a JWK set: {why}"))
}

fn unfit(uri: &Uri, why: impl fmt::Display) -> KeyError {
    KeyError::new(KeyErrorKind::Unavailable, format!("{}: {why}", Shown(uri)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::rotation::source::load_permits::LoadPermits;

    /// Opening a pipe that nobody writes to blocks its thread, as a file system that does not answer does.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_tokens_file_that_hangs_holds_the_load_so_that_no_second_thread_hangs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        let source = JwksUrl::new("https://127.0.0.1:9/jwks").unwrap().bearer_token_file(&file);
        let source = source.timeout(Duration::from_millis(50));
        let permits = LoadPermits::default();
        let failed = permits.try_acquire().unwrap().scope(source.load()).await.unwrap_err();
        assert!(failed.to_string().contains("did not answer in full"), "{failed}");
        let is_free = permits.try_acquire().is_some();
        // Otherwise the runtime would wait for the thread for ever.
        std::fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
        assert!(!is_free, "the next load would block another thread");
        drop(tokio::time::timeout(Duration::from_secs(10), permits.acquire()).await.unwrap());
    }

    #[test]
    fn tls_is_restricted_to_fips_where_the_feature_is_on() {
        let ours = rustls::crypto::aws_lc_rs::default_provider();
        // ChaCha20-Poly1305 is no algorithm of FIPS.
        let suites = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.to_vec();
        let other = CryptoProvider { cipher_suites: suites, ..ours.clone() };
        let is_fips = cfg!(feature = "fips");
        let tls = |provider| super::tls(Arc::new(provider), RootCertStore::empty());
        assert_eq!(tls(ours).unwrap().fips(), is_fips);
        let refused = tls(other).err().map(|error| error.to_string());
        assert_eq!(refused.is_some(), is_fips);
        assert!(refused.is_none_or(|message| message.contains("default_fips_provider")));
    }

    #[test]
    fn freshness_is_what_the_headers_say_within_bounds() {
        for (cache_control, age, expected) in [
            (&[][..], None, None),
            (&["public"], None, None),
            (&["max-age=600"], None, Some(600)),
            (&["public, Max-Age = 600 , must-revalidate"], None, Some(600)),
            (&["max-age=\"600\""], None, Some(600)),
            (&["s-maxage=9000"], None, None),
            (&["public", "max-age=600"], None, Some(600)),
            (&["max-age=600, max-age=700"], None, Some(600)),
            (&["max-age=600"], Some("100"), Some(500)),
            (&["max-age=600"], Some("601"), Some(60)),
            (&["max-age=600"], Some("soon"), Some(600)),
            (&["max-age=0"], None, Some(60)),
            (&["max-age=59"], None, Some(60)),
            (&["max-age=61"], None, Some(61)),
            (&["max-age=86400"], None, Some(86_400)),
            (&["max-age=86401"], None, Some(86_400)),
            (&["max-age=99999999999999999999999"], None, Some(86_400)),
            (&["max-age=-1"], None, Some(60)),
            (&["max-age="], None, Some(60)),
            (&["max-age"], None, Some(60)),
            (&["no-store"], None, Some(60)),
            (&["max-age=600, no-store"], None, Some(60)),
            (&["no-cache=\"set-cookie\""], None, Some(60)),
        ] {
            let mut headers = HeaderMap::new();
            for value in cache_control {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_static(age));
            }
            let found = fresh_for(&headers).map(|fresh| fresh.as_secs());
            assert_eq!(found, expected, "{cache_control:?}, age {age:?}");
        }
    }
}
