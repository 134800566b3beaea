//! The kit is itself tested: each storage here breaks one promise, and the checks of that promise must fail on it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use session_manager_testkit::ReferenceStorage;
use session_manager_testkit::broken::*;
use session_manager_testkit::conformance::Histories;

session_manager_testkit::storage_defects!(defects, || async { ReferenceStorage::new() });

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
