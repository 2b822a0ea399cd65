//! One token's life, in real time, over real HTTP.
//!
//! ```text
//! cargo run --example quickstart               # walks one token through its life, in 13 seconds
//! cargo run --example quickstart -- --serve    # keeps the server up, and prints the curl commands to try
//! ```

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Answer, Http, Result, SUCCESSOR, check, claims};
use tokio::net::TcpListener;
use tower_reissue::{
    Algorithm, Authority, ConfigError, Login, MemoryStore, ReissueLayer, RevokeEndpoint, SigningKey,
    VerifiedToken,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    support::exit(
        "quickstart",
        match *args {
            [] => walk().await,
            ["--serve"] => serve(60).await,
            ["--serve", "--lifetime", seconds] => match seconds.parse() {
                Ok(seconds) => serve(seconds).await,
                Err(_) => Err(format!("--lifetime {seconds}: whole seconds are wanted").into()),
            },
            _ => Err("usage: quickstart [--serve [--lifetime SECONDS]]".into()),
        },
    )
}

// The server: all there is to it.

/// What issues, verifies, renews and revokes: the layer, the login handler and the sign-out share it.
fn authority(lifetime: u64, grace: u64) -> Result<Authority> {
    Ok(Authority::builder(SigningKey::generate(Algorithm::EdDSA)?)
        .issuer("https://login.example")
        .audience("orders")
        .lifetime(Duration::from_secs(lifetime))
        .grace(Duration::from_secs(grace))
        // However often its token is renewed, a session ends after a working day.
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        // Signing out needs a memory; without it the layer works too, and needs no store at all.
        .store(MemoryStore::new())
        .build()?)
}

fn app(authority: Authority) -> Result<Router, ConfigError> {
    Ok(Router::new()
        .route("/orders", get(orders))
        .route("/report", get(report))
        // What stands above needs a token, what follows does not.
        .route_layer(ReissueLayer::new(authority.clone()))
        .route("/login", post(login))
        .with_state(authority.clone())
        .route_service("/logout", RevokeEndpoint::new(authority)?))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

/// A real one looks at a password first.
async fn login(
    State(authority): State<Authority>,
    Form(SignIn { user }): Form<SignIn>,
) -> Result<String, StatusCode> {
    let login = Login::new(user).claims(&json!({ "plan": "gold" }));
    let token = authority.issue(login).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(token.into_string())
}

async fn orders(Extension(token): Extension<VerifiedToken>) -> String {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    format!("the orders of {}\n", token.subject().unwrap_or("nobody"))
}

/// A handler that takes its time.
async fn report(token: Extension<VerifiedToken>) -> String {
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    orders(token).await
}

/// How many requests reached a handler, for the walk to see that a refused one did not.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// Serves in the background, on whatever loopback port is free.
async fn start(authority: Authority) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = app(authority)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

// The walk.

const LIFETIME: u64 = 8;
const GRACE: u64 = 3;

async fn walk() -> Result<()> {
    let address = start(authority(LIFETIME, GRACE)?).await?;
    println!(
        "One token's life in real time, over HTTP, against {address}. It lives {LIFETIME} s, is renewed in the"
    );
    println!(
        "last half of that, and can be exchanged for {GRACE} s more. Requests name their token: A, B, C.\n"
    );
    println!("   age   sent                 came back   why");

    let mut client = Client { http: Http::new(format!("http://{address}")), born: 0 };
    // Tokens count whole seconds: signing in just after one begins makes the ages below read as they are meant.
    tokio::time::sleep(Duration::from_secs_f64(1.0 - client.age().fract())).await;
    let signed_in = client.http.send("POST /login", None, "user=alice").await?;
    check(signed_in.status == StatusCode::OK, format!("to be signed in, not {}", signed_in.status))?;
    let a = Token { name: "A", text: signed_in.body };
    client.born = a.claim("iat")?.as_u64().ok_or("A has no iat")?;
    print_step(client.age(), "POST /login", "200 A", "alice signs in");

    client.send("GET /orders", &a).await?.shows(200, "fresh: nothing to renew")?;

    client.wait_for_age(4.5).await;
    let renewed = client.send("GET /orders", &a).await?;
    let b = renewed.brings("B", 200, "in its last half: its successor B comes along")?;
    for kept in ["iss", "sub", "aud", "sid", "session_start", "plan"] {
        check(a.claim(kept)? == b.claim(kept)?, format!("B to keep {kept}"))?;
    }

    client.wait_for_age(6.8).await;
    let slow = client.send("GET /report", &a).await?;
    check(client.age() >= LIFETIME as f64, "the report to take longer than A lives")?;
    slow.brings("B", 200, "expired while the handler ran: answered all the same, with B")?.is(&b)?;

    client.wait_for_age(9.0).await;
    let handled = HANDLED.load(Ordering::SeqCst);
    let in_grace = client.send("GET /orders", &a).await?;
    check(HANDLED.load(Ordering::SeqCst) == handled, "the handler not to run")?;
    in_grace.brings("B", 401, "arrived expired, in the grace: no handler ran, but here is B")?.is(&b)?;

    client.wait_for_age(9.5).await;
    let c = eight_at_once(&client, &b).await?;

    client.wait_for_age(11.3).await;
    client
        .send("GET /orders", &a)
        .await?
        .refused("expired", "past the grace: nothing comes with it any more")?;

    client.wait_for_age(12.5).await;
    client.send("POST /logout", &b).await?.shows(204, "B has expired too, and still signs out")?;
    client.send("GET /orders", &c).await?.refused("revoked", "C had time left; its session has not")?;
    client.send("GET /orders", &b).await?.refused("revoked", "B is in its grace: revoked beats grace")?;

    println!("\nEvery step came out as it says.");
    Ok(())
}

/// One token that is due, eight requests in parallel: tabs, threads or retries of one client.
async fn eight_at_once(client: &Client, token: &Token) -> Result<Token> {
    let requests = [(); 8].map(|()| {
        let (client, token) = (client.clone(), token.clone());
        tokio::spawn(async move { client.send("GET /orders", &token).await })
    });
    let mut age = 0.0;
    let mut successors = Vec::new();
    for request in requests {
        let step = request.await??;
        age = step.age;
        successors.push(step.successor("C", 200)?);
    }
    let first = successors.first().cloned().ok_or("expected eight answers")?;
    for successor in &successors {
        successor.is(&first)?;
    }
    print_step(age, "GET /orders  B x 8", "200 + C", "eight at once: each gets the same successor");
    Ok(first)
}

#[derive(Clone)]
struct Token {
    name: &'static str,
    text: String,
}

impl Token {
    fn claim(&self, name: &str) -> Result<Value> {
        Ok(claims(&self.text)?.get(name).cloned().ok_or(format!("{} has no {name}", self.name))?)
    }

    fn is(&self, other: &Self) -> Result<()> {
        check(claims(&self.text)? == claims(&other.text)?, format!("one {}, and no other", other.name))
    }
}

/// Sends tokens, and knows the time in A's life.
#[derive(Clone)]
struct Client {
    http: Http,
    /// A's `iat`.
    born: u64,
}

impl Client {
    fn age(&self) -> f64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_secs(self.born)).as_secs_f64()
    }

    async fn wait_for_age(&self, age: f64) {
        tokio::time::sleep(Duration::from_secs_f64((age - self.age()).max(0.0))).await;
    }

    async fn send(&self, line: &str, token: &Token) -> Result<Step> {
        let age = self.age();
        let answer = self.http.send(line, Some(&token.text), "").await?;
        Ok(Step { age, sent: format!("{line:<12} {}", token.name), answer })
    }
}

