//! A client that walks through the service, on two nodes by turns, and checks what it meets.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::Result;

pub(crate) async fn walk(nodes: [SocketAddr; 2]) -> Result<()> {
    let [one, two] = nodes.map(Node::new);
    println!("Two nodes on one store: {} and {}.\n", one.0, two.0);
    // Users of this run's own: a store that is kept remembers others.
    let (alice, bob) = (format!("alice-{}", std::process::id()), format!("bob-{}", std::process::id()));

    for user in [&alice, &bob] {
        one.post("/sign-up", "", &[("user", user), ("password", "correct-horse")])
            .await?
            .is(201, "sign up")?;
    }
    two.post("/sign-up", "", &[("user", &alice), ("password", "battery-staple")])
        .await?
        .is(409, "a taken name")?;
    two.post("/sign-in", "", &[("user", &alice), ("password", "wrong-horse")])
        .await?
        .is(401, "a wrong password")?;

    two.post("/sign-in", "", &[("user", "nobody"), ("password", "wrong-horse")])
        .await?
        .is(401, "a wrong name")?;

    let phone = one.sign_in(&alice, "phone").await?;
    let laptop = two.sign_in(&alice, "laptop").await?;
    let tablet = one.sign_in(&alice, "tablet").await?;
    let bobs = two.sign_in(&bob, "desk").await?;
    two.get("/me", &phone.access).await?.is(200, "signed in on node one, and at home on node two")?;
    two.get("/me", &phone.refresh).await?.is(401, "a refresh token opens no door")?;
    println!("      devices: {}", one.devices(&phone.access).await?.join(", "));

    // Two tabs, on two nodes, and a response that was lost.
    let (first, second) = tokio::join!(one.refresh(&phone.refresh), two.refresh(&phone.refresh));
    let (first, second) = (first?, second?);
    check(first.jti() == second.jti(), "two refreshes at once bring one and the same refresh token")?;
    check(first.access != second.access, "and an access token each")?;
    let phone = first;

    let id = two.device_id(&phone.access, "tablet").await?;
    let end = format!("/devices/{id}/end");
    two.post(&end, &bobs.access, &[]).await?.is(404, "Bob does not find Alice's tablet")?;
    one.post(&end, &phone.access, &[]).await?.is(204, "Alice ends the session on her tablet")?;
    two.get("/me", &tablet.access).await?.is(401, "on both nodes, for its access token")?;
    two.post("/refresh", "", &[("grant_type", "refresh_token"), ("refresh_token", &tablet.refresh)])
        .await?
        .is(400, "and for its refresh token")?;

    one.post("/devices/end-others", &laptop.access, &[]).await?.is(204, "the laptop ends all others")?;
    two.get("/me", &phone.access).await?.is(401, "so the phone's token is of no use")?;
    println!("      devices: {}", two.devices(&laptop.access).await?.join(", "));

    let cookie = one.cookie(&alice, "correct-horse", "browser").await?;
    two.get_with("/me", ("cookie", &cookie)).await?.is(200, "a browser is signed in by a cookie")?;

    let changed = [("old", "correct-horse"), ("new", "battery-staple"), ("device", "laptop")];
    let answer = one.post("/password", &laptop.access, &changed).await?.is(200, "the password is changed")?;
    let fresh = answer.pair()?;
    two.get("/me", &laptop.access).await?.is(401, "every session from before ended")?;
    two.get_with("/me", ("cookie", &cookie)).await?.is(401, "the browser's too")?;
    two.get("/me", &fresh.access).await?.is(200, "and a new one began, in the same second")?;
    println!("      devices: {}", two.devices(&fresh.access).await?.join(", "));

    let cookie = two.cookie(&alice, "battery-staple", "browser").await?;
    let changed = [("old", "battery-staple"), ("new", "correct-horse"), ("device", "browser")];
    let answer = one.post_with("/password", ("cookie", &cookie), &changed).await?;
    let answer = answer.is(204, "a browser changes it")?;
    check(answer.set_cookie.is_some() && answer.body.is_empty(), "and gets a cookie, and no token to read")?;
    // As after an answer of 503: the password is the new one already.
    let phone = two.sign_in(&alice, "phone").await?;
    let answer = one.post("/password", &phone.access, &changed).await?;
    let fresh = answer.is(200, "and the same form again ends what is left")?.pair()?;
    let elsewhere = [("user", &*alice), ("password", "correct-horse"), ("keep", "cookie")];
    two.post_with("/sign-in", ("sec-fetch-site", "cross-site"), &elsewhere)
        .await?
        .is(403, "another site's page signs nobody in")?;

    one.block(&bob).await?.is(204, "an operator blocks Bob")?;
    two.get("/me", &bobs.access).await?.is(401, "his sessions ended")?;
    two.post("/sign-in", "", &[("user", &bob), ("password", "correct-horse")])
        .await?
        .is(403, "and he gets no other")?;

    let spent = fresh.refresh.clone();
    let fresh = two.refresh(&spent).await?;
    one.post("/sign-out", &fresh.access, &[]).await?.is(204, "Alice signs out")?;
    two.post("/refresh", "", &[("grant_type", "refresh_token"), ("refresh_token", &fresh.refresh)])
        .await?
        .is(400, "and nothing is left of the session")?;
    println!("\nAll of it came out as it says.");
    Ok(())
}

