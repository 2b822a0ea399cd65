use tower_reissue::Authority;
use tower_reissue::keys::{JwksUrl, KeyRotation, TrustedIssuer};

async fn github_actions() -> Result<Authority, Box<dyn std::error::Error>> {
    let issuer = "https://token.actions.githubusercontent.com";
    // Any workflow on GitHub can ask for a token with this audience: the claim says whose it is. It is the id, because a stranger
    // can take the name of a repository that was renamed or deleted. `gh api repos/example/orders --jq .id` prints it.
    let workflows = TrustedIssuer::new(issuer).access_claim("repository_id", "203045111");
    let keys = KeyRotation::verify_only().trust(workflows, JwksUrl::discover(issuer)?).start().await?;
    Ok(Authority::builder(keys).audience("https://deploy.example").build()?)
}