/// One request and its answer: a line of the transcript, once it is as the line says.
struct Step {
    age: f64,
    sent: String,
    answer: Answer,
}

impl Step {
    fn shows(self, status: u16, why: &str) -> Result<()> {
        self.require_status(status)?;
        self.require(self.answer.successor().is_none(), "no successor")?;
        print_step(self.age, &self.sent, &status.to_string(), why);
        Ok(())
    }

    fn brings(self, name: &'static str, status: u16, why: &str) -> Result<Token> {
        let token = self.successor(name, status)?;
        print_step(self.age, &self.sent, &format!("{status} + {name}"), why);
        Ok(token)
    }

    fn refused(self, because: &str, why: &str) -> Result<()> {
        self.require_status(401)?;
        let challenge = self.answer.challenge();
        let named = challenge.contains("invalid_token") && challenge.contains(because);
        self.require(named, format!("a challenge that says {because:?}, not {challenge:?}"))?;
        self.shows(401, why)
    }

    fn successor(&self, name: &'static str, status: u16) -> Result<Token> {
        self.require_status(status)?;
        self.require(self.answer.headers.get_all(SUCCESSOR).iter().count() == 1, "one successor")?;
        let no_store = self.answer.headers.get("cache-control").is_some_and(|value| value == "no-store");
        self.require(no_store, "no cache to keep it")?;
        let text = self.answer.successor().unwrap_or_default().to_owned();
        Ok(Token { name, text })
    }

    fn require_status(&self, status: u16) -> Result<()> {
        self.require(self.answer.status == status, format!("{status}, not {}", self.answer.status))
    }

    fn require(&self, holds: bool, expected: impl std::fmt::Display) -> Result<()> {
        check(holds, format!("{expected}; it was {} at {:.1} s", self.sent, self.age))
    }
}

fn print_step(age: f64, sent: &str, came_back: &str, why: &str) {
    println!("{age:>4.1} s   {sent:<19}  {came_back:<9}   {why}");
}

// The server alone, for curl.

async fn serve(lifetime: u64) -> Result<()> {
    let address = start(authority(lifetime, lifetime / 3)?).await?;
    let (half, grace) = (lifetime / 2, lifetime / 3);
    println!(
        "\
listening on http://{address}

A token lives {lifetime} s, is renewed in its last {half} s, and can be exchanged for {grace} s more. Paste these one by one:

# sign in
  TOKEN=$(curl -s http://{address}/login -d user=alice)
# call
  curl -i http://{address}/orders -H \"Authorization: Bearer $TOKEN\"
# call until the successor comes along, after {half} s
  for _ in $(seq {lifetime}); do curl -si http://{address}/orders -H \"Authorization: Bearer $TOKEN\" | grep -i '^{SUCCESSOR}' && break; sleep 1; done
# go on with the successor
  TOKEN=$(curl -si http://{address}/orders -H \"Authorization: Bearer $TOKEN\" | sed -n 's/^{SUCCESSOR}: //p' | tr -d '\\r')
# sign out: the token may have expired by now
  curl -i -X POST http://{address}/logout -H \"Authorization: Bearer $TOKEN\"
# and see that it is over
  curl -i http://{address}/orders -H \"Authorization: Bearer $TOKEN\"

Ctrl-C ends it."
    );
    Ok(tokio::signal::ctrl_c().await?)
}
