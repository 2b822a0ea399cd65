//! The service of an endpoint that answers `POST`.

/// Implements [`Service`](tower_service::Service) for an endpoint with a method
/// `async fn post<B>(&self, parts: &request::Parts, body: B) -> Response<FixedBody>`.
// A macro, because the orphan rule allows no impl of a foreign trait for every type with a trait of ours.
macro_rules! serve_post {
    ($endpoint:ident) => {
        impl<B, C> tower_service::Service<http::Request<B>> for $endpoint<C>
        where
            B: http_body::Body + Send + 'static,
            B::Data: Send,
            B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
            C: Send + Sync + 'static,
        {
            type Response = http::Response<crate::server::FixedBody>;
            type Error = std::convert::Infallible;
            type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                let this = self.clone();
                Box::pin(async move {
                    if request.method() != http::Method::POST {
                        return Ok($crate::endpoint::reply::method_not_allowed("POST"));
                    }
                    let (parts, body) = request.into_parts();
                    Ok(this.post(&parts, body).await)
                })
            }
        }
    };
}
pub(super) use serve_post;
