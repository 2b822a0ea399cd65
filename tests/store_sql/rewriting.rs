//! A proxy that makes a PostgreSQL server answer what it rarely does.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What begins with the first is overwritten with the second, which must be no longer than it.
type Rewrite = (&'static str, &'static str);

/// Rewrites what the server is asked, and passes notifications on so much later. The port; the proxy ends with the
/// runtime.
pub(crate) async fn before(server: u16, rewrite: Option<Rewrite>, late: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::select! {
                    () = pass(from_client, to_server, rewrite, Duration::ZERO) => {}
                    () = pass(from_server, to_client, None, late) => {}
                }
            });
        }
    });
    port
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rewrite: Option<Rewrite>, late: Duration) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = &mut buffer[..read];
        if let Some((asked, rewritten)) = rewrite
            && let Some(at) = bytes.windows(asked.len()).position(|window| window == asked.as_bytes())
        {
            bytes[at..at + rewritten.len()].copy_from_slice(rewritten.as_bytes());
        }
        // NotificationResponse.
        if bytes.first() == Some(&b'A') {
            tokio::time::sleep(late).await;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
