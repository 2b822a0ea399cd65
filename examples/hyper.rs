//! The layer over bare hyper, without a framework.
//!
//! ```text
//! cargo run --example hyper               # a short demo on a clock that it moves itself
//! cargo run --example hyper -- --serve    # keeps the server up, and prints a curl command
//! ```

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use support::{Http, Result, check, claims};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_reissue::{
    Algorithm, Authority, Clock, Login, ManualClock, ReissueLayer, SigningKey, SystemClock, VerifiedToken,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    support::exit(
        "hyper",
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => demo().await,
            ["--serve"] => serve().await,
            _ => Err("usage: hyper [--serve]".into()),
        },
    )
}

fn authority(clock: impl Clock) -> Result<Authority> {
    Ok(Authority::builder(SigningKey::generate(Algorithm::ES256)?)
        .issuer("https://login.example")
        .audience("hello")
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .clock(clock)
        .build()?)
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // It is always there: the layer lets nothing else through.
    let token = request.extensions().get::<VerifiedToken>();
    let name = token.and_then(VerifiedToken::subject).unwrap_or("nobody");
    Ok(Response::new(format!("hello {name}\n").into()))
}

/// Serves in the background, HTTP/1 and HTTP/2, on whatever loopback port is free.
async fn start(authority: Authority) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = ReissueLayer::new(authority).layer(service_fn(hello));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                // A connection that breaks off is no concern of the others.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(connection), service)
                    .await;
            });
        }
    });
    Ok(address)
}

async fn demo() -> Result<()> {
    let clock = ManualClock::at(1_800_000_000);
    let authority = authority(clock.clone())?;
    let token = authority.issue(Login::new("alice")).await?.into_string();
    let http = Http::new(format!("http://{}", start(authority).await?));
    println!("A token of 600 s over bare hyper. The clock is moved by hand.\n");

    let answer = http.send("GET /", None, "").await?;
    check(answer.status == 401 && answer.challenge() == r#"Bearer realm="api""#, "401 without a token")?;
    println!("  0 s  no token  401            {}", answer.challenge());

    let mut successors = Vec::new();
    for (age, status, renewed, why) in [
        (0, 200, false, "fresh"),
        (599, 200, true, "in its last 120 s: the successor comes along"),
        (659, 401, true, "expired, in the grace: exchanged, the handler did not run"),
        (660, 401, false, "past the grace"),
    ] {
        clock.set(1_800_000_000 + age);
        let answer = http.send("GET /", Some(&token), "").await?;
        let as_expected = answer.status == status && answer.successor().is_some() == renewed;
        check(as_expected, format!("{status} at {age} s, with a successor: {renewed}"))?;
        check((answer.body == "hello alice\n") == (status == 200), "alice to be greeted where admitted")?;
        successors.extend(answer.successor().map(claims).transpose()?);
        let came_back = if renewed { format!("{status} + token") } else { status.to_string() };
        println!("{age:>3} s  token     {came_back:<12}   {why}");
    }
    // Two signatures perhaps, since ES256 draws a number for each, but one set of claims.
    check(matches!(&*successors, [first, second] if first == second), "one successor")?;
    println!("\nBoth answers brought the same successor.");
    Ok(())
}

async fn serve() -> Result<()> {
    let authority = authority(SystemClock)?;
    let token = authority.issue(Login::new("alice")).await?.into_string();
    let address = start(authority).await?;
    println!("listening on http://{address}\n");
    println!("  curl -i http://{address}/ -H 'Authorization: Bearer {token}'\n");
    println!("From its 480th second on, the token's answers carry a successor. Ctrl-C ends it.");
    Ok(tokio::signal::ctrl_c().await?)
}
