//! A resource server: it admits the tokens of other services, and signs none of its own.
//!
//! ```text
//! cargo run --example resource_server --features axum,jwks              # a demo with issuers of its own, in 2 seconds
//! cargo run --example resource_server --features axum,jwks -- --serve   # keeps it up, and prints curl commands
//! cargo run --example resource_server --features axum,jwks -- \
//!     --issuer https://login.example --audience orders --listen 127.0.0.1:3000
//! ```
//!
//! The last trusts an OpenID provider of yours, and keeps serving. `--issuer` is exactly the `iss` of its tokens, and
//! `--audience` one that their `aud` names. `--listen` is optional.

mod support;

use std::mem;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Http, Result, check};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_reissue::keys::{JwksUrl, KeyRing, KeyRotation};
use tower_reissue::{
    Algorithm, Authority, ConfigError, JwksEndpoint, Login, ReissueLayer, RequireScope, SigningKey,
    VerifiedToken,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    support::exit(
        "resource_server",
        match *args {
            [] => demo().await,
            ["--serve"] => serve_with_an_issuer().await,
            ["--issuer", issuer, "--audience", audience] => serve(issuer, audience, "127.0.0.1:0").await,
            ["--issuer", issuer, "--audience", audience, "--listen", listen] => {
                serve(issuer, audience, listen).await
            }
            _ => {
                Err("usage: resource_server [--serve | --issuer URL --audience NAME [--listen ADDRESS:PORT]]"
                    .into())
            }
        },
    )
}

// The resource server: all there is to it.

const AUDIENCE: &str = "orders";

/// A token with an unknown key causes one fetch in this time at most. 30 s is the default.
const COOLDOWN: Duration = Duration::from_secs(30);

/// It has no key of its own, so nothing can be issued or renewed here, and no store is needed.
async fn authority(issuer: &str, audience: &str, cooldown: Duration) -> Result<Authority> {
    let keys = KeyRotation::verify_only()
        .trust(issuer, JwksUrl::discover(issuer)?)
        // A wrong URL ends the start. Leave it out to start while the issuer is down.
        .require_trusted_issuers()
        .cooldown(cooldown)
        .start()
        .await?;
    Ok(Authority::builder(keys).audience(audience).build()?)
}

fn app(authority: Authority) -> Result<Router, ConfigError> {
    let layer = ReissueLayer::new(authority);
    let refunds =
        Router::new().route("/refunds", post(refund)).route_layer(RequireScope::new("orders:refund")?);
    // Added last, the layer comes first: it guards the refunds too.
    let must = Router::new().route("/orders", get(orders)).merge(refunds).route_layer(layer.clone());
    let may = Router::new().route("/shop", get(shop)).route_layer(layer.optional());
    Ok(must.merge(may).route("/health", get(async || "well\n")))
}

async fn orders(token: VerifiedToken) -> String {
    format!("the orders of {}\n", name(&token))
}

async fn refund(token: VerifiedToken) -> String {
    format!("refunded by {}\n", name(&token))
}

async fn shop(token: Option<VerifiedToken>) -> String {
    match token {
        Some(token) => format!("welcome back, {}\n", name(&token)),
        None => "welcome\n".to_owned(),
    }
}

/// Two issuers may have a user of the same name, so a subject alone names nobody.
fn name(token: &VerifiedToken) -> String {
    format!("{} at {}", token.subject().unwrap_or("nobody"), token.issuer().unwrap_or("nowhere"))
}

/// Serves in the background.
async fn start(authority: Authority, listen: &str) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let app = app(authority)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

// A small OpenID issuer: its configuration, its keys, and a token for anybody. A real one looks at a password first.

struct Issuer {
    /// The `iss` of its tokens, and where it is found.
    name: String,
    address: SocketAddr,
    authority: Authority,
    key: SigningKey,
    /// How often its keys were fetched.
    fetched: Arc<AtomicUsize>,
    server: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Issuer {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let name = format!("http://{address}");
        let key = SigningKey::generate(Algorithm::ES256)?;
        let authority = Authority::builder(key.clone())
            .issuer(&name)
            .audience(AUDIENCE)
            .max_session_lifetime(Duration::from_secs(12 * 3600))
            .build()?;
        let mut issuer = Self { name, address, authority, key, fetched: Arc::default(), server: None };
        issuer.serve(listener);
        Ok(issuer)
    }

