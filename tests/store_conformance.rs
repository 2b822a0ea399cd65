//! The public conformance suite, run against the store this crate brings, and against stores that break its
//! promises one at a time: a suite that can't fail proves nothing.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tower_reissue::NumericDate;
use tower_reissue::store::{
    AnyStore, ClaimsStore, Horizon, MemoryStore, Page, Presented, Retention, Revocation, Rotated, Rotation,
    SessionCursor, SessionId, SessionPage, SessionRecord, Standing, StoreError, StoreHorizon, SubjectId,
    TokenId, conformance,
};

#[tokio::test]
async fn memory_store_keeps_every_promise() {
    conformance::all(&MemoryStore::new()).await;
}

#[tokio::test]
async fn a_store_chosen_at_run_time_keeps_every_promise() {
    conformance::all(&AnyStore::new(MemoryStore::new())).await;
}

/// The promises about races, four times each on four threads, sharing one store. Time stands still in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_store_keeps_its_promises_while_others_use_it() {
    let store = Arc::new(MemoryStore::new());
    let tasks = (0..4).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let store = &*store;
            for _ in 0..50 {
                conformance::of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head(
                    store,
                )
                .await;
                conformance::a_revocation_beats_a_rotation_in_either_order(store).await;
                conformance::a_dropped_rotation_leaves_the_old_or_the_new_state(store).await;
                conformance::the_epoch_moves_with_every_revocation(store).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("every promise");
    }
}

/// The suite's own race polls by turns in one task; this one has threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_rotations_on_many_threads_exactly_one_is_recorded_and_all_learn_the_same_head() {
    let store = Arc::new(MemoryStore::new());
    let session = SessionId::from_bytes([7; 32]);
    let mut predecessor = TokenId::from_bytes([0; 32]);
    for round in 1..=200_u8 {
        let rivals = (0..8_u8).map(|rival| {
            let store = Arc::clone(&store);
            let mut name = [round; 32];
            name[0] = rival;
            let successor = TokenId::from_bytes(name);
            let now = NumericDate::from_secs(1_000);
            let presented = Presented::new(session, predecessor, None, now, now);
            let rotation = Rotation::renewal(presented, successor, format!("{successor}"), now_plus(3600));
            tokio::spawn(async move { (successor, store.rotate(rotation).await.expect("room")) })
        });
        let mut recorded = Vec::new();
        let mut learnt = Vec::new();
        for rival in rivals.collect::<Vec<_>>() {
            match rival.await.expect("a rival") {
                (successor, Rotated::Recorded) => recorded.push(successor),
                (_, Rotated::Superseded { head }) => learnt.push(head),
                (_, other) => panic!("round {round}: {other:?}"),
            }
        }
        assert_eq!(recorded.len(), 1, "round {round}");
        predecessor = recorded.pop().expect("one");
        assert!(learnt.iter().all(|head| **head == *predecessor.to_string()), "round {round}");
    }
}

fn now_plus(secs: u64) -> NumericDate {
    NumericDate::from_secs(1_000 + secs)
}

/// One promise broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    RecordsEveryRotation,
    ChecksThenActs,
    LeavesItsLockBehind,
    AnswersRivalsWithTheirOwnClaims,
    SignsThePredecessorOut,
    MissesReuse,
    CountsGenerationsFromZero,
    ForgetsTheThirdGeneration,
    RecordsStrangers,
    VouchesForWhatItRecords,
    RenewsOnlyWhatItVouchesFor,
    RecordsUnknownSessions,
    RenewsRevokedSessions,
    LosesTokenRevocations,
    SparesTheSessionOfAForgottenToken,
    RevokesLaterSessionsToo,
    SparesSessionsBegunAtTheInstant,
    CutsTombstonesShort,
    ForgetsASecondEarly,
    ForgetsASecondLate,
    NormalisesClaims,
    ListsAnotherSession,
    RemembersLive,
    StandsStill,
    TakesEveryNeed,
    ForgetsItsRaises,
    OnlySaysThatItRaised,
    KeepsFromItsOwnClockAlone,
    SparesNobody,
    SparesForGood,
    LosesAllBefore,
    TellsNoInstant,
    HasNoLimit,
    EndsTheNewest,
    EndsOnlyOlderOnes,
    EndsRivals,
    ForgetsWhoSignedOutLongAgo,
    KeepsTheFirstSignIn,
    RepeatsPages,
    ReachesNoFurther,
}

