//! A server for any tower service, and a client.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Collected, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::Service;
use tower_reissue::{ManualClock, ReissueLayer};

use crate::support::*;

pub const HEADER: &str = "refreshed-api-token";

/// A layer that stands `at` seconds into the life of the default token.
pub fn layer(at: u64) -> ReissueLayer {
    ReissueLayer::new(builder(&ManualClock::at(NOW + at)).build().unwrap())
}

/// Serves HTTP/1.1 and HTTP/2 on a loopback socket, a clone for each connection.
pub async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Http1,
    Http2,
}

/// One request, its response read to the end.
pub async fn fetch(
    address: SocketAddr,
    protocol: Protocol,
    mut request: Request<()>,
) -> Response<Collected<Bytes>> {
    let client =
        Client::builder(TokioExecutor::new()).http2_only(matches!(protocol, Protocol::Http2)).build_http();
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    *request.uri_mut() = format!("http://{address}{path}").parse().unwrap();
    let response = client.request(request.map(|()| Empty::<Bytes>::new())).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap())
}

pub fn get(path: &str, token: Option<&str>) -> Request<()> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(()).unwrap()
}

pub fn text(response: Response<Collected<Bytes>>) -> String {
    String::from_utf8(response.into_body().to_bytes().to_vec()).unwrap()
}

/// A handler that names the caller.
pub async fn whoami<B>(request: Request<B>) -> Result<Response<http_body_util::Full<Bytes>>, Infallible> {
    let token: &tower_reissue::VerifiedToken = request.extensions().get().expect("a verified token");
    Ok(Response::new(token.subject().unwrap_or("nobody").repeat(40).into_bytes().into()))
}

pub fn renewed<B>(response: &Response<B>) -> bool {
    let count = response.headers().get_all(HEADER).iter().count();
    assert!(count <= 1);
    count == 1
}