    fn serve(&mut self, listener: TcpListener) {
        let configuration = json!({ "issuer": self.name, "jwks_uri": format!("{}/keys", self.name) });
        let fetched = self.fetched.clone();
        let count = move |request: axum::extract::Request| {
            fetched.fetch_add(1, Ordering::SeqCst);
            request
        };
        let app = Router::new()
            .route_service("/keys", JwksEndpoint::new(&self.authority))
            .route_layer(tower::util::MapRequestLayer::new(count))
            .route("/.well-known/openid-configuration", get(async || Json(configuration)))
            .route("/token", post(issue))
            .with_state(self.authority.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
        self.server = Some((stop, tokio::spawn(async { drop(server.await) })));
    }

    /// Ends every connection, and accepts none.
    async fn go_down(&mut self) -> Result<()> {
        if let Some((stop, server)) = self.server.take() {
            drop(stop);
            server.await?;
        }
        Ok(())
    }

    async fn come_back(&mut self) -> Result<()> {
        self.serve(TcpListener::bind(self.address).await?);
        Ok(())
    }

    /// Signs with another key from now on, and still publishes the one before.
    fn replace_key(&mut self) -> Result<()> {
        let before = mem::replace(&mut self.key, SigningKey::generate(Algorithm::ES256)?);
        self.authority.replace_keys(KeyRing::new(self.key.clone()).retiring(before)?)?;
        Ok(())
    }

    /// A token, as a client of the issuer gets it.
    async fn sign_in(&self, owner: &'static str, form: &'static str) -> Result<Token> {
        let answer = Http::new(&self.name).send("POST /token", None, form).await?;
        let body: Value = serde_json::from_str(&answer.body)?;
        let text = body.get("access_token").and_then(Value::as_str).map(ToOwned::to_owned);
        check(text.is_some(), format!("a token for {form}, not {}", answer.status))?;
        Ok(Token { owner, text })
    }

    fn was_asked(&self, times: usize, says: &str) -> Result<()> {
        let fetched = self.fetched.load(Ordering::SeqCst);
        check(fetched == times, format!("the keys to be fetched {times} times so far, not {fetched}"))?;
        println!("   {says}");
        Ok(())
    }
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
    scope: String,
}

async fn issue(
    State(authority): State<Authority>,
    Form(SignIn { user, scope }): Form<SignIn>,
) -> Result<Json<Value>, StatusCode> {
    let login = Login::new(user).claims(&json!({ "scope": scope }));
    let token = authority.issue(login).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(json!({ "access_token": token.as_str(), "token_type": "Bearer" })))
}

// The demo.

async fn demo() -> Result<()> {
    let mut issuer = Issuer::start().await?;
    // The least that is possible: the demo waits for it.
    let cooldown = Duration::from_secs(1);
    let authority = authority(&issuer.name, AUDIENCE, cooldown).await?;
    let address = start(authority.clone(), "127.0.0.1:0").await?;
    let client = Client(Http::new(format!("http://{address}")));
    println!("A resource server at {address}. It signs nothing, and trusts the issuer at");
    println!("{}, whose configuration led it to the keys. All of it goes over HTTP.\n", issuer.name);
    println!("   sent           token      came back   why");

    heading("A token is required, a scope too, or neither");
    let none = Token { owner: "none", text: None };
    let broken = Token { owner: "a.b.c", text: Some("a.b.c".to_owned()) };
    let alice = issuer.sign_in("alice's", "user=alice&scope=orders:read").await?;
    let bob = issuer.sign_in("bob's", "user=bob&scope=orders:read orders:refund").await?;
    for (sent, token, status, with, why) in [
        ("GET /orders", &none, 401, "Bearer realm", "a token is required"),
        ("GET /orders", &alice, 200, "orders of alice", "signed by a key of the issuer, for this audience"),
        ("POST /refunds", &alice, 403, "orders:refund", "it lacks a scope, and the challenge says which"),
        ("POST /refunds", &bob, 200, "refunded by bob", "his has that scope"),
        ("GET /shop", &none, 200, "welcome", "a token is optional"),
        ("GET /shop", &alice, 200, "welcome back, alice", "and is seen if it is there"),
        ("GET /shop", &broken, 401, "invalid_token", "optional is not unchecked: a bad one is refused"),
        ("GET /health", &none, 200, "well", "nobody asks for one"),
    ] {
        client.expect(sent, token, status, with, why).await?;
    }
    issuer.was_asked(1, "The keys were fetched once, at the start.")?;

    heading("The issuer replaces its key");
    issuer.replace_key()?;
    let carol = issuer.sign_in("carol's", "user=carol&scope=orders:read").await?;
    for (token, with, why) in [
        (&carol, "orders of carol", "signed by the new key, which was fetched at once"),
        (&alice, "orders of alice", "signed by the key before, which is still published"),
    ] {
        client.expect("GET /orders", token, 200, with, why).await?;
    }
    issuer.was_asked(2, "The keys were fetched once more, when a token named an unknown one.")?;

    heading("The issuer is down");
    tokio::time::sleep(cooldown + Duration::from_millis(100)).await;
    let dave = issuer.sign_in("dave's", "user=dave&scope=orders:read").await?;
    issuer.replace_key()?;
    let erin = issuer.sign_in("erin's", "user=erin&scope=orders:read").await?;
    issuer.go_down().await?;
    for (token, status, with, why) in [
        (&alice, 200, "orders of alice", "seen before"),
        (&dave, 200, "orders of dave", "not seen before, and the keys are at hand"),
        (&erin, 503, "1", "its key can't be fetched now: no 401, for it may be good"),
    ] {
        client.expect("GET /orders", token, status, with, why).await?;
    }
    issuer.come_back().await?;
    client.wait_for(200, "GET /orders", &erin).await?;
    let why = "the issuer is back, and was asked again by itself";
    client.expect("GET /orders", &erin, 200, "orders of erin", why).await?;

    heading("A partner is trusted and then removed, while the server runs");
    let partner = Issuer::start().await?;
    let partners = partner.sign_in("partner's", "user=alice&scope=orders:read").await?;
    let why = "that issuer is not trusted";
    client.expect("GET /orders", &partners, 401, "invalid_token", why).await?;
    authority.trust_issuer(&partner.name, JwksUrl::discover(&partner.name)?).await?;
    let why = "trusted: an alice too, but of another issuer";
    client.expect("GET /orders", &partners, 200, "orders of alice", why).await?;
    check(authority.distrust_issuer(&partner.name), "the partner to have been trusted")?;
    let why = "removed: a token that was good is refused at once";
    client.expect("GET /orders", &partners, 401, "invalid_token", why).await?;
    let why = "the other issuer's is as good as ever";
    client.expect("GET /orders", &dave, 200, "orders of dave", why).await?;

    println!("\nEvery request was answered as it says.");
    Ok(())
}