/// [`MemoryStore`] with one promise broken.
struct Faulty {
    inner: MemoryStore,
    fault: Fault,
    counter: AtomicU64,
    renewed: Mutex<HashSet<TokenId>>,
    recorded: Mutex<HashSet<TokenId>>,
    locked: Mutex<HashSet<SessionId>>,
    spared: Mutex<HashSet<SessionId>>,
    signed_out: Mutex<Vec<SessionId>>,
    said: Mutex<Option<Horizon>>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self {
            inner: MemoryStore::new(),
            fault,
            counter: AtomicU64::new(0),
            renewed: Mutex::default(),
            recorded: Mutex::default(),
            locked: Mutex::default(),
            spared: Mutex::default(),
            signed_out: Mutex::default(),
            said: Mutex::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn fresh_session(&self) -> SessionId {
        let mut name = [0xee; 32];
        name[..8].copy_from_slice(&self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        SessionId::from_bytes(name)
    }
}

impl ClaimsStore for Faulty {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        let mut presented = *presented;
        if self.is(Fault::ForgetsASecondEarly) {
            presented.now = NumericDate::from_secs(presented.now.as_secs() + 1);
        }
        let standing = self.inner.standing(&presented).await?;
        let is_recorded = self.recorded.lock().expect("a lock").contains(&presented.token);
        if self.spared.lock().expect("a lock").contains(&presented.session) {
            return Ok(Standing::Live);
        }
        if self.is(Fault::ForgetsWhoSignedOutLongAgo) {
            let signed_out = self.signed_out.lock().expect("a lock");
            if signed_out.len() > 20 && signed_out.first() == Some(&presented.session) {
                return Ok(Standing::Live);
            }
        }
        Ok(match standing {
            // It records its birth, and forgets it for what it has recorded since.
            Standing::Live
                if self.is(Fault::VouchesForWhatItRecords) && is_old(&presented) && !is_recorded =>
            {
                Standing::UnknownSession
            }
            Standing::Live
                if is_old(&presented)
                    && (self.is(Fault::RenewsOnlyWhatItVouchesFor)
                        || self.is(Fault::RecordsUnknownSessions)) =>
            {
                Standing::UnknownSession
            }
            standing => standing,
        })
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        if self.is(Fault::RemembersLive) { Some(Standing::Live) } else { self.inner.standing_now(presented) }
    }

    fn epoch(&self) -> Option<u64> {
        if self.is(Fault::StandsStill) { Some(1) } else { self.inner.epoch() }
    }

    async fn rotate(&self, mut rotation: Rotation) -> Result<Rotated, StoreError> {
        let Presented { session, token, .. } = rotation.presented;
        if self.is(Fault::RenewsOnlyWhatItVouchesFor) && is_old(&rotation.presented) {
            return Ok(Rotated::NotInChain);
        }
        let is_repeated = self.recorded.lock().expect("a lock").contains(&token);
        if self.is(Fault::KeepsTheFirstSignIn) && !rotation.supersedes && is_repeated {
            return Ok(Rotated::Superseded { head: rotation.claims });
        }
        self.recorded.lock().expect("a lock").extend([token, rotation.successor]);
        if self.is(Fault::HasNoLimit) {
            rotation.retention = None;
        }
        if self.is(Fault::EndsTheNewest) {
            let age = rotation.presented.session_start.as_secs();
            rotation.presented.session_start = NumericDate::from_secs(4_000_000_000 - age);
        }
        let proposed = Arc::clone(&rotation.claims);
        if self.is(Fault::RecordsEveryRotation) {
            rotation.presented.session = self.fresh_session();
        }
        if self.is(Fault::NormalisesClaims) {
            let value: serde_json::Value = serde_json::from_str(&rotation.claims).expect("JSON");
            rotation.claims = value.to_string().into();
        }
        if self.is(Fault::ForgetsASecondLate) {
            rotation.presented.now = NumericDate::from_secs(rotation.presented.now.as_secs() - 1);
        }
        let mut unrenewed = false;
        if self.is(Fault::ChecksThenActs) && rotation.supersedes {
            unrenewed = !self.renewed.lock().expect("a lock").contains(&token);
            tokio::task::yield_now().await;
            self.renewed.lock().expect("a lock").insert(token);
        }
        if self.is(Fault::LeavesItsLockBehind) {
            if !self.locked.lock().expect("a lock").insert(session) {
                return Ok(Rotated::NotInChain);
            }
            tokio::task::yield_now().await;
            self.locked.lock().expect("a lock").remove(&session);
        }
        if self.is(Fault::EndsOnlyOlderOnes)
            && let (Some(subject), Some(retention)) = (rotation.presented.subject, rotation.retention)
            && let Some(limit) = retention.limit
        {
            let opened = SessionCursor { session_start: rotation.presented.session_start, session };
            rotation.retention = None;
            let recorded = self.inner.rotate(rotation).await;
            let listed = self.inner.sessions(subject, retention.now, Page::default()).await?.sessions;
            for other in listed.iter().skip(limit.live).filter(|other| other.cursor() < opened) {
                self.inner.revoke(Revocation::Session(other.session), retention).await?;
            }
            return recorded;
        }
        if self.is(Fault::EndsRivals)
            && let (Some(subject), Some(retention)) = (rotation.presented.subject, rotation.retention)
        {
            rotation.retention = None;
            let recorded = self.inner.rotate(rotation).await;
            tokio::task::yield_now().await;
            for rival in self.inner.sessions(subject, retention.now, Page::default()).await?.sessions {
                if rival.session != session {
                    self.inner.revoke(Revocation::Session(rival.session), retention).await?;
                }
            }
            return recorded;
        }
        Ok(match self.inner.rotate(rotation).await? {
            // Overwritten, as the check allowed.
            Rotated::Superseded { .. } if unrenewed => Rotated::Recorded,
            Rotated::Superseded { .. } if self.is(Fault::AnswersRivalsWithTheirOwnClaims) => {
                Rotated::Superseded { head: proposed }
            }
            Rotated::Superseded { .. } if self.is(Fault::SignsThePredecessorOut) => {
                Rotated::Reused { generations: 2 }
            }
            Rotated::Reused { .. } if self.is(Fault::MissesReuse) => Rotated::NotInChain,
            Rotated::Predated { .. } if self.is(Fault::TellsNoInstant) => Rotated::Revoked,
            Rotated::Reused { generations: 3.. } if self.is(Fault::ForgetsTheThirdGeneration) => {
                Rotated::NotInChain
            }
            Rotated::Reused { generations } if self.is(Fault::CountsGenerationsFromZero) => {
                Rotated::Reused { generations: generations - 1 }
            }
            Rotated::NotInChain if self.is(Fault::RecordsStrangers) => Rotated::Recorded,
            Rotated::Revoked if self.is(Fault::RenewsRevokedSessions) => Rotated::Recorded,
            rotated => rotated,
        })
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        let (mut revocation, mut retention) = (revocation, retention);
        match &mut revocation {
            Revocation::Token { .. } if self.is(Fault::LosesTokenRevocations) => return Ok(()),
            Revocation::Token { token, .. }
                if self.is(Fault::SparesTheSessionOfAForgottenToken)
                    && !self.recorded.lock().expect("a lock").contains(token) =>
            {
                return Ok(());
            }
            Revocation::SubjectBefore { instant, .. } if self.is(Fault::RevokesLaterSessionsToo) => {
                *instant = NumericDate::from_secs(instant.as_secs() + 1);
            }
            Revocation::SubjectBefore { instant, .. } if self.is(Fault::SparesSessionsBegunAtTheInstant) => {
                *instant = NumericDate::from_secs(instant.as_secs() - 1);
            }
            Revocation::SubjectBefore { except, .. } if self.is(Fault::SparesNobody) => *except = None,
            Revocation::SubjectBefore { except, .. } if self.is(Fault::SparesForGood) => {
                self.spared.lock().expect("a lock").extend(*except);
            }
            Revocation::AllBefore { .. } if self.is(Fault::LosesAllBefore) => return Ok(()),
            Revocation::Session(session) if self.is(Fault::ForgetsWhoSignedOutLongAgo) => {
                self.signed_out.lock().expect("a lock").push(*session);
            }
            // A clock an hour ahead: what it means by now is past for the others.
            _ if self.is(Fault::ReachesNoFurther) => {
                retention.now = NumericDate::from_secs(retention.now.as_secs() + 3600)
            }
            _ if self.is(Fault::KeepsFromItsOwnClockAlone) => retention.session_start = retention.now,
            _ if self.is(Fault::CutsTombstonesShort) => retention.margin = retention.margin.min(9),
            _ => {}
        }
        self.inner.revoke(revocation, retention).await
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        let page = if self.is(Fault::RepeatsPages) { Page::first(page.limit) } else { page };
        let mut sessions = self.inner.sessions(subject, now, page).await?;
        if self.is(Fault::ListsAnotherSession) {
            let session = self.fresh_session();
            sessions.sessions.push(SessionRecord::new(session, now, now, "{}"));
        }
        Ok(sessions)
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        let mut horizon = self.inner.horizon(need).await?;
        if self.is(Fault::TakesEveryNeed) {
            horizon.current = need;
        }
        if self.is(Fault::ForgetsItsRaises) {
            horizon.raises.clear();
        }
        horizon.current = horizon.current.max(self.said.lock().expect("a lock").unwrap_or(Horizon::Secs(0)));
        Ok(horizon)
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        self.inner.horizon_now(need).filter(|_| !self.is(Fault::TakesEveryNeed))
    }

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        if self.is(Fault::OnlySaysThatItRaised) {
            *self.said.lock().expect("a lock") = Some(to);
            return Ok(());
        }
        self.inner.raise_horizon(to, now).await
    }
}

