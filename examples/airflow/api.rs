//! The routes that a task's supervisor calls (`airflow.sdk.api.client.Client`), and the layer in front of them.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, patch, put};
use axum::{Extension, RequestPartsExt as _, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower_reissue::{
    Authority, Login, Reason, Refusal, ReissueLayer, RequestHead, RequireScope, VerifiedToken,
};
use tracing::{error, info};

use crate::tasks::{Conflict, MapIndex, Process, Tasks};

pub(crate) fn app(authority: Authority, tasks: Arc<Tasks>) -> Router {
    // What only the task itself may call, and what any task may.
    let running = Router::new()
        .route("/task-instances/{id}/heartbeat", put(heartbeat))
        .route("/task-instances/{id}/state", patch(state))
        .route("/task-instances/{id}/rtif", put(rendered_fields))
        .route("/task-instances/{id}/rendered-map-index", patch(rendered_map_index))
        .route("/variables/{*key}", get(variable).put(set_variable).delete(delete_variable))
        .route("/connections/{*id}", get(connection))
        .route("/xcoms/{dag}/{run}/{task}/{*key}", get(xcom).post(set_xcom).delete(delete_xcom))
        .route_layer(RequireScope::that(is_execution));
    let api = running
        // A workload token is good for this one call.
        .route("/task-instances/{id}/run", patch(run))
        // Added last, so that it comes first and guards them all. Airflow's header is this layer's default.
        .route_layer(ReissueLayer::new(authority.clone()).refuse_with(as_airflow_does))
        .route("/health", get(async || Json(json!({ "status": "healthy" }))));
    Router::new().nest("/execution", api).layer(Extension(authority)).with_state(tasks)
}

/// Two answers, as Airflow gives them: 401 where there is no token, 403 for whatever is wrong with one. That covers two
/// `Authorization` headers and odd spacing, which this crate would call a 400: Airflow's clients know no such answer. A store or
/// JWK set that can't be reached says nothing about the token: 503, which they try again.
fn as_airflow_does(refusal: &Refusal, _: &RequestHead<'_>) -> Response<Bytes> {
    let (status, detail) = match refusal.reason() {
        Reason::NoCredential => (StatusCode::UNAUTHORIZED, r#"{"detail":"Missing auth token"}"#),
        Reason::InsufficientScope => {
            (StatusCode::FORBIDDEN, r#"{"detail":"Token type not allowed for this endpoint"}"#)
        }
        _ if refusal.status().is_server_error() => {
            (refusal.status(), r#"{"detail":"The token can't be judged now"}"#)
        }
        _ => (StatusCode::FORBIDDEN, r#"{"detail":"Invalid auth token"}"#),
    };
    let mut response = Response::new(Bytes::from_static(detail.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Airflow's scope is one word, and a token without one is a task's. A scope that can't be read is no task's.
pub(crate) fn is_execution(token: &VerifiedToken) -> bool {
    matches!(
        token.claims().get::<String>("scope").as_ref().map(Option::as_deref),
        Ok(None | Some("execution"))
    )
}

fn is_workload(token: &VerifiedToken) -> bool {
    matches!(token.claims().get::<String>("scope").as_ref().map(Option::as_deref), Ok(Some("workload")))
}

type Answer<T = StatusCode> = Result<T, Problem>;
type Known = State<Arc<Tasks>>;

/// The token's task, which is the path's too: no task speaks for another.
struct Own {
    task: String,
    token: VerifiedToken,
}

impl<S: Send + Sync> FromRequestParts<S> for Own {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let Path(task) = parts.extract::<Path<String>>().await.map_err(IntoResponse::into_response)?;
        let token = parts.extract::<VerifiedToken>().await.map_err(IntoResponse::into_response)?;
        if token.subject() == Some(&*task) {
            return Ok(Self { task, token });
        }
        let detail = json!("Token subject does not match task instance ID");
        Err(Problem(StatusCode::FORBIDDEN, detail).into_response())
    }
}

/// The task begins. Its workload token, which lasted for the time in the queue, is exchanged for the task's own one.
async fn run(
    State(tasks): Known,
    Extension(authority): Extension<Authority>,
    Own { task, token }: Own,
    body: Bytes,
) -> Answer<Response> {
    if !is_execution(&token) && !is_workload(&token) {
        return Err(Problem(StatusCode::FORBIDDEN, json!("Token type not allowed for this endpoint")));
    }
    let context = tasks.run(&task, read::<Process>(&body)?)?;
    let mut response = Json(context).into_response();
    if is_workload(&token) {
        // The layer adds no second one.
        response.headers_mut().insert("refreshed-api-token", execution_token(&authority, &task).await?);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        info!(task, "the workload token is exchanged");
    }
    Ok(response)
}

async fn execution_token(authority: &Authority, task: &str) -> Answer<HeaderValue> {
    let login = Login::new(task).claims(&json!({ "scope": "execution" }));
    let failed = |reason: String| {
        error!(task, reason, "no execution token can be issued");
        Problem(StatusCode::INTERNAL_SERVER_ERROR, json!("No token can be issued"))
    };
    let token = authority.issue(login).await.map_err(|error| failed(error.to_string()))?;
    let mut value = HeaderValue::from_str(token.as_str()).map_err(|error| failed(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn heartbeat(State(tasks): Known, Own { task, .. }: Own, body: Bytes) -> Answer {
    tasks.heartbeat(&task, &read::<Process>(&body)?)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct NewState {
    state: String,
}

async fn state(State(tasks): Known, Own { task, .. }: Own, body: Bytes) -> Answer {
    let NewState { state } = read(&body)?;
    info!(task, state, "the task's new state");
    let is_new = tasks.set_state(&task, state)?;
    Ok(if is_new { StatusCode::NO_CONTENT } else { StatusCode::OK })
}

/// What the templates of a task came to: for Airflow's pages, which this example does not have.
async fn rendered_fields(_: Own, body: Bytes) -> Answer<impl IntoResponse> {
    read::<serde_json::Map<String, Value>>(&body)?;
    Ok((StatusCode::CREATED, Json(json!({ "message": "Rendered task instance fields successfully set" }))))
}

async fn rendered_map_index(_: Own, body: Bytes) -> Answer<impl IntoResponse> {
    read::<String>(&body)?;
    Ok(Json(json!({ "message": "Rendered Map Index successfully set" })))
}

async fn variable(State(tasks): Known, Path(key): Path<String>) -> Answer<Json<Value>> {
    match tasks.variable(&key) {
        Some(value) => Ok(Json(json!({ "key": key, "value": value }))),
        None => Err(not_found(&format!("Variable with key '{key}' not found"))),
    }
}

#[derive(Deserialize)]
struct NewVariable {
    #[serde(alias = "val")]
    value: Option<String>,
}

async fn set_variable(
    State(tasks): Known,
    Path(key): Path<String>,
    body: Bytes,
) -> Answer<impl IntoResponse> {
    tasks.set_variable(&key, read::<NewVariable>(&body)?.value);
    Ok((StatusCode::CREATED, Json(json!({ "message": "Variable successfully set" }))))
}

async fn delete_variable(State(tasks): Known, Path(key): Path<String>) -> StatusCode {
    tasks.delete_variable(&key);
    StatusCode::NO_CONTENT
}

/// There are none here. The SDK then looks at its own variables, `AIRFLOW_CONN_…`.
async fn connection(Path(id): Path<String>) -> Problem {
    not_found(&format!("Connection with ID {id} not found"))
}

#[derive(Deserialize)]
struct Mapped {
    map_index: Option<MapIndex>,
}

type XcomPath = Path<[String; 4]>;

async fn xcom(
    State(tasks): Known,
    Path(path): XcomPath,
    Query(Mapped { map_index }): Query<Mapped>,
) -> Answer<Json<Value>> {
    match tasks.xcom(&path, map_index) {
        Some(value) => Ok(Json(json!({ "key": path.last(), "value": value }))),
        None => Err(not_found(&format!("XCom with key {:?} not found", path.last()))),
    }
}

async fn set_xcom(
    State(tasks): Known,
    Path(path): XcomPath,
    Query(Mapped { map_index }): Query<Mapped>,
    body: Bytes,
) -> Answer<impl IntoResponse> {
    tasks.set_xcom(path, map_index, read(&body)?);
    Ok((StatusCode::CREATED, Json(json!({ "message": "XCom successfully set" }))))
}

async fn delete_xcom(
    State(tasks): Known,
    Path(path): XcomPath,
    Query(Mapped { map_index }): Query<Mapped>,
) -> impl IntoResponse {
    tasks.delete_xcom(path, map_index);
    Json(json!({ "message": "XCom successfully deleted" }))
}

/// An error as Airflow words it. Its clients adopt a successor from any status, so these answers carry one as well.
struct Problem(StatusCode, Value);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "detail": self.1 }))).into_response()
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Unknown => not_found("Task Instance not found"),
            Conflict::InState { reason, message, state } => {
                let detail = json!({ "reason": reason, "message": message, "previous_state": state });
                Self(StatusCode::CONFLICT, detail)
            }
            Conflict::Elsewhere => {
                let detail =
                    json!({ "reason": "running_elsewhere", "message": "TI is already running elsewhere" });
                Self(StatusCode::CONFLICT, detail)
            }
        }
    }
}

fn not_found(message: &str) -> Problem {
    Problem(StatusCode::NOT_FOUND, json!({ "reason": "not_found", "message": message }))
}

/// The body, whatever its `Content-Type` says. A wrong one is a 422, as of Airflow.
fn read<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = [json!({ "type": "json_invalid", "loc": ["body"], "msg": error.to_string() })];
        Problem(StatusCode::UNPROCESSABLE_ENTITY, json!(detail))
    })
}
