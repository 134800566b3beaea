//! The list of checks, in one place: for the table of this module and for the tests that the macro generates.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use session_manager_core::SessionStorage;

use super::run::CheckOutcome;

/// A check by name.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    group: &'static str,
    name: &'static str,
    run: fn(Arc<dyn SessionStorage>) -> BoxFuture<'static, CheckOutcome>,
}

impl Check {
    /// The check of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> Self {
        *checks().iter().find(|check| check.name == name).unwrap_or_else(|| panic!("there is no check {name}"))
    }

    /// The subject it belongs to: the module that it is in.
    pub const fn group(&self) -> &'static str {
        self.group
    }

    /// Its name, which says what it proves.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it on an empty storage. The future panics where the storage fails.
    pub fn run(&self, storage: Arc<dyn SessionStorage>) -> BoxFuture<'static, CheckOutcome> {
        (self.run)(storage)
    }
}

/// All checks that run on one storage.
pub const fn checks() -> &'static [Check] {
    crate::__storage_checks!(table)
}

/// Generates a module of tests, one for each check of the conformance suite, and one that compares random histories with
/// [`ReferenceStorage`](crate::ReferenceStorage).
///
/// The second argument is a function or closure without arguments that makes a future of a **fresh, empty** storage: a value, a box or
/// an arc. It is called once for every test, and once for every random history, inside a multi-thread runtime of tokio. The storage is
/// dropped inside that runtime too; what it needs to outlive it goes into a [`HeldStorage`](crate::fault::HeldStorage).
///
/// What the storage declares not to be able to do is named in `lacking`, so that no test is green because it did nothing: a test that
/// needs something absent fails unless it stands there, and what stands there must be absent.
///
/// ```
/// use session_manager_testkit::{ReferenceStorage, storage_conformance};
///
/// storage_conformance!(value, || async { ReferenceStorage::new() });
/// storage_conformance!(without_epochs, async || ReferenceStorage::without_epochs(), lacking = [Epochs]);
/// ```
#[macro_export]
macro_rules! storage_conformance {
    ($module:ident, $factory:expr $(,)?) => {
        $crate::storage_conformance!($module, $factory, lacking = []);
    };
    ($module:ident, $factory:expr, lacking = [$($ability:ident),* $(,)?] $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            const LACKING: &[$crate::conformance::Ability] = &[$($crate::conformance::Ability::$ability),*];

            #[test]
            fn abilities_are_as_declared() {
                $crate::conformance::abilities_are_as_declared(LACKING, $factory);
            }

            #[test]
            fn random_histories_match_the_reference() {
                $crate::conformance::run_model($factory);
            }

            $crate::__storage_checks!(tests $factory);
        }
    };
}

