use tower_reissue::Authority;
use tower_reissue::keys::{JwksUrl, KeyRotation};

async fn google() -> Result<Authority, Box<dyn std::error::Error>> {
    let published = || JwksUrl::new("https://www.googleapis.com/oauth2/v3/certs");
    // Google writes `iss` in two ways.
    let keys = KeyRotation::verify_only()
        .trust("https://accounts.google.com", published()?)
        .trust("accounts.google.com", published()?)
        .start()
        .await?;
    // These are ID tokens: Google's access tokens are no JWTs. A subject has two names here, one for each spelling.
    Ok(Authority::builder(keys).audience("407408718192.apps.googleusercontent.com").build()?)
}
