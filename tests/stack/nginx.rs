//! A real nginx in front: as the one that asks whether a request may pass, and with buffers that a response has to fit.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Collected;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::{Challenge, Cookie, ManualClock, ReissueLayer, Source};

use crate::support::*;
use crate::wire::*;

const PAGE: &str = "the protected page";

/// In front of a service: `/` serves a page if `/auth` of the service says so, over HTTP/1.1 or over HTTP/2 inwards;
/// `/app` is the service's.
struct Nginx {
    child: Child,
    http1: SocketAddr,
    http2: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Nginx {
    fn before(service: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        fs::create_dir(dir.path().join("pages")).unwrap();
        for page in ["index.html", "h2.html"] {
            fs::write(dir.path().join("pages").join(page), PAGE).unwrap();
        }
        let (http1, http2) = (free(), free());
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name};"))
            .concat();
        // As root it would serve as another user, who can't write here.
        let config = format!(
            "user root;
             daemon off;
             worker_processes 1;
             pid {path}/pid;
             error_log {path}/error.log;
             events {{}}
             http {{
                 access_log off;
                 {temporary}
                 server {{
                     listen {http1};
                     listen {http2} http2;
                     root {path}/pages;
                     location / {{ auth_request /auth; }}
                     location = /h2.html {{ auth_request /auth-h2; }}
                     location = /auth {{
                         internal;
                         proxy_pass http://{service};
                         proxy_pass_request_body off;
                         proxy_set_header Content-Length '';
                     }}
                     location = /auth-h2 {{
                         internal;
                         grpc_pass grpc://{service};
                     }}
                     location /app {{ proxy_pass http://{service}; }}
                 }}
             }}"
        );
        fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let mut child = Command::new(nginx())
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .expect("nginx is missing: `apt-get install nginx`");
        let begun = Instant::now();
        while TcpStream::connect(http1).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < Duration::from_secs(20),
                "nginx does not start: {}",
                fs::read_to_string(dir.path().join("stderr")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, http1, http2, _dir: dir }
    }

    async fn fetch(&self, protocol: Protocol, request: Request<()>) -> Response<Collected<Bytes>> {
        let address = match protocol {
            Protocol::Http1 => self.http1,
            Protocol::Http2 => self.http2,
        };
        fetch(address, protocol, request).await
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends with it only where it is asked to.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Debian keeps it where only root looks.
fn nginx() -> &'static str {
    if std::path::Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_auth_request_serves_the_page_for_a_good_token_alone() {
    let good = mint(&claims());
    let forged = format!("{good}x");
    let with_200 = Challenge::default().dangerous().grpc_refusals_with_http_200();
    for (layer, at) in [(layer(0), 0), (layer(630), 630), (layer(0).refuse_with(with_200), 0)] {
        let nginx = Nginx::before(serve(layer.layer(service_fn(whoami))).await);
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for path in ["/", "/h2.html"] {
                for content_type in ["", "application/grpc", "application/grpc+proto", "application/grpc-web"]
                {
                    for token in [None, Some("a.b.c"), Some(&*forged), Some(&*good)] {
                        let mut request = get(path, token);
                        if !content_type.is_empty() {
                            request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
                        }
                        let response = nginx.fetch(protocol, request).await;
                        let passes = at == 0 && token == Some(&good);
                        let what = format!("{protocol:?} {path} {content_type} {token:?} at {at}");
                        assert_eq!(response.status(), if passes { 200 } else { 401 }, "{what}");
                        let challenges = response.headers().contains_key(header::WWW_AUTHENTICATE);
                        assert_eq!(challenges, !passes, "{what}");
                        assert_eq!(text(response).contains(PAGE), passes, "{what}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_with_default_buffers_passes_every_renewing_response() {
    let fat = |bytes: usize| mint(&claims_with(json!({ "fat": "x".repeat(bytes) })));
    // The largest that goes out by default, and one of 6 KiB.
    let mut at_bound = String::new();
    for bytes in 1_600.. {
        let token = fat(bytes);
        let request = get("/", Some(&token));
        if !renewed(&layer(500).layer(service_fn(whoami)).oneshot(request).await.unwrap()) {
            break;
        }
        at_bound = token;
    }
    let beyond = fat(4_500);
    assert!(beyond.len() > 6_000);
    let source = || [Source::cookie(Cookie::new("session").unwrap()), Source::authorization()];
    let service = |at: u64| layer(at).read_from(source()).layer(service_fn(whoami));
    for (at, status) in [(500, 200), (630, 401)] {
        let nginx = Nginx::before(serve(service(at)).await);
        for (token, carries) in [(&at_bound, true), (&beyond, false)] {
            let response = nginx.fetch(Protocol::Http1, get("/app", Some(token))).await;
            assert_eq!(response.status(), status, "at {at}: the handler's answer, and no 502");
            assert_eq!(renewed(&response), carries, "at {at}");
            if let Some(successor) = response.headers().get(HEADER) {
                assert!((2_556..=2_560).contains(&successor.len()), "{}", successor.len());
            }
            let mut by_cookie = get("/app", None);
            by_cookie.headers_mut().insert("cookie", format!("__Host-session={token}").parse().unwrap());
            let response = nginx.fetch(Protocol::Http1, by_cookie).await;
            assert_eq!(response.status(), status, "at {at}, in a cookie");
            assert_eq!(response.headers().contains_key("set-cookie"), carries, "at {at}, in a cookie");
        }
    }
    // Without the bound that is a 502, after the handler ran.
    let unbounded = builder(&ManualClock::at(NOW + 500)).max_added_head_bytes(65_536).build().unwrap();
    let nginx = Nginx::before(serve(ReissueLayer::new(unbounded).layer(service_fn(whoami))).await);
    assert_eq!(nginx.fetch(Protocol::Http1, get("/app", Some(&beyond))).await.status(), 502);
}
