//! Langflow's sign-in as its clients see it, on this crate: the variables, cookies, paths and answers are Langflow's own.
//!
//! ```text
//! export LANGFLOW_CONFIG_DIR=$(mktemp -d) LANGFLOW_SUPERUSER_PASSWORD=correct-horse
//! cargo run --example langflow --features axum,settings,tracing -- --listen 127.0.0.1:7860
//! ```
//!
//! `--mounted-keys` says that somebody else puts the keys into `LANGFLOW_CONFIG_DIR`: they are read as they are, and none is
//! generated. `--settings` prints the settings in force, and where each came from.
//!
//! | request | |
//! |---|---|
//! | `POST /api/v1/login` | form with `username` and `password`: a pair of tokens, in the body and in two cookies |
//! | `POST /api/v1/refresh` | the cookie `refresh_token_lf`: a new pair |
//! | `POST /api/v1/logout` | ends the session, and removes both cookies |
//! | `GET /api/v1/users/whoami` | the cookie `access_token_lf` or `Authorization: Bearer` |
//!
//! The manual's chapter on settings lists Langflow's variables, and what is done otherwise than by Langflow. The key is that of
//! `LANGFLOW_SECRET_KEY` or `LANGFLOW_PRIVATE_KEY`, or is generated in `LANGFLOW_CONFIG_DIR` (by default `~/.cache/langflow`, where
//! Langflow keeps its own). The one account is that of `LANGFLOW_SUPERUSER` (`langflow`), whose password must be set. Variables of
//! this crate begin with `REISSUE__`: `REISSUE__STORE__URL` names a store that outlives the process and is shared by several.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, ORIGIN, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::{self, IntoResponse, Json};
use axum::routing::{get, post};
use axum::{Form, Router};
use bytes::Bytes;
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tower_reissue::settings::{Langflow, Settings};
use tower_reissue::{
    Authority, Cookie, IssueError, Login, Reason, Refresh, RefreshError, Refusal, ReissueLayer, RequestHead,
    SignOutError, TokenPair, VerifiedToken,
};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The audience of refresh tokens: nobody else accepts them.
const REFRESH: &str = "/api/v1/refresh";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    let Failed(code, error) = match start().await {
        Ok(()) => return ExitCode::SUCCESS,
        Err(failed) => failed,
    };
    eprintln!("langflow: {error}");
    ExitCode::from(code)
}

/// The process's exit code, and why.
struct Failed(u8, String);

/// A setting or an argument that can't be right.
impl From<Box<dyn std::error::Error + Send + Sync>> for Failed {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self(2, error.to_string())
    }
}

async fn start() -> Result<(), Failed> {
    let Arguments { listen, langflow, prints_settings } = Arguments::read()?;
    let settings = load(langflow.clone().refresh_tokens(REFRESH), json!({}))?;
    if prints_settings {
        print!("{settings}");
        return Ok(());
    }
    let account = Arc::new(Account::of_variables()?);
    let app = app(&settings, langflow, Arc::clone(&account)).await?;
    serve(listen, &account.name, app).await.map_err(|error| Failed(1, format!("{listen}: {error}")))
}

struct Arguments {
    listen: SocketAddr,
    langflow: Langflow,
    prints_settings: bool,
}

impl Arguments {
    fn read() -> Result<Self> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7860));
        let mut read = Self { listen, langflow: Langflow::new(), prints_settings: false };
        let mut arguments = env::args().skip(1);
        while let Some(flag) = arguments.next() {
            match &*flag {
                "--listen" => {
                    let address = arguments.next().unwrap_or_default();
                    read.listen = address.parse().map_err(|_| {
                        format!("--listen {address}: expected an address like 127.0.0.1:7860")
                    })?;
                }
                "--mounted-keys" => read.langflow = read.langflow.mounted_keys(),
                "--settings" => read.prints_settings = true,
                _ => return Err("usage: langflow [--listen ADDRESS] [--mounted-keys] [--settings]".into()),
            }
        }
        Ok(read)
    }
}

async fn serve(listen: SocketAddr, name: &str, app: Router) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    // Asked once, so that Ctrl-C is heard from the first line of output on.
    let mut stopped = Box::pin(tokio::signal::ctrl_c());
    let _ = (&mut stopped).now_or_never();
    print_commands(listener.local_addr()?, name);
    io::stdout().flush()?;
    axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) }).await
}

#[derive(Clone)]
struct Service {
    authority: Authority,
    /// Admits the refresh tokens that Langflow itself made, so that nobody has to sign in again.
    langflows: Authority,
    access: Cookie,
    refresh: Cookie,
    origins: Arc<[String]>,
    account: Arc<Account>,
    /// A hash takes 19 MiB, and anybody can ask for one.
    hashing: Arc<Semaphore>,
    /// Langflow's refresh tokens are exchanged one after the other.
    exchanging: Arc<Mutex<()>>,
}

