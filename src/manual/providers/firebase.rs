use tower_reissue::Authority;
use tower_reissue::keys::{Algorithm, JwksUrl, KeyRotation};

async fn firebase() -> Result<Authority, Box<dyn std::error::Error>> {
    // Certificates by `kid`, and no JWK set.
    let published = JwksUrl::certificates(
        "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com",
        Algorithm::RS256,
    )?;
    let project = "example-project";
    let issuer = format!("https://securetoken.google.com/{project}");
    let keys = KeyRotation::verify_only().trust(issuer, published).start().await?;
    Ok(Authority::builder(keys).audience(project).build()?)
}
