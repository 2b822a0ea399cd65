//! The store's horizon: one record, and a copy in every hash tag, by which the scripts keep revocations.

use std::sync::atomic::Ordering;

use super::script::{self, Call};
use super::state::{Answer as _, Field as _, corrupt};
use super::{ATTEMPTS, Shared};
use crate::store::known_horizon::KnownHorizon;
use crate::store::{Horizon, Raise, StoreError, StoreErrorKind, StoreHorizon};
use crate::time::NumericDate;

/// As the scripts spell a horizon without bound: as long as there are instants.
const UNBOUNDED: u64 = NumericDate::MAX.as_secs();

impl KnownHorizon {
    /// For a script: nothing where it is not known. A slot whose records were lost is given it back by the next call.
    pub(super) fn text(&self) -> String {
        self.current().map(|current| secs(current).to_string()).unwrap_or_default()
    }
}

impl Shared {
    /// Reads the horizon, makes it `at_least` this, and dates the records of every slot that has none.
    pub(super) async fn open(&self, at_least: Option<Horizon>) -> Result<(), StoreError> {
        self.learn_horizon().await?;
        if let Some(at_least) = at_least
            && self.settle_horizon(at_least).await?.current < at_least
        {
            self.raise_horizon(at_least, NumericDate::default()).await?;
        }
        self.record_births(0, &self.horizon.text(), false).await.map(drop)
    }

    /// Restores what a call found lost in its slot, for others may have lost theirs: the horizon first, of which somebody else
    /// may know more, and then every slot's birth and copy. A tag that is dated now does not refuse sessions that begin
    /// later and meet it first.
    ///
    /// One does it for all that wait for it. Where it fails or is given up, the next one does.
    pub(super) async fn restore(&self, now: NumericDate) -> Result<(), StoreError> {
        let _turn = self.restoring.lock().await;
        self.restore_noted(now).await
    }

    /// The same, for who holds `restoring`.
    pub(super) async fn restore_noted(&self, now: NumericDate) -> Result<(), StoreError> {
        let losses = self.losses.load(Ordering::Acquire);
        if self.restored.load(Ordering::Acquire) == losses {
            return Ok(());
        }
        match self.horizon.get() {
            Some(known) => drop(self.settle_horizon(known.current).await?),
            None => self.learn_horizon().await?,
        }
        self.record_births(now.as_secs(), &self.horizon.text(), false).await?;
        self.restored.store(losses, Ordering::Release);
        // A birth that was lost may have been taken for one that lies elsewhere.
        self.link.may_have_every_slot();
        Ok(())
    }

    async fn learn_horizon(&self) -> Result<(), StoreError> {
        if let Some(found) = self.read_horizon().await? {
            self.horizon.learn(&found);
        }
        Ok(())
    }

    async fn read_horizon(&self) -> Result<Option<StoreHorizon>, StoreError> {
        Ok(self.ask_horizon().await?.0.map(|(_, found)| found))
    }

    /// Reads the horizon. If none is recorded, it records `need`.
    pub(super) async fn settle_horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        for _ in 0..ATTEMPTS {
            let known = self.horizon.get();
            match (self.read_horizon().await?, known) {
                (Some(found), Some(known)) if known.current > found.current => {
                    // It was lost, and somebody who needs less came first.
                    self.raise_horizon(known.current, NumericDate::default()).await?;
                }
                (Some(found), _) => {
                    self.horizon.learn(&found);
                    return Ok(found);
                }
                // The slots get their copies from the calls of those who know it.
                (None, known) => {
                    let lost_or_new = known.unwrap_or_else(|| StoreHorizon::new(self.horizon.need(need)));
                    self.record(&self.swap_horizon(String::new(), write(&lost_or_new))).await?;
                }
            }
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    /// Every slot's copy first: after the instant that is recorded with the raise, no revocation is kept for the old one.
    pub(super) async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        let mut at = now;
        for attempt in 0..ATTEMPTS {
            let (found, clock) = self.ask_horizon().await?;
            at = at.max(clock);
            let is_lost = |known: &Horizon| found.as_ref().is_none_or(|(_, found)| found.current < *known);
            let lost = self.horizon.current().filter(is_lost);
            let (text, raised) = match found {
                None => (String::new(), StoreHorizon::new(to)),
                Some((text, found)) if found.current >= to => {
                    // It may be new, and written by a process that waits for nobody.
                    self.hold(&self.swap_horizon(text.clone(), text)).await?;
                    self.horizon.learn(&found);
                    return Ok(());
                }
                Some((text, mut found)) => {
                    found.raise(to, at);
                    (text, found)
                }
            };
            if attempt == 0 {
                if let Some(lost) = lost {
                    // Each slot dates the loss before the raise hides it.
                    self.record_births(0, &secs(lost).to_string(), false).await?;
                }
                at = at.max(self.record_births(0, &secs(to).to_string(), true).await?);
            } else {
                let written = write(&raised);
                let answer = self.record(&self.swap_horizon(text, written.clone())).await?;
                if answer.texts.first() == Some(&written) {
                    self.horizon.learn(&raised);
                    return Ok(());
                }
            }
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    /// Reads it. Also returns the server's clock.
    async fn ask_horizon(&self) -> Result<(Option<(String, StoreHorizon)>, NumericDate), StoreError> {
        let call = Call::new(&script::HORIZON, [self.keys.horizon()], []);
        let [text, clock] = call.run(&self.link).await?.texts.fields()?;
        let found = match read(&text) {
            Some(found) => Some((text, found)),
            None if text.is_empty() => None,
            None => return Err(corrupt()),
        };
        Ok((found, clock.instant()?))
    }

    /// Replaces it if it is still what was read. Answers what it is then.
    fn swap_horizon(&self, read: String, written: String) -> Call {
        Call::new(&script::HORIZON, [self.keys.horizon()], [read, written])
    }
}

fn secs(horizon: Horizon) -> u64 {
    match horizon {
        Horizon::Secs(secs) => secs.min(UNBOUNDED),
        Horizon::Unbounded => UNBOUNDED,
    }
}

fn write(horizon: &StoreHorizon) -> String {
    let raises = horizon.raises.iter().map(|raise| format!(" {}:{}", raise.at, raise.from));
    format!("{}{}", secs(horizon.current), raises.collect::<String>())
}

fn read(text: &str) -> Option<StoreHorizon> {
    let mut words = text.split(' ');
    let current = match words.next()?.parse().ok()? {
        UNBOUNDED.. => Horizon::Unbounded,
        secs => Horizon::Secs(secs),
    };
    let raises = words.map(|raise| {
        let (at, from) = raise.split_once(':')?;
        Some(Raise { at: NumericDate::from_secs(at.parse().ok()?), from: from.parse().ok()? })
    });
    Some(StoreHorizon::with_raises(current, raises.collect::<Option<Vec<_>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_horizon_is_read_back_as_it_was_written() {
        let mut horizon = StoreHorizon::new(Horizon::Secs(60));
        for to in [Horizon::Secs(60), Horizon::Secs(61), Horizon::Secs(1_000_000), Horizon::Unbounded] {
            horizon.raise(to, NumericDate::from_secs(7));
            assert_eq!(read(&write(&horizon)), Some(horizon.clone()));
        }
        for noise in ["", "x", "60 ", "60 7", "60 7:", "60 :7", "-1"] {
            assert_eq!(read(noise), None, "{noise:?}");
        }
    }
}
