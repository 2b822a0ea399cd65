//! The execution API of Airflow 3 as its task clients see it, renewed by this crate: the settings, the answers and the
//! header are Airflow's own.
//!
//! ```text
//! export AIRFLOW__API_AUTH__JWT_SECRET=$(openssl rand -base64 64 | tr -d '\n')
//! cargo run --example airflow -- --listen 127.0.0.1:9091 --grace 60
//! ```
//!
//! | setting | default | |
//! |---|---|---|
//! | `AIRFLOW__API_AUTH__JWT_SECRET` | required | at least 32 bytes, taken as they are |
//! | `AIRFLOW__API_AUTH__JWT_ALGORITHM` | `GUESS` | HS512 for a secret; or `HS256`, `HS384`, `HS512` |
//! | `AIRFLOW__API_AUTH__JWT_ISSUER` | none | where it is set, tokens must carry it |
//! | `AIRFLOW__API_AUTH__JWT_LEEWAY` | 10 | seconds, for `exp`, `nbf` and `iat`; at most 60 |
//! | `AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME` | 600 | seconds |
//! | `AIRFLOW__EXECUTION_API__JWT_AUDIENCE` | `urn:airflow.apache.org:task` | comma-separated; all are accepted |
//! | `AIRFLOW__API_AUTH__JWT_AUDIENCE` | none | the public API's; accepted beside the default, with a warning, where the execution API's own is not set |
//! | `--grace` | 60, or what fits a shorter lifetime | seconds past `exp` in which a token can be exchanged |

use std::env;
use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::{IntoResponse, Json};
use axum::routing::{get, put};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tower_reissue::{
    Algorithm, Authority, Reason, Refusal, ReissueLayer, RequestHead, SigningKey, VerifiedToken,
};

#[tokio::main]
async fn main() -> ExitCode {
    let (listen, authority) = match configure() {
        Ok(configured) => configured,
        Err(error) => {
            eprintln!("airflow: {error}");
            return ExitCode::from(2);
        }
    };
    match serve(listen, authority).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("airflow: {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn configure() -> Result<(SocketAddr, Authority), String> {
    let settings = Settings::read()?;
    Ok((settings.listen, settings.authority()?))
}

async fn serve(listen: SocketAddr, authority: Authority) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    // Asked once, so that Ctrl-C is heard from the first line of output on.
    let mut stopped = Box::pin(tokio::signal::ctrl_c());
    let _ = (&mut stopped).now_or_never();
    // Whoever started this with port 0 reads the port here.
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;
    axum::serve(listener, app(authority)).with_graceful_shutdown(async { drop(stopped.await) }).await
}

fn app(authority: Authority) -> Router {
    Router::new()
        .route("/execution/task-instances/{id}/heartbeat", put(heartbeat))
        .route_layer(ReissueLayer::new(authority).refuse_with(as_airflow_does))
        .route("/execution/health", get(async || Json(json!({ "status": "healthy" }))))
}

/// Airflow reads the task's hostname and process id from the body; what they say is no concern of a token's.
async fn heartbeat(
    Path(_task): Path<String>,
    _token: Extension<VerifiedToken>,
    body: Bytes,
) -> impl IntoResponse {
    if body.is_empty() || serde_json::from_slice::<Map<String, Value>>(&body).is_ok() {
        return StatusCode::NO_CONTENT.into_response();
    }
    // Clients adopt a successor from any status, so this carries one as well.
    let detail = [json!({ "type": "json_invalid", "loc": ["body"], "msg": "not a JSON object" })];
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "detail": detail }))).into_response()
}

