//! What a handler may say about the reissue of its caller's token.

/// In a response's extensions: this response carries no successor.
///
/// A handler that ends a session puts it there, so that nobody is handed a token with the good-bye. With the
/// feature `axum` it is a response part: `(NoReissue, "signed out")`.
///
/// ```
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(tower_reissue::NoReissue);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoReissue;
