use tower_reissue::Authority;
use tower_reissue::keys::{JwksUrl, KeyRotation};

async fn auth0() -> Result<Authority, Box<dyn std::error::Error>> {
    // The slash at the end is part of the name.
    let issuer = "https://example.eu.auth0.com/";
    let keys = KeyRotation::verify_only().trust(issuer, JwksUrl::discover(issuer)?).start().await?;
    // The identifier of the API, as Auth0's dashboard has it.
    Ok(Authority::builder(keys).audience("https://orders.example").build()?)
}
