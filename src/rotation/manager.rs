//! [`Manager`]: loads the sources in a task, and replaces the ring.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::keyring::erased_source::ErasedSource;
use crate::keyring::event::{KeyObserver, KeyReport};
use crate::keyring::handle::FirstLoad;
use crate::keyring::handle::KeyManager;
use crate::keyring::handle::Keys;
use crate::keyring::handle::Refetching;
use crate::keyring::handle::RetiredKey;
use crate::keyring::ring::KeyRing;
use crate::keyring::ring_cell::RingCell;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keys::error::KeyError;
use crate::rotation::Trusted;
use crate::rotation::load::Loaded;
use crate::rotation::load::Loader;
use crate::rotation::refetch::Gate;
use crate::rotation::reports::Reports;
use crate::rotation::state::IssuerKeys;
use crate::rotation::state::RotationState;
use crate::rotation::state::Timing;
use crate::rotation::teller::Teller;
use crate::time::Clock;

/// The longest that a source's answer counts as fresh, whatever its caching headers say.
const MAX_FRESH: Duration = Duration::from_secs(24 * 3600);
/// After a failure a source is loaded again after this time, and after twice as long each time, up to [`MAX_RETRY`].
const LEAST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);

pub(super) struct Settings {
    pub(super) timing: Timing,
    pub(super) reload_every: Duration,
    pub(super) cooldown: Duration,
    /// Whether the start fails if a trusted issuer's keys can't be loaded.
    pub(super) is_every_issuer_required: bool,
    pub(super) withdrawn: Withdrawals,
    pub(super) clock: Arc<dyn Clock>,
}

/// Names that are withdrawn from the start, and where they are listed.
#[derive(Default)]
pub(super) struct Withdrawals {
    pub(super) place: Arc<str>,
    pub(super) names: Vec<String>,
}

/// A trusted issuer, its source, and the limits for loads that requests cause.
struct Foreign {
    issuer: Arc<TrustedIssuer>,
    source: Loader,
    gate: Gate,
}

/// The [`Keys`] hold it, and its task holds it weakly. Both end with the last clone of the keys.
pub(super) struct Manager {
    /// `None` if there are no own keys.
    own: Option<Loader>,
    own_gate: Gate,
    settings: Settings,
    teller: Arc<Teller>,
    ring: Arc<RingCell>,
    state: Mutex<State>,
    /// Wakes the task because a source is due earlier than it knows.
    rescheduled: Arc<Notify>,
    runtime: Handle,
    task: OnceLock<AbortHandle>,
}

struct State {
    rotation: RotationState,
    own: Progress,
    foreign: BTreeMap<usize, (Arc<Foreign>, Progress)>,
    /// The ring that was reported last. `None` until every source was loaded once: before that, changes of the ring are not reported.
    reported: Option<Arc<KeyRing>>,
    /// What is to be reported.
    reports: Vec<KeyReport>,
}

/// When one source is loaded next, and what was reported about it.
struct Progress {
    due: Instant,
    retry: Duration,
    reports: Reports,
}

