//! The questions to a store, and its answers.

use std::fmt;
use std::sync::Arc;

use super::{Horizon, SessionId, SubjectId, TokenId};
use crate::time::NumericDate;

/// A token that was presented, as the store gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presented {
    /// The chain of tokens it belongs to.
    pub session: SessionId,
    /// The token itself.
    pub token: TokenId,
    /// Its subject; `None` if the token has no `sub`.
    pub subject: Option<SubjectId>,
    /// When the session began, as its tokens say. It may be dated ahead of the store's clock.
    pub session_start: NumericDate,
    /// The earliest instant at which the session can have begun, by the store's clock. A store that may have lost its records vouches
    /// only for sessions that can't have begun before they do. Three times the tolerance of the service that asks and 1 s before
    /// [`session_start`](Self::session_start): give all services on a store the same
    /// [`future_tolerance`](crate::AuthorityBuilder::future_tolerance), because those with a smaller one vouch for sessions that others
    /// dated further ahead.
    pub not_begun_before: NumericDate,
    /// The authority's clock.
    pub now: NumericDate,
}

impl Presented {
    /// A presented token, of a session that is not dated ahead. The authority makes these itself; the tests of a store need them
    /// too.
    pub fn new(
        session: SessionId,
        token: TokenId,
        subject: Option<SubjectId>,
        session_start: NumericDate,
        now: NumericDate,
    ) -> Self {
        Self { session, token, subject, session_start, not_begun_before: session_start, now }
    }

    /// The same, of a session that may have begun at this instant already.
    #[must_use]
    pub fn not_begun_before(self, instant: NumericDate) -> Self {
        Self { not_begun_before: instant, ..self }
    }
}

/// A proposed successor of one token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Rotation {
    /// The token presented and its session; at sign-in, the new token itself.
    pub presented: Presented,
    /// Whether `successor` supersedes the presented token; false at sign-in.
    pub supersedes: bool,
    /// The proposed successor's identity.
    pub successor: TokenId,
    /// The proposed successor's claims, as their JSON text.
    pub claims: Arc<str>,
    /// Until when the records of the successor and of the token that it supersedes matter. The session's record is kept
    /// at least as long.
    pub until: NumericDate,
    /// If the rotation puts a session on record: the limit on its subject's sessions, and how long the revocations of
    /// those that it ends are kept. `None`: no limit.
    pub retention: Option<Retention>,
    /// Record nothing, and answer [`Rotated::UnknownSession`](super::Rotated::UnknownSession), where the session's standing is
    /// [`Standing::UnknownSession`](super::Standing::UnknownSession). A store that never answers that has nothing to do.
    pub of_known_session: bool,
}

impl Rotation {
    /// Opens a session: `presented` is the token just issued, `claims` its own.
    pub fn sign_in(presented: Presented, claims: impl Into<Arc<str>>, until: NumericDate) -> Self {
        Self {
            presented,
            supersedes: false,
            successor: presented.token,
            claims: claims.into(),
            until,
            retention: None,
            of_known_session: false,
        }
    }

    /// Proposes `successor`, with its `claims`, for the token presented.
    pub fn renewal(
        presented: Presented,
        successor: TokenId,
        claims: impl Into<Arc<str>>,
        until: NumericDate,
    ) -> Self {
        Self {
            presented,
            supersedes: true,
            successor,
            claims: claims.into(),
            until,
            retention: None,
            of_known_session: false,
        }
    }

    /// The same, but nothing is recorded if revocations of the session may be lost.
    #[must_use]
    pub fn of_known_session(mut self) -> Self {
        self.of_known_session = true;
        self
    }

    /// Limits the subject's sessions as `retention` says.
    #[must_use]
    pub fn limited_by(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }
}

/// Claims are personal data.
impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("presented", &self.presented)
            .field("supersedes", &self.supersedes)
            .field("successor", &self.successor)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// What to revoke.
