use tower_reissue::Authority;
use tower_reissue::keys::{Algorithm, JwksUrl, KeyRotation, TrustedIssuer};

async fn entra() -> Result<Authority, Box<dyn std::error::Error>> {
    let issuer = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0";
    // Entra's keys name no algorithm.
    let published = JwksUrl::discover(issuer)?.assume_algorithm(Algorithm::RS256);
    // An ID token for this client has the same `aud`, and no `scp`. A token for an application has `roles` instead.
    let tenant = TrustedIssuer::new(issuer).require_claim("scp");
    let keys = KeyRotation::verify_only().trust(tenant, published).start().await?;
    // The API's client id. It must ask for tokens of version 2.
    Ok(Authority::builder(keys).audience("6731de76-14a6-49ae-97bc-6eba6914391e").build()?)
}
