//! The names of the keys.
//!
//! Sessions and subjects are spread over 1,024 hash tags, each with the birth of its records beside them: a script
//! can then judge in one step, and in one slot, what a session's record says and whether it could have been lost.

use crate::store::{SessionId, SubjectId};

const TAGS: u16 = 1024;

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

    /// What a rotation and a revocation read and write: the same, and its slot's sessions that begin ahead of the clock.
    pub(super) fn change_slot(&self, session: &SessionId) -> [String; 4] {
        let [record, revoked, birth] = self.session_slot(session);
        [record, revoked, birth, self.ahead(tag(session.as_bytes()))]
    }

    /// What a script of a session reads: its record, its revoked tokens, the birth of its slot.
    pub(super) fn session_slot(&self, session: &SessionId) -> [String; 3] {
        [self.session(session), self.revoked_tokens(session), self.birth(tag(session.as_bytes()))]
    }

    /// The subject's cutoff.
    pub(super) fn subject(&self, subject: &SubjectId) -> String {
        self.key(tag(subject.as_bytes()), &format!("subject:{subject}"))
    }

    /// The subject's recorded sessions by start.
    pub(super) fn listed(&self, subject: &SubjectId) -> String {
        self.key(tag(subject.as_bytes()), &format!("listed:{subject}"))
    }

    /// As version 1 listed them: by the instant until which each matters.
    pub(super) fn old_list(&self, subject: &SubjectId) -> String {
        self.key(tag(subject.as_bytes()), &format!("sessions:{subject}"))
    }

    pub(super) fn subject_birth(&self, subject: &SubjectId) -> String {
        self.birth(tag(subject.as_bytes()))
    }

    /// What a script of a subject reads: its cutoff, the birth of its slot, its recorded sessions by start, its ended ones
    /// by the latest start of their tokens, and both by the instant until which each matters.
    pub(super) fn subject_slot(&self, subject: &SubjectId) -> [String; 5] {
        let tag = tag(subject.as_bytes());
        let [ended, expiry] = ["ended", "expiry"].map(|what| self.key(tag, &format!("{what}:{subject}")));
        [self.subject(subject), self.birth(tag), self.listed(subject), ended, expiry]
    }

    /// Of every slot.
    pub(super) fn births(&self) -> impl Iterator<Item = String> {
        (0..TAGS).map(|tag| self.birth(tag))
    }

    /// What a revocation of all reads and writes in every slot: its birth, its sessions that begin ahead of the clock.
    pub(super) fn slots(&self) -> impl Iterator<Item = [String; 2]> {
        (0..TAGS).map(|tag| [self.birth(tag), self.ahead(tag)])
    }

    fn ahead(&self, tag: u16) -> String {
        self.key(tag, "ahead")
    }

    fn birth(&self, tag: u16) -> String {
        self.key(tag, "birth")
    }

    /// The store's horizon, in a hash tag of its own.
    pub(super) fn horizon(&self) -> String {
        format!("{}:{{horizon}}:horizon", self.prefix)
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
