//! Converts rows to values and back. A row that no store of this crate can have written is [`StoreErrorKind::Corrupt`],
//! never a guess.
//!
//! [`StoreErrorKind::Corrupt`]: super::super::StoreErrorKind::Corrupt

use std::fmt;

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::super::chain::{Ancestor, Chain};
use super::super::cutoff::Cutoff;
use super::super::{
    Horizon, Raise, SessionCursor, SessionId, SessionRecord, StoreHorizon, SubjectId, TokenId,
};
use super::secs;
use super::session::{CutoffRow, Found, Session};
use crate::time::NumericDate;

/// 32 bytes of name, 8 of generation, 8 of `until`.
pub(super) const ANCESTOR: usize = 48;
/// Where the `until` of an ancestor begins.
pub(super) const ANCESTOR_UNTIL: usize = 40;
/// 32 bytes of name, 8 of `until`.
const REVOKED_TOKEN: usize = 40;
/// 8 bytes of `at`, 8 of `from`.
const RAISE: usize = 16;

impl<'r, R: Row + Columns> FromRow<'r, R> for Found {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let stamp = row.integer("stamp")?;
        let session = match stamp {
            None => Session::default(),
            Some(_) => Session {
                chain: chain(row)?,
                // Anything but the word for "none".
                is_unattested: required("orphan", row.integer("orphan"))? != 0,
                revoked_until: required_date(row, "revoked_until")?,
                revoked_tokens: revoked_tokens(&required("revoked_tokens", row.bytes("revoked_tokens"))?)?,
                subject: optional_id(row, "subject")?.map(SubjectId::from_bytes),
                // Earlier versions wrote it where there is no chain, as the start.
                latest_start: optional_date(row, "latest_start")?.or(optional_date(row, "session_start")?),
                is_opened: false,
            },
        };
        Ok(Self {
            created_at: required_date(row, "born")?,
            clock: required_date(row, "clock")?,
            horizon: optional_date(row, "horizon")?.map(horizon_of),
            subject: cutoff(row, &SUBJECTS)?,
            everybody: cutoff(row, &EVERYBODYS)?,
            stamp,
            session,
        })
    }
}

/// What was found, and whether the statement that found it has made the head's successor the head.
pub(super) struct Advanced {
    pub(super) found: Found,
    pub(super) is_advanced: bool,
}

impl<'r, R: Row + Columns> FromRow<'r, R> for Advanced {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let is_advanced = required("advanced", row.integer("advanced"))? != 0;
        Ok(Self { found: Found::from_row(row)?, is_advanced })
    }
}

/// The columns of one cutoff: `stamp`, `instant`, `spared`, `floor`, `kept_until`.
type CutoffColumns = [&'static str; 5];

const SUBJECTS: CutoffColumns = ["t_stamp", "t_instant", "t_spared", "t_floor", "t_kept_until"];
const EVERYBODYS: CutoffColumns = ["a_stamp", "a_instant", "a_spared", "a_floor", "a_kept_until"];

fn cutoff(row: &impl Columns, columns: &CutoffColumns) -> Result<CutoffRow, sqlx::Error> {
    let [stamp, instant, spared, floor, kept_until] = *columns;
    let Some(stamp) = row.integer(stamp)? else { return Ok(CutoffRow::default()) };
    let cutoff = Cutoff {
        instant: required_date(row, instant)?,
        except: optional_id(row, spared)?.map(SessionId::from_bytes),
        floor: optional_date(row, floor)?,
        until: required_date(row, kept_until)?,
    };
    Ok(CutoffRow { stamp: Some(stamp), cutoff: Some(cutoff) })
}

/// `None`: the row says that there is none.
pub(super) struct Listed(pub(super) Option<SessionRecord>);

impl<'r, R: Row + Columns> FromRow<'r, R> for Listed {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let Some(session) = optional_id(row, "session")? else { return Ok(Self(None)) };
        Ok(Self(Some(SessionRecord::new(
            SessionId::from_bytes(session),
            required_date(row, "session_start")?,
            required_date(row, "renewed")?,
            required("claims", row.text("claims"))?,
        ))))
    }
}

/// A session that begins ahead of the clock. `None`: the row says that there is none.
pub(super) struct BegunAfter(pub(super) Option<SessionCursor>);

impl<'r, R: Row + Columns> FromRow<'r, R> for BegunAfter {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        cursor(row).map(Self)
    }
}

/// A row about the sessions that are beyond the limit on their subject's.
pub(super) struct Crowd {
    /// A live session beyond the limit.
    pub(super) displaced: Option<SessionCursor>,
    /// The latest start of those that are not to be remembered, and until when those up to it are kept.
    pub(super) forgettable: Option<(NumericDate, NumericDate)>,
    /// The earliest start of the others.
    pub(super) oldest: Option<NumericDate>,
}

