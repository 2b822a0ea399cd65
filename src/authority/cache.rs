//! [`TokenCache`]: tokens that were verified before. It holds proofs of signatures, never verdicts.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;

use crate::crypto::constant_time_eq;
use crossbeam_utils::sync::ShardedLock;
use foldhash::quality::RandomState;
use quick_cache::sync::DefaultLifecycle;
use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Lifecycle, Weighter};

use super::VerifiedToken;
use crate::keyring::handle::Keys;
use crate::keyring::ring::KeyRing;
use crate::time::NumericDate;

/// A cache of verified tokens, bounded by its size in bytes and thereby by count. Only verified tokens have entries.
///
/// The lock is chosen here and not by a feature of quick_cache, because an application may need another feature. Readers of one
/// [`ShardedLock`] on different threads write to different cache lines, so there is no contention for a hot token.
pub(super) struct TokenCache<C> {
    // Their number is a power of two.
    shards: Box<[ShardedLock<Shard<C>>]>,
    /// When dead entries were last removed.
    swept: AtomicU64,
}

type Shard<C> = Cache<StoredText, VerifiedToken<C>, Cost, RandomState, Evictions<C>>;

/// Returns the evicted entries, so that they are dropped without a lock.
type Evictions<C> = DefaultLifecycle<StoredText, VerifiedToken<C>>;

/// The key of an entry: a token's text. It is found by a keyed hash of the signature's last 32 characters, and then compared as a
/// whole.
///
/// No stronger hash is needed. Under one key nobody can make two tokens that end alike. An issuer could with a new key for each,
/// but a set has at most 256 keys (`jwk_set::MAX_KEYS`), and comparing so many entries takes less time than a verification.
#[derive(Clone)]
struct TokenText<T> {
    whole: T,
    /// Its last eight bytes. They are stored beside the pointer, so that an entry that only shares bits of the hash is excluded
    /// without reading its text. The timing reveals nothing, because the hash is keyed and nobody knows which texts share bits.
    last_word: u64,
}

// An `Arc`, because insertion clones the key.
type StoredText = TokenText<Arc<[u8]>>;

impl<T: AsRef<[u8]>> TokenText<T> {
    /// `None` for a text that is too short to hold a signature.
    #[inline]
    fn of(whole: T) -> Option<Self> {
        let [.., last_word] = tail(whole.as_ref())?;
        Some(Self { whole, last_word })
    }
}

#[inline]
fn tail(text: &[u8]) -> Option<[u64; 4]> {
    let (words, _) = text.last_chunk::<32>()?.as_chunks();
    Some(<[[u8; 8]; 4]>::try_from(words).ok()?.map(u64::from_ne_bytes))
}

impl<T: AsRef<[u8]>> Hash for TokenText<T> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        tail(self.whole.as_ref()).into_iter().flatten().for_each(|word| state.write_u64(word));
    }
}

impl<T: AsRef<[u8]>, U: AsRef<[u8]>> PartialEq<TokenText<U>> for TokenText<T> {
    #[inline]
    fn eq(&self, other: &TokenText<U>) -> bool {
        self.last_word == other.last_word && constant_time_eq(self.whole.as_ref(), other.whole.as_ref())
    }
}

impl Eq for StoredText {}

impl Equivalent<StoredText> for TokenText<&[u8]> {
    #[inline]
    fn equivalent(&self, kept: &StoredText) -> bool {
        self == kept
    }
}

/// The size of an entry: the token, its claims, as much for its successor, and a fixed overhead.
#[derive(Clone)]
struct Cost;

const OVERHEAD: u64 = 1_024;

impl<C> Weighter<StoredText, VerifiedToken<C>> for Cost {
    fn weight(&self, text: &StoredText, token: &VerifiedToken<C>) -> u64 {
        // Twice, because its successor is about as long.
        2 * (text.whole.len() + token.json().len()) as u64 + OVERHEAD
    }
}

