use tower_reissue::Authority;
use tower_reissue::keys::{Algorithm, KeyRing, VerifyingKey};

/// `secret` and `kid` are those of the legacy JWT secret. Newer projects publish a JWK set: discover it.
fn supabase(secret: &str, kid: &str) -> Result<Authority, Box<dyn std::error::Error>> {
    // The secret is the text as it stands, although it looks like base64. Whoever has it can sign.
    let key = VerifyingKey::from_secret(Algorithm::HS256, secret)?.with_kid(kid);
    let keys = KeyRing::verify_only().trust("https://example.supabase.co/auth/v1", [key])?;
    Ok(Authority::builder(keys).audience("authenticated").build()?)
}
