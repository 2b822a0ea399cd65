//! [`RingCell`]: the current ring, and its id beside it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::keyring::ring::KeyRing;

/// The current ring. Its id can be read alone, so that a token which was verified under this ring costs one comparison.
pub(crate) struct RingCell {
    ring: ArcSwap<KeyRing>,
    id: AtomicU64,
    writing: Mutex<()>,
}

impl RingCell {
    pub(crate) fn new(ring: KeyRing) -> Self {
        let id = AtomicU64::new(ring.id());
        Self { ring: ArcSwap::from_pointee(ring), id, writing: Mutex::default() }
    }

    /// The ring, without changing its reference count.
    pub(crate) fn load(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    pub(crate) fn load_full(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// The id of the ring. While [`store`](Self::store) runs it may still be the old ring's.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    pub(crate) fn store(&self, ring: impl Into<Arc<KeyRing>>) {
        let ring = ring.into();
        // Two concurrent calls must not leave one's ring with the other's id.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let id = ring.id();
        self.ring.store(ring);
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