/// Dead entries are removed at the first insertion after so many seconds. Until then they do no harm, because the time of a token
/// is judged at every request.
const SWEEP: u64 = 60;

/// A smaller shard would evict hot entries too.
const LEAST_ITEMS: usize = 32;

impl<C> TokenCache<C> {
    /// A cache of that many bytes; `None` for 0.
    pub(super) fn new(bytes: u64) -> Option<Self> {
        if bytes == 0 {
            return None;
        }
        let items = usize::try_from(bytes / (OVERHEAD + 512)).unwrap_or(usize::MAX);
        let threads = available_parallelism().map_or(1, usize::from);
        let shards = (4 * threads).next_power_of_two().min(1 << (items / LEAST_ITEMS).max(1).ilog2());
        let hasher = RandomState::default();
        let shard = |_| {
            let (items, bytes) = (items.div_ceil(shards), bytes.div_ceil(shards as u64));
            ShardedLock::new(Cache::with(items, bytes, Cost, hasher.clone(), Evictions::default()))
        };
        Some(Self { shards: (0..shards).map(shard).collect(), swept: AtomicU64::new(0) })
    }

    /// The verified token with exactly this text, if the key that verified it is still held.
    #[inline]
    pub(super) fn get(&self, text: &[u8], keys: &Keys) -> Option<VerifiedToken<C>> {
        let text = TokenText::of(text)?;
        // A poisoned shard is not used any more. Its tokens are verified each time.
        let token = self.shard(&text)?.read().ok()?.get(&text)?.clone();
        token.is_held(keys).then_some(token)
    }

    /// Inserts a token that was just verified, unless it is dead already. If it was verified twice at once, one value is kept and
    /// both callers get it.
    pub(super) fn insert(
        &self,
        text: &[u8],
        token: VerifiedToken<C>,
        ring: &KeyRing,
        now: NumericDate,
        dead_at: impl Fn(&VerifiedToken<C>) -> NumericDate,
    ) -> VerifiedToken<C> {
        if now >= dead_at(&token) {
            return token;
        }
        let Some(text) = TokenText::of(Arc::from(text)) else { return token };
        self.sweep(now, ring, dead_at);
        // Declared before the lock guard, so that it is dropped after it.
        let mut evicted = <Evictions<C> as Lifecycle<_, _>>::RequestState::default();
        let Some(Ok(mut entries)) = self.shard(&text).map(ShardedLock::write) else { return token };
        // An entry that was verified by a key that is gone is replaced.
        if let Some(held) = entries.get(&text).filter(|held| held.held_by(ring)) {
            return held.clone();
        }
        entries.insert_with_lifecycle(text, token.clone(), &mut evicted);
        token
    }

    /// The shard is chosen by the last characters alone, spread over the word, so that it does not depend on the hash within it.
    #[inline]
    fn shard<T>(&self, text: &TokenText<T>) -> Option<&ShardedLock<Shard<C>>> {
        let spread = text.last_word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.shards.get(spread as usize & (self.shards.len() - 1))
    }