impl<'r, R: Row + Columns> FromRow<'r, R> for Crowd {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let forgettable = match optional_date(row, "forgettable")? {
            None => None,
            Some(start) => Some((start, required_date(row, "kept_until")?)),
        };
        Ok(Self { displaced: cursor(row)?, forgettable, oldest: optional_date(row, "oldest")? })
    }
}

fn cursor(row: &impl Columns) -> Result<Option<SessionCursor>, sqlx::Error> {
    let Some(session) = optional_id(row, "session")?.map(SessionId::from_bytes) else { return Ok(None) };
    Ok(Some(SessionCursor { session_start: required_date(row, "session_start")?, session }))
}

/// The horizon as it was read.
pub(super) struct HorizonRow {
    /// The server's.
    pub(super) clock: NumericDate,
    /// `None` where nobody has set one yet.
    pub(super) horizon: Option<StoreHorizon>,
}

impl<'r, R: Row + Columns> FromRow<'r, R> for HorizonRow {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let current = optional_date(row, "horizon")?.map(horizon_of);
        let raises = raises(&row.bytes("raises")?.unwrap_or_default())?;
        let horizon = current.map(|current| StoreHorizon::with_raises(current, raises));
        Ok(Self { clock: required_date(row, "clock")?, horizon })
    }
}

/// As a column: the seconds, or the last instant there is.
pub(super) fn horizon_column(horizon: Horizon) -> i64 {
    secs(horizon.after(NumericDate::from_secs(0)))
}

fn horizon_of(column: NumericDate) -> Horizon {
    if column == NumericDate::MAX { Horizon::Unbounded } else { Horizon::Secs(column.as_secs()) }
}

pub(super) fn raise_bytes(raises: &[Raise]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raises.len() * RAISE);
    for Raise { at, from } in raises {
        bytes.extend_from_slice(&at.as_secs().to_be_bytes());
        bytes.extend_from_slice(&from.to_be_bytes());
    }
    bytes
}

fn raises(bytes: &[u8]) -> Result<Vec<Raise>, sqlx::Error> {
    records::<RAISE>("raises", bytes)?
        .map(|mut record| {
            let at = unsigned_date("raises", u64::from_be_bytes(take("raises", &mut record)?))?;
            Ok(Raise { at, from: u64::from_be_bytes(take("raises", &mut record)?) })
        })
        .collect()
}

/// A row of either database. A column is `None` in a row that a join did not find.
pub(super) trait Columns {
    fn integer(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error>;
    fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, sqlx::Error>;
    fn text(&self, column: &'static str) -> Result<Option<String>, sqlx::Error>;
}

impl<R: Row> Columns for R
where
    &'static str: ColumnIndex<R>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    fn integer(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(column)
    }

    fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.try_get(column)
    }

    fn text(&self, column: &'static str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(column)
    }
}

fn chain(row: &impl Columns) -> Result<Option<Chain>, sqlx::Error> {
    let Some(head) = row.bytes("head")? else { return Ok(None) };
    let subject = optional_id(row, "subject")?.map(SubjectId::from_bytes);
    let generation = u64::try_from(required("generation", row.integer("generation"))?)
        .map_err(|_| corrupt("generation", "is negative"))?;
    let chain = Chain {
        subject,
        session_start: required_date(row, "session_start")?,
        head: TokenId::from_bytes(name("head", &head)?),
        claims: required("claims", row.text("claims"))?.into(),
        until: required_date(row, "chain_until")?,
        head_until: required_date(row, "head_until")?,
        renewed: required_date(row, "renewed")?,
        generation,
        ancestors: ancestors(&required("ancestors", row.bytes("ancestors"))?, generation)?,
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

fn optional_id(row: &impl Columns, column: &'static str) -> Result<Option<[u8; 32]>, sqlx::Error> {
    row.bytes(column)?.map(|bytes| name(column, &bytes)).transpose()
}

fn optional_date(row: &impl Columns, column: &'static str) -> Result<Option<NumericDate>, sqlx::Error> {
    row.integer(column)?.map(|secs| date(column, secs)).transpose()
}

fn required_date(row: &impl Columns, column: &'static str) -> Result<NumericDate, sqlx::Error> {
    date(column, required(column, row.integer(column))?)
}

fn date(column: &str, secs: i64) -> Result<NumericDate, sqlx::Error> {
    unsigned_date(column, u64::try_from(secs).map_err(|_| corrupt(column, "is before 1970"))?)
}

fn unsigned_date(column: &str, secs: u64) -> Result<NumericDate, sqlx::Error> {
    let date = NumericDate::from_secs(secs);
    if date.as_secs() == secs { Ok(date) } else { Err(corrupt(column, "is past the year 9999")) }
}

fn required<T>(column: &str, value: Result<Option<T>, sqlx::Error>) -> Result<T, sqlx::Error> {
    value?.ok_or_else(|| corrupt(column, "is missing"))
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
