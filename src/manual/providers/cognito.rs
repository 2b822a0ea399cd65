use tower_reissue::Authority;
use tower_reissue::keys::{JwksUrl, KeyRotation, TrustedIssuer};

async fn cognito() -> Result<Authority, Box<dyn std::error::Error>> {
    let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example";
    // Access tokens have no `aud`: they name the client that asked for them. ID tokens have no `client_id`.
    let pool = TrustedIssuer::new(issuer).without_audience().access_claim("client_id", "1example23456789");
    let keys = KeyRotation::verify_only().trust(pool, JwksUrl::discover(issuer)?).start().await?;
    // For issuers that are added without an audience of their own. Cognito's tokens are not held to it.
    Ok(Authority::builder(keys).audience("orders").build()?)
}
