//! The parameters of a request to an OAuth 2.0 endpoint (RFC 6749 appendix B).

use std::borrow::Cow;
use std::error::Error as StdError;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::{BodyExt, Limited};

use super::reply::OAuthError;
use crate::jose::json;

/// In bytes: a token of the usual maximum, and all else that a client sends beside it.
const MAX: usize = 64 * 1024;
const MAX_COUNT: usize = 64;

/// The names that the endpoints read.
const KNOWN: [&str; 8] = [
    "token",
    "refresh_token",
    "logout_token",
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "scope",
];

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Form,
    Json,
}

/// Names and values, each name once. A parameter without a value counts as omitted (RFC 6749 §3.1).
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(KNOWN.contains(&name), "{name}");
        self.find(name)
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Reads the whole body, up to 64 KiB of it.
    pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Self, OAuthError>
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let body = Limited::new(body, MAX).collect().await.map_err(|error| {
            OAuthError::invalid_request(if error.is::<http_body_util::LengthLimitError>() {
                "the body is longer than 64 KiB"
            } else {
                "the body could not be read"
            })
        })?;
        let body = body.to_bytes();
        // Whatever its type: many clients name one beside an empty body.
        if body.is_empty() {
            return Ok(Self::default());
        }
        let encoding = encoding(headers).ok_or_else(|| {
            OAuthError::invalid_request(
                "the body must have one content type: application/x-www-form-urlencoded or application/json",
            )
        })?;
        Self::parse(encoding, &body)
    }

    fn parse(encoding: Encoding, body: &Bytes) -> Result<Self, OAuthError> {
        let mut parameters = Self::default();
        match encoding {
            Encoding::Form => {
                for (name, value) in form_urlencoded::parse(body) {
                    parameters.add(name, value)?;
                }
            }
            Encoding::Json => {
                // What wrappers of `fetch` send where there is nothing to send. Any other value than an object may hold a token
                // that its reader expects to be revoked.
                if matches!(body.trim_ascii(), b"null" | b"[]" | b"\"\"") {
                    return Ok(parameters);
                }
                let members = std::str::from_utf8(body).ok().and_then(|text| json::members(text).ok());
                let not_an_object =
                    || OAuthError::invalid_request("the body must be one JSON object with distinct names");
                for member in members.ok_or_else(not_an_object)? {
                    match json::string(member.value) {
                        Some(value) => parameters.add(member.name, value)?,
                        // RFC 6749 knows texts only. Without it, another session or a wider scope than the meant one would do.
                        None if KNOWN.contains(&&*member.name) && member.value != "null" => {
                            return Err(OAuthError::invalid_request(
                                "a parameter that this endpoint knows is there, but not as a text",
                            ));
                        }
                        // It may belong to an extension, and is no parameter here.
                        None => {}
                    }
                }
            }
        }
        Ok(parameters)
    }

    fn add(&mut self, name: Cow<'_, str>, value: Cow<'_, str>) -> Result<(), OAuthError> {
        if value.is_empty() {
            return Ok(());
        }
        if self.0.len() == MAX_COUNT {
            return Err(OAuthError::invalid_request("the body has more than 64 parameters"));
        }
        // How many libraries write a list.
        if name.split_once('[').is_some_and(|(name, _)| KNOWN.contains(&name)) {
            return Err(OAuthError::invalid_request(
                "a parameter that this endpoint knows is there as a list",
            ));
        }
        // RFC 6749 §3.2: which of the two counts would be anybody's guess.
        if self.find(&name).is_some() {
            return Err(OAuthError::invalid_request("a parameter is there more than once"));
        }
        self.0.push((name.into_owned(), value.into_owned()));
        Ok(())
    }
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut types = headers.get_all(CONTENT_TYPE).into_iter();
    let (Some(only), None) = (types.next(), types.next()) else { return None };
    let media_type = only.to_str().ok()?.split(';').next()?.trim();
    let is = |name: &str| media_type.eq_ignore_ascii_case(name);
    if is("application/x-www-form-urlencoded") {
        Some(Encoding::Form)
    } else if is("application/json") {
        Some(Encoding::Json)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoding: Encoding, body: &'static str) -> Result<Vec<(String, String)>, String> {
        Parameters::parse(encoding, &body.into())
            .map(|read| read.0)
            .map_err(|error| error.description().to_owned())
    }

    #[test]
    fn a_form_and_an_object_give_the_same_parameters() {
        let expected =
            Ok(vec![("token".to_owned(), "a.b.c".to_owned()), ("scope".to_owned(), "x y".to_owned())]);
        for (encoding, body) in [
            (Encoding::Form, "token=a.b.c&scope=x+y"),
            (Encoding::Form, "token=a%2Eb.c&scope=x%20y&client_id="),
            (Encoding::Json, r#"{"token":"a.b.c","scope":"x y"}"#),
            (
                Encoding::Json,
                r#"{"token":"a.b.\u0063","scope":"x y","n":7,"client_id":"","grant_type":null,"o":[1]}"#,
            ),
        ] {
            assert_eq!(read(encoding, body), expected, "{body}");
        }
        for (encoding, body) in [
            (Encoding::Form, ""),
            (Encoding::Json, "[]"),
            (Encoding::Json, " null "),
            (Encoding::Json, "\"\""),
            (Encoding::Json, "{}"),
        ] {
            assert_eq!(read(encoding, body), Ok(Vec::new()), "{body}");
        }
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        for (encoding, body) in [
            (Encoding::Json, r#"["a.b.c"]"#),
            (Encoding::Json, r#"[{"token":"a.b.c"}]"#),
            (Encoding::Json, r#""a.b.c""#),
            (Encoding::Json, r#"{"token":["a.b.c"]}"#),
            (Encoding::Json, r#"{"token":{"value":"a.b.c"}}"#),
            (Encoding::Json, r#"{"token":"\ud800"}"#),
            (Encoding::Json, r#"{"scope":["a"]}"#),
            (Encoding::Json, r#"{"client_id":7}"#),
            (Encoding::Json, "1"),
            (Encoding::Form, "token[]=a.b.c"),
            (Encoding::Form, "token%5B0%5D=a.b.c&csrf=1"),
            (Encoding::Json, r#"{"scope[0]":"a"}"#),
            (Encoding::Form, "token=a&token=b"),
            (Encoding::Form, "token=a&%74oken=a"),
            (Encoding::Json, r#"{"token":"a","token":"b"}"#),
            (Encoding::Json, r#"{"token":"a""#),
            (Encoding::Json, "\u{feff}{}"),
            (Encoding::Json, "[1"),
            (Encoding::Json, ""),
        ] {
            assert!(read(encoding, body).is_err(), "{body}");
        }
        let many: String = (0..65).map(|nth| format!("p{nth}=1&")).collect();
        assert!(Parameters::parse(Encoding::Form, &many.into()).is_err());
    }

    #[test]
    fn only_one_content_type_that_is_known_is_read() {
        let types = |types: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in types {
                headers.append(CONTENT_TYPE, http::HeaderValue::from_static(value));
            }
            encoding(&headers)
        };
        assert_eq!(types(&["application/x-www-form-urlencoded"]), Some(Encoding::Form));
        assert_eq!(types(&["Application/JSON; charset=utf-8"]), Some(Encoding::Json));
        assert_eq!(types(&["application/json", "application/json"]), None);
        assert_eq!(types(&["multipart/form-data; boundary=x"]), None);
        assert_eq!(types(&[]), None);
    }
}
