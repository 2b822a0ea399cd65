//! The recipes of `manual::providers`, as they stand there.
//!
//! One server on loopback answers for every provider, with certificates of their names by an authority of the tests, and a
//! proxy leads to it. Both are named to the recipes as they would be in a deployment: by `HTTPS_PROXY` and `SSL_CERT_FILE`, in
//! the environment of a process of their own.
#![cfg(feature = "jwks")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/connect_proxy.rs"]
mod connect_proxy;
mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connect_proxy::ConnectProxy;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use support::*;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_reissue::{Algorithm, Authority, Clock as _, Reason, SystemClock};

mod auth0 {
    include!("../src/manual/providers/auth0.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        auth0().await.unwrap()
    }
}

mod keycloak {
    include!("../src/manual/providers/keycloak.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        keycloak().await.unwrap()
    }
}

mod entra {
    include!("../src/manual/providers/entra.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        entra().await.unwrap()
    }
}

mod entra_tenants {
    include!("../src/manual/providers/entra_tenants.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        entra_tenants().await.unwrap()
    }
}

mod cognito {
    include!("../src/manual/providers/cognito.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        cognito().await.unwrap()
    }
}

mod google {
    include!("../src/manual/providers/google.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        google().await.unwrap()
    }
}

mod github_actions {
    include!("../src/manual/providers/github_actions.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        github_actions().await.unwrap()
    }
}

mod firebase {
    include!("../src/manual/providers/firebase.rs");
    pub async fn authority(_: &std::path::Path) -> Authority {
        firebase().await.unwrap()
    }
}

mod kubernetes {
    include!("../src/manual/providers/kubernetes.rs");
    pub async fn authority(mounted: &Path) -> Authority {
        kubernetes(mounted).await.unwrap()
    }
}

mod supabase {
    include!("../src/manual/providers/supabase.rs");
    pub fn authority() -> Authority {
        supabase(super::SUPABASE_SECRET, "9f1b6c1e").unwrap()
    }
}

const SUPABASE_SECRET: &str = "q3J1v8Zy0mKf5T2wXb7LdN4sRg9HcP6uEa1iOoVtYxW+MzQ8jGhBkC==";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OTHER_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const ENTRA_CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const POOL: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example";
const GOOGLE_CLIENT: &str = "407408718192.apps.googleusercontent.com";

/// What a provider's server answers with, by host and path.
type Documents = HashMap<(String, String), (String, Option<&'static str>)>;

/// The public key as providers publish it: with members that describe its certificate, under a name of their own.
fn jwk(kid: &str, changes: Value) -> Value {
    let text = key_for(Algorithm::RS256).with_kid(kid).verifying_key().to_jwk().unwrap();
    let mut jwk: Value = serde_json::from_str(&text).unwrap();
    jwk["x5t"] = json!("dGhlIHRodW1icHJpbnQ");
    jwk["x5c"] = json!(["MIIC"]);
    changed(jwk, changes)
}

/// `null` removes.
fn changed(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            value => object.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    object
}

fn documents(certificate: &str) -> Documents {
    let mut documents = Documents::new();
    let mut add = |url: &str, document: Value, bearer| {
        let (host, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
        documents.insert((host.to_owned(), format!("/{path}")), (document.to_string(), bearer));
    };
    let mut discovered = |issuer: &str, jwks: &str, keys: Vec<Value>| {
        let configuration = json!({
            "issuer": issuer, "jwks_uri": jwks, "authorization_endpoint": format!("{issuer}/authorize"),
            "response_types_supported": ["code"], "id_token_signing_alg_values_supported": ["RS256"],
        });
        let at = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        add(&at, configuration, None);
        add(jwks, json!({ "keys": keys }), None);
    };
    let auth0 = "https://example.eu.auth0.com/";
    discovered(auth0, &format!("{auth0}.well-known/jwks.json"), vec![jwk("auth0", json!({}))]);
    let realm = "https://sso.example/realms/staff";
    let for_encryption = jwk("keycloak-enc", json!({ "use": "enc", "alg": "RSA-OAEP" }));
    let keys = vec![for_encryption, jwk("keycloak", json!({}))];
    discovered(realm, &format!("{realm}/protocol/openid-connect/certs"), keys);
    let entra = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let keys = vec![jwk("entra", json!({ "alg": null, "issuer": entra }))];
    discovered(&entra, &format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys"), keys);
    discovered(POOL, &format!("{POOL}/.well-known/jwks.json"), vec![jwk("cognito", json!({}))]);
    let github = "https://token.actions.githubusercontent.com";
    discovered(github, &format!("{github}/.well-known/jwks"), vec![jwk("github", json!({}))]);
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let mut entra_keys = jwk("entra", json!({ "alg": null, "issuer": template }));
    entra_keys["cloud_instance_name"] = json!("microsoftonline.com");
    add(
        "https://login.microsoftonline.com/common/discovery/v2.0/keys",
        json!({ "keys": [entra_keys] }),
        None,
    );
    add("https://www.googleapis.com/oauth2/v3/certs", json!({ "keys": [jwk("google", json!({}))] }), None);
    add(
        "https://kubernetes.default.svc/openid/v1/jwks",
        json!({ "keys": [jwk("kubernetes", json!({}))] }),
        Some("Bearer the pod's token"),
    );
    add(
        "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com",
        json!({ "firebase": certificate }),
        None,
    );
    documents
}

/// One authority for the names that the platform trusts, and one of the cluster's own.
struct Certificates {
    platform: CertificateAuthority,
    cluster: CertificateAuthority,
}

struct CertificateAuthority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, host: &str) -> rustls::sign::CertifiedKey {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).unwrap();
        rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], signing)
    }
}

