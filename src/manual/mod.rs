//! The manual: what operators and reviewers of this crate need to know.

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("coming_from_jsonwebtoken.md")]
pub mod coming_from_jsonwebtoken {}

/// A chapter with a recipe, which `tests/providers.rs` runs.
#[cfg(feature = "jwks")]
macro_rules! recipe {
    ($title:literal, $path:literal) => {
        concat!("# ", $title, "\n\n```no_run\n", include_str!($path), "```\n")
    };
}

#[doc = include_str!("providers.md")]
#[doc = recipe!("Auth0", "providers/auth0.rs")]
#[doc = recipe!("Keycloak", "providers/keycloak.rs")]
#[doc = recipe!("Entra, one tenant", "providers/entra.rs")]
#[doc = recipe!("Entra, many tenants", "providers/entra_tenants.rs")]
#[doc = recipe!("Cognito", "providers/cognito.rs")]
#[doc = recipe!("Google", "providers/google.rs")]
#[doc = recipe!("GitHub Actions", "providers/github_actions.rs")]
#[doc = recipe!("Kubernetes", "providers/kubernetes.rs")]
#[doc = recipe!("Firebase", "providers/firebase.rs")]
#[doc = recipe!("Supabase, with its text secret", "providers/supabase.rs")]
#[cfg(feature = "jwks")]
pub mod providers {}

#[doc = include_str!("pairs.md")]
pub mod pairs {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("settings.md")]
pub mod settings {}

#[doc = include_str!("deploying.md")]
pub mod deploying {}

#[doc = include_str!("features.md")]
pub mod features {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("writing_a_store.md")]
pub mod writing_a_store {}

#[doc = include_str!("changelog.md")]
pub mod changelog {}