/// Begun before a store that was made this century.
fn is_old(presented: &Presented) -> bool {
    presented.session_start.as_secs() < 946_684_800
}

/// True where the promise was seen broken.
async fn is_noticed<F: Future<Output = ()> + Send + 'static>(promise: F) -> bool {
    tokio::spawn(promise).await.is_err_and(|error| error.is_panic())
}

/// The scene in which the promise was seen broken.
async fn breach<F: Future<Output = ()> + Send + 'static>(promise: F) -> Option<String> {
    let panic = tokio::spawn(promise).await.err()?.into_panic();
    Some(panic.downcast_ref::<String>().expect("a scene").clone())
}

/// A store that keeps its promises for a head's predecessor and for the token before it may still break them for the
/// token before that, or for one so old that it has forgotten it.
#[tokio::test]
async fn a_promise_broken_three_generations_deep_and_no_sooner_is_noticed_there() {
    let store = Faulty::new(Fault::ForgetsTheThirdGeneration);
    let seen = breach(async move {
        conformance::a_token_superseded_two_generations_ago_is_reported_as_reused(&store).await;
    });
    let seen = seen.await.expect("a breach");
    assert!(seen.contains("the rotation of a token superseded 3 generations ago"), "{seen}");

    let store = Faulty::new(Fault::SparesTheSessionOfAForgottenToken);
    let seen = breach(async move {
        conformance::revoking_a_token_that_has_a_successor_revokes_its_session(&store).await;
    });
    let seen = seen.await.expect("a breach");
    assert!(seen.contains("revoked by the one 3 before its head"), "{seen}");
}

