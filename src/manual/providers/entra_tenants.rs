use tower_reissue::Authority;
use tower_reissue::keys::{Algorithm, JwksUrl, KeyRotation, TrustedIssuer};

async fn entra_tenants() -> Result<Authority, Box<dyn std::error::Error>> {
    let customers = ["72f988bf-86f1-41af-91ab-2d7cd011db47", "9188040d-6c67-4c5b-b112-36a304b66dad"];
    let tenants = TrustedIssuer::tenants("https://login.microsoftonline.com/{tid}/v2.0", customers);
    // The configuration of `common` names a template as its issuer, so discovery refuses it.
    let published = JwksUrl::new("https://login.microsoftonline.com/common/discovery/v2.0/keys")?
        .assume_algorithm(Algorithm::RS256);
    let keys = KeyRotation::verify_only().trust(tenants.require_claim("scp"), published).start().await?;
    Ok(Authority::builder(keys).audience("6731de76-14a6-49ae-97bc-6eba6914391e").build()?)
}
