//! The servers: this program again, as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt as _;
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_reissue::Algorithm;
use tower_reissue::ReissueLayer;

use crate::by_hand;
use crate::support::*;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    NoAuth,
    /// What any layer costs there that does for the body what this one must.
    BodyLayer,
    Layer,
    Uncached,
    ByHand,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Self::NoAuth => "no auth",
            Self::BodyLayer => "a layer that wraps the body",
            Self::Layer => "tower-reissue, seen before",
            Self::Uncached => "tower-reissue, no memory",
            Self::ByHand => "from_fn + jsonwebtoken",
        }
    }

    pub fn named(title: &str) -> Self {
        let all = [Self::NoAuth, Self::BodyLayer, Self::Layer, Self::Uncached, Self::ByHand];
        all.into_iter().find(|kind| kind.title() == title).expect("a server of that name")
    }

    fn router(self, algorithm: Algorithm) -> Router {
        let router = Router::new().route("/orders", get(|| async { "ok" }));
        let layer = |cache: u64| {
            ReissueLayer::new(authority(key_for(algorithm)).token_cache_bytes(cache).build().unwrap())
        };
        match self {
            Self::NoAuth => router,
            Self::BodyLayer => {
                router.layer(MapResponseBodyLayer::new(|body: Body| body.map_err(|error| error)))
            }
            Self::Layer => router.layer(layer(64 << 20)),
            Self::Uncached => router.layer(layer(0)),
            Self::ByHand => by_hand::before(router, algorithm),
        }
    }
}

/// Serves until its standard input ends, which it does with the program that started it.
pub fn serve(kind: Kind, algorithm: Algorithm) {
    let workers = from_environment("TCP_WORKERS", 1) as usize;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpSocket::new_v4().unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(8_192).unwrap();
        println!("{}", listener.local_addr().unwrap());
        axum::serve(listener, kind.router(algorithm)).await
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

pub struct Server {
    process: Child,
    pub address: String,
    pub token: String,
}

impl Server {
    /// Starts one, and asserts how it judges a good and a forged token.
    pub fn start(kind: Kind, algorithm: Algorithm) -> Self {
        raise_the_limit_of_open_files();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["serve", kind.title(), &format!("{algorithm:?}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
        let token = issue(&authority(key_for(algorithm)).build().unwrap());
        let server = Self { process, address: address.trim().to_owned(), token };
        assert_eq!(server.status_for(&server.token), 200, "{}", kind.title());
        let refused = if matches!(kind, Kind::NoAuth | Kind::BodyLayer) { 200 } else { 401 };
        assert_eq!(server.status_for(&forged(&server.token)), refused, "{}", kind.title());
        server
    }

    fn status_for(&self, token: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head =
            format!("GET /orders HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n", self.address);
        stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The CPU time that its threads have had, in seconds. `stat` would count it in hundredths of a second.
    pub fn cpu_seconds(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let nanos = tasks.map(|task| {
            let said = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            said.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        nanos.sum::<u64>() as f64 / 1e9
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// 5,000 connections are more open files than most shells allow at first. What is started inherits it.
fn raise_the_limit_of_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

pub fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}
