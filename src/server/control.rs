//! [`NoReissue`]: with it a handler suppresses the successor of its caller's token.

/// In a response's extensions: this response must carry no successor.
///
/// Use it in a handler that ends a session. With the feature `axum` it is a response part: `(NoReissue, "signed
/// out")`.
///
/// ```
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(tower_reissue::NoReissue);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoReissue;
