//! The conformance suite: tests the promises of a [`ClaimsStore`], one function for each.
//!
//! It needs the feature `test-util`: turn it on in `[dev-dependencies]`.
//!
//! A store keeps its promises if [`all`] returns. Call it from a test, with your store, on the runtime that the store
//! needs. It panics at the promise that is broken:
//!
//! ```
//! use tower_reissue::store::{MemoryStore, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
//! let store = MemoryStore::new();
//! conformance::all(&store).await;
//! # });
//! ```
//!
//! Every function uses new sessions and subjects at each call, so the store need not be emptied between them. Call
//! the functions one by one to see all failures at once. **Never run the suite against a store in use**, nor twice at
//! once against one store: it passes times that are an hour and more ahead, and a store may then forget anybody's
//! records that have expired by that `now`. A record must be absent from its `until` on by the `now` of the call,
//! whatever the store's own clock reads. When it is really removed is up to the store.
//!
//! It can't test atomicity between processes (race rotations of one token from several), durability, bounds, and
//! deadlines. Test those where you can break the backend. At capacity a write must fail with
//! [`StoreErrorKind::Full`](super::StoreErrorKind::Full) and must not evict a live revocation.

mod expiry;
mod horizon;
mod limits;
mod reading;
mod revocation;
mod rotation;
mod scene;

pub use expiry::{a_tombstone_lives_until_its_instant, an_expired_record_leaves_no_trace_that_matters};
pub use horizon::{
    a_horizon_is_raised_with_its_instant_and_never_lowered,
    a_revocation_is_kept_for_the_horizon_from_the_latest_of_its_instants,
    after_a_raise_every_revocation_is_kept_for_the_new_horizon,
    the_first_need_sets_the_horizon_and_no_later_one_changes_it,
};
pub use limits::{
    a_revoked_token_outlives_the_record_of_its_session, a_session_is_its_subjects_whoever_else_names_it,
    a_session_that_ended_is_not_forgotten_by_its_old_start,
    a_session_that_is_revoked_displaces_none_that_is_live,
    a_session_that_was_just_opened_is_never_the_one_forgotten,
    a_sign_in_that_begins_again_later_is_on_record_as_it_was_last,
    of_more_sessions_than_allowed_the_oldest_ends, of_sign_ins_at_once_as_many_are_left_as_are_allowed,
    signing_in_and_out_without_end_forgets_no_revocation,
    the_limit_holds_in_whatever_order_sessions_are_opened,
};
pub use reading::{
    an_answer_without_waiting_is_the_same_answer, sessions_are_listed_in_pages_each_once_the_newest_first,
    sessions_lists_the_live_sessions_of_one_subject_only, the_epoch_moves_with_every_revocation,
};
pub use revocation::{
    a_revocation_beats_a_rotation_in_either_order,
    a_revocation_up_to_now_reaches_the_sessions_that_were_dated_after_the_last,
    a_revoked_session_rotates_nothing, a_revoked_token_is_never_recorded_as_a_successor,
    a_session_dated_far_ahead_is_ended_and_holds_up_no_sign_in,
    a_sign_in_that_predates_a_revocation_is_told_its_instant,
    a_weaker_revocation_never_replaces_a_stronger_one,
    all_before_revokes_every_session_begun_at_or_before_the_instant,
    all_others_spares_one_session_and_nothing_that_was_revoked_before,
    however_many_tokens_of_a_session_are_revoked_each_stays_revoked,
    revoking_a_token_that_has_a_successor_revokes_its_session,
    revoking_again_without_a_sign_in_reaches_no_further,
    revoking_the_head_stops_its_predecessor_from_renewing,
    subject_before_revokes_sessions_begun_at_or_before_the_instant_and_no_later_one,
};
pub use rotation::{
    a_dropped_rotation_leaves_the_old_or_the_new_state,
    a_rotation_of_a_known_session_records_nothing_in_an_unknown_one,
    a_session_that_is_unknown_is_renewed_and_stays_unknown,
    a_session_without_a_record_is_recorded_by_its_first_rotation, a_sign_in_opens_its_session_once,
    a_token_never_succeeds_itself_or_an_ancestor,
    a_token_superseded_two_generations_ago_is_reported_as_reused,
    an_unknown_token_of_a_recorded_session_is_not_recorded, claims_come_back_byte_for_byte,
    of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head,
    the_predecessor_of_the_head_is_given_the_head,
};

