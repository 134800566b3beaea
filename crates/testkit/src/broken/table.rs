//! The list of defects, in one place: for the table of this module and for the tests that the macro generates.

use std::sync::Arc;

use session_manager_core::SessionStorage;

/// A defect: a storage in which one thing is broken, and the checks that must see it.
#[derive(Clone, Copy, Debug)]
pub struct Defect {
    name: &'static str,
    breaks: fn(Arc<dyn SessionStorage>) -> Arc<dyn SessionStorage>,
    caught_by: &'static [&'static str],
}

impl Defect {
    /// The defect of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> Self {
        *defects().iter().find(|defect| defect.name == name).unwrap_or_else(|| panic!("there is no defect {name}"))
    }

    /// Its name, which says what is broken.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The checks of the conformance suite that must fail on it.
    pub const fn caught_by(&self) -> &'static [&'static str] {
        self.caught_by
    }

    /// A broken copy of a storage.
    pub fn of(&self, storage: Arc<dyn SessionStorage>) -> Arc<dyn SessionStorage> {
        (self.breaks)(storage)
    }
}

/// All defects.
pub const fn defects() -> &'static [Defect] {
    crate::__storage_defects!(table)
}

/// Generates a module of tests, one for each [`Defect`]: the storage with that defect must be caught by every check that is named for it.
///
/// It proves that the suite sees, on this very storage, what it claims to see. The arguments are those of
/// [`storage_conformance!`](crate::storage_conformance). A check that needs what the storage lacks says `SKIPPED` on standard error.
///
/// ```
/// use session_manager_testkit::{ReferenceStorage, storage_defects};
///
/// storage_defects!(defects, || async { ReferenceStorage::new() });
/// ```
#[macro_export]
macro_rules! storage_defects {
    ($module:ident, $factory:expr $(,)?) => {
        $crate::storage_defects!($module, $factory, lacking = []);
    };
    ($module:ident, $factory:expr, lacking = [$($ability:ident),* $(,)?] $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            const LACKING: &[$crate::conformance::Ability] = &[$($crate::conformance::Ability::$ability),*];

            $crate::__storage_defects!(tests $factory);
        }
    };
}

/// The list itself. Not for use outside this crate's macros.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_defects {
    (table) => { $crate::__storage_defects!(@list (table)) };
    (tests $factory:expr) => { $crate::__storage_defects!(@list (tests $factory)); };

    (@do (table) $($name:ident: $broken:ident by $($check:ident),+;)*) => {
        &[$(Defect {
            name: stringify!($name),
            breaks: |storage| Arc::new(super::$broken::over(storage)),
            caught_by: &[$(stringify!($check)),+],
        }),*]
    };
    (@do (tests $factory:expr) $($name:ident: $broken:ident by $($check:ident),+;)*) => {
        $crate::__storage_defects!(@each $factory, $($name)*);
    };
    (@each $factory:expr, $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::conformance::catches(stringify!($name), LACKING, $factory);
        })*
    };

    (@list $mode:tt) => {
        $crate::__storage_defects! { @do $mode
            upsert: BrokenUpsert by late_writes_never_revive;
            grace_extended_by_retries: BrokenGrace by retries_never_extend_the_grace;
            second_use_mints: BrokenMint by sixty_four_concurrent_refreshes_make_one_generation, advance_follows_the_table_of_the_protocol;
            check_then_insert: BrokenCap by cap_holds_under_sixty_concurrent_logins, cap_holds_when_logins_are_rejected;
            owner_ignored: BrokenOwner by foreign_sessions_count_as_absent;
            one_of_a_name_ended: BrokenExternal by revoke_by_external_id_ends_all_of_them;
            one_of_a_name_taken: BrokenName by sessions_may_share_an_external_id, concurrent_logins_share_an_external_id;
            touch_moves_back: BrokenTouch by touch_never_moves_back, concurrent_touches_leave_the_latest;
            every_touch_written: BrokenThreshold by touch_is_skipped_where_the_user_was_seen_since, sixty_four_touches_at_once_write_one;
            session_counted_twice: BrokenTwice by touch_counts_a_session_once;
            off_by_one_millisecond: BrokenBoundary by idle_deadline_is_exact_everywhere, absolute_deadline_is_exact_everywhere;
            grace_one_millisecond_long: BrokenGraceEnd by grace_is_exact_to_the_millisecond, advance_follows_the_table_of_the_protocol;
            repeated_insert_refused: BrokenRepeat by insert_is_idempotent;
            silent_eviction: BrokenReport by evicted_sessions_are_revoked, cap_holds_under_sixty_concurrent_logins;
            whole_seconds: BrokenMillis by inserted_session_reads_back_in_full;
            version_ignored: BrokenVersion by concurrent_updates_admit_one, update_of_another_version_conflicts;
            floor_forgotten: BrokenFloor by raised_floor_ends_every_older_token, update_applies_every_field;
            last_reason_wins: BrokenReason by revoking_again_keeps_the_first_reason;
            check_then_remember: BrokenOnce by remember_once_admits_one_of_many;
            full_means_more: BrokenMore by purge_knows_when_there_is_no_more;
            purge_one_millisecond_late: BrokenPurge by purge_removes_exactly_what_ended_before;
            refreshed_after_the_end: BrokenEnd by no_refresh_succeeds_after_a_revocation, no_refresh_succeeds_after_a_raised_epoch, late_writes_never_revive;
            any_cursor: BrokenCursor by cursors_of_other_queries_are_refused;
            paging_by_offset: BrokenOffset by pages_are_stable_under_inserts;
            users_without_case: BrokenCase by users_are_told_apart_by_their_bytes;
            filter_ignored: BrokenFilter by every_filter_agrees_with_its_definition;
            stale_try_read: BrokenCache by reads_agree;
            stale_epochs: BrokenEpochCache by raised_user_epoch_ends_their_sessions, global_raise_ends_everybody_at_once;
            nobody_kept: BrokenKeep by kept_session_survives_with_new_tokens, only_an_own_live_session_is_kept;
            raised_again: BrokenExpected by expected_version_makes_it_idempotent, expected_version_makes_the_global_raise_idempotent, concurrent_raises_are_counted_exactly;
            epoch_left_alone: BrokenRevokeAll by revoke_user_raises_the_epoch;
            import_wins: BrokenPut by put_never_overwrites_what_is_newer_or_ended, late_writes_never_revive;
            notices_skipped: BrokenFeed by feed_misses_nothing_under_concurrency;
            notices_dropped_early: BrokenRetention by feed_keeps_notices_as_long_as_it_says;
            talkative_debug: BrokenDebug by debug_text_holds_no_secret;
            talkative_error: BrokenError by errors_hold_no_secret;
        }
    };
}