/// The list itself. Not for use outside this crate's macros.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_checks {
    (table) => { $crate::__storage_checks!(@list (table)) };
    (tests $factory:expr) => { $crate::__storage_checks!(@list (tests $factory)); };

    (@do (table) $($group:ident { $($check:ident)* })*) => {
        &[$($(Check {
            group: stringify!($group),
            name: stringify!($check),
            run: |storage| Box::pin(super::$group::$check(storage)),
        },)*)*]
    };
    (@do (tests $factory:expr) $($group:ident { $($check:ident)* })*) => {
        $crate::__storage_checks!(@each $factory, $($($check)*)*);
    };
    (@each $factory:expr, $($check:ident)*) => {
        $(#[test]
        fn $check() {
            $crate::conformance::run(stringify!($check), LACKING, $factory);
        })*
    };

    (@list $mode:tt) => {
        $crate::__storage_checks! { @do $mode
            insert {
                inserted_session_reads_back_in_full
                insert_is_idempotent
                repeated_insert_evicts_nothing
                same_id_with_another_seed_is_refused
                sessions_may_share_an_external_id
                concurrent_logins_share_an_external_id
                concurrent_inserts_of_one_id_store_one
                missing_epochs_are_created_as_proposed
                concurrent_first_logins_agree_on_the_epochs
                hundred_concurrent_logins_are_all_listed
                users_are_told_apart_by_their_bytes
                answers_are_what_a_read_gives
            }
            cap {
                cap_holds_under_sixty_concurrent_logins
                cap_holds_when_the_idlest_are_evicted
                cap_holds_when_logins_are_rejected
                cap_evicts_the_oldest
                cap_evicts_the_idlest
                cap_rejects_with_the_live_count
                cap_counts_only_live_sessions
                lowered_cap_evicts_several
                unlimited_evicts_nothing
                evicted_sessions_are_revoked
                caps_of_users_are_separate
            }
            read {
                reads_agree
                ended_sessions_stay_readable
            }
            advance {
                advance_follows_the_table_of_the_protocol
                grace_is_exact_to_the_millisecond
                retries_never_extend_the_grace
                clock_skew_is_forgiven_for_five_seconds
                refresh_moves_nothing_else
                advance_of_an_ended_session_says_so
                sixty_four_concurrent_refreshes_make_one_generation
                concurrent_refreshes_without_grace_admit_one
            }
            update {
                update_applies_every_field
                update_of_another_version_conflicts
                update_tells_missing_from_ended_from_conflict
                concurrent_updates_admit_one
                raised_floor_ends_every_older_token
            }
            touch {
                touch_moves_activity_and_nothing_else
                touch_never_moves_back
                touch_keeps_the_idle_deadline_in_bounds
                touch_takes_a_batch
                touch_counts_a_session_once
                touch_is_skipped_where_the_user_was_seen_since
                concurrent_touches_leave_the_latest
                sixty_four_touches_at_once_write_one
            }
            boundary {
                idle_deadline_is_exact_everywhere
                absolute_deadline_is_exact_everywhere
                nothing_outlives_the_absolute_deadline
            }
            revoke {
                revocation_is_stored_and_returned
                revoking_again_keeps_the_first_reason
                timed_out_sessions_are_not_revoked
                foreign_sessions_count_as_absent
                revoke_user_ends_all_of_theirs
                revoke_user_keeps_the_excepted_one
                revoke_user_raises_the_epoch
                revoke_by_external_id
                revoke_by_external_id_ends_all_of_them
                concurrent_revocations_by_external_id_end_once
                revoke_matching_ends_what_the_filter_means
                revoke_matching_reaches_everybody
                concurrent_revocations_end_once
            }
            revival {
                late_writes_never_revive
                late_writes_never_revive_what_timed_out
                purged_sessions_stay_away
                no_refresh_succeeds_after_a_revocation
                no_refresh_succeeds_after_a_raised_epoch
                no_write_outlives_a_concurrent_revocation
            }
            bump {
                raised_user_epoch_ends_their_sessions
                kept_session_survives_with_new_tokens
                kept_session_is_stamped_with_both_epochs
                only_an_own_live_session_is_kept
                expected_version_makes_it_idempotent
                concurrent_raises_are_counted_exactly
                missing_and_new_incarnations
                new_incarnation_is_not_begun_by_a_raise
                logins_during_a_raise_are_before_or_after
            }
            global {
                global_raise_ends_everybody_at_once
                global_grace_is_exact_to_the_millisecond
                refresh_within_the_global_grace_keeps_the_stamp
                second_rotation_ends_the_older_at_once
                new_global_incarnation_knows_no_grace
                expected_version_makes_the_global_raise_idempotent
                missing_global_epoch_is_created_raised
            }
            list {
                every_filter_agrees_with_its_definition
                lists_across_users_agree_with_the_definition
                pages_are_complete_and_in_order
                pages_are_stable_under_inserts
                cursors_of_other_queries_are_refused
            }
            purge {
                purge_removes_exactly_what_ended_before
                purge_is_bounded
                purge_knows_when_there_is_no_more
                purge_of_one_removes_it
                purge_of_a_user_erases_them
                purge_beside_traffic_removes_no_live_session
            }
            scan {
                scan_returns_every_session
                scan_misses_nothing_under_change
                scan_and_put_round_trip
                put_never_overwrites_what_is_newer_or_ended
                put_takes_a_name_that_others_have
                put_raises_epochs_and_never_lowers
                lost_epochs_refuse
            }
            feed {
                feed_returns_what_was_announced
                feed_misses_nothing_under_concurrency
                feed_keeps_notices_as_long_as_it_says
            }
            once {
                remember_once_admits_one_of_many
                remembered_values_expire_to_the_millisecond
                remembered_values_are_told_apart
            }
            declared {
                fresh_storage_is_sound
                absent_abilities_are_refused
                debug_text_holds_no_secret
                errors_hold_no_secret
                empty_storage_answers
            }
        }
    };
}