fn heading(what: &str) {
    println!("\n{what}");
}

struct Token {
    owner: &'static str,
    text: Option<String>,
}

struct Client(Http);

impl Client {
    /// Prints one request and its answer, once it is as the line says. `with` is in the body; of a refusal it is in the
    /// header that tells a client what to do.
    async fn expect(&self, sent: &str, token: &Token, status: u16, with: &str, why: &str) -> Result<()> {
        let owner = token.owner;
        let answer = self.0.send(sent, token.text.as_deref(), "").await?;
        check(answer.status == status, format!("{status}, not {}, to {sent} ({owner})", answer.status))?;
        let advice = match status {
            401 | 403 => Some(WWW_AUTHENTICATE),
            503 => Some(RETRY_AFTER),
            _ => None,
        };
        let field = |name: &HeaderName| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let advice = advice.map(|name| (field(&name).unwrap_or_default(), name));
        let told = advice.as_ref().map_or(&*answer.body, |(value, _)| value);
        check(told.contains(with), format!("{with:?} in {told:?}, to {sent} ({owner})"))?;
        println!("   {sent:<13}  {owner:<9}  {status}         {why}");
        if let Some((value, name)) = advice {
            println!("      {name}: {value}");
        }
        Ok(())
    }

    /// Sends a request until it has this status, for 10 s at most.
    async fn wait_for(&self, status: u16, sent: &str, token: &Token) -> Result<()> {
        let begun = Instant::now();
        while self.0.send(sent, token.text.as_deref(), "").await?.status != status {
            check(begun.elapsed() < Duration::from_secs(10), format!("{status} to {sent} within 10 s"))?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

// The server alone, for curl.

async fn serve(issuer: &str, audience: &str, listen: &str) -> Result<()> {
    let address = start(authority(issuer, audience, COOLDOWN).await?, listen).await?;
    println!(
        "\
listening on http://{address}

It admits the tokens of {issuer} for {audience}. With one of them in TOKEN:
{}",
        commands(address)
    );
    Ok(tokio::signal::ctrl_c().await?)
}

async fn serve_with_an_issuer() -> Result<()> {
    let issuer = Issuer::start().await?;
    let address = start(authority(&issuer.name, AUDIENCE, COOLDOWN).await?, "127.0.0.1:0").await?;
    println!(
        "\
listening on http://{address}

It admits the tokens of an issuer of its own. Paste these one by one:

# sign in, at the issuer
  TOKEN=$(curl -s {}/token -d user=alice -d scope=orders:read | sed 's/.*\"access_token\":\"//; s/\".*//')
{}",
        issuer.name,
        commands(address)
    );
    Ok(tokio::signal::ctrl_c().await?)
}

fn commands(address: SocketAddr) -> String {
    format!(
        "\
# a token is required
  curl -i http://{address}/orders -H \"Authorization: Bearer $TOKEN\"
# a scope too: orders:refund
  curl -i -X POST http://{address}/refunds -H \"Authorization: Bearer $TOKEN\"; echo
# a token is optional
  curl -i http://{address}/shop
  curl -i http://{address}/shop -H \"Authorization: Bearer $TOKEN\"

Ctrl-C ends it."
    )
}
