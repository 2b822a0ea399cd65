//! "Signed in on these devices": list my sessions, end one, end all others, end all.
//!
//! ```text
//! cargo run --example sessions                                  # a demonstration that checks itself
//! cargo run --example sessions --features sqlite -- --sqlite sessions.db
//! cargo run --example sessions -- --serve                       # serves on 127.0.0.1:3000
//! ```
//!
//! Sign in with `curl -d '{"user":"alice","device":"phone"}' -H 'content-type: application/json'
//! http://127.0.0.1:3000/sign-in`. The device is a private claim of the token, so the store keeps it with the
//! session's head: no table of your own is needed.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_reissue::store::{Page, SessionRecord, StoreError};
use tower_reissue::{
    Algorithm, Authority, AuthorityBuilder, IssueError, Login, MemoryStore, NoReissue, ReissueLayer,
    SigningKey, VerifiedToken,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let authority = with_store(
        Authority::builder(SigningKey::generate(Algorithm::EdDSA)?)
            .issuer("https://login.example")
            .audience("sessions-example")
            .max_session_lifetime(Duration::from_secs(12 * 3600)),
        &args,
    )
    .await?
    .build()?;
    let serve = args.iter().any(|arg| arg == "--serve");
    let listener = TcpListener::bind(("127.0.0.1", if serve { 3000 } else { 0 })).await?;
    let address = listener.local_addr()?;
    let server = axum::serve(listener, app(authority));
    if serve {
        println!("http://{address}");
        return Ok(server.await?);
    }
    tokio::spawn(server.into_future());
    demonstrate(address).await
}

async fn with_store(builder: AuthorityBuilder, args: &[String]) -> Result<AuthorityBuilder, Box<dyn Error>> {
    let Some(flag) = args.iter().position(|arg| arg == "--sqlite") else {
        return Ok(builder.store(MemoryStore::new()));
    };
    let file = args.get(flag + 1).ok_or("--sqlite wants a file")?;
    #[cfg(feature = "sqlite")]
    return Ok(builder.store(tower_reissue::store::SqlStore::sqlite(file).await?));
    #[cfg(not(feature = "sqlite"))]
    Err(format!("to keep sessions in {file}, run with `--features sqlite`").into())
}

fn app(authority: Authority) -> Router {
    Router::new()
        .route("/sessions", get(list))
        .route("/sessions/{session}/end", post(end_one))
        .route("/sessions/end-others", post(end_others))
        .route("/sessions/end-all", post(end_all))
        .layer(ReissueLayer::new(authority.clone()))
        // Outside the layer: whoever signs in has no token yet.
        .route("/sign-in", post(sign_in))
        .with_state(authority)
}

#[derive(serde::Deserialize)]
struct SignIn {
    user: String,
    device: String,
}