    /// Removes entries that are dead or whose key has left the ring. The insertion that finds it due pays for it.
    fn sweep(&self, now: NumericDate, ring: &KeyRing, dead_at: impl Fn(&VerifiedToken<C>) -> NumericDate) {
        let swept = self.swept.load(Ordering::Relaxed);
        let due = now.as_secs() >= swept.saturating_add(SWEEP) || now.as_secs() < swept;
        if due
            && self.swept.compare_exchange(swept, now.as_secs(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            for shard in &self.shards {
                if let Ok(mut entries) = shard.write() {
                    entries.retain(|_, token| now < dead_at(token) && token.held_by(ring));
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::hint::spin_loop;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use crate::ManualClock;
    use crate::authority::PrivateClaims;
    use crate::authority::{Authority, AuthorityBuilder, Login, VerifiedToken};
    use crate::keys::Algorithm;
    use crate::keys::signing_key::SigningKey;
    use crate::time::NumericDate;

    const NOW: u64 = 1_800_000_000;
    const LIFETIME: u64 = 600;
    const GRACE: u64 = 60;

    fn authority(clock: &ManualClock) -> AuthorityBuilder {
        let key = SigningKey::generate(Algorithm::ES256).unwrap().with_kid("k");
        Authority::builder(key)
            .issuer("i")
            .audience("a")
            .lifetime(Duration::from_secs(LIFETIME))
            .grace(Duration::from_secs(GRACE))
            .max_session_lifetime(Duration::from_secs(86_400))
            .clock(clock.clone())
    }

    fn issue(authority: &Authority) -> String {
        authority.issue(Login::new("alice")).now_or_never().unwrap().unwrap().into_string()
    }

    fn admit(authority: &Authority, token: &str) -> VerifiedToken {
        authority.admit(token).now_or_never().unwrap().unwrap()
    }

    fn entries(authority: &Authority) -> usize {
        entries_by_shard(authority).sum()
    }

    fn entries_by_shard(authority: &Authority) -> impl Iterator<Item = usize> {
        authority.0.cache.as_ref().unwrap().shards.iter().map(|shard| shard.read().unwrap().len())
    }

    #[test]
    fn an_entry_is_found_by_the_whole_token_alone() {
        let authority = authority(&ManualClock::at(NOW)).build().unwrap();
        let token = issue(&authority);
        let first = admit(&authority, &token);
        assert!(authority.remembered(token.as_bytes()).unwrap().is(&first), "nothing is verified twice");
        assert!(admit(&authority, &token).is(&first));
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
            assert!(authority.remembered(&other).is_none(), "byte {at}");
        }
        for other in ["", "x", token.get(1..).unwrap(), &format!("x{token}"), &format!("{token}x")] {
            assert!(authority.remembered(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn tokens_that_end_alike_are_told_apart() {
        let authority = authority(&ManualClock::at(NOW)).build().unwrap();
        let inner = &authority.0;
        let (cache, ring) = (inner.cache.as_ref().unwrap(), &inner.keys.load());
        let (now, end) = (NumericDate::from_secs(NOW), "x".repeat(40));
        let tokens: Vec<_> = (0..50)
            .map(|nth| {
                let token = authority.verify(issue(&authority).as_bytes(), now).unwrap();
                let text = format!("{nth}{end}");
                cache.insert(text.as_bytes(), token, ring, now, |_| NumericDate::MAX);
                text
            })
            .collect();
        let seen: Vec<_> = tokens.iter().map(|text| authority.remembered(text.as_bytes()).unwrap()).collect();
        assert_eq!(entries(&authority), 100);
        for (nth, one) in seen.iter().enumerate() {
            assert!(!seen.iter().skip(nth + 1).any(|other| one.is(other)), "{nth}");
        }
        assert!(authority.remembered(end.as_bytes()).is_none());
    }

    #[test]
    fn first_sights_at_once_leave_one_entry_and_all_hold_it() {
        for _ in 0..50 {
            let authority = authority(&ManualClock::at(NOW)).build().unwrap();
            let token = issue(&authority);
            let barrier = Barrier::new(8);
            let seen: Vec<VerifiedToken<PrivateClaims>> = thread::scope(|scope| {
                let look = || {
                    barrier.wait();
                    admit(&authority, &token)
                };
                let looking: Vec<_> = (0..8).map(|_| scope.spawn(look)).collect();
                looking.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let kept = authority.remembered(token.as_bytes()).unwrap();
            assert!(seen.iter().all(|token| token.is(&kept)));
            assert_eq!(entries(&authority), 1);
        }
    }

    #[test]
    fn the_dead_are_neither_taken_nor_kept() {
        let clock = ManualClock::at(NOW);
        let authority = authority(&clock).build().unwrap();
        let old = issue(&authority);
        admit(&authority, &old);
        for (age, kept) in [(LIFETIME + GRACE - 1, true), (LIFETIME + GRACE, false)] {
            clock.set(NOW + age);
            let fresh = issue(&authority);
            admit(&authority, &fresh);
            // The first of them looked for the dead; within a minute none does.
            authority.0.cache.as_ref().unwrap().swept.store(0, Ordering::Relaxed);
            admit(&authority, &issue(&authority));
            assert_eq!(authority.remembered(old.as_bytes()).is_some(), kept, "{age}");
        }
        let before = entries(&authority);
        assert!(authority.admit(&old).now_or_never().unwrap().is_err());
        assert_eq!(entries(&authority), before);
    }

    #[test]
    fn a_withdrawn_keys_entry_is_believed_no_more() {
        let authority = authority(&ManualClock::at(NOW)).build().unwrap();
        let token = issue(&authority);
        admit(&authority, &token);
        assert!(authority.withdraw_key("k"));
        assert!(authority.remembered(token.as_bytes()).is_none());
        assert!(authority.admit(&token).now_or_never().unwrap().is_err());
    }

    #[test]
    fn nothing_is_admitted_once_its_key_is_withdrawn_however_many_see_it_first() {
        for round in 0..30 {
            let authority = authority(&ManualClock::at(NOW)).build().unwrap();
            let tokens: Vec<String> = (0..20).map(|_| issue(&authority)).collect();
            let gone = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for token in tokens.iter().cycle().take(200) {
                            let is_gone = gone.load(Ordering::SeqCst);
                            let admitted = authority.admit(token).now_or_never().unwrap().is_ok();
                            assert!(!(is_gone && admitted));
                        }
                    });
                }
                (0..round * 60).for_each(|_| spin_loop());
                assert!(authority.withdraw_key("k"));
                gone.store(true, Ordering::SeqCst);
            });
            assert!(tokens.iter().all(|token| authority.remembered(token.as_bytes()).is_none()));
        }
    }

    #[test]
    fn the_bytes_are_bounded_and_so_are_the_entries() {
        let bytes = 64 << 10;
        let authority = authority(&ManualClock::at(NOW)).token_cache_bytes(bytes).build().unwrap();
        for _ in 0..500 {
            admit(&authority, &issue(&authority));
        }
        let shards = &authority.0.cache.as_ref().unwrap().shards;
        let weight: u64 = shards.iter().map(|shard| shard.read().unwrap().weight()).sum();
        let entries = entries(&authority);
        assert!(weight <= bytes && entries > 10, "{weight} in {entries}");
    }

    #[test]
    fn every_shard_takes_its_part_of_the_tokens() {
        for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
            let key = SigningKey::generate(algorithm).unwrap().with_kid("k");
            let authority = Authority::builder(key)
                .issuer("i")
                .audience("a")
                .max_session_lifetime(Duration::from_secs(86_400));
            let authority = authority.build().unwrap();
            let shards = entries_by_shard(&authority).count();
            for _ in 0..40 * shards {
                admit(&authority, &issue(&authority));
            }
            assert!(
                entries_by_shard(&authority).all(|entries| (10..=80).contains(&entries)),
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn where_something_panicked_tokens_are_verified_each_time() {
        let authority = authority(&ManualClock::at(NOW)).build().unwrap();
        let token = issue(&authority);
        admit(&authority, &token);
        for shard in &authority.0.cache.as_ref().unwrap().shards {
            let panicking = || {
                let _entries = shard.write().unwrap();
                panic!("while the lock is held");
            };
            assert!(thread::scope(|scope| scope.spawn(panicking).join().is_err()));
        }
        assert!(authority.remembered(token.as_bytes()).is_none());
        admit(&authority, &token);
        admit(&authority, &issue(&authority));
    }
}
