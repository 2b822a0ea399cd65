//! [`RingCell`]: where the ring in force stands, and its number beside it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::keyring::ring::KeyRing;

/// The ring in force. Its id stands beside it: a token that was proven under this very ring costs a look at a number.
pub(crate) struct RingCell {
    ring: ArcSwap<KeyRing>,
    id: AtomicU64,
    turn: Mutex<()>,
}

impl RingCell {
    pub(crate) fn new(ring: KeyRing) -> Self {
        let id = AtomicU64::new(ring.id());
        Self { ring: ArcSwap::from_pointee(ring), id, turn: Mutex::default() }
    }

    /// Without touching its reference count.
    pub(crate) fn load(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    pub(crate) fn load_full(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// The id of the ring. The old one's at the latest until [`store`](Self::store) has returned.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    pub(crate) fn store(&self, ring: KeyRing) {
        // Two at once must not leave the ring of the one beside the id of the other. Callers hold locks of their own; that
        // the two belong together is seen to here.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let id = ring.id();
        self.ring.store(Arc::new(ring));
        self.id.store(id, Ordering::Release);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread;

    use super::*;
    use crate::keys::Algorithm;
    use crate::keys::signing_key::SigningKey;

    #[test]
    fn the_id_is_that_of_the_ring_whoever_stored_it() {
        let ring = || KeyRing::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
        let current = RingCell::new(ring());
        assert_eq!(current.id(), current.load().id());
        for _ in 0..100 {
            let before = current.id();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| current.store(ring()));
                }
            });
            assert_ne!(current.id(), before);
            assert_eq!(current.id(), current.load().id());
        }
    }
}
