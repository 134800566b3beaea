//! The kit is itself tested: each storage here breaks one promise, and a check of that promise must fail on it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

mod reads;
mod twist;
mod writes;

use std::sync::Arc;

use session_manager_core::SessionStorage;
use session_manager_testkit::ReferenceStorage;
use session_manager_testkit::conformance::{Check, Histories};

use reads::*;
use writes::*;

fn fails(check: &str, storage: Arc<dyn SessionStorage>) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let check = Check::named(check);
    runtime.block_on(async move { tokio::spawn(check.run(storage)).await.is_err() })
}

/// Names checks, each of which must fail on the broken storage.
macro_rules! caught {
    ($($test:ident: $broken:ident by $($check:ident),+;)*) => { $(
        #[test]
        fn $test() {
            $(
                let storage = Arc::new($broken::over(ReferenceStorage::new()));
                assert!(fails(stringify!($check), storage), "{} did not see it", stringify!($check));
            )+
        }
    )* };
}

caught! {
    upsert: BrokenUpsert by late_writes_never_revive;
    grace_extended_by_retries: BrokenGrace by retries_never_extend_the_grace;
    second_use_mints: BrokenMint by
        sixty_four_concurrent_refreshes_make_one_generation, advance_follows_the_table_of_the_protocol;
    check_then_insert: BrokenCap by
        cap_holds_under_sixty_concurrent_logins, cap_holds_when_logins_are_rejected;
    owner_ignored: BrokenOwner by foreign_sessions_count_as_absent;
    one_of_a_name_ended: BrokenExternal by revoke_by_external_id_ends_all_of_them;
    one_of_a_name_taken: BrokenName by sessions_may_share_an_external_id, concurrent_logins_share_an_external_id;
    touch_moves_back: BrokenTouch by touch_never_moves_back, concurrent_touches_leave_the_latest;
    every_touch_written: BrokenThreshold by
        touch_is_skipped_where_the_user_was_seen_since, sixty_four_touches_at_once_write_one;
    session_counted_twice: BrokenTwice by touch_counts_a_session_once;
    off_by_one_millisecond: BrokenBoundary by
        idle_deadline_is_exact_everywhere, absolute_deadline_is_exact_everywhere;
    grace_one_millisecond_long: BrokenGraceEnd by
        grace_is_exact_to_the_millisecond, advance_follows_the_table_of_the_protocol;
    repeated_insert_refused: BrokenRepeat by insert_is_idempotent;
    silent_eviction: BrokenReport by evicted_sessions_are_revoked, cap_holds_under_sixty_concurrent_logins;
    whole_seconds: BrokenMillis by inserted_session_reads_back_in_full;
    version_ignored: BrokenVersion by concurrent_updates_admit_one, update_of_another_version_conflicts;
    floor_forgotten: BrokenFloor by raised_floor_ends_every_older_token, update_applies_every_field;
    last_reason_wins: BrokenReason by revoking_again_keeps_the_first_reason;
    check_then_remember: BrokenOnce by remember_once_admits_one_of_many;
    full_means_more: BrokenMore by purge_knows_when_there_is_no_more;
    purge_one_millisecond_late: BrokenPurge by purge_removes_exactly_what_ended_before;
    one_refresh_after_the_end: BrokenEnd by
        no_refresh_succeeds_after_a_revocation, no_refresh_succeeds_after_a_raised_epoch, late_writes_never_revive;
    any_cursor: BrokenCursor by cursors_of_other_queries_are_refused;
    paging_by_offset: BrokenOffset by pages_are_stable_under_inserts;
    users_without_case: BrokenCase by users_are_told_apart_by_their_bytes;
    filter_ignored: BrokenFilter by every_filter_agrees_with_its_definition;
    stale_try_read: BrokenCache by reads_agree;
    stale_epochs: BrokenEpochCache by raised_user_epoch_ends_their_sessions, global_raise_ends_everybody_at_once;
    nobody_kept: BrokenKeep by kept_session_survives_with_new_tokens, only_an_own_live_session_is_kept;
    raised_again: BrokenExpected by
        expected_version_makes_it_idempotent, expected_version_makes_the_global_raise_idempotent,
        concurrent_raises_are_counted_exactly;
    epoch_left_alone: BrokenRevokeAll by revoke_user_raises_the_epoch;
    import_wins: BrokenPut by put_never_overwrites_what_is_newer_or_ended, late_writes_never_revive;
    notices_skipped: BrokenFeed by feed_misses_nothing_under_concurrency;
    notices_dropped_early: BrokenRetention by feed_keeps_notices_as_long_as_it_says;
    talkative_debug: BrokenDebug by debug_text_holds_no_secret;
    talkative_error: BrokenError by errors_hold_no_secret;
}

/// Random histories find these too, without a check that knows what to look for.
macro_rules! found {
    ($($test:ident: $broken:ident;)*) => { mod histories {
        use super::*;
        $(
            #[test]
            fn $test() {
                let histories = Histories::default().cases(1024).steps(40).seed("the kit is itself tested");
                let run = || histories.agree(|| async { $broken::over(ReferenceStorage::new()) });
                let panic = std::panic::catch_unwind(run).expect_err("no history showed it");
                let message = panic.downcast_ref::<String>().unwrap();
                let steps = message.lines().skip_while(|line| !line.starts_with("shortest")).count() - 1;
                assert!(steps <= 8, "it was not shrunk to what matters:\n{message}");
            }
        )*
    } };
}

found! {
    grace_extended_by_retries: BrokenGrace;
    second_use_mints: BrokenMint;
    owner_ignored: BrokenOwner;
    one_of_a_name_ended: BrokenExternal;
    one_of_a_name_taken: BrokenName;
    touch_moves_back: BrokenTouch;
    every_touch_written: BrokenThreshold;
    session_counted_twice: BrokenTwice;
    off_by_one_millisecond: BrokenBoundary;
    grace_one_millisecond_long: BrokenGraceEnd;
    silent_eviction: BrokenReport;
    version_ignored: BrokenVersion;
    floor_forgotten: BrokenFloor;
    filter_ignored: BrokenFilter;
    nobody_kept: BrokenKeep;
    raised_again: BrokenExpected;
    epoch_left_alone: BrokenRevokeAll;
    last_reason_wins: BrokenReason;
    upsert: BrokenUpsert;
}
