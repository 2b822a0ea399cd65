//! What a handler says of its caller's token in its response: [`NoReissue`], [`Reissued`].

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::authority::IssuedToken;

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

/// In a response: the token that takes the place of the caller's. The layer sends it where the caller's token came from, in the
/// response header or the cookie, and makes the response uncacheable, as it does with a successor that is due.
///
/// It holds the successor that [`Authority::reissue`](crate::Authority::reissue) or
/// [`reissue_with`](crate::Authority::reissue_with) made, or another token of the same session
/// ([`Login::in_session`](crate::Login::in_session)), which is never renewed. A token of another session is not sent:
/// give that to the client in the body, or with [`Authority::set_cookie`](crate::Authority::set_cookie). Of several layers around
/// the handler, one takes the token if its authority made it or admitted a token of its session, and otherwise leaves it to the
/// next one.
///
/// With the feature `axum` it is a response part, as here. Otherwise call [`put_into`](Self::put_into).
///
/// ```
/// use axum::extract::State;
/// use axum::http::StatusCode;
/// use tower_reissue::{Authority, Reissued, Renewal, VerifiedToken};
///
/// // Its client keeps the right to read, and gives up the others.
/// async fn read_only(
///     State(authority): State<Authority>,
///     token: VerifiedToken,
/// ) -> Result<(Reissued, &'static str), StatusCode> {
///     let successor = authority.reissue_with(&token, Renewal::keep().scope("orders:read")).await;
///     Ok((Reissued(successor.map_err(|_| StatusCode::CONFLICT)?), "read only from now on"))
/// }
/// ```
// Not `Clone`, so that nobody puts it into the extensions without the mark.
#[derive(Debug)]
#[must_use = "it has an effect in a response"]
pub struct Reissued(pub IssuedToken);

impl Reissued {
    /// Has the layer send the token with this response.
    pub fn put_into<B>(self, response: &mut Response<B>) {
        mark(response.headers_mut());
        response.extensions_mut().insert(self.into_extension());
    }

    pub(crate) fn into_extension(self) -> Replacement {
        Replacement(self.0)
    }
}

/// The token of a [`Reissued`], in the extensions of a response.
#[derive(Clone)]
pub(crate) struct Replacement(pub(super) IssuedToken);

/// On a refusal that carries a successor: the handler did not run, so the same request can be sent again with it. If an inner
/// service sets it, it is removed, because that service did run.
pub(crate) static REISSUE_REPLAY: HeaderName = HeaderName::from_static("reissue-replay");

/// The value of [`REISSUE_REPLAY`] in a response that has something for the layer in its extensions.
// A header that the layer removes anyway, so that other responses cost nothing more.
pub(crate) const MARK: HeaderValue = HeaderValue::from_static("marked");

/// Marks a response for the next layer.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(&REISSUE_REPLAY, MARK);
}