///
/// A store that gets a kind it does not know answers with an error. It never drops a revocation silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// One token. If it has a successor, its whole session. The same if another token is on record as the session's
    /// head, because the store may have forgotten a token that was superseded long ago.
    Token {
        /// Its session.
        session: SessionId,
        /// The token.
        token: TokenId,
    },
    /// A session, with every token in it.
    ///
    /// If its subject has more sessions than are [remembered](SubjectLimit::remembered), the record of this one may
    /// give way to an instant up to which all sessions of the subject are revoked. Tokens of this session that name
    /// another subject, or none, are not covered from then on. No authority makes such tokens.
    Session(SessionId),
    /// Every session of the subject that began at or before the instant, but one. If the instant is not in the past, also
    /// every other session of the subject on record: see [`ends_all_on_record`](Self::ends_all_on_record).
    SubjectBefore {
        /// Whose sessions.
        subject: SubjectId,
        /// The instant, compared with session starts. See [`dated`](Self::dated).
        instant: NumericDate,
        /// The session that is spared: "all others". It is not spared from what was revoked before.
        except: Option<SessionId>,
    },
    /// Every session, of whatever subject or none, that began at or before the instant. If that is not in the past, also
    /// every other session on record: see [`ends_all_on_record`](Self::ends_all_on_record).
    AllBefore {
        /// The instant, compared with session starts. See [`dated`](Self::dated).
        instant: NumericDate,
    },
}

impl Revocation {
    /// The revocation with its instant as the store must record it. An instant in the revoker's past stays as it is.
    /// Any other means "up to now", by the later of the revoker's clock and the store's.
    ///
    /// What is on record has no part in it. Repeating a revocation, with sign-ins in between or without, reaches no further
    /// than the clocks do, so it keeps nobody from signing in.
    #[must_use]
    pub fn dated(self, retention: &Retention, clock: NumericDate) -> Self {
        let dated = |instant: NumericDate| match instant < retention.now {
            true => instant,
            false => instant.max(clock.after(instant.since(retention.now))),
        };
        match self {
            Self::SubjectBefore { subject, instant, except } => {
                Self::SubjectBefore { subject, instant: dated(instant), except }
            }
            Self::AllBefore { instant } => Self::AllBefore { instant: dated(instant) },
            Self::Token { .. } | Self::Session(_) => self,
        }
    }

    /// Whether this is a [`SubjectBefore`](Self::SubjectBefore) or an [`AllBefore`](Self::AllBefore) whose instant is not in
    /// the revoker's past. The store then also ends, one by one, the recorded sessions that are meant and began after
    /// the instant that it [dates](Self::dated) the revocation. They lie ahead of the clocks because they follow a
    /// revocation of their subject, or because a clock was wrong. An instant that covered them would keep their subject,
    /// or everybody, from signing in until then.
    pub fn ends_all_on_record(&self, retention: &Retention) -> bool {
        match self {
            Self::SubjectBefore { instant, .. } | Self::AllBefore { instant } => *instant >= retention.now,
            Self::Token { .. } | Self::Session(_) => false,
        }
    }
}

/// When a revocation is made. How long it is kept, and which tokens can exist by then, follow from it.
///
/// A store adds its own clock and horizon, as they are when it writes. So a revocation through a process that knows
/// an older horizon is kept for the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// The revoker's clock.
    pub now: NumericDate,
    /// When the session of the presented token began, which may be ahead of `now`. 0 if no token was presented.
    pub session_start: NumericDate,
    /// The subject of the presented token. If the session is recorded, its recorded subject takes precedence.
    pub subject: Option<SubjectId>,
    /// How far the clocks of nodes may differ, in seconds.
    pub tolerance: u64,
    /// How much longer a revocation is kept than necessary, in seconds, for clocks that differ by more than the
    /// tolerance. An authority passes 300.
    pub margin: u64,
    /// How many sessions of the subject are kept. `None`: no limit.
    pub limit: Option<SubjectLimit>,
}

/// How many sessions of one subject a store keeps. The oldest end if there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectLimit {
    /// The most live sessions on record. If one more is opened, the oldest of the others is revoked, even if the one just
    /// opened is older still. Sign-ins at once do not end each other, so a store may leave more of them until the next
    /// sign-in.
    pub live: usize,
    /// The most sessions on record, live or ended. If there are more, all sessions of the subject that began no later
    /// than the oldest are revoked in one record, which replaces theirs.
    pub remembered: usize,
}