use super::ClaimsStore;

/// Tests every promise, one after the other.
///
/// # Panics
/// If the store breaks a promise, or fails.
pub async fn all<S: ClaimsStore>(store: &S) {
    the_first_need_sets_the_horizon_and_no_later_one_changes_it(store).await;
    a_sign_in_opens_its_session_once(store).await;
    a_session_without_a_record_is_recorded_by_its_first_rotation(store).await;
    a_session_that_is_unknown_is_renewed_and_stays_unknown(store).await;
    a_rotation_of_a_known_session_records_nothing_in_an_unknown_one(store).await;
    of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head(store).await;
    the_predecessor_of_the_head_is_given_the_head(store).await;
    a_token_superseded_two_generations_ago_is_reported_as_reused(store).await;
    an_unknown_token_of_a_recorded_session_is_not_recorded(store).await;
    a_token_never_succeeds_itself_or_an_ancestor(store).await;
    a_revoked_session_rotates_nothing(store).await;
    a_revocation_beats_a_rotation_in_either_order(store).await;
    a_revoked_token_is_never_recorded_as_a_successor(store).await;
    revoking_a_token_that_has_a_successor_revokes_its_session(store).await;
    revoking_the_head_stops_its_predecessor_from_renewing(store).await;
    however_many_tokens_of_a_session_are_revoked_each_stays_revoked(store).await;
    subject_before_revokes_sessions_begun_at_or_before_the_instant_and_no_later_one(store).await;
    all_others_spares_one_session_and_nothing_that_was_revoked_before(store).await;
    all_before_revokes_every_session_begun_at_or_before_the_instant(store).await;
    a_sign_in_that_predates_a_revocation_is_told_its_instant(store).await;
    a_revocation_up_to_now_reaches_the_sessions_that_were_dated_after_the_last(store).await;
    revoking_again_without_a_sign_in_reaches_no_further(store).await;
    a_session_dated_far_ahead_is_ended_and_holds_up_no_sign_in(store).await;
    a_weaker_revocation_never_replaces_a_stronger_one(store).await;
    a_tombstone_lives_until_its_instant(store).await;
    an_expired_record_leaves_no_trace_that_matters(store).await;
    claims_come_back_byte_for_byte(store).await;
    sessions_lists_the_live_sessions_of_one_subject_only(store).await;
    sessions_are_listed_in_pages_each_once_the_newest_first(store).await;
    of_more_sessions_than_allowed_the_oldest_ends(store).await;
    the_limit_holds_in_whatever_order_sessions_are_opened(store).await;
    of_sign_ins_at_once_as_many_are_left_as_are_allowed(store).await;
    a_session_that_is_revoked_displaces_none_that_is_live(store).await;
    signing_in_and_out_without_end_forgets_no_revocation(store).await;
    a_session_that_was_just_opened_is_never_the_one_forgotten(store).await;
    a_sign_in_that_begins_again_later_is_on_record_as_it_was_last(store).await;
    a_session_is_its_subjects_whoever_else_names_it(store).await;
    a_session_that_ended_is_not_forgotten_by_its_old_start(store).await;
    a_revoked_token_outlives_the_record_of_its_session(store).await;
    a_dropped_rotation_leaves_the_old_or_the_new_state(store).await;
    an_answer_without_waiting_is_the_same_answer(store).await;
    the_epoch_moves_with_every_revocation(store).await;
    a_revocation_is_kept_for_the_horizon_from_the_latest_of_its_instants(store).await;
    a_horizon_is_raised_with_its_instant_and_never_lowered(store).await;
    after_a_raise_every_revocation_is_kept_for_the_new_horizon(store).await;
}
