//! The contenders: each a service that is called without a runtime, made as strict as its options allow.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use axum_jwt_auth::{Decoder, LocalDecoder};
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use jwt_authorizer::{IntoLayer as _, JwtAuthorizer};
use tokio::runtime::Runtime;
use tower::{Layer as _, service_fn};
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;
use tower_oauth2_resource_server::validation::ClaimsValidationSpec;
use tower_reissue::Algorithm;
use tower_reissue::{MemoryStore, ReissueLayer};

use crate::by_hand::{self, Judge};
use crate::jwks_server;
use crate::support::*;

/// Answers a request that carries this `Authorization`.
type Respond = Box<dyn FnMut(&HeaderValue) -> StatusCode>;

pub struct Contender {
    pub name: &'static str,
    /// The name of the contender that does the same without looking at a token; its own where it is one.
    pub floor: &'static str,
    pub respond: Respond,
}

pub const BARE: &str = "floor: the bare handler";
pub const ROUTER: &str = "floor: the handler on axum's router";
pub const AXUM_07: &str = "floor: the bare handler, axum 0.7's body";
pub const OURS: &str = "tower-reissue, seen before";

pub fn all(algorithm: Algorithm, runtime: &Runtime) -> Vec<Contender> {
    let mut contenders = Vec::new();
    let mut add = |name, floor, respond| contenders.push(Contender { name, floor, respond });
    add(BARE, BARE, service!(service_fn(handler)));
    add(OURS, BARE, ours(algorithm, |authority| authority));
    add("tower-reissue, seen before, MemoryStore", BARE, ours(algorithm, |it| it.store(MemoryStore::new())));
    add("tower-reissue, first sight", BARE, ours(algorithm, |it| it.token_cache_bytes(0)));
    add("tower-http ValidateRequestHeader + jsonwebtoken", BARE, validate_request_header(algorithm));
    add("tower-http AsyncRequireAuthorization + jsonwebtoken", BARE, async_require_authorization(algorithm));
    add("tower-oauth2-resource-server", BARE, tower_oauth2_resource_server(algorithm, runtime));
    add(AXUM_07, AXUM_07, service!(service_fn(handler_07)));
    add("jwt-authorizer", AXUM_07, jwt_authorizer(algorithm, runtime));
    add(ROUTER, ROUTER, service!(router()));
    add("tower-reissue on the router, seen before", ROUTER, ours_on_the_router(algorithm));
    add("axum from_fn by hand + jsonwebtoken", ROUTER, by_hand(algorithm));
    add("axum-jwt-auth (its RustCrypto)", ROUTER, axum_jwt_auth(algorithm));
    contenders
}

macro_rules! service {
    ($service:expr) => {{
        let mut service = $service;
        Box::new(move |bearer: &HeaderValue| respond(&mut service, bearer).status()) as Respond
    }};
}
use service;

fn ours(
    algorithm: Algorithm,
    configure: impl FnOnce(tower_reissue::AuthorityBuilder) -> tower_reissue::AuthorityBuilder,
) -> Respond {
    let authority = configure(authority(key_for(algorithm))).build().unwrap();
    service!(ReissueLayer::new(authority).layer(service_fn(handler)))
}

fn router() -> Router {
    Router::new().route("/orders", get(|| async { "ok" }))
}

fn ours_on_the_router(algorithm: Algorithm) -> Respond {
    let authority = authority(key_for(algorithm)).build().unwrap();
    service!(router().layer(ReissueLayer::new(authority)))
}

fn unauthorized() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

fn validate_request_header(algorithm: Algorithm) -> Respond {
    let judge = Judge::new(algorithm);
    #[allow(clippy::result_large_err, reason = "the trait's")]
    let validate = move |request: &mut Request<Empty<Bytes>>| {
        let claims = judge.claims(request.headers()).ok_or_else(unauthorized)?;
        request.extensions_mut().insert(claims);
        Ok(())
    };
    service!(ValidateRequestHeaderLayer::custom(validate).layer(service_fn(handler)))
}

fn async_require_authorization(algorithm: Algorithm) -> Respond {
    let judge = Judge::new(algorithm);
    let authorize = move |mut request: Request<Empty<Bytes>>| {
        ready(match judge.claims(request.headers()) {
            Some(claims) => {
                request.extensions_mut().insert(claims);
                Ok(request)
            }
            None => Err(unauthorized()),
        })
    };
    service!(AsyncRequireAuthorizationLayer::new(authorize).layer(service_fn(handler)))
}