impl Certificates {
    fn new() -> Self {
        Self { platform: CertificateAuthority::new(), cluster: CertificateAuthority::new() }
    }

    fn for_hosts<'a>(&self, hosts: impl Iterator<Item = &'a str>) -> TlsAcceptor {
        let mut by_name = rustls::server::ResolvesServerCertUsingSni::new();
        for host in hosts {
            let authority = if host == "kubernetes.default.svc" { &self.cluster } else { &self.platform };
            by_name.add(host, authority.certify(host)).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(by_name));
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Firebase's: the key's container, and nothing of it is checked.
fn self_signed() -> String {
    let (private, _) = pem_for(Algorithm::RS256).unwrap();
    let key = KeyPair::from_pem(std::str::from_utf8(private).unwrap()).unwrap();
    CertificateParams::new(vec!["securetoken.system.gserviceaccount.com".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem()
}

async fn serve(documents: Documents, tls: TlsAcceptor) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let documents = Arc::new(documents);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (documents, tls) = (documents.clone(), tls.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let response = answer(&documents, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn answer(documents: &Documents, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let status = |status: u16| Response::builder().status(status).body(Full::default()).unwrap();
    let host = request.headers()["host"].to_str().unwrap().to_owned();
    let Some((document, bearer)) = documents.get(&(host, request.uri().path().to_owned())) else {
        return status(404);
    };
    let sent = request.headers().get("authorization").map(|value| value.to_str().unwrap());
    if sent != *bearer {
        return status(401);
    }
    Response::new(Full::from(document.clone()))
}

/// Names the folder in which the process that runs the recipes finds what the other wrote.
const FOLDER: &str = "TOWER_REISSUE_RECIPES";

#[tokio::test]
async fn every_recipe_runs_as_it_stands() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return run_recipes(Path::new(&folder)).await;
    }
    let certificates = Certificates::new();
    let documents = documents(&self_signed());
    let hosts: std::collections::BTreeSet<String> = documents.keys().map(|(host, _)| host.clone()).collect();
    let tls = certificates.for_hosts(hosts.iter().map(|host| &**host));
    let proxy = ConnectProxy::to(serve(documents, tls).await, None).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("platform.pem", &certificates.platform.pem);
    write("ca.crt", &certificates.cluster.pem);
    write("token", "the pod's token");
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_recipe_runs_as_it_stands", "--nocapture"])
        .env(FOLDER, folder.path())
        .env("HTTPS_PROXY", format!("http://{}", proxy.address))
        .env("SSL_CERT_FILE", folder.path().join("platform.pem"))
        .env_remove("SSL_CERT_DIR")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("https_proxy")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("1 passed"), "{said}");
    let asked = proxy.asked();
    for host in hosts {
        assert!(
            asked.iter().any(|line| *line == format!("CONNECT {host}:443 HTTP/1.1")),
            "{host}: {asked:?}"
        );
    }
}

/// A token as a provider makes it, by the key that all of them share here: what tells them apart is not the key.
fn token(header: Value, claims: Value) -> String {
    let now = SystemClock.now().as_secs();
    let times = json!({ "iat": now - 5, "exp": now + 3600 });
    let claims = changed(times, claims);
    sign_raw(&header.to_string(), &claims.to_string(), &encoding_key_for(Algorithm::RS256), Algorithm::RS256)
}

fn by(kid: &str, claims: Value) -> String {
    token(json!({ "alg": "RS256", "typ": "JWT", "kid": kid }), claims)
}

async fn admits(authority: &Authority, token: &str, subject: &str) {
    let admitted = authority.admit(token).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(admitted.subject(), Some(subject));
    assert!(!admitted.is_own());
}

/// Refuses each token that differs in these claims, for this reason.
async fn refuses(authority: &Authority, kid: &str, good: &Value, changes: &[(Value, Reason)]) {
    for (change, reason) in changes {
        let refusal = authority.admit(&by(kid, changed(good.clone(), change.clone()))).await.unwrap_err();
        assert_eq!(refusal.reason(), reason, "{change}");
    }
    // Another provider's, by the very same key under its name.
    let foreign = json!({ "iss": "https://else.example" });
    assert!(authority.admit(&by(kid, changed(good.clone(), foreign))).await.is_err());
}

async fn run_recipes(folder: &Path) {
    let audience = || (json!({ "aud": "another" }), Reason::WrongAudience);

    let mut recipes = Vec::new();

    let auth0 = auth0::authority(folder).await;
    let good = json!({
        "iss": "https://example.eu.auth0.com/", "sub": "auth0|62a1", "azp": "client", "scope": "openid read:orders",
        "aud": ["https://orders.example", "https://example.eu.auth0.com/userinfo"],
    });
    admits(&auth0, &by("auth0", good.clone()), "auth0|62a1").await;
    let without_slash = json!({ "iss": "https://example.eu.auth0.com" });
    assert!(auth0.admit(&by("auth0", changed(good.clone(), without_slash))).await.is_err());
    refuses(&auth0, "auth0", &good, &[audience()]).await;
    recipes.push(Recipe { name: "Auth0", authority: auth0.clone(), kid: "auth0", good: good.clone() });

    let keycloak = keycloak::authority(folder).await;
    let good = json!({
        "iss": "https://sso.example/realms/staff", "sub": "f3a0", "aud": ["orders", "account"], "typ": "Bearer",
        "azp": "web", "sid": "s-1", "acr": "1", "scope": "openid email",
    });
    admits(&keycloak, &by("keycloak", good.clone()), "f3a0").await;
    recipes.push(Recipe {
        name: "Keycloak",
        authority: keycloak.clone(),
        kid: "keycloak",
        good: good.clone(),
    });
    let id_token = (json!({ "typ": "ID" }), Reason::WrongType);
    refuses(
        &keycloak,
        "keycloak",
        &good,
        &[audience(), id_token, (json!({ "aud": "account" }), Reason::WrongAudience)],
    )
    .await;

    let entra_issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let good = json!({
        "iss": entra_issuer, "sub": "AAAA", "aud": ENTRA_CLIENT, "tid": TENANT, "ver": "2.0", "scp": "Orders.Read",
        "nbf": SystemClock.now().as_secs() - 5,
    });
    let id_token = (json!({ "scp": null }), Reason::MissingClaim("scp".into()));
    let elsewhere = format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0");
    let one = entra::authority(folder).await;
    admits(&one, &by("entra", good.clone()), "AAAA").await;
    refuses(&one, "entra", &good, &[audience(), id_token.clone()]).await;
    recipes.push(Recipe {
        name: "Entra, one tenant",
        authority: one.clone(),
        kid: "entra",
        good: good.clone(),
    });
    assert!(one.admit(&by("entra", changed(good.clone(), json!({ "iss": elsewhere })))).await.is_err());

    let many = entra_tenants::authority(folder).await;
    let other = changed(good.clone(), json!({ "iss": elsewhere, "tid": OTHER_TENANT }));
    admits(&many, &by("entra", good.clone()), "AAAA").await;
    admits(&many, &by("entra", other), "AAAA").await;
    let mixed = (json!({ "tid": OTHER_TENANT }), Reason::InvalidClaim("tid".into()));
    refuses(&many, "entra", &good, &[audience(), id_token, mixed]).await;
    recipes.push(Recipe {
        name: "Entra, many tenants",
        authority: many.clone(),
        kid: "entra",
        good: good.clone(),
    });
    let stranger = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000001/v2.0";
    let stranger = json!({ "iss": stranger, "tid": "00000000-0000-0000-0000-000000000001" });
    assert!(many.admit(&by("entra", changed(good, stranger))).await.is_err());

    let cognito = cognito::authority(folder).await;
    let good = json!({
        "iss": POOL, "sub": "5c1d", "client_id": "1example23456789", "token_use": "access", "scope": "orders/read",
        "username": "alice", "jti": "a", "origin_jti": "b", "auth_time": SystemClock.now().as_secs() - 60,
    });
    // Cognito's header has no typ.
    let access = token(json!({ "alg": "RS256", "kid": "cognito" }), good.clone());
    admits(&cognito, &access, "5c1d").await;
    let id_token = json!({ "client_id": null, "token_use": "id", "aud": "1example23456789" });
    let another_client = json!({ "client_id": "another" });
    let changes = [(id_token, Reason::WrongType), (another_client, Reason::WrongType)];
    refuses(&cognito, "cognito", &good, &changes).await;
    recipes.push(Recipe { name: "Cognito", authority: cognito.clone(), kid: "cognito", good: good.clone() });

    let google = google::authority(folder).await;
    for iss in ["https://accounts.google.com", "accounts.google.com"] {
        let good = json!({
            "iss": iss, "sub": "110169484474386276334", "aud": GOOGLE_CLIENT, "azp": GOOGLE_CLIENT,
            "email": "alice@example.com", "email_verified": true,
        });
        admits(&google, &by("google", good.clone()), "110169484474386276334").await;
        refuses(&google, "google", &good, &[audience()]).await;
        recipes.push(Recipe { name: "Google", authority: google.clone(), kid: "google", good: good.clone() });
    }

    let github = github_actions::authority(folder).await;
    let good = json!({
        "iss": "https://token.actions.githubusercontent.com", "aud": "https://deploy.example",
        "sub": "repo:example/orders:environment:production", "repository": "example/orders",
        "repository_id": "203045111", "repository_owner_id": "5", "ref": "refs/heads/main",
    });
    admits(&github, &by("github", good.clone()), "repo:example/orders:environment:production").await;
    // A stranger who took the name, and one with a name of his own.
    let renamed = (json!({ "repository_id": "203045112" }), Reason::WrongType);
    let fork = (json!({ "repository": "stranger/orders", "repository_id": "7" }), Reason::WrongType);
    refuses(&github, "github", &good, &[audience(), renamed, fork]).await;
    recipes.push(Recipe {
        name: "GitHub Actions",
        authority: github.clone(),
        kid: "github",
        good: good.clone(),
    });

    let kubernetes = kubernetes::authority(folder).await;
    let good = json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "sub": "system:serviceaccount:shop:web",
        "aud": ["orders"], "jti": "c", "nbf": SystemClock.now().as_secs() - 5,
        "kubernetes.io": { "namespace": "shop", "serviceaccount": { "name": "web", "uid": "d" } },
    });
    let by_pod = token(json!({ "alg": "RS256", "kid": "kubernetes" }), good.clone());
    admits(&kubernetes, &by_pod, "system:serviceaccount:shop:web").await;
    let for_cluster = json!({ "aud": ["https://kubernetes.default.svc.cluster.local"] });
    refuses(&kubernetes, "kubernetes", &good, &[(for_cluster, Reason::WrongAudience)]).await;
    recipes.push(Recipe {
        name: "Kubernetes",
        authority: kubernetes.clone(),
        kid: "kubernetes",
        good: good.clone(),
    });

    let firebase = firebase::authority(folder).await;
    let good = json!({
        "iss": "https://securetoken.google.com/example-project", "aud": "example-project", "sub": "uid-1",
        "auth_time": SystemClock.now().as_secs() - 60, "firebase": { "sign_in_provider": "password" },
    });
    admits(&firebase, &by("firebase", good.clone()), "uid-1").await;
    refuses(&firebase, "firebase", &good, &[audience()]).await;
    recipes.push(Recipe {
        name: "Firebase",
        authority: firebase.clone(),
        kid: "firebase",
        good: good.clone(),
    });

    supabase_admits().await;
    no_recipe_admits_anothers_token(&recipes).await;
    no_recipe_admits_another_spelling(&recipes).await;
}

