use tower_reissue::Authority;
use tower_reissue::keys::{JwksUrl, KeyRotation, TrustedIssuer};

async fn keycloak() -> Result<Authority, Box<dyn std::error::Error>> {
    let issuer = "https://sso.example/realms/staff";
    // ID and refresh tokens have the same header; their claim `typ` is `ID` or `Refresh`.
    let realm = TrustedIssuer::new(issuer).access_claim("typ", "Bearer");
    let keys = KeyRotation::verify_only().trust(realm, JwksUrl::discover(issuer)?).start().await?;
    // Without an audience mapper, Keycloak writes `account` only.
    Ok(Authority::builder(keys).audience("orders").build()?)
}