fn by_hand(algorithm: Algorithm) -> Respond {
    service!(by_hand::before(router(), algorithm))
}

fn tower_oauth2_resource_server(algorithm: Algorithm, runtime: &Runtime) -> Respond {
    // Its leeway of 60 s can't be changed, and it would look at `nbf` only by requiring it, which these tokens lack.
    let claims = ClaimsValidationSpec::new().exp(true).iss(ISSUER).aud(&vec![AUDIENCE.to_owned()]);
    let server = runtime.block_on(async {
        let tenant = TenantConfiguration::builder(ISSUER)
            .jwks_url(jwks_server::serve(algorithm).await)
            .jwks_refresh_interval(DAY)
            .claims_validation(claims)
            .allowed_algorithms(&[algorithm.into()])
            .build()
            .await
            .unwrap();
        OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant).build().await.unwrap()
    });
    let mut respond = service!(server.into_layer().layer(service_fn(handler)));
    // The keys are fetched behind its back.
    let good = bearer(&issue(&authority(key_for(algorithm)).build().unwrap()));
    let fetched = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        respond(&good) == StatusCode::OK
    });
    assert!(fetched, "tower-oauth2-resource-server fetched no keys in 5 s");
    respond
}

async fn handler_07(_: Request<Empty<Bytes>>) -> Result<Response<axum07::body::Body>, Infallible> {
    Ok(Response::new(axum07::body::Body::from("ok")))
}

fn jwt_authorizer(algorithm: Algorithm, runtime: &Runtime) -> Respond {
    let text = |bytes: &'static [u8]| std::str::from_utf8(bytes).unwrap();
    let public = || text(pem_for(algorithm).unwrap().1);
    let (authorizer, only): (JwtAuthorizer<Claims>, _) = match algorithm {
        Algorithm::HS256 => (JwtAuthorizer::from_secret(text(SECRET)), jsonwebtoken9::Algorithm::HS256),
        Algorithm::RS256 => (JwtAuthorizer::from_rsa_pem_text(public()), jsonwebtoken9::Algorithm::RS256),
        Algorithm::ES256 => (JwtAuthorizer::from_ec_pem_text(public()), jsonwebtoken9::Algorithm::ES256),
        _ => (JwtAuthorizer::from_ed_pem_text(public()), jsonwebtoken9::Algorithm::EdDSA),
    };
    let validation = jwt_authorizer::Validation::new()
        .iss(&[ISSUER])
        .aud(&[AUDIENCE])
        .exp(true)
        .nbf(true)
        .leeway(0)
        .algs(vec![only]);
    let layer = runtime.block_on(authorizer.validation(validation).build()).unwrap().into_layer();
    service!(layer.layer(service_fn(handler_07)))
}

#[derive(Clone, FromRef)]
struct AppState {
    decoder: Decoder<Claims>,
}

fn axum_jwt_auth(algorithm: Algorithm) -> Respond {
    use jsonwebtoken10 as theirs;
    let public = || pem_for(algorithm).unwrap().1;
    let (key, only) = match algorithm {
        Algorithm::HS256 => (theirs::DecodingKey::from_secret(SECRET), theirs::Algorithm::HS256),
        Algorithm::RS256 => (theirs::DecodingKey::from_rsa_pem(public()).unwrap(), theirs::Algorithm::RS256),
        Algorithm::ES256 => (theirs::DecodingKey::from_ec_pem(public()).unwrap(), theirs::Algorithm::ES256),
        _ => (theirs::DecodingKey::from_ed_pem(public()).unwrap(), theirs::Algorithm::EdDSA),
    };
    let mut validation = theirs::Validation::new(only);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    let decoder = LocalDecoder::builder().keys(vec![key]).validation(validation).build().unwrap();
    let state = AppState { decoder: Arc::new(decoder) };
    // An extractor: the handler asks for the claims.
    let handler = |_: axum_jwt_auth::Claims<Claims>| async { "ok" };
    service!(Router::new().route("/orders", get(handler)).with_state::<()>(state))
}
