//! The layer over tonic: gRPC's own health service, unary and server-streaming, so that no protoc is needed.
//!
//! ```text
//! cargo run --example tonic               # a short demo with a clock that it sets itself
//! cargo run --example tonic -- --serve    # keeps the server up, and prints a grpcurl command
//! ```

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use support::{Result, SUCCESSOR, check, claims};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;
use tower_reissue::{Algorithm, Authority, Clock, Login, ManualClock, ReissueLayer, SigningKey, SystemClock};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    support::exit(
        "tonic",
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => demo().await,
            ["--serve"] => serve().await,
            _ => Err("usage: tonic [--serve]".into()),
        },
    )
}

fn authority(clock: impl Clock) -> Result<Authority> {
    Ok(Authority::builder(SigningKey::generate(Algorithm::EdDSA)?)
        .issuer("https://login.example")
        .audience("health")
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .clock(clock)
        .build()?)
}

/// Serves in the background, on whatever loopback port is free.
async fn start(authority: Authority) -> Result<(SocketAddr, HealthReporter)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(ReissueLayer::new(authority)).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok((address, reporter))
}

async fn demo() -> Result<()> {
    let clock = ManualClock::at(1_800_000_000);
    let authority = authority(clock.clone())?;
    let token = authority.issue(Login::new("alice")).await?.into_string();
    let (address, reporter) = start(authority).await?;
    let mut client = HealthClient::new(Channel::from_shared(format!("http://{address}"))?.connect().await?);
    println!("A token of 600 s over gRPC. The demo sets the clock.\n");

    let refusal = client.check(without_token()).await.err().ok_or("expected a refusal without a token")?;
    check(refusal.code() == Code::Unauthenticated, "UNAUTHENTICATED without a token")?;
    println!("  0 s  check, no token  UNAUTHENTICATED, \"{}\"", refusal.message());

    let fresh = client.check(request(&token)?).await?;
    check(successor(fresh.metadata()).is_none(), "no successor for a fresh token")?;
    println!("  0 s  check            OK");

    clock.advance(500);
    let renewed = client.check(request(&token)?).await?;
    let unary = successor(renewed.metadata()).ok_or("expected a successor at 500 s")?;
    println!("500 s  check            OK, the successor in the response's metadata");

    let streamed = watch(&mut client, &reporter, &token).await?;
    check(claims(&unary)? == claims(&streamed)?, "one successor for both calls")?;
    println!("500 s  watch            OK, the same successor before the first message, then two messages");

    clock.advance(130);
    let refusal = client.check(request(&token)?).await.err().ok_or("expected a refusal at 630 s")?;
    check(refusal.code() == Code::Unauthenticated, "UNAUTHENTICATED in the grace")?;
    let exchanged = successor(refusal.metadata()).ok_or("expected a successor at 630 s")?;
    check(claims(&unary)? == claims(&exchanged)?, "the same successor in the grace")?;
    println!("630 s  check            UNAUTHENTICATED, and the same successor in exchange");

    let mut token = token;
    let held = tokio::spawn(async move {
        call(&mut token, |token| {
            let mut client = client.clone();
            async move { client.check(request(&token)?).await }
        })
        .await?;
        Ok::<_, Status>(token)
    })
    .await??;
    check(claims(&held)? == claims(&unary)?, "the client to hold the successor")?;
    println!("630 s  check, twice     OK at the second attempt, with the successor");
    println!("\nEvery call came out as it says.");
    Ok(())
}

/// A server-streaming call: admitted once, when it begins.
async fn watch(client: &mut HealthClient<Channel>, reporter: &HealthReporter, token: &str) -> Result<String> {
    let response = client.watch(request(token)?).await?;
    let successor = successor(response.metadata()).ok_or("expected a successor with the stream")?;
    let mut stream = response.into_inner();
    for expected in [ServingStatus::Serving, ServingStatus::NotServing] {
        let message = stream.message().await?.ok_or("expected a message")?;
        check(message.status() == expected, format!("{expected:?}"))?;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    }
    Ok(successor)
}

/// Asks about the server as a whole.
fn without_token() -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: String::new() })
}

fn request(token: &str) -> Result<Request<HealthCheckRequest>, Status> {
    let credential = format!("Bearer {token}").parse();
    let credential = credential.map_err(|_| Status::invalid_argument("this is not a token"))?;
    let mut request = without_token();
    request.metadata_mut().insert("authorization", credential);
    Ok(request)
}

/// Calls with `token` and keeps its successor. Calls once more if the server says that the handler did not run.
///
///     call(&mut token, |token| {
///         let mut client = client.clone();
///         async move { client.check(request(&token)?).await }
///     })
///     .await
async fn call<T, F>(token: &mut String, mut rpc: impl FnMut(String) -> F) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut replayed = false;
    loop {
        let answer = rpc(token.clone()).await;
        let metadata = match &answer {
            Ok(response) => response.metadata(),
            Err(status) => status.metadata(),
        };
        if let Some(Ok(successor)) = metadata.get("refreshed-api-token").map(|value| value.to_str()) {
            *token = successor.to_owned();
        }
        if replayed || metadata.get("reissue-replay").is_none_or(|value| value != "safe") {
            return answer;
        }
        replayed = true;
    }
}

fn successor(metadata: &MetadataMap) -> Option<String> {
    Some(metadata.get(SUCCESSOR)?.to_str().ok()?.to_owned())
}

async fn serve() -> Result<()> {
    let authority = authority(SystemClock)?;
    let token = authority.issue(Login::new("alice")).await?.into_string();
    // Held: with the last reporter gone, watchers would see their streams end.
    let (address, _reporter) = start(authority).await?;
    println!("listening on http://{address}\n");
    println!(
        "The protocol is published at https://github.com/grpc/grpc-proto; with health.proto beside you:\n"
    );
    println!("  grpcurl -plaintext -v -import-path . -proto health.proto \\");
    println!("    -H 'authorization: Bearer {token}' {address} grpc.health.v1.Health/Check\n");
    println!("From its 480th second on, the token's answers carry a successor. Ctrl-C ends it.");
    Ok(tokio::signal::ctrl_c().await?)
}