impl Manager {
    pub(super) async fn start(
        own: Option<Arc<dyn ErasedSource>>,
        trusted: Vec<Trusted>,
        settings: Settings,
        observe: Option<Arc<KeyObserver>>,
    ) -> Result<Keys, KeyError> {
        let mut rotation = RotationState::new(settings.timing);
        if own.is_none() {
            rotation = rotation.verify_only();
        }
        settings.withdrawn.names.iter().for_each(|name| rotation.withdraw(name));
        let own = own.map(Loader::new);
        let (mut skipped, mut withdrawn) = (Vec::new(), Vec::new());
        if let Some(own) = &own {
            let set = own.load_next().await.set?;
            (skipped, withdrawn) = (set.skipped.clone(), set.withdrawn.clone());
            rotation.own_loaded(set, settings.clock.now())?;
        }
        let ring = Arc::new(RingCell::new(rotation.ring(settings.clock.now())));
        let every = settings.reload_every;
        let manager = Arc::new(Self {
            own,
            own_gate: Gate::default(),
            settings,
            teller: Arc::new(Teller::new(observe, Handle::current())),
            ring: ring.clone(),
            state: Mutex::new(State {
                rotation,
                own: Progress::new(every),
                foreign: BTreeMap::new(),
                reported: None,
                reports: Vec::new(),
            }),
            rescheduled: Arc::default(),
            runtime: Handle::current(),
            task: OnceLock::new(),
        });
        let mut loads = JoinSet::new();
        let added = trusted.into_iter().map(|Trusted { issuer, source }| manager.add(issuer, source, false));
        for at in added.collect::<Result<Vec<_>, _>>()? {
            loads.spawn(manager.clone().try_load_foreign(at));
        }
        while let Some(loaded) = loads.join_next().await {
            match loaded {
                Ok(Err(error)) if manager.settings.is_every_issuer_required => {
                    manager.tell_start();
                    return Err(error);
                }
                _ => {}
            }
        }
        {
            let mut state = manager.state();
            state.report_listed(&manager.settings.withdrawn);
            if let Some(own) = &manager.own {
                state.report_own_skipped(own.description(), skipped, &withdrawn);
            }
            let ring = ring.load_full();
            state.reported = Some(ring.clone());
            state.reports.push(KeyReport::Loaded { ring });
        }
        manager.tell_start();
        let task = tokio::spawn(run(Arc::downgrade(&manager), manager.rescheduled.clone(), every));
        let _ = manager.task.set(task.abort_handle());
        Ok(Keys::managed(ring, manager))
    }

    /// One round: loads the sources that are due, and applies key changes that are due.
    async fn reload(self: Arc<Self>) {
        self.reload_due();
        self.load_own().await;
    }

    /// Loads the sources of trusted issuers that are due.
    fn reload_due(self: &Arc<Self>) {
        let is_due = |(at, (_, progress)): (&usize, &(_, Progress))| progress.is_due().then_some(*at);
        let due: Vec<usize> = self.state().foreign.iter().filter_map(is_due).collect();
        for at in due {
            // In a task of its own, so that a slow issuer delays neither the own keys nor the next round.
            self.runtime.spawn(self.clone().reload_foreign(at));
        }
    }

    /// Trusts another issuer. One of the same name is replaced if `replaces` says so, and a mistake otherwise. The source is not
    /// loaded yet.
    fn add(
        &self,
        issuer: TrustedIssuer,
        source: Arc<dyn ErasedSource>,
        replaces: bool,
    ) -> Result<usize, KeyError> {
        let issuer = Arc::new(issuer.checked()?);
        let foreign = Foreign { issuer: issuer.clone(), source: Loader::new(source), gate: Gate::default() };
        let mut state = self.state();
        let replaced = if replaces { state.issuer_of_name(issuer.name()) } else { None };
        let at = state.rotation.trust(issuer, replaced, self.settings.clock.now())?;
        let mut progress = Progress::new(self.settings.reload_every);
        if let Some((_, before)) = replaced.and_then(|replaced| state.foreign.remove(&replaced)) {
            progress.reports = before.reports.of_another_source();
        }
        state.foreign.insert(at, (Arc::new(foreign), progress));
        Ok(at)
    }

    /// The issuer of this number, unless it was removed.
    fn foreign(&self, at: usize) -> Option<Arc<Foreign>> {
        self.state().foreign.get(&at).map(|(foreign, _)| foreign.clone())
    }

    /// The issuer that this `iss` belongs to.
    fn issuer_of(&self, iss: &str) -> Option<(usize, Arc<Foreign>)> {
        let state = self.state();
        let mut matching = state.foreign.iter().filter(|(_, (foreign, _))| foreign.issuer.names(iss));
        matching.next().map(|(at, (foreign, _))| (*at, foreign.clone()))
    }

    /// When a trusted issuer's source is due next. A source that is being loaded stays due until it has answered.
    fn next_due(&self) -> Option<Instant> {
        self.state().foreign.values().map(|(_, progress)| progress.due).min()
    }

    async fn load_own(&self) {
        let due = self.own.as_ref().filter(|_| self.state().own.is_due());
        let loaded = match due {
            Some(own) => own.load_now().await,
            None => None,
        };
        match (due, loaded) {
            (Some(own), Some(loaded)) => drop(self.take_own(own, loaded)),
            _ => self.publish(Cause::Source),
        }
    }

