use tower_reissue::Authority;
use tower_reissue::keys::{JwksUrl, KeyRotation, TrustedIssuer};

async fn github_actions() -> Result<Authority, Box<dyn std::error::Error>> {
    let issuer = "https://token.actions.githubusercontent.com";
    // Any workflow on GitHub can ask for a token with this audience: the claim says whose it is.
    let workflows = TrustedIssuer::new(issuer).access_claim("repository", "example/orders");
    let keys = KeyRotation::verify_only().trust(workflows, JwksUrl::discover(issuer)?).start().await?;
    Ok(Authority::builder(keys).audience("https://deploy.example").build()?)
}
