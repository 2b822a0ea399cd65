//! Lines of the log: `tracing` records, each within 2 KiB.

use std::fmt::{self, Display, Write as _};

/// The bytes of a list of keys in one line. The whole list of a new ring is logged on several lines.
pub(crate) const KEYS: usize = 1_200;
/// The bytes of an error with its causes in one line, and of a name from the configuration or an issuer.
pub(crate) const ERROR: usize = 1_400;
pub(crate) const NAME: usize = 256;

/// Writes a record. The target is the crate's name, whatever its modules are called, because filters name it.
#[cfg(feature = "tracing")]
macro_rules! log {
    ($level:ident, $($told:tt)+) => { tracing::event!(target: "tower_reissue", tracing::Level::$level, $($told)+) };
}
#[cfg(feature = "tracing")]
pub(crate) use log;

#[cfg(feature = "tracing")]
pub(crate) fn clipped(text: impl Display, most: usize) -> String {
    Clipped(text, most).to_string()
}

/// At most this many bytes of a text, on one line. Characters that end the line or affect the terminal are escaped.
pub(crate) struct Clipped<T>(pub(crate) T, pub(crate) usize);

impl<T: Display> Display for Clipped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Limited { f, left: self.1, is_cut: false };
        let written = write!(out, "{}", self.0);
        if out.is_cut { f.write_str("…") } else { written }
    }
}

struct Limited<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    left: usize,
    is_cut: bool,
}

impl fmt::Write for Limited<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let escaped = c.escape_default();
            let plain = is_plain(c);
            // JSON and `tracing`'s quoting double each quote and backslash.
            let len = match c {
                '"' | '\\' => 2,
                c if plain => c.len_utf8(),
                _ => escaped.len() + 1,
            };
            if len > self.left {
                self.is_cut = true;
                // Stops the formatting, because the rest is cut too.
                return Err(fmt::Error);
            }
            self.left -= len;
            if plain { self.f.write_char(c)? } else { write!(self.f, "{escaped}")? }
        }
        Ok(())
    }
}

/// Whether a character prints as itself. Control and format characters (which can change the direction of text), line separators and
/// unassigned characters do not.
fn is_plain(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().eq([c])
}
