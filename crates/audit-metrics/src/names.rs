//! The names of all series, and the values that their labels may have.

use metrics::{Recorder, Unit};
use session_manager_core::RevocationReason;

/// Counter of audit events, by `kind` and `reason`.
pub const EVENTS: &str = "session_manager_events_total";
/// Counter of operations, by `operation` and `result`: `ok` or the error's kind.
pub const OPERATIONS: &str = "session_manager_operations_total";
/// Histogram of how long operations take, by `operation`.
pub const OPERATION_SECONDS: &str = "session_manager_operation_seconds";
/// Counter of what went wrong aside, by `incident`.
pub const INCIDENTS: &str = "session_manager_incidents_total";
/// Gauge of live sessions.
pub const LIVE_SESSIONS: &str = "session_manager_live_sessions";
/// Gauge: 1 where the number of live sessions is exact, 0 where it is the storage's estimate.
pub const LIVE_SESSIONS_EXACT: &str = "session_manager_live_sessions_exact";
/// Gauge: when live sessions were last counted, in seconds since 1970. Now minus it is the age of the number.
pub const LIVE_SESSIONS_SAMPLED: &str = "session_manager_live_sessions_sampled_timestamp_seconds";

/// Upper bounds in seconds that suit [`OPERATION_SECONDS`], for recorders that want to be told.
pub const BUCKETS: [f64; 15] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The reason of an event without one.
pub(crate) const NONE: &str = "none";
/// Any reason that is not known: it may be a person's words.
pub(crate) const OTHER: &str = "other";

/// The reasons that core itself gives, apart from revocations': the kinds of errors, what looks wrong, and changes.
const REASONS: [&str; 34] = [
    "malformed",
    "too_long",
    "unknown_key",
    "wrong_algorithm",
    "bad_signature",
    "wrong_kind",
    "wrong_issuer",
    "wrong_audience",
    "missing_claim",
    "not_yet_valid",
    "expired",
    "unknown_session",
    "proof_missing",
    "bad_proof",
    "proof_replayed",
    "wrong_possessor",
    "idle",
    "revoked",
    "rotated_out",
    "epoch_lost",
    "replay_detected",
    "superseded",
    "limit_reached",
    "not_found",
    "already_ended",
    "step_up_required",
    "conflict",
    "unavailable",
    "unconfirmed",
    "refresh_replay_after_grace",
    "refresh_replay_older",
    "storage_rollback",
    "privileges_changed",
    "internal",
];

/// The reasons of revocations that core names.
const REVOCATIONS: [RevocationReason; 14] = [
    RevocationReason::LOGOUT,
    RevocationReason::BY_USER,
    RevocationReason::OTHERS,
    RevocationReason::ALL,
    RevocationReason::BY_ADMIN,
    RevocationReason::PASSWORD_CHANGED,
    RevocationReason::PASSWORD_RESET,
    RevocationReason::ACCOUNT_DISABLED,
    RevocationReason::EVICTED,
    RevocationReason::REFRESH_REPLAY,
    RevocationReason::SUSPICIOUS,
    RevocationReason::ISSUE_FAILED,
    RevocationReason::ROTATED,
    RevocationReason::UPSTREAM_LOGOUT,
];

/// Every reason that is a label of its own, but for the application's.
pub(crate) fn reasons() -> impl Iterator<Item = String> {
    REASONS.into_iter().map(str::to_owned).chain(REVOCATIONS.iter().map(ToString::to_string))
}

/// Says what each series is.
pub(crate) fn describe(recorder: &dyn Recorder) {
    let count = Some(Unit::Count);
    recorder.describe_counter(EVENTS.into(), count, "Audit events of sessions.".into());
    recorder.describe_counter(OPERATIONS.into(), count, "Operations of the session manager.".into());
    let text = "How long operations of the session manager take.";
    recorder.describe_histogram(OPERATION_SECONDS.into(), Some(Unit::Seconds), text.into());
    let text = "What went wrong in the session manager without failing an operation.";
    recorder.describe_counter(INCIDENTS.into(), count, text.into());
    recorder.describe_gauge(LIVE_SESSIONS.into(), count, "Live sessions in the storage, of all nodes.".into());
    let text = "Whether the number of live sessions is exact.";
    recorder.describe_gauge(LIVE_SESSIONS_EXACT.into(), None, text.into());
    let text = "When live sessions were last counted.";
    recorder.describe_gauge(LIVE_SESSIONS_SAMPLED.into(), Some(Unit::Seconds), text.into());
}