async fn app(settings: &Settings, langflow: Langflow, account: Arc<Account>) -> Result<Router> {
    let authority = Authority::from_settings(settings).await?;
    // What Langflow calls refresh tokens are this one's access tokens. It issues nothing. They are older than the store, which is no
    // loss here: Langflow revokes none.
    let lifetime = variable("LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS").unwrap_or_else(|| "604800".to_owned());
    let values = json!({
        "access_claim": "type=refresh",
        "accept_without_iat": format!("{lifetime}s"),
        "admit_after_store_loss": true,
    });
    let langflows = Authority::from_settings(&load(langflow, values)?).await?;
    let layer = ReissueLayer::from_settings(authority.clone(), settings)?.refuse_with(as_langflow_does);
    let service = Service {
        langflows,
        access: settings.cookie()?.ok_or("`request.cookie` is not set")?,
        refresh: settings.refresh_cookie()?.ok_or("`refresh_tokens.cookie` is not set")?,
        origins: settings.allowed_origins().map(str::to_owned).collect(),
        account,
        hashing: Arc::new(Semaphore::new(4)),
        exchanging: Arc::default(),
        authority,
    };
    Ok(Router::new()
        .route("/api/v1/users/whoami", get(whoami))
        .route_layer(layer)
        // Outside the layer: who calls these has no access token, or one that may have expired.
        .route("/api/v1/login", post(login))
        .route(REFRESH, post(refresh))
        .route("/api/v1/logout", post(logout))
        .with_state(service))
}

/// A later layer wins. Langflow has no store. One in memory forgets at a restart who signed out, and which tokens were spent.
fn load(langflow: Langflow, values: Value) -> Result<Settings> {
    let builder = Settings::builder().values("default", &json!({ "store": { "url": "memory:" } }));
    Ok(builder.langflow(langflow).values("the example", &values).environment("REISSUE").load()?)
}

/// An empty variable counts as absent.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

async fn login(
    State(service): State<Service>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Result<response::Response, Failure> {
    // Another site's page could sign its visitor in as somebody else.
    service.check_page(&headers)?;
    let account = Arc::clone(&service.account);
    let turn = timeout(Duration::from_secs(5), Arc::clone(&service.hashing).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(Failure::UNAVAILABLE) };
    // Argon2id takes tens of milliseconds by design: in a thread of its own, and four at a time.
    let check = move || (account.is(&given), turn).0;
    let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
    if !is_right {
        return Err(Failure::unauthorized("Incorrect username or password"));
    }
    let pair = service.authority.issue_pair(Login::new(ID)).await?;
    service.hand_over(&pair)
}

async fn refresh(State(service): State<Service>, headers: HeaderMap) -> Result<response::Response, Failure> {
    service.check_page(&headers)?;
    let token =
        in_cookie(&headers, &service.refresh).ok_or(Failure::unauthorized("Invalid refresh token"))?;
    match service.authority.refresh(Refresh::new(&*token)).await {
        Ok(pair) => service.hand_over(&pair),
        Err(RefreshError::Refused(refusal)) if *refusal.reason() == Reason::WrongType => {
            // Langflow takes such a token any number of times. Here it is spent first, so that whatever fails leaves no second pair;
            // two nodes at the same moment may both find it unspent.
            let _one_at_a_time = service.exchanging.lock().await;
            let old = service.langflows.admit(&token).await?;
            service.langflows.revoke_session(&old).await.map_err(|_| Failure::UNAVAILABLE)?;
            let pair = service.authority.issue_pair(Login::new(old.subject().unwrap_or_default())).await?;
            service.hand_over(&pair)
        }
        Err(RefreshError::Refused(refusal)) => Err(refusal.into()),
        Err(RefreshError::Issue(error)) => Err(error.into()),
        Err(_) => Err(Failure::UNAVAILABLE),
    }
}

/// Langflow removes the cookies, and leaves the tokens good.
async fn logout(State(service): State<Service>, headers: HeaderMap) -> Result<response::Response, Failure> {
    service.check_page(&headers)?;
    // Either token of a pair ends its session.
    let token = in_cookie(&headers, &service.refresh)
        .or_else(|| in_cookie(&headers, &service.access))
        .or_else(|| headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned));
    for authority in [&service.authority, &service.langflows] {
        let Some(token) = &token else { break };
        match authority.sign_out(token).await {
            // A token that is not one of its own leaves nothing to end there.
            Ok(()) | Err(SignOutError::Refused(_)) => {}
            Err(_) => return Err(Failure::UNAVAILABLE),
        }
    }
    let removed = [&service.refresh, &service.access].map(|cookie| (SET_COOKIE, cookie.removal()));
    let body = Json(json!({ "message": "Logout successful" }));
    Ok((response::AppendHeaders(removed), body).into_response())
}

async fn whoami(State(service): State<Service>, token: VerifiedToken) -> Result<response::Response, Failure> {
    if token.subject() != Some(ID) {
        return Err(Failure::unauthorized("User not found"));
    }
    let name = &service.account.name;
    let user = json!({ "id": ID, "username": name, "is_active": true, "is_superuser": true });
    Ok(Json(user).into_response())
}