    /// Loads the own source although it is not due, after the running load if there is one. Returns whether it could be read. If
    /// so, a key that is still unknown is not one of its keys.
    pub(super) async fn reload_own(self: Arc<Self>) -> bool {
        let Some(own) = &self.own else { return true };
        let loaded = own.load_next().await;
        self.take_own(own, loaded)
    }

    fn take_own(&self, own: &Loader, Loaded { set: loaded, _permit }: Loaded) -> bool {
        // A set that names a withdrawn signing key was read as well. One without a signing key is a mistake and not used, and one
        // of which a part is late may lack a key that the source has.
        let is_read = loaded.as_ref().is_ok_and(|set| set.signing.is_some() && !set.is_late);
        {
            let mut state = self.state();
            let to_report = loaded.as_ref().ok().map(|set| (set.skipped.clone(), set.withdrawn.clone()));
            let fresh_for = loaded.as_ref().ok().and_then(|set| set.fresh_for);
            let outcome = loaded.and_then(|set| state.rotation.own_loaded(set, self.settings.clock.now()));
            // The own source is loaded in every round, also after a failure, unless its answer says how long it is fresh.
            state.own.succeeded(fresh_for, self.settings.reload_every);
            self.replace_ring(&mut state, Cause::Source);
            if let Some((skipped, withdrawn)) = to_report {
                state.report_own_skipped(own.description(), skipped, &withdrawn);
            }
            if let Err(error) = outcome {
                state.report_own_failure(own.description(), error);
            }
        }
        self.tell_reports();
        is_read
    }

    /// Loads a foreign source that is due, unless it is being loaded.
    async fn reload_foreign(self: Arc<Self>, at: usize) {
        let Some(foreign) = self.foreign(at) else { return };
        if let Some(loaded) = foreign.source.load_now().await {
            drop(self.take_foreign(at, &foreign, loaded));
        }
    }

    /// Loads a foreign source, after the running load if there is one. Returns whether it answered.
    pub(super) async fn load_foreign(self: Arc<Self>, at: usize) -> bool {
        self.try_load_foreign(at).await.is_ok()
    }

    async fn try_load_foreign(self: Arc<Self>, at: usize) -> Result<(), KeyError> {
        let Some(foreign) = self.foreign(at) else { return Err(replaced()) };
        let loaded = foreign.source.load_next().await;
        self.take_foreign(at, &foreign, loaded)
    }

    fn take_foreign(
        &self,
        at: usize,
        Foreign { issuer, .. }: &Foreign,
        loaded: Loaded,
    ) -> Result<(), KeyError> {
        let outcome = {
            let mut state = self.state();
            let State { rotation, foreign, .. } = &mut *state;
            let Some((_, progress)) = foreign.get_mut(&at) else { return Err(replaced()) };
            let now = self.settings.clock.now();
            let to_report = loaded.set.as_ref().ok().map(|set| (set.skipped.clone(), set.withdrawn.clone()));
            let fresh_for = loaded.set.as_ref().ok().and_then(|set| set.fresh_for);
            let outcome = match loaded.set {
                Ok(set) => rotation.foreign_loaded(at, set, now),
                Err(error) => {
                    rotation.foreign_failed(at, now);
                    Err(error)
                }
            };
            match &outcome {
                Ok(_) => progress.succeeded(fresh_for, self.settings.reload_every),
                Err(_) => {
                    progress.failed();
                    self.rescheduled.notify_one();
                }
            }
            self.replace_ring(&mut state, Cause::Source);
            state.report_foreign(at, to_report, &outcome);
            outcome
        };
        self.tell_reports();
        outcome.map(drop).map_err(|error| error.at(issuer.name()))
    }

    /// Replaces the ring if it has changed, and tells what is to be reported.
    fn publish(&self, cause: Cause) {
        self.replace_ring(&mut self.state(), cause);
        self.tell_reports();
    }

    /// Under the lock, so that concurrent loads store their rings in order.
    fn replace_ring(&self, state: &mut State, cause: Cause) {
        let ring = Arc::new(state.rotation.ring(self.settings.clock.now()));
        let current = self.ring.load_full();
        let is_new = !ring.is_same(&current);
        let ring = if is_new { ring } else { current };
        if is_new {
            self.ring.store(ring.clone());
        }
        state.report_ring(ring, is_new, cause);
    }

