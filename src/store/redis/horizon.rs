//! The store's horizon: one record, and a copy in every hash tag, by which the scripts keep revocations.

use super::Shared;
use super::script::{self, Call};
use super::state::{Answer as _, Field as _, corrupt};
use crate::store::known_horizon::KnownHorizon;
use crate::store::{Horizon, Raise, StoreError, StoreErrorKind, StoreHorizon};
use crate::time::NumericDate;

/// As the scripts spell a horizon without bound: as long as there are instants.
const UNBOUNDED: u64 = NumericDate::MAX.as_secs();

/// The most attempts to write what others write too.
const ATTEMPTS: usize = 16;

impl KnownHorizon {
    /// For a script: nothing where it is not known. A slot whose records were lost is given it back by the next call.
    pub(super) fn text(&self) -> String {
        self.current().map(|current| secs(current).to_string()).unwrap_or_default()
    }
}

impl Shared {
    /// Reads the horizon, makes it `at_least` this, and dates the records of every slot that has none.
    pub(super) async fn open(&self, at_least: Option<Horizon>) -> Result<(), StoreError> {
        if let Some(found) = self.read_horizon().await? {
            self.horizon.learn(&found);
        }
        if let Some(at_least) = at_least {
            self.settle_horizon(at_least).await?;
            self.raise_horizon(at_least, NumericDate::default()).await?;
        }
        self.record_births(0, &self.horizon.text()).await.map(drop)
    }

    async fn read_horizon(&self) -> Result<Option<StoreHorizon>, StoreError> {
        Ok(self.ask_horizon(&[]).await?.0.map(|(_, found)| found))
    }

    /// The horizon, set to `need` if there is none.
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
                    self.ask_horizon(&[String::new(), write(&lost_or_new)]).await?;
                }
            }
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    /// Every slot's copy first: after the instant that is recorded with the raise, no revocation is kept for the old one.
    pub(super) async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        let mut at = now;
        for attempt in 0..ATTEMPTS {
            let (found, clock) = self.ask_horizon(&[]).await?;
            at = at.max(clock);
            let (text, raised) = match found {
                None => (String::new(), StoreHorizon::new(to)),
                Some((_, found)) if found.current >= to => {
                    self.horizon.learn(&found);
                    return Ok(());
                }
                Some((text, mut found)) => {
                    found.raise(to, at);
                    (text, found)
                }
            };
            if attempt == 0 {
                at = at.max(self.record_births(0, &secs(to).to_string()).await?);
            } else {
                self.ask_horizon(&[text, write(&raised)]).await?;
            }
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    /// Reads it, or replaces it if it is still as it was read. Also returns the server's clock.
    async fn ask_horizon(
        &self,
        swap: &[String],
    ) -> Result<(Option<(String, StoreHorizon)>, NumericDate), StoreError> {
        let call = Call::new(&script::HORIZON, [self.keys.horizon()], swap.iter().cloned());
        let answer = if swap.is_empty() { call.run(&self.link).await? } else { self.record(&call).await? };
        let [text, clock] = answer.fields()?;
        let found =
            if text.is_empty() { None } else { Some((text.clone(), read(&text).ok_or_else(corrupt)?)) };
        Ok((found, clock.instant()?))
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