impl Service {
    /// The pair in the body and in the cookies, as Langflow sends it.
    fn hand_over(&self, pair: &TokenPair) -> Result<response::Response, Failure> {
        let cookies = [
            (SET_COOKIE, self.authority.set_cookie(&self.refresh, &pair.refresh)?),
            (SET_COOKIE, self.authority.set_cookie(&self.access, &pair.access)?),
        ];
        let body = json!({
            "access_token": pair.access.as_str(),
            "refresh_token": pair.refresh.as_str(),
            "token_type": "bearer",
        });
        let head = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        Ok((head, response::AppendHeaders(cookies), Json(body)).into_response())
    }

    /// Refuses what another site's page sent with this site's cookies: `SameSite` may be `None`.
    fn check_page(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let is_own = match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
            (Some("same-origin"), _) => true,
            (_, Some(origin)) => self.origins.iter().any(|allowed| allowed == origin),
            // Not a browser: each one since 2020 sends `Origin` with a POST.
            (site, None) => site.is_none(),
        };
        if is_own { Ok(()) } else { Err(Failure(StatusCode::FORBIDDEN, "The page is of another origin")) }
    }
}

/// The value of a cookie, unless there are two: which was meant, nobody can tell.
fn in_cookie(headers: &HeaderMap, cookie: &Cookie) -> Option<String> {
    let fields = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = fields.flat_map(|pairs| pairs.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == cookie.name()).map(|(_, value)| value);
    values.next().filter(|_| values.next().is_none()).map(str::to_owned)
}

/// The `sub` of its tokens, which is the same after a restart.
const ID: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";

struct Account {
    name: String,
    hash: String,
}

impl Account {
    fn of_variables() -> Result<Self> {
        let password = variable("LANGFLOW_SUPERUSER_PASSWORD")
            .ok_or("LANGFLOW_SUPERUSER_PASSWORD is not set: the password of the one account")?;
        let name = variable("LANGFLOW_SUPERUSER").unwrap_or_else(|| "langflow".to_owned());
        let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self { name, hash: hash.to_string() })
    }

    /// A wrong name takes as long as a wrong password.
    fn is(&self, given: &Credentials) -> bool {
        let is_right = PasswordHash::new(&self.hash)
            .is_ok_and(|hash| Argon2::default().verify_password(given.password.as_bytes(), &hash).is_ok());
        given.username == self.name && is_right
    }
}

/// A status and Langflow's `detail`.
struct Failure(StatusCode, &'static str);

impl Failure {
    const UNAVAILABLE: Self = Self(StatusCode::SERVICE_UNAVAILABLE, "Try again");

    fn unauthorized(detail: &'static str) -> Self {
        Self(StatusCode::UNAUTHORIZED, detail)
    }

    fn detail(&self) -> Value {
        json!({ "detail": self.1 })
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal.status() {
            StatusCode::SERVICE_UNAVAILABLE => Self::UNAVAILABLE,
            _ => Self::unauthorized("Invalid refresh token"),
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Store(_) | IssueError::Revoked => Self::UNAVAILABLE,
            error => {
                eprintln!("langflow: no token was issued: {error}");
                Self(StatusCode::INTERNAL_SERVER_ERROR, "No token was issued")
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> response::Response {
        let mut response = (self.0, Json(self.detail())).into_response();
        if self.0 == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Langflow's texts. It answers 403 where there is no token, because it then asks for an API key.
fn as_langflow_does(refusal: &Refusal, _: &RequestHead<'_>) -> Response<Bytes> {
    let failure = match (refusal.status(), refusal.reason()) {
        (StatusCode::SERVICE_UNAVAILABLE, _) => Failure::UNAVAILABLE,
        (_, Reason::NoCredential) => Failure::unauthorized("Missing authentication token"),
        (_, Reason::Expired | Reason::ExpiredInGrace) => Failure::unauthorized("Token has expired"),
        (_, Reason::WrongType) => Failure::unauthorized("Invalid token type"),
        _ => Failure::unauthorized("Invalid token"),
    };
    let mut response = Response::new(Bytes::from(failure.detail().to_string()));
    *response.status_mut() = failure.0;
    let head = response.headers_mut();
    head.insert("content-type", HeaderValue::from_static("application/json"));
    if failure.0 == StatusCode::UNAUTHORIZED {
        head.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn print_commands(address: SocketAddr, name: &str) {
    println!(
        "\
listening on http://{address}

Paste these one by one, in a shell that has LANGFLOW_SUPERUSER_PASSWORD too:

# sign in: the pair is in the body, and in the cookies that are kept in the file
  JAR=$(mktemp)
  curl -s -c $JAR http://{address}/api/v1/login --data-urlencode username={name} --data-urlencode \"password=$LANGFLOW_SUPERUSER_PASSWORD\"; echo
# who am I
  curl -s -b $JAR http://{address}/api/v1/users/whoami; echo
# a new pair, in the body and in the cookies
  curl -s -b $JAR -c $JAR -X POST http://{address}/api/v1/refresh; echo
# sign out: the tokens are of no use any more, wherever they were copied to
  cp $JAR $JAR.copy
  curl -s -b $JAR -c $JAR -X POST http://{address}/api/v1/logout; echo
  curl -s -b $JAR.copy http://{address}/api/v1/users/whoami; echo

Ctrl-C ends it."
    );
}
