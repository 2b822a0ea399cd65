//! The routes, and the authority behind them.

use std::path::Path;
use std::time::Duration;

use axum::extract::{Path as InPath, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_reissue::keys::{GeneratedSource, KeyRotation};
use tower_reissue::store::{AnyStore, Page, SessionRecord, StoreError};
use tower_reissue::{
    Algorithm, Authority, Cookie, IssueError, Login, NoReissue, RefreshEndpoint, RefreshTokens, ReissueLayer,
    Renewal, RevokeEndpoint, SignOutError, Source, VerifiedToken,
};

use crate::Result;
use crate::accounts::{Accounts, Checked, SignIn};

/// Of the operators. A real service reads it from its configuration.
const ADMIN: &str = "the-operators-password";

/// A session that is not refreshed for so long ends.
const IDLE: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
struct Service {
    authority: Authority,
    accounts: Accounts,
    cookie: Cookie,
}

pub(crate) async fn app(data: &Path, store: AnyStore) -> Result<Router> {
    let accounts = Accounts::open(data).await?;
    // Whichever node comes first makes the key; the others read it.
    let keys = KeyRotation::new(GeneratedSource::new(data.join("keys"), Algorithm::EdDSA));
    // A replaced key verifies for as long as a refresh token under it may live.
    let keys = keys.overlap(IDLE + Duration::from_secs(3600)).start().await?;
    let known = accounts.clone();
    let authority = Authority::builder(keys)
        .issuer("https://login.example")
        .audience("sessions")
        .lifetime(Duration::from_secs(300))
        .max_session_lifetime(Duration::from_secs(7 * 24 * 3600))
        .refresh_tokens(
            RefreshTokens::new("https://login.example/refresh").lifetime(Duration::from_secs(24 * 3600)),
        )
        // Asked at each refresh, whatever the store says of the session.
        .renew_with(move |refresh| {
            let accounts = known.clone();
            async move {
                match accounts.is_blocked(refresh.subject().unwrap_or_default()).await? {
                    true => Ok(Renewal::refuse("the account is blocked")),
                    false => Ok(Renewal::keep()),
                }
            }
        })
        .store(store)
        .build()?;
    // Over plain HTTP, to be tried with curl. In production: `Cookie::new("session")`.
    let cookie = Cookie::insecure_for_development("session")?;
    let sources = [Source::authorization(), Source::cookie(cookie.clone())];
    let service = Service { authority: authority.clone(), accounts, cookie };
    Ok(Router::new()
        .route("/me", get(me))
        .route("/devices", get(devices))
        .route("/devices/{session}/end", post(end_device))
        .route("/devices/end-others", post(end_others))
        .route("/password", post(change_password))
        .route_layer(ReissueLayer::new(authority.clone()).read_from(sources.clone()))
        // Outside the layer: who calls these has no access token, or one that may have expired.
        .route("/sign-up", post(sign_up))
        .route("/sign-in", post(sign_in))
        .route("/accounts/{user}/block", post(block))
        .route_service("/refresh", RefreshEndpoint::new(authority.clone())?)
        .route_service("/sign-out", RevokeEndpoint::new(authority)?.read_from(sources))
        .with_state(service))
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
    #[serde(default)]
    device: String,
    /// `cookie`: for a browser, which must not hand tokens to scripts.
    #[serde(default)]
    keep: String,
}

async fn sign_up(State(service): State<Service>, Form(new): Form<Credentials>) -> Result<Response, Failure> {
    if new.user.trim().is_empty() || new.password.len() < 8 {
        return Ok((StatusCode::BAD_REQUEST, "a name, and a password of 8 bytes or more\n").into_response());
    }
    Ok(match service.accounts.sign_up(&new.user, &new.password).await? {
        true => StatusCode::CREATED.into_response(),
        false => (StatusCode::CONFLICT, "the name is taken\n").into_response(),
    })
}

async fn sign_in(
    State(service): State<Service>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Result<Response, Failure> {
    // Another site's page could sign its visitor in as somebody else.
    let page = headers.get("sec-fetch-site").map_or(&b"none"[..], |site| site.as_bytes());
    if !matches!(page, b"none" | b"same-origin") {
        return Ok((StatusCode::FORBIDDEN, "sign in on this site\n").into_response());
    }
    match service.accounts.sign_in(&given.user, &given.password).await? {
        SignIn::Right(account) => service.begin(&account, &given.device, given.keep == "cookie").await,
        SignIn::Wrong => Ok(wrong()),
        SignIn::Blocked => Ok((StatusCode::FORBIDDEN, "the account is blocked\n").into_response()),
    }
}

fn wrong() -> Response {
    (StatusCode::UNAUTHORIZED, "wrong name or password\n").into_response()
}

impl Service {
    /// A session on this device. The device is a private claim, so the store keeps it with the session: no further table.
    async fn begin(&self, account: &Checked, device: &str, in_cookie: bool) -> Result<Response, Failure> {
        let login = Login::new(&*account.name).claims(&json!({ "device": device }));
        if in_cookie {
            let token = self.authority.issue(login).await?;
            let set_cookie = self.authority.set_cookie(&self.cookie, &token)?;
            let response = (StatusCode::NO_CONTENT, [(SET_COOKIE, set_cookie)]).into_response();
            return self.unless_changed(account, token.as_str(), response).await;
        }
        let pair = self.authority.issue_pair(login).await?;
        let head = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
        let response = (head, pair.to_json()).into_response();
        self.unless_changed(account, pair.refresh.as_str(), response).await
    }

    /// The password was checked before the session began. If it was changed in between, or the account blocked, the sessions of
    /// then have ended, and this one began too late to be among them.
    async fn unless_changed(
        &self,
        account: &Checked,
        token: &str,
        response: Response,
    ) -> Result<Response, Failure> {
        if self.accounts.still_holds(account).await? {
            return Ok(response);
        }
        // If this fails, nobody has the token.
        self.authority.sign_out(token).await?;
        Ok(wrong())
    }
}

async fn me(token: VerifiedToken) -> String {
    format!("{}\n", token.subject().unwrap_or_default())
}

/// The caller's sessions, the newest first.
async fn devices(State(service): State<Service>, me: VerifiedToken) -> Result<Json<Value>, Failure> {
    let sessions = service.sessions_of(&me).await?;
    let devices = sessions.iter().map(|session| {
        let claims: Value = serde_json::from_str(&session.claims).unwrap_or_default();
        // Of a pair, the store holds the refresh token.
        let device = claims.get("device").or_else(|| claims.get("access_claims")?.get("device"));
        json!({
            "id": session.session.to_string(),
            "device": device,
            "since": session.session_start.as_secs(),
            "this": session.session == me.session(),
        })
    });
    Ok(Json(devices.collect()))
}

/// Looked for among the caller's own: another's session is not found, whoever knows its id.
async fn end_device(
    State(service): State<Service>,
    me: VerifiedToken,
    InPath(id): InPath<String>,
) -> Result<Response, Failure> {
    let sessions = service.sessions_of(&me).await?;
    let Some(session) = sessions.iter().find(|session| session.session.to_string() == id) else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    service.authority.revoke_recorded(session).await?;
    // A response to a session that ended carries no successor.
    Ok((StatusCode::NO_CONTENT, Extension(NoReissue)).into_response())
}

async fn end_others(State(service): State<Service>, me: VerifiedToken) -> Result<StatusCode, Failure> {
    service.authority.revoke_other_sessions(&me).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct NewPassword {
    old: String,
    new: String,
    #[serde(default)]
    device: String,
}

/// Ends every session of the account, and begins a new one for the caller at once. Where that fails half-way, the same form again
/// completes it.
async fn change_password(
    State(service): State<Service>,
    me: VerifiedToken,
    headers: HeaderMap,
    Form(given): Form<NewPassword>,
) -> Result<Response, Failure> {
    let user = me.subject().unwrap_or_default();
    if given.new.len() < 8 {
        return Ok((StatusCode::BAD_REQUEST, "the new password has less than 8 bytes\n").into_response());
    }
    let accounts = &service.accounts;
    let account = match accounts.sign_in(user, &given.old).await? {
        SignIn::Right(_) => accounts.set_password(user, &given.new).await?,
        _ => match accounts.sign_in(user, &given.new).await? {
            // It was changed, and its sessions were not ended.
            SignIn::Right(account) => account,
            _ => return Ok((StatusCode::FORBIDDEN, "the old password is wrong\n").into_response()),
        },
    };
    service.authority.revoke_subject(user).await?;
    let in_cookie = !headers.contains_key(AUTHORIZATION);
    let begun = service.begin(&account, &given.device, in_cookie).await?;
    Ok((Extension(NoReissue), begun).into_response())
}

/// By an operator: the account's sessions end, and it can't sign in or refresh.
async fn block(
    State(service): State<Service>,
    InPath(user): InPath<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    if headers.get("x-admin").is_none_or(|given| given.as_bytes() != ADMIN.as_bytes()) {
        return Ok(StatusCode::FORBIDDEN);
    }
    // First the account: a refresh between the two finds it blocked.
    service.accounts.set_blocked(&user, true).await?;
    service.authority.revoke_subject(&user).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Service {
    async fn sessions_of(&self, me: &VerifiedToken) -> Result<Vec<SessionRecord>, StoreError> {
        let mut sessions = Vec::new();
        let mut page = Page::default();
        loop {
            let listed = self.authority.sessions(me.subject().unwrap_or_default(), page).await?;
            sessions.extend(listed.sessions);
            let Some(next) = listed.next else { return Ok(sessions) };
            page = page.after(next);
        }
    }
}

/// Something that is down or wrong here, and no fault of the caller's.
struct Failure(StatusCode);

impl From<StoreError> for Failure {
    /// Nothing is known, and nothing was done for certain.
    fn from(_: StoreError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl From<SignOutError> for Failure {
    fn from(_: SignOutError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Store(_) | IssueError::Revoked => Self(StatusCode::SERVICE_UNAVAILABLE),
            error => {
                eprintln!("no token was issued: {error}");
                Self(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Failure {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        eprintln!("the accounts: {error}");
        Self(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, [(RETRY_AFTER, "1")]).into_response()
    }
}
