//! Rows to values and back. What no store of this crate can have written is [`StoreErrorKind::Corrupt`], never a
//! guess.
//!
//! [`StoreErrorKind::Corrupt`]: super::super::StoreErrorKind::Corrupt

use std::fmt;

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::super::chain::{Ancestor, Chain};
use super::super::{SessionId, SessionRecord, SubjectId, TokenId};
use super::session::{Found, Session, SubjectTombstone};
use crate::NumericDate;

/// 32 bytes of name, 8 of generation, 8 of `until`.
const ANCESTOR: usize = 48;
/// 32 bytes of name, 8 of `until`.
const REVOKED_TOKEN: usize = 40;

impl<'r, R> FromRow<'r, R> for Found
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let subject = match optional::<i64, R>(row, "instant")? {
            None => None,
            Some(instant) => Some(SubjectTombstone {
                instant: date("instant", instant)?,
                until: required_date(row, "subject_expires")?,
            }),
        };
        let stamp = row.try_get("stamp")?;
        let session = match stamp {
            None => Session::default(),
            Some(_) => Session {
                chain: chain(row)?,
                revoked_until: required_date(row, "revoked_until")?,
                revoked_tokens: revoked_tokens(&required::<Vec<u8>, R>(row, "revoked_tokens")?)?,
            },
        };
        Ok(Self { born: required_date(row, "born")?, subject, stamp, session })
    }
}

impl<'r, R> FromRow<'r, R> for SessionRecord
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self::new(
            SessionId::from_bytes(name("session", &required::<Vec<u8>, R>(row, "session")?)?),
            required_date(row, "session_start")?,
            required_date(row, "renewed")?,
            required::<String, R>(row, "claims")?,
        ))
    }
}

fn chain<'r, R>(row: &'r R) -> Result<Option<Chain>, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let Some(head) = optional::<Vec<u8>, R>(row, "head")? else { return Ok(None) };
    let subject = match optional::<Vec<u8>, R>(row, "subject")? {
        None => None,
        Some(subject) => Some(SubjectId::from_bytes(name("subject", &subject)?)),
    };
    let generation = u64::try_from(required::<i64, R>(row, "generation")?)
        .map_err(|_| corrupt("generation", "is negative"))?;
    let chain = Chain {
        subject,
        session_start: required_date(row, "session_start")?,
        head: TokenId::from_bytes(name("head", &head)?),
        claims: required::<String, R>(row, "claims")?.into(),
        until: required_date(row, "chain_until")?,
        head_until: required_date(row, "head_until")?,
        renewed: required_date(row, "renewed")?,
        generation,
        ancestors: ancestors(&required::<Vec<u8>, R>(row, "ancestors")?, generation)?,
    };
    if chain.until < chain.head_until {
        return Err(corrupt("chain_until", "is before the head's own"));
    }
    Ok(Some(chain))
}

pub(super) fn ancestor_bytes(ancestors: &[Ancestor]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ancestors.len() * ANCESTOR);
    for Ancestor { token, generation, until } in ancestors {
        bytes.extend_from_slice(token.as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&until.as_secs().to_be_bytes());
    }
    bytes
}

fn ancestors(bytes: &[u8], head: u64) -> Result<Vec<Ancestor>, sqlx::Error> {
    let mut least = 0;
    records::<ANCESTOR>("ancestors", bytes)?
        .map(|mut record| {
            let token = TokenId::from_bytes(take("ancestors", &mut record)?);
            let generation = u64::from_be_bytes(take("ancestors", &mut record)?);
            let until = unsigned_date("ancestors", u64::from_be_bytes(take("ancestors", &mut record)?))?;
            if !(least..head).contains(&generation) {
                return Err(corrupt("ancestors", "are out of order"));
            }
            least = generation + 1;
            Ok(Ancestor { token, generation, until })
        })
        .collect()
}

pub(super) fn revoked_token_bytes(tokens: &[(TokenId, NumericDate)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tokens.len() * REVOKED_TOKEN);
    for (token, until) in tokens {
        bytes.extend_from_slice(token.as_bytes());
        bytes.extend_from_slice(&until.as_secs().to_be_bytes());
    }
    bytes
}

fn revoked_tokens(bytes: &[u8]) -> Result<Vec<(TokenId, NumericDate)>, sqlx::Error> {
    records::<REVOKED_TOKEN>("revoked_tokens", bytes)?
        .map(|mut record| {
            let token = TokenId::from_bytes(take("revoked_tokens", &mut record)?);
            let until = u64::from_be_bytes(take("revoked_tokens", &mut record)?);
            Ok((token, unsigned_date("revoked_tokens", until)?))
        })
        .collect()
}

/// Equal pieces of `N` bytes.
fn records<'b, const N: usize>(
    column: &str,
    bytes: &'b [u8],
) -> Result<impl Iterator<Item = &'b [u8]>, sqlx::Error> {
    let records = bytes.chunks_exact(N);
    if records.remainder().is_empty() { Ok(records) } else { Err(corrupt(column, "ends in mid-record")) }
}

fn take<const N: usize>(column: &str, bytes: &mut &[u8]) -> Result<[u8; N], sqlx::Error> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or_else(|| corrupt(column, "is too short"))?;
    *bytes = rest;
    Ok(*first)
}

fn name(column: &str, bytes: &[u8]) -> Result<[u8; 32], sqlx::Error> {
    bytes.try_into().map_err(|_| corrupt(column, "is not 32 bytes"))
}

fn required_date<'r, R: Row>(row: &'r R, column: &'static str) -> Result<NumericDate, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    date(column, required::<i64, R>(row, column)?)
}

fn date(column: &str, secs: i64) -> Result<NumericDate, sqlx::Error> {
    unsigned_date(column, u64::try_from(secs).map_err(|_| corrupt(column, "is before 1970"))?)
}

fn unsigned_date(column: &str, secs: u64) -> Result<NumericDate, sqlx::Error> {
    let date = NumericDate::from_secs(secs);
    if date.as_secs() == secs { Ok(date) } else { Err(corrupt(column, "is past the year 9999")) }
}

/// The column's value, or that of a dead row's, which is `None`.
fn optional<'r, T, R: Row>(row: &'r R, column: &'static str) -> Result<Option<T>, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    T: Decode<'r, R::Database> + Type<R::Database>,
{
    row.try_get(column)
}

fn required<'r, T, R: Row>(row: &'r R, column: &'static str) -> Result<T, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    T: Decode<'r, R::Database> + Type<R::Database>,
{
    optional(row, column)?.ok_or_else(|| corrupt(column, "is missing"))
}

fn corrupt(column: &str, what: &'static str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(MakesNoSense(what)) }
}

#[derive(Debug)]
struct MakesNoSense(&'static str);

impl fmt::Display for MakesNoSense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for MakesNoSense {}
