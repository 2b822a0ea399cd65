//! The network between a store and its server: slow, cut, or a black hole, when told to; and it counts round trips.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A TCP proxy in front of one server of this machine.
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    turns: Arc<AtomicU64>,
    task: tokio::task::AbortHandle,
}

/// What becomes of the bytes. When it changes, what was held back is passed on by the new rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Every reply comes so much later.
    Slow(Duration),
    /// Every reply is cut after its first byte, and its connection with it.
    Cut,
    /// Nothing is passed on, in neither direction, and nobody is told.
    BlackHole,
    /// The same, and the connections that are in it never come back: a firewall forgot them.
    Forgotten,
}

impl Proxy {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (weather, _) = watch::channel(Weather::Clear);
        let turns = Arc::new(AtomicU64::new(0));
        let (sky, counted) = (weather.clone(), Arc::clone(&turns));
        let task = tokio::spawn(async move {
            // They end with the proxy.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, port, sky.subscribe(), Arc::clone(&counted)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port: own, weather, turns, task: task.abort_handle() }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How often the direction changed from asking to answering: round trips, for one caller at a time.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, port: u16, mut weather: watch::Receiver<Weather>, turns: Arc<AtomicU64>) {
    // What is not passed on does not reach the server.
    let _ = permits(&mut weather, false).await;
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_asking = Arc::new(AtomicBool::new(false));
    let (asking, mut above, mut watching) = (Arc::clone(&is_asking), weather.clone(), weather.clone());
    let forth = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            permits(&mut above, false).await;
            asking.store(true, Ordering::SeqCst);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
        // A client that went is as silent as one that is there.
        permits(&mut above, false).await;
    };
    let back = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if is_asking.swap(false, Ordering::SeqCst) {
                turns.fetch_add(1, Ordering::SeqCst);
            }
            let is_whole = permits(&mut weather, true).await;
            let bytes = &buffer[..if is_whole { read } else { 1 }];
            if to_client.write_all(bytes).await.is_err() || !is_whole {
                return;
            }
        }
    };
    let (mut forth, mut back) = (pin!(forth), pin!(back));
    // Whichever side ends ends both.
    tokio::select! {
        () = &mut forth => return,
        () = &mut back => return,
        _ = watching.wait_for(|weather| *weather == Weather::Forgotten) => {}
    }
    // Both sides stay open, and hear nothing more.
    std::future::pending().await
}

/// Returns when bytes may be passed on; false where they are to be cut.
async fn permits(weather: &mut watch::Receiver<Weather>, is_reply: bool) -> bool {
    loop {
        let now = *weather.borrow_and_update();
        let change = weather.changed();
        match now {
            Weather::Slow(delay) if is_reply => {
                if tokio::time::timeout(delay, change).await.is_err() {
                    return true;
                }
            }
            Weather::Clear | Weather::Slow(_) => return true,
            Weather::Cut => return !is_reply,
            Weather::BlackHole => _ = change.await,
            Weather::Forgotten => std::future::pending().await,
        }
    }
}
