use std::path::Path;
use tower_reissue::Authority;
use tower_reissue::keys::{JwksUrl, KeyRotation};

/// `mounted` is `/var/run/secrets/kubernetes.io/serviceaccount` in a pod.
async fn kubernetes(mounted: &Path) -> Result<Authority, Box<dyn std::error::Error>> {
    // The cluster's configuration names another host, to which the token would not be sent.
    let published = JwksUrl::new("https://kubernetes.default.svc/openid/v1/jwks")?
        .root_certificate(std::fs::read(mounted.join("ca.crt"))?)?
        .bearer_token_file(mounted.join("token"));
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let keys = KeyRotation::verify_only().trust(issuer, published).start().await?;
    // As a pod asks for it, in `serviceAccountToken.audience`.
    Ok(Authority::builder(keys).audience("orders").build()?)
}