fn check(holds: bool, what: &str) -> Result<()> {
    println!("      {what}");
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

struct Pair {
    access: String,
    refresh: String,
}

impl Pair {
    /// The name of the refresh token, from its claims.
    fn jti(&self) -> Option<String> {
        use base64::Engine as _;
        let claims = self.refresh.split('.').nth(1)?;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
        Some(serde_json::from_slice::<Value>(&claims).ok()?.get("jti")?.as_str()?.to_owned())
    }
}

struct Node(SocketAddr, Client<HttpConnector, Full<Bytes>>);

impl Node {
    fn new(address: SocketAddr) -> Self {
        Self(address, Client::builder(TokioExecutor::new()).build_http())
    }

    async fn sign_in(&self, user: &str, device: &str) -> Result<Pair> {
        let fields = [("user", user), ("password", "correct-horse"), ("device", device)];
        self.post("/sign-in", "", &fields).await?.is(200, &format!("sign in on a {device}"))?.pair()
    }

    async fn cookie(&self, user: &str, password: &str, device: &str) -> Result<String> {
        let fields = [("user", user), ("password", password), ("device", device), ("keep", "cookie")];
        let answer = self.post("/sign-in", "", &fields).await?.is(204, &format!("sign in on a {device}"))?;
        let cookie = answer.set_cookie.ok_or("no cookie was set")?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }

    async fn refresh(&self, token: &str) -> Result<Pair> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/refresh", "", &fields).await?.is(200, "refresh")?.pair()
    }

    async fn devices(&self, token: &str) -> Result<Vec<String>> {
        let listed = self.listed(token).await?;
        let names = listed.iter().filter_map(|device| device.get("device")?.as_str());
        Ok(names.map(str::to_owned).collect())
    }

    async fn device_id(&self, token: &str, device: &str) -> Result<String> {
        let listed = self.listed(token).await?;
        let found = listed.iter().find(|listed| listed.get("device").is_some_and(|name| name == device));
        Ok(found.and_then(|device| device.get("id")?.as_str()).ok_or("the device is not listed")?.to_owned())
    }

    async fn listed(&self, token: &str) -> Result<Vec<Value>> {
        let answer = self.get("/devices", token).await?;
        Ok(serde_json::from_str(&answer.body)?)
    }

    async fn block(&self, user: &str) -> Result<Answer> {
        let admin = ("x-admin", "the-operators-password");
        self.send("POST", &format!("/accounts/{user}/block"), admin, String::new()).await
    }

    async fn get(&self, path: &str, token: &str) -> Result<Answer> {
        self.get_with(path, ("authorization", &format!("Bearer {token}"))).await
    }

    async fn get_with(&self, path: &str, field: (&str, &str)) -> Result<Answer> {
        self.send("GET", path, field, String::new()).await
    }

    async fn post(&self, path: &str, token: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        let field = if token.is_empty() { ("accept", "*/*") } else { ("authorization", &*bearer) };
        self.post_with(path, field, fields).await
    }

    async fn post_with(&self, path: &str, field: (&str, &str), fields: &[(&str, &str)]) -> Result<Answer> {
        let form = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        self.send("POST", path, field, form).await
    }

    async fn send(&self, method: &str, path: &str, field: (&str, &str), form: String) -> Result<Answer> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.0))
            .header("content-type", "application/x-www-form-urlencoded")
            .header(field.0, field.1)
            .body(Full::from(form))?;
        let (head, body) = self.1.request(request).await?.into_parts();
        let set_cookie =
            head.headers.get("set-cookie").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = String::from_utf8(body.collect().await?.to_bytes().to_vec())?;
        Ok(Answer { line: format!("{method} {path}"), status: head.status.as_u16(), set_cookie, body })
    }
}

struct Answer {
    line: String,
    status: u16,
    set_cookie: Option<String>,
    body: String,
}

impl Answer {
    fn is(self, expected: u16, why: &str) -> Result<Self> {
        // The id of a session is long, and the same to nobody.
        let line: String = self.line.chars().take(28).collect();
        println!("{:>5} {line:<28}  {why}", self.status);
        match self.status == expected {
            true => Ok(self),
            false => Err(format!(
                "{} was answered {} in place of {expected}: {}",
                self.line, self.status, self.body
            )
            .into()),
        }
    }

    fn pair(&self) -> Result<Pair> {
        let tokens: Value = serde_json::from_str(&self.body)?;
        let text = |name: &str| tokens.get(name).and_then(Value::as_str).map(str::to_owned).ok_or("no pair");
        Ok(Pair { access: text("access_token")?, refresh: text("refresh_token")? })
    }
}