/// A real one asks for a password first.
async fn sign_in(State(authority): State<Authority>, Json(sign_in): Json<SignIn>) -> Response {
    let login = Login::new(sign_in.user).claims(&json!({ "device": sign_in.device }));
    match authority.issue(login).await {
        Ok(token) => Json(json!({ "token": token.as_str() })).into_response(),
        // "End all" reached further ahead than a session may be dated: a clock is behind. Or the store is out.
        Err(IssueError::Revoked | IssueError::Store(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The caller's own sessions, the newest first.
async fn list(
    State(authority): State<Authority>,
    Extension(me): Extension<VerifiedToken>,
) -> Result<Json<Value>, Outage> {
    let sessions = my_sessions(&authority, &me).await?;
    let sessions = sessions.iter().map(|session| {
        let claims: Value = serde_json::from_str(&session.claims).unwrap_or_default();
        json!({
            "id": session.session.to_string(),
            "device": claims.get("device"),
            "since": session.session_start.as_secs(),
            "this": session.session == me.session(),
        })
    });
    Ok(Json(sessions.collect()))
}

/// A session is looked for among the caller's own: another's is not found, whoever knows its id.
async fn end_one(
    State(authority): State<Authority>,
    Extension(me): Extension<VerifiedToken>,
    Path(id): Path<String>,
) -> Result<Response, Outage> {
    let sessions = my_sessions(&authority, &me).await?;
    let Some(session) = sessions.iter().find(|session| session.session.to_string() == id) else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    authority.revoke_recorded(session).await?;
    if session.session == me.session() {
        // Signed out: no successor on the way.
        return Ok((StatusCode::NO_CONTENT, Extension(NoReissue)).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn end_others(
    State(authority): State<Authority>,
    Extension(me): Extension<VerifiedToken>,
) -> Result<StatusCode, Outage> {
    authority.revoke_other_sessions(&me).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// After a lost password, say.
async fn end_all(
    State(authority): State<Authority>,
    Extension(me): Extension<VerifiedToken>,
) -> Result<Response, Outage> {
    authority.revoke_subject(me.subject().unwrap_or_default()).await?;
    Ok((StatusCode::NO_CONTENT, Extension(NoReissue)).into_response())
}

async fn my_sessions(authority: &Authority, me: &VerifiedToken) -> Result<Vec<SessionRecord>, StoreError> {
    let mut sessions = Vec::new();
    let mut page = Page::default();
    loop {
        let listed = authority.sessions(me.subject().unwrap_or_default(), page).await?;
        sessions.extend(listed.sessions);
        let Some(next) = listed.next else { return Ok(sessions) };
        page = page.after(next);
    }
}

/// The store did not answer: 503, for nothing is known and nothing was done for certain.
struct Outage;

impl From<StoreError> for Outage {
    fn from(_: StoreError) -> Self {
        Self
    }
}

impl IntoResponse for Outage {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response()
    }
}

/// Alice on three devices, Bob on one, over a real socket.
async fn demonstrate(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let caller = Caller { address };
    // A user of this run's own: an SQLite file may remember others.
    let alice = format!("alice-{}", std::process::id());
    let phone = caller.sign_in(&alice, "phone").await?;
    let laptop = caller.sign_in(&alice, "laptop").await?;
    let tablet = caller.sign_in(&alice, "tablet").await?;
    let bob = caller.sign_in("bob", "desk").await?;

    let sessions = caller.sessions(&phone).await?;
    assert_eq!(devices(&sessions), ["laptop", "phone", "tablet"]);
    println!("signed in on {}", devices(&sessions).join(", "));

    let id = |device: &str| {
        let mut sessions = sessions.as_array().into_iter().flatten();
        sessions.find(|s| s["device"] == device).and_then(|s| s["id"].as_str()).unwrap_or_default().to_owned()
    };
    let (status, _) = caller.call(Method::POST, &format!("/sessions/{}/end", id("tablet")), &bob).await?;
    assert_eq!(status, StatusCode::NOT_FOUND, "Bob ends Alice's session");
    let (status, _) = caller.call(Method::POST, &format!("/sessions/{}/end", id("tablet")), &phone).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(caller.call(Method::GET, "/sessions", &tablet).await?.0, StatusCode::UNAUTHORIZED);
    assert_eq!(devices(&caller.sessions(&phone).await?), ["laptop", "phone"]);
    println!("ended the tablet's");

    let watch = caller.sign_in(&alice, "watch").await?;
    let (status, _) = caller.call(Method::POST, "/sessions/end-others", &laptop).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for token in [&phone, &watch] {
        assert_eq!(caller.call(Method::GET, "/sessions", token).await?.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(devices(&caller.sessions(&laptop).await?), ["laptop"]);
    println!("ended all but the laptop's");

    let (status, _) = caller.call(Method::POST, "/sessions/end-all", &laptop).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(caller.call(Method::GET, "/sessions", &laptop).await?.0, StatusCode::UNAUTHORIZED);
    assert_eq!(caller.call(Method::GET, "/sessions", &bob).await?.0, StatusCode::OK, "Bob's is his own");
    println!("ended all");

    let phone = caller.sign_in(&alice, "phone").await?;
    assert_eq!(devices(&caller.sessions(&phone).await?), ["phone"]);
    println!("and signed in anew");
    Ok(())
}

struct Caller {
    address: SocketAddr,
}

impl Caller {
    async fn sign_in(&self, user: &str, device: &str) -> Result<String, Box<dyn Error>> {
        let body = json!({ "user": user, "device": device }).to_string();
        let request = Request::post(format!("http://{}/sign-in", self.address))
            .header("content-type", "application/json")
            .body(Full::from(body))?;
        let (_, answer) = self.send(request).await?;
        Ok(answer.get("token").and_then(Value::as_str).ok_or("no token")?.to_owned())
    }

    async fn sessions(&self, token: &str) -> Result<Value, Box<dyn Error>> {
        let (status, sessions) = self.call(Method::GET, "/sessions", token).await?;
        assert_eq!(status, StatusCode::OK);
        Ok(sessions)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
    ) -> Result<(StatusCode, Value), Box<dyn Error>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())?;
        self.send(request).await
    }

    async fn send(
        &self,
        request: Request<Full<bytes::Bytes>>,
    ) -> Result<(StatusCode, Value), Box<dyn Error>> {
        let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

fn devices(sessions: &Value) -> Vec<&str> {
    let sessions = sessions.as_array().into_iter().flatten();
    let mut devices = sessions.filter_map(|session| session["device"].as_str()).collect::<Vec<_>>();
    devices.sort_unstable();
    devices
}
