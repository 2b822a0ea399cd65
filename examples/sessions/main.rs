//! A small sign-in service: accounts with passwords, an access and a refresh token for apps, a cookie for browsers, a list of
//! devices, and as many nodes as you start.
//!
//! ```text
//! cargo run --example sessions --features axum,sqlite                     # two nodes, and a walk through them
//! cargo run --example sessions --features axum,sqlite -- --serve          # one node on 127.0.0.1:3000, and what to paste
//!
//!   --listen ADDRESS     where it serves
//!   --data FOLDER        accounts and signing key, which the nodes share; a folder that is deleted at the end by default
//!   --store URL          sessions: redis://… with --features redis, postgres://… with --features postgres; SQLite by default
//! ```
//!
//! What is this crate's and what is the service's own: `accounts.rs` holds passwords, `app.rs` the routes and the one authority
//! behind them, `walk.rs` a client.

mod accounts;
mod app;
mod walk;

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;
use tower_reissue::store::{AnyStore, SqlStore};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::read()?;
    // Deleted when it is dropped.
    let temporary = tempfile::tempdir()?;
    let data = args.data.as_deref().unwrap_or(temporary.path());
    if args.serve {
        let node = Node::start(data, args.store.as_deref(), &args.listen).await?;
        print_commands(node.address);
        return node.serving.await?;
    }
    let nodes = [
        Node::start(data, args.store.as_deref(), "127.0.0.1:0").await?,
        Node::start(data, args.store.as_deref(), "127.0.0.1:0").await?,
    ];
    walk::walk(nodes.map(|node| node.address)).await
}

/// One process of the service. Nodes share the data folder and the store, and nothing else.
struct Node {
    address: SocketAddr,
    serving: tokio::task::JoinHandle<Result<()>>,
}

impl Node {
    async fn start(data: &Path, store: Option<&str>, listen: &str) -> Result<Self> {
        let app = app::app(data, open(data, store).await?).await?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move { Ok(axum::serve(listener, app).await?) });
        Ok(Self { address, serving })
    }
}

async fn open(data: &Path, url: Option<&str>) -> Result<AnyStore> {
    match url {
        None => {
            let file = data.join("sessions.db");
            let file = file.to_str().ok_or("the folder's name is no UTF-8")?;
            Ok(AnyStore::new(SqlStore::sqlite(file).await?))
        }
        #[cfg(feature = "postgres")]
        Some(url) if url.starts_with("postgres") => Ok(AnyStore::new(SqlStore::postgres(url).await?)),
        #[cfg(feature = "redis")]
        Some(url) if url.starts_with("redis") => {
            Ok(AnyStore::new(tower_reissue::store::RedisStore::connect(url).await?))
        }
        Some(_) => {
            Err("the store is postgres://… (--features postgres) or redis://… (--features redis)".into())
        }
    }
}

#[derive(Default)]
struct Args {
    serve: bool,
    listen: String,
    data: Option<PathBuf>,
    store: Option<String>,
}

impl Args {
    fn read() -> Result<Self> {
        let mut args = Self { listen: "127.0.0.1:3000".to_owned(), ..Self::default() };
        let mut given = std::env::args().skip(1);
        while let Some(arg) = given.next() {
            let mut value = || given.next().ok_or(format!("{arg} needs a value"));
            match &*arg {
                "--serve" => args.serve = true,
                "--listen" => args.listen = value()?,
                "--data" => args.data = Some(value()?.into()),
                "--store" => args.store = Some(value()?),
                _ => {
                    eprintln!("usage: sessions [--serve] [--listen ADDRESS] [--data FOLDER] [--store URL]");
                    std::process::exit(if arg == "--help" { 0 } else { 2 });
                }
            }
        }
        Ok(args)
    }
}

fn print_commands(address: SocketAddr) {
    println!(
        "\
listening on http://{address}

Paste these one by one:

# sign up, then sign in on a phone
  curl -i http://{address}/sign-up -d user=alice -d password=correct-horse
  PAIR=$(curl -s http://{address}/sign-in -d user=alice -d password=correct-horse -d device=phone); echo \"$PAIR\"
  ACCESS=$(echo \"$PAIR\" | sed 's/.*\"access_token\":\"\\([^\"]*\\).*/\\1/')
  REFRESH=$(echo \"$PAIR\" | sed 's/.*\"refresh_token\":\"\\([^\"]*\\).*/\\1/')
# see the devices
  curl -i http://{address}/devices -H \"Authorization: Bearer $ACCESS\"; echo
# exchange the refresh token, twice as after a lost response: both bring the same refresh token
  curl -s http://{address}/refresh -d grant_type=refresh_token -d refresh_token=$REFRESH; echo
  curl -s http://{address}/refresh -d grant_type=refresh_token -d refresh_token=$REFRESH; echo
# sign in as a browser does, with the token in a cookie, and end that session from the phone
  curl -i http://{address}/sign-in -d user=alice -d password=correct-horse -d device=browser -d keep=cookie -c /tmp/sessions.cookie
  curl -i http://{address}/me -b /tmp/sessions.cookie; echo
  ID=$(curl -s http://{address}/devices -H \"Authorization: Bearer $ACCESS\" | sed 's/.*\"device\":\"browser\",\"id\":\"\\([^\"]*\\).*/\\1/')
  curl -i -X POST http://{address}/devices/$ID/end -H \"Authorization: Bearer $ACCESS\"
  curl -i http://{address}/me -b /tmp/sessions.cookie; echo
# change the password: every device is signed out, and this one signed in again
  curl -i http://{address}/password -H \"Authorization: Bearer $ACCESS\" -d old=correct-horse -d new=battery-staple -d device=phone; echo
# the tokens from before are of no use any more
  curl -i http://{address}/devices -H \"Authorization: Bearer $ACCESS\"; echo
  curl -i http://{address}/refresh -d grant_type=refresh_token -d refresh_token=$REFRESH; echo

Ctrl-C ends it."
    );
}
