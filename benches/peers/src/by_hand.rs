//! What one writes by hand around jsonwebtoken, and what most services have.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use jsonwebtoken::{DecodingKey, Validation};
use tower_reissue::Algorithm;

use crate::support::*;

#[derive(Clone)]
pub struct Judge(Arc<(DecodingKey, Validation)>);

impl Judge {
    pub fn new(algorithm: Algorithm) -> Self {
        Self(Arc::new((decoding_key_for(algorithm), validation(algorithm))))
    }

    pub fn claims(&self, headers: &HeaderMap) -> Option<Arc<Claims>> {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return None;
        }
        let (key, validation) = &*self.0;
        Some(Arc::new(jsonwebtoken::decode(token, key, validation).ok()?.claims))
    }
}

/// The routes behind a function of their own.
pub fn before(router: Router, algorithm: Algorithm) -> Router {
    let judge = Judge::new(algorithm);
    router.layer(from_fn(move |mut request: Request, next: Next| {
        let judge = judge.clone();
        async move {
            match judge.claims(request.headers()) {
                Some(claims) => {
                    request.extensions_mut().insert(claims);
                    next.run(request).await
                }
                None => StatusCode::UNAUTHORIZED.into_response(),
            }
        }
    }))
}