/// Two answers, as Airflow gives them: 401 where there is no token, 403 for whatever is wrong with one. That covers two
/// `Authorization` headers and odd spacing, which this crate would call a 400: Airflow's clients know no such answer.
/// There is no store here, so that no refusal is an outage.
fn as_airflow_does(refusal: &Refusal, _: &RequestHead<'_>) -> Response<Bytes> {
    let (status, detail) = match refusal.reason() {
        Reason::NoCredential => (StatusCode::UNAUTHORIZED, r#"{"detail":"Missing auth token"}"#),
        _ => (StatusCode::FORBIDDEN, r#"{"detail":"Invalid auth token"}"#),
    };
    let mut response = Response::new(Bytes::from(detail));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct Settings {
    listen: SocketAddr,
    key: SigningKey,
    issuer: Option<String>,
    /// The first is written, in a renewed token too, and all are accepted.
    audiences: Vec<String>,
    /// Those of the public API: accepted where the execution API has none of its own, and renewed as they are.
    public_audiences: Vec<String>,
    lifetime: u64,
    leeway: u64,
    /// Where none is given the authority chooses one that fits the lifetime.
    grace: Option<u64>,
}

impl Settings {
    fn authority(&self) -> Result<Authority, String> {
        let (first, others) = self.audiences.split_first().ok_or("no audience")?;
        let leeway = Duration::from_secs(self.leeway);
        let mut builder = Authority::builder(self.key.clone())
            .audience(first)
            .lifetime(Duration::from_secs(self.lifetime))
            .leeway(leeway)
            .future_tolerance(leeway)
            // Airflow's threshold is the same for every token.
            .jitter_percent(0)
            // Airflow has none, and a task may rightly run for days. A month outlasts any that is still wanted, and
            // ends what a stolen token is good for.
            .max_session_lifetime(Duration::from_secs(30 * 24 * 3600))
            .renew_if(belongs_to_a_running_task);
        builder = match &self.issuer {
            Some(issuer) => builder.issuer(issuer),
            None => builder.without_issuer(),
        };
        if let Some(grace) = self.grace {
            builder = builder.grace(Duration::from_secs(grace));
        }
        for other in others {
            builder = builder.legacy_audience(other);
        }
        for public in &self.public_audiences {
            builder = builder.also_accept_audience(public);
        }
        builder.build().map_err(|error| {
            let Self { leeway, lifetime, .. } = self;
            format!("{error}\n  {LEEWAY} is {leeway}, {LIFETIME} is {lifetime}")
        })
    }
}

/// A `workload` token is exchanged once for the task's own, and a `callback` token serves one call: neither is renewed,
/// nor is a token whose scope can't be read.
fn belongs_to_a_running_task(token: &VerifiedToken) -> bool {
    match token.claims().get::<String>("scope") {
        Ok(scope) => {
            !scope.is_some_and(|scope| scope.split(' ').any(|one| matches!(one, "workload" | "callback")))
        }
        Err(_) => false,
    }
}

const SECRET: &str = "AIRFLOW__API_AUTH__JWT_SECRET";
const ALGORITHM: &str = "AIRFLOW__API_AUTH__JWT_ALGORITHM";
const ISSUER: &str = "AIRFLOW__API_AUTH__JWT_ISSUER";
const LEEWAY: &str = "AIRFLOW__API_AUTH__JWT_LEEWAY";
const LIFETIME: &str = "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME";
const AUDIENCE: &str = "AIRFLOW__EXECUTION_API__JWT_AUDIENCE";
const PUBLIC_AUDIENCE: &str = "AIRFLOW__API_AUTH__JWT_AUDIENCE";

impl Settings {
    fn read() -> Result<Self, String> {
        let (listen, grace) = arguments()?;
        let (lifetime, leeway) = (seconds(LIFETIME)?.unwrap_or(600), seconds(LEEWAY)?.unwrap_or(10));
        let (audiences, public_audiences) = audiences()?;
        Ok(Self {
            listen,
            key: key()?,
            issuer: variable(ISSUER)?,
            audiences,
            public_audiences,
            lifetime,
            leeway,
            grace,
        })
    }
}

fn key() -> Result<SigningKey, String> {
    let secret = variable(SECRET)?
        .ok_or(format!("{SECRET} is not set: it is the secret that tokens are signed with"))?;
    let algorithm = match variable(ALGORITHM)?.as_deref() {
        None | Some("GUESS" | "HS512") => Algorithm::HS512,
        Some("HS384") => Algorithm::HS384,
        Some("HS256") => Algorithm::HS256,
        Some(other) => {
            return Err(format!("{ALGORITHM} is {other:?}: a secret takes HS256, HS384, HS512 or GUESS"));
        }
    };
    // Airflow signs with HS512 whatever the secret's length, and its tokens all name the key so.
    let key = SigningKey::dangerous()
        .short_hmac(algorithm, secret)
        .map_err(|error| format!("{SECRET}: {error}"))?;
    if key.is_short_hmac() {
        eprintln!("airflow: warning: {SECRET} is shorter than the hash of {algorithm:?} (RFC 7518 §3.2)");
    }
    Ok(key.with_kid("not-used"))
}

fn audiences() -> Result<(Vec<String>, Vec<String>), String> {
    let own = list(AUDIENCE)?;
    if !own.is_empty() {
        return Ok((own, Vec::new()));
    }
    let public = list(PUBLIC_AUDIENCE)?;
    if !public.is_empty() {
        eprintln!(
            "airflow: warning: tokens for {PUBLIC_AUDIENCE} are accepted too; set {AUDIENCE} to keep them out"
        );
    }
    Ok((vec!["urn:airflow.apache.org:task".to_owned()], public))
}

fn arguments() -> Result<(SocketAddr, Option<u64>), String> {
    let (mut listen, mut grace) = (SocketAddr::from(([127, 0, 0, 1], 9091)), None);
    let mut arguments = env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next();
        match (&*flag, value.as_deref()) {
            ("--listen", Some(address)) => {
                let resolved = address.to_socket_addrs().ok().and_then(|mut found| found.next());
                listen =
                    resolved.ok_or(format!("--listen {address}: an address like 127.0.0.1:9091 is right"))?;
            }
            ("--grace", Some(value)) => {
                grace = Some(value.parse().map_err(|_| format!("--grace {value}: whole seconds are right"))?);
            }
            _ => return Err("usage: airflow [--listen ADDR] [--grace SECONDS]".to_owned()),
        }
    }
    Ok((listen, grace))
}

/// A variable's value; an empty one counts as not set.
fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8")),
    }
}

fn seconds(name: &str) -> Result<Option<u64>, String> {
    let parse = |value: String| {
        value.trim().parse().map_err(|_| format!("{name} is {value:?}: whole seconds are right"))
    };
    variable(name)?.map(parse).transpose()
}

fn list(name: &str) -> Result<Vec<String>, String> {
    let value = variable(name)?.unwrap_or_default();
    Ok(value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
}
