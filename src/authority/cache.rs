//! Tokens seen before: what was proven of them is remembered, never what was decided.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use constant_time_eq::constant_time_eq;
use foldhash::quality::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::VerifiedToken;
use crate::NumericDate;
use crate::keys::{KeyRing, Keys};

/// Bounded by bytes, and so by count. Only a verified token makes an entry.
pub(super) struct TokenCache<C> {
    entries: Cache<Tail, VerifiedToken<C>, Cost, RandomState>,
    swept: AtomicU64,
}

/// The signature's last 32 characters find the entry, by a hash with a random key; the whole token is then compared. No
/// stronger hash is needed: only a holder of the signing key can choose what lies in here.
#[derive(Clone, PartialEq, Eq)]
struct Tail([u64; 4]);

impl Tail {
    /// Too short a text has no tail, and no signature either.
    #[inline]
    fn of(text: &[u8]) -> Option<Self> {
        let (words, _) = text.last_chunk::<32>()?.as_chunks();
        Some(Self(<[[u8; 8]; 4]>::try_from(words).ok()?.map(u64::from_ne_bytes)))
    }
}

impl Hash for Tail {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.into_iter().for_each(|word| state.write_u64(word));
    }
}

/// An entry costs its two texts, its successor's, and what is built around them.
#[derive(Clone)]
struct Cost;

const OVERHEAD: u64 = 1_024;

impl<C> Weighter<Tail, VerifiedToken<C>> for Cost {
    fn weight(&self, _: &Tail, token: &VerifiedToken<C>) -> u64 {
        // Twice: its successor is about as long.
        2 * (token.text().len() + token.json().len()) as u64 + OVERHEAD
    }
}

/// How often dead entries are looked for, in seconds.
const SWEEP: u64 = 60;

impl<C> TokenCache<C> {
    /// A cache of that many bytes; `None` for 0.
    pub(super) fn new(bytes: u64) -> Option<Self> {
        if bytes == 0 {
            return None;
        }
        let items = usize::try_from(bytes / (OVERHEAD + 512)).unwrap_or(usize::MAX).max(1);
        let entries = Cache::with(items, bytes, Cost, RandomState::default(), DefaultLifecycle::default());
        Some(Self { entries, swept: AtomicU64::new(0) })
    }

    /// The evidence of this very text, if the key that proved it is still held.
    pub(super) fn get(&self, text: &[u8], keys: &Keys) -> Option<VerifiedToken<C>> {
        let token = self.entries.get(&Tail::of(text)?)?;
        (constant_time_eq(token.text().as_bytes(), text) && token.is_held(keys)).then_some(token)
    }

    /// Remembers a token that was just verified, until `dead_at` where the time has not come. Of two that were verified
    /// at once one is kept, and both callers hold it.
    pub(super) fn insert(
        &self,
        token: VerifiedToken<C>,
        ring: &KeyRing,
        now: NumericDate,
        dead_at: impl Fn(&VerifiedToken<C>) -> NumericDate,
    ) -> VerifiedToken<C> {
        let Some(tail) = Tail::of(token.text().as_bytes()) else { return token };
        if now >= dead_at(&token) {
            return token;
        }
        self.sweep(now, ring, dead_at);
        let held =
            self.entries.get_or_insert_with(&tail, || Ok::<_, std::convert::Infallible>(token.clone()));
        match held {
            Ok(held) if held.is(&token) => held,
            Ok(held)
                if constant_time_eq(held.text().as_bytes(), token.text().as_bytes())
                    && held.held_by(ring) =>
            {
                held
            }
            _ => {
                self.entries.insert(tail, token.clone());
                token
            }
        }
    }

    /// Drops the dead, and those whose key has left the ring: once a minute, at a first sight's expense.
    fn sweep(&self, now: NumericDate, ring: &KeyRing, dead_at: impl Fn(&VerifiedToken<C>) -> NumericDate) {
        let swept = self.swept.load(Ordering::Relaxed);
        let due = now.as_secs() >= swept.saturating_add(SWEEP) || now.as_secs() < swept;
        if due
            && self.swept.compare_exchange(swept, now.as_secs(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.entries.retain(|_, token| now < dead_at(token) && token.held_by(ring));
        }
    }
}
