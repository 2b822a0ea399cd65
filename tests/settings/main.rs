//! Settings: every one of them, what is printed of them, and the text of every mistake.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod airflow;
mod langflow;
mod mistakes;
mod python;
mod secrets;
mod stores;
mod table;

use tower_reissue::settings::{Settings, SettingsError};

/// 64 bytes.
const SECRET: &str = "a secret of these tests: 64 bytes of text, long enough for HS512";

/// What every service needs.
const NEEDED: &str = "
issuer = 'https://login.example'
audience = 'orders'
max_session_lifetime = '12h'
";

fn toml(text: &str) -> Result<Settings, SettingsError> {
    Settings::builder().toml(text).load()
}