/// A recipe's authority, and a token that it admits.
struct Recipe {
    name: &'static str,
    authority: Authority,
    kid: &'static str,
    good: Value,
}

impl Recipe {
    /// Why a token of another `iss` is refused, by a key that the authority knows. Google's key belongs to two issuers, so it is
    /// looked up by `iss`.
    fn wrong_issuer(&self) -> Reason {
        if self.name == "Google" { Reason::UnknownKey } else { Reason::WrongIssuer }
    }
}

/// Neither under the other provider's `kid` nor, as their keys are one here, under a `kid` that the authority knows.
async fn no_recipe_admits_anothers_token(recipes: &[Recipe]) {
    for recipe @ Recipe { name, authority, kid, good } in recipes {
        assert!(authority.admit(&by(kid, good.clone())).await.is_ok(), "{name}");
        for other in recipes.iter().filter(|other| other.kid != *kid) {
            for kid in [*kid, other.kid] {
                let refused = authority.admit(&by(kid, other.good.clone())).await.map(drop).unwrap_err();
                let expected = if kid == other.kid { Reason::UnknownKey } else { recipe.wrong_issuer() };
                assert_eq!(refused.reason(), &expected, "{name} {}", other.name);
            }
        }
    }
}

/// What a URL library would take for the same address is another issuer (RFC 8725 §3.8), and so is what a careless prefix
/// or suffix would match.
async fn no_recipe_admits_another_spelling(recipes: &[Recipe]) {
    for recipe @ Recipe { name, authority, kid, good } in recipes {
        let iss = good["iss"].as_str().unwrap();
        let (scheme, rest) = iss.split_once("://").map_or(("", iss), |(_, rest)| ("https://", rest));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let with_host = |host: &str| format!("{scheme}{host}{path}");
        let with_slash = iss.strip_suffix('/').map_or_else(|| format!("{iss}/"), str::to_owned);
        for spelling in [
            with_slash,
            with_host(&host.to_uppercase()),
            with_host(&format!("{host}.")),
            with_host(&format!("{host}:443")),
            with_host(&format!("{host}@evil.example")),
            with_host(&format!("evil.example@{host}")),
            with_host(&format!("{host}.evil.example")),
            format!("http://{rest}"),
            format!("HTTPS://{rest}"),
            format!("https://evil.example/{rest}"),
            format!("{scheme}{host}/.{path}"),
            format!("{scheme}{host}/x/..{path}"),
            format!("{iss}/../x"),
            format!("{iss}?"),
            format!("{iss}#"),
            format!("{iss} "),
            format!(" {iss}"),
            format!("{iss}\0"),
            iss.replacen('e', "%65", 1),
            iss.replacen('e', "\u{435}", 1),
        ] {
            assert_ne!(spelling, iss);
            let refused = authority.admit(&by(kid, changed(good.clone(), json!({ "iss": spelling })))).await;
            let refused = refused.map(drop).unwrap_err();
            assert_eq!(refused.reason(), &recipe.wrong_issuer(), "{name} {spelling:?}");
        }
    }
}