macro_rules! notices {
    ($($name:ident: $fault:ident),* $(,)?) => {
        #[tokio::test]
        async fn a_broken_promise_is_noticed_by_the_function_that_names_it() {
            $({
                let store = Faulty::new(Fault::$fault);
                let noticed = is_noticed(async move { conformance::$name(&store).await }).await;
                assert!(noticed, "{} did not notice {:?}", stringify!($name), Fault::$fault);
            })*
        }
    };
}

notices! {
    a_sign_in_opens_its_session_once: RecordsEveryRotation,
    a_session_without_a_record_is_recorded_by_its_first_rotation: RecordsEveryRotation,
    a_session_that_is_unknown_is_renewed_and_stays_unknown: RecordsEveryRotation,
    a_session_that_is_unknown_is_renewed_and_stays_unknown: VouchesForWhatItRecords,
    a_session_that_is_unknown_is_renewed_and_stays_unknown: RenewsOnlyWhatItVouchesFor,
    a_rotation_of_a_known_session_records_nothing_in_an_unknown_one: RecordsUnknownSessions,
    a_rotation_of_a_known_session_records_nothing_in_an_unknown_one: RecordsEveryRotation,
    of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head: RecordsEveryRotation,
    of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head: ChecksThenActs,
    of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head: AnswersRivalsWithTheirOwnClaims,
    the_predecessor_of_the_head_is_given_the_head: SignsThePredecessorOut,
    a_token_superseded_two_generations_ago_is_reported_as_reused: MissesReuse,
    a_token_superseded_two_generations_ago_is_reported_as_reused: CountsGenerationsFromZero,
    an_unknown_token_of_a_recorded_session_is_not_recorded: RecordsStrangers,
    a_token_never_succeeds_itself_or_an_ancestor: RecordsEveryRotation,
    a_revoked_session_rotates_nothing: RenewsRevokedSessions,
    a_revocation_beats_a_rotation_in_either_order: RenewsRevokedSessions,
    a_revocation_beats_a_rotation_in_either_order: LosesTokenRevocations,
    a_revoked_token_is_never_recorded_as_a_successor: RenewsRevokedSessions,
    revoking_a_token_that_has_a_successor_revokes_its_session: LosesTokenRevocations,
    revoking_the_head_stops_its_predecessor_from_renewing: LosesTokenRevocations,
    however_many_tokens_of_a_session_are_revoked_each_stays_revoked: LosesTokenRevocations,
    subject_before_revokes_sessions_begun_at_or_before_the_instant_and_no_later_one: RevokesLaterSessionsToo,
    subject_before_revokes_sessions_begun_at_or_before_the_instant_and_no_later_one: SparesSessionsBegunAtTheInstant,
    a_weaker_revocation_never_replaces_a_stronger_one: CutsTombstonesShort,
    a_tombstone_lives_until_its_instant: ForgetsASecondEarly,
    an_expired_record_leaves_no_trace_that_matters: ForgetsASecondLate,
    claims_come_back_byte_for_byte: NormalisesClaims,
    sessions_lists_the_live_sessions_of_one_subject_only: ListsAnotherSession,
    a_dropped_rotation_leaves_the_old_or_the_new_state: LeavesItsLockBehind,
    an_answer_without_waiting_is_the_same_answer: RemembersLive,
    the_epoch_moves_with_every_revocation: StandsStill,
    the_first_need_sets_the_horizon_and_no_later_one_changes_it: TakesEveryNeed,
    a_horizon_is_raised_with_its_instant_and_never_lowered: ForgetsItsRaises,
    a_horizon_is_raised_with_its_instant_and_never_lowered: OnlySaysThatItRaised,
    after_a_raise_every_revocation_is_kept_for_the_new_horizon: OnlySaysThatItRaised,
    a_revocation_is_kept_for_the_horizon_from_the_latest_of_its_instants: KeepsFromItsOwnClockAlone,
    a_revocation_is_kept_for_the_horizon_from_the_latest_of_its_instants: CutsTombstonesShort,
    all_others_spares_one_session_and_nothing_that_was_revoked_before: SparesNobody,
    all_others_spares_one_session_and_nothing_that_was_revoked_before: SparesForGood,
    all_before_revokes_every_session_begun_at_or_before_the_instant: LosesAllBefore,
    all_before_revokes_every_session_begun_at_or_before_the_instant: StandsStill,
    a_sign_in_that_predates_a_revocation_is_told_its_instant: TellsNoInstant,
    a_revocation_up_to_now_reaches_the_sessions_that_were_dated_after_the_last: ReachesNoFurther,
    of_more_sessions_than_allowed_the_oldest_ends: HasNoLimit,
    of_more_sessions_than_allowed_the_oldest_ends: EndsTheNewest,
    the_limit_holds_in_whatever_order_sessions_are_opened: EndsOnlyOlderOnes,
    the_limit_holds_in_whatever_order_sessions_are_opened: EndsTheNewest,
    of_sign_ins_at_once_as_many_are_left_as_are_allowed: EndsRivals,
    of_sign_ins_at_once_as_many_are_left_as_are_allowed: HasNoLimit,
    a_revoked_token_outlives_the_record_of_its_session: LosesTokenRevocations,
    signing_in_and_out_without_end_forgets_no_revocation: ForgetsWhoSignedOutLongAgo,
    a_sign_in_that_begins_again_later_is_on_record_as_it_was_last: KeepsTheFirstSignIn,
    sessions_are_listed_in_pages_each_once_the_newest_first: RepeatsPages,
}