impl SubjectLimit {
    /// At most `live` sessions, and ten times as many with those that ended.
    pub fn new(live: usize) -> Self {
        Self { live, remembered: live.saturating_mul(10) }
    }
}

impl Retention {
    /// Of a revocation made at `now`, without a token. The seconds are those of the fields of their names.
    pub fn new(now: NumericDate, tolerance: u64, margin: u64) -> Self {
        Self { now, session_start: NumericDate::default(), subject: None, tolerance, margin, limit: None }
    }

    /// Of a revocation made with a token of this session.
    #[must_use]
    pub fn of(mut self, subject: Option<SubjectId>, session_start: NumericDate) -> Self {
        (self.subject, self.session_start) = (subject, session_start);
        self
    }

    /// With this limit on the subject's sessions.
    #[must_use]
    pub fn limited_to(mut self, limit: SubjectLimit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The latest start that a token of the session can have if the token exists now: the start of the presented token,
    /// or the clock's reading plus the tolerance. `clock` is the store's; a store without one passes `now`.
    pub fn latest_start(&self, clock: NumericDate) -> NumericDate {
        self.now.max(clock).after(self.tolerance).max(self.session_start)
    }

    /// Until when the revocation is kept. No token that exists now can be used from then on, whichever token was
    /// presented. For ever if the store's horizon is unbounded or not set yet.
    pub fn kept_until(&self, clock: NumericDate, horizon: Option<Horizon>) -> NumericDate {
        let latest = self.now.max(clock).max(self.session_start).after(self.tolerance);
        horizon.unwrap_or(Horizon::Unbounded).after(latest).after(self.margin)
    }
}

/// Which part of a listing to read. The newest sessions come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Only sessions after this place. `None`: from the beginning.
    pub after: Option<SessionCursor>,
    /// At most this many sessions, at least 1.
    pub limit: usize,
}

/// A place in a listing: the newest sessions come first, and sessions of one second are ordered by descending id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionCursor {
    /// When the session began.
    pub session_start: NumericDate,
    /// The session.
    pub session: SessionId,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions, the newest first. The page can be empty although more follow, if the sessions that were read had
    /// ended.
    pub sessions: Vec<SessionRecord>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<SessionCursor>,
}

impl Page {
    /// The first page, of at most `limit` sessions, 1 to 1,000.
    pub fn first(limit: usize) -> Self {
        Self { after: None, limit: limit.clamp(1, 1_000) }
    }

    /// The page after this place, which [`SessionPage::next`] returned.
    #[must_use]
    pub fn after(mut self, cursor: SessionCursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

/// The first hundred sessions.
impl Default for Page {
    fn default() -> Self {
        Self::first(100)
    }
}

impl SessionPage {
    /// A page as a store read it.
    pub fn new(sessions: Vec<SessionRecord>, next: Option<SessionCursor>) -> Self {
        Self { sessions, next }
    }
}

/// A session on record.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// When it began.
    pub session_start: NumericDate,
    /// When its head was recorded.
    pub renewed: NumericDate,
    /// The head's claims, as their JSON text. In the session of a pair the head is a refresh token, whose claim
    /// `access_claims` holds the private claims.
    pub claims: Arc<str>,
}

impl SessionRecord {
    /// A session as a store read it back.
    pub fn new(
        session: SessionId,
        session_start: NumericDate,
        renewed: NumericDate,
        claims: impl Into<Arc<str>>,
    ) -> Self {
        Self { session, session_start, renewed, claims: claims.into() }
    }

    /// Its place in a listing.
    pub fn cursor(&self) -> SessionCursor {
        SessionCursor { session_start: self.session_start, session: self.session }
    }
}

/// Claims are personal data.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("session", &self.session)
            .field("session_start", &self.session_start)
            .field("renewed", &self.renewed)
            .finish_non_exhaustive()
    }
}