async fn supabase_admits() {
    let supabase = supabase::authority();
    let now = SystemClock.now().as_secs();
    let good = json!({
        "iss": "https://example.supabase.co/auth/v1", "aud": "authenticated", "sub": "8c0f", "role": "authenticated",
        "session_id": "e", "aal": "aal1", "iat": now - 5, "exp": now + 3600,
    });
    let sign = |header: &str, claims: &Value, secret: &[u8]| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        sign_raw(header, &claims.to_string(), &key, Algorithm::HS256)
    };
    let header = r#"{"alg":"HS256","kid":"9f1b6c1e","typ":"JWT"}"#;
    admits(&supabase, &sign(header, &good, SUPABASE_SECRET.as_bytes()), "8c0f").await;
    // The bytes that the text would be, were it base64.
    let decoded =
        STANDARD.decode(SUPABASE_SECRET).unwrap_or_else(|_| b"no base64, so another secret".to_vec());
    assert!(supabase.admit(&sign(header, &good, &decoded)).await.is_err());
    // The API keys of the project are tokens under the same secret, and the anonymous one is public.
    for role in ["anon", "service_role"] {
        let api_key =
            json!({ "iss": "supabase", "ref": "example", "role": role, "iat": now - 5, "exp": now + 3600 });
        let refused = supabase.admit(&sign(header, &api_key, SUPABASE_SECRET.as_bytes())).await.unwrap_err();
        assert_eq!(refused.reason(), &Reason::WrongIssuer, "{role}");
    }
    let anonymous = changed(good.clone(), json!({ "aud": "anon" }));
    assert!(supabase.admit(&sign(header, &anonymous, SUPABASE_SECRET.as_bytes())).await.is_err());
}

#[tokio::test]
async fn supabase_needs_no_network() {
    supabase_admits().await;
}
