//! [`Standing`]: what a store says of a token, the one piece of evidence that is not in the token itself.

/// What the store says of a session and of one token in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing speaks against it.
    Live,
    /// Recorded as superseded this many generations ago; 2 at least. A replay, or a client that sat on it.
    Superseded {
        /// How many successors stand between it and the head, the head included.
        generations: u32,
    },
    /// The token, its session, or its subject's sessions of that age were revoked.
    Revoked,
    /// The store can't vouch for a session that began before the store's own birth: its records were lost. A renewal
    /// of it is recorded and does not change that.
    Unknown,
}
