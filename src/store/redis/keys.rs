//! Where things are kept.
//!
//! Sessions and subjects are spread over 1,024 hash tags, each with the birth of its records beside them: a script
//! can then judge in one step, and in one slot, what a session's record says and whether it could have been lost.

use crate::store::{SessionId, SubjectId};

pub(super) const TAGS: u16 = 1024;

pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// A chain or a tombstone.
    pub(super) fn session(&self, session: &SessionId) -> String {
        self.key(tag(session.as_bytes()), &format!("session:{session}"))
    }

    /// The session's revoked tokens.
    pub(super) fn revoked_tokens(&self, session: &SessionId) -> String {
        self.key(tag(session.as_bytes()), &format!("revoked:{session}"))
    }

    pub(super) fn session_birth(&self, session: &SessionId) -> String {
        self.birth(tag(session.as_bytes()))
    }

    /// The subject's tombstone.
    pub(super) fn subject(&self, subject: &SubjectId) -> String {
        self.key(tag(subject.as_bytes()), &format!("subject:{subject}"))
    }

    /// The subject's sessions, by the instant until which each matters.
    pub(super) fn sessions(&self, subject: &SubjectId) -> String {
        self.key(tag(subject.as_bytes()), &format!("sessions:{subject}"))
    }

    pub(super) fn subject_birth(&self, subject: &SubjectId) -> String {
        self.birth(tag(subject.as_bytes()))
    }

    pub(super) fn birth(&self, tag: u16) -> String {
        self.key(tag, "birth")
    }

    /// Where revocations are published.
    pub(super) fn channel(&self) -> String {
        format!("{}:revocations", self.prefix)
    }

    fn key(&self, tag: u16, rest: &str) -> String {
        format!("{}:{{{tag}}}:{rest}", self.prefix)
    }
}

fn tag(id: &[u8; 32]) -> u16 {
    let [high, low, ..] = *id;
    u16::from_be_bytes([high, low]) % TAGS
}