    /// Tells the events of the start, for which nothing else waits.
    fn tell_start(&self) {
        let reports = std::mem::take(&mut self.state().reports);
        reports.iter().for_each(|report| self.teller.tell_at_once(report));
    }

    /// Has the events reported, on the teller's thread. Those of the start are reported when it ends.
    fn tell_reports(&self) {
        {
            let mut state = self.state();
            if state.reported.is_none() {
                return;
            }
            // Under the lock, so that they are reported in the order in which they happened.
            state.reports.drain(..).for_each(|report| self.teller.push(report));
        }
        self.teller.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Only a clock that panics can poison the lock, and the state is consistent then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyManager for Manager {
    fn refetch(self: Arc<Self>, issuer: &str) -> Option<Refetching> {
        let (at, foreign) = self.issuer_of(issuer)?;
        foreign.gate.wait(&self.runtime, self.settings.cooldown, || self.clone().load_foreign(at))
    }

    fn refetch_own(self: Arc<Self>) -> Option<Refetching> {
        self.own.as_ref()?;
        self.own_gate.wait(&self.runtime, self.settings.cooldown, || self.clone().reload_own())
    }

    fn refetched_own_ago(&self) -> Option<u64> {
        Some(self.own_gate.last_begun()?.elapsed().as_secs())
    }

    fn retired(&self, kid: &str) -> Vec<RetiredKey> {
        self.state().rotation.retired(kid, self.settings.clock.now())
    }

    fn withdraw(&self, kid: &str) {
        self.state().rotation.withdraw(kid);
        self.publish(Cause::Call);
    }

    fn overlap(&self) -> u64 {
        self.settings.timing.overlap
    }

    fn sign_for(&self, iss: Option<&Arc<str>>) -> Result<(), KeyError> {
        self.state().rotation.sign_for(iss)
    }

    fn trusted(&self, iss: &str) -> Option<Arc<TrustedIssuer>> {
        self.issuer_of(iss).map(|(_, foreign)| foreign.issuer.clone())
    }

    fn issuers(&self) -> Vec<Arc<TrustedIssuer>> {
        self.state().foreign.values().map(|(foreign, _)| foreign.issuer.clone()).collect()
    }

    fn trust(
        self: Arc<Self>,
        issuer: TrustedIssuer,
        source: Arc<dyn ErasedSource>,
    ) -> Result<FirstLoad, KeyError> {
        let at = self.add(issuer, source, true)?;
        // New terms of an issuer count at once for the keys that it has.
        self.publish(Cause::Call);
        // In a task of its own, so that the load continues if the caller stops waiting.
        let load = self.runtime.clone().spawn(self.load_foreign(at));
        Ok(Box::pin(async move {
            let _ = load.await;
        }))
    }

    fn distrust(&self, name: &str) -> bool {
        let is_removed = {
            let mut state = self.state();
            let at = state.issuer_of_name(name);
            if let Some(at) = at {
                state.foreign.remove(&at);
                state.rotation.distrust(at);
            }
            at.is_some()
        };
        self.publish(Cause::Call);
        is_removed
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl State {
    /// The number of the issuer that is trusted under this name or template.
    fn issuer_of_name(&self, name: &str) -> Option<usize> {
        let mut foreign = self.foreign.iter();
        foreign.find(|(_, (foreign, _))| foreign.issuer.name() == name).map(|(at, _)| *at)
    }

    /// Reports which names of a list no key has. It is read once, so what its sources report is limited without it.
    fn report_listed(&mut self, Withdrawals { place, names }: &Withdrawals) {
        let errors = self.rotation.unknown_withdrawals(names);
        self.reports.extend(Reports::default().skipped(place, &errors));
    }

    /// Reports withdrawals of unknown names, and then skipped keys of the own source, which may be many.
    fn report_own_skipped(&mut self, source: &Arc<str>, skipped: Vec<KeyError>, withdrawn: &[String]) {
        let mut errors = self.rotation.unknown_withdrawals(withdrawn);
        errors.extend(skipped);
        self.reports.extend(self.own.reports.skipped(source, &errors));
    }

    fn report_own_failure(&mut self, source: &Arc<str>, error: KeyError) {
        self.reports.extend(self.own.reports.load_failed(source, error));
    }

    /// Reports the answer of an issuer's source: own keys that the issuer publishes and withdrawals of unknown names first, because
    /// it may publish many others that are skipped.
    fn report_foreign(
        &mut self,
        at: usize,
        to_report: Option<(Vec<KeyError>, Vec<String>)>,
        outcome: &Result<IssuerKeys, KeyError>,
    ) {
        let Some((foreign, Progress { reports, .. })) = self.foreign.get_mut(&at) else { return };
        let source = foreign.source.description();
        self.reports.extend(match outcome {
            Ok(keys) => reports.issuer_keys(*keys, source, foreign.issuer.name()),
            Err(error) => reports.load_failed(source, error.clone()),
        });
        if let Some((skipped, withdrawn)) = to_report {
            let mut errors = self.rotation.own_keys_of(at);
            errors.extend(self.rotation.unknown_withdrawals(&withdrawn));
            errors.extend(skipped);
            self.reports.extend(reports.skipped(source, &errors));
        }
    }

    /// Reports the current ring. If a source changed it, this is done as soon as the limit of one of the sources whose keys have
    /// changed since the last report allows it.
    fn report_ring(&mut self, ring: Arc<KeyRing>, is_new: bool, cause: Cause) {
        let Some(reported) = &self.reported else { return };
        let report = KeyReport::Replaced { ring: ring.clone() };
        if is_new {
            report.count();
        }
        let is_due = match cause {
            Cause::Call if is_new => true,
            _ if ring.id() == reported.id() => false,
            _ => {
                let is_changed = |issuer: Option<&str>| !ring.is_same_of(reported, issuer);
                let own = is_changed(None).then_some(&mut self.own);
                let foreign = self.foreign.values_mut();
                let foreign = foreign
                    .filter(|(foreign, _)| is_changed(Some(foreign.issuer.name())))
                    .map(|(_, progress)| progress);
                own.into_iter().chain(foreign).any(|progress| progress.reports.may_report_ring())
            }
        };
        if is_due {
            self.reports.push(report);
            self.reported = Some(ring);
        }
    }
}

/// Why the ring may have changed.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// A source answered or failed, or time passed.
    Source,
    /// A call of the application.
    Call,
}

impl Progress {
    fn new(reload_every: Duration) -> Self {
        Self {
            due: Instant::now() + reload_every,
            retry: LEAST_RETRY.min(reload_every),
            reports: Reports::default(),
        }
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    fn succeeded(&mut self, fresh_for: Option<Duration>, reload_every: Duration) {
        self.retry = LEAST_RETRY.min(reload_every);
        self.due = Instant::now() + fresh_for.unwrap_or_default().min(MAX_FRESH).max(reload_every);
    }

    fn failed(&mut self) {
        self.due = Instant::now() + self.retry;
        self.retry = self.retry.saturating_mul(2).min(MAX_RETRY);
    }
}

/// The issuer was removed while its source was loaded, or has another source now, which may know the key in question.
fn replaced() -> KeyError {
    KeyError::unavailable("the issuer is not trusted with this source any more")
}

async fn run(manager: Weak<Manager>, rescheduled: Arc<Notify>, every: Duration) {
    let mut round = Instant::now() + every;
    loop {
        let Some(due) = manager.upgrade().map(|manager| manager.next_due()) else { return };
        // A trusted issuer that failed is loaded again between the rounds, as soon as it is due.
        let earliest = Instant::now() + LEAST_RETRY.min(every);
        let due = due.map_or(round, |due| due.max(earliest).min(round));
        if timeout_at(due, rescheduled.notified()).await.is_ok() {
            continue;
        }
        let Some(manager) = manager.upgrade() else { return };
        if Instant::now() < round {
            manager.reload_due();
            continue;
        }
        round = Instant::now() + every;
        // In a task of its own, so that a panic ends only this round.
        let round = manager.runtime.spawn(manager.clone().reload()).await;
        if round.is_err_and(|error| error.is_panic()) {
            let error = KeyError::unavailable("a round panicked; its message went to standard error");
            manager.state().report_own_failure(&"the key rotation".into(), error);
            manager.tell_reports();
        }
    }
}
