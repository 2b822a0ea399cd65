//! Media types, as `typ` names them.

/// The `typ` of a refresh token. No access token can have it: no configuration takes it for an access type.
pub(crate) const REFRESH: &str = "refresh+jwt";

/// Whether this is the type of refresh tokens.
pub(crate) fn is_refresh(typ: &str) -> bool {
    is(typ, REFRESH)
}

/// Media types compare without regard to case and to an omitted `application/` (RFC 7515 §4.1.9).
pub(crate) fn is(typ: &str, wanted: &str) -> bool {
    short(typ).eq_ignore_ascii_case(short(wanted))
}

fn short(typ: &str) -> &str {
    match typ.split_at_checked(12) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") && !rest.contains('/') => rest,
        _ => typ,
    }
}
