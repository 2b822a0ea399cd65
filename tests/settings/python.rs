//! Drives `pyjwt.py`, and a service that is set up by settings.

use std::convert::Infallible;
use std::io::Write as _;
use std::process::{Command, Stdio};

use http::{Request, Response, StatusCode};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_reissue::settings::Settings;
use tower_reissue::{Authority, ReissueLayer};

/// What the script prints for this job.
pub fn python(job: &Value) -> String {
    let mut script = Command::new("python3")
        .args(["-c", include_str!("pyjwt.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    script.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    assert!(output.status.success(), "{job}: the script failed");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The status of a request with this token, and the successor of the response.
pub async fn send(settings: &Settings, token: &str) -> (StatusCode, Option<String>) {
    let authority = Authority::from_settings(settings).await.unwrap();
    let layer = ReissueLayer::from_settings(authority, settings).unwrap();
    let service =
        layer.layer(service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(String::new()))));
    let request =
        Request::builder().header("authorization", format!("Bearer {token}")).body(String::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let successor = response.headers().get("refreshed-api-token");
    (response.status(), successor.map(|successor| successor.to_str().unwrap().to_owned()))
}
