//! What is counted under which labels, and that labels stay few.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use session_manager_audit_metrics::{
    EVENTS, INCIDENTS, LIVE_SESSIONS, LIVE_SESSIONS_EXACT, LIVE_SESSIONS_SAMPLED, MetricsAudit, OPERATION_SECONDS,
    OPERATIONS,
};
use session_manager_core::storage::{Incarnations, Insert, OnLimit, SessionLimit};
use session_manager_core::{
    Actor, AuditBackend, AuditEvent, AuditKind, Clock, Control, ErrorKind, Incident, ManualClock, Operation, Rejection,
    RevocationReason, Seed, Session, SessionId, SessionRecord, SessionStorage, SystemRandom, Telemetry, UserId,
};
use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};

fn lab() -> (MetricsAudit, Snapshotter) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    (MetricsAudit::with_recorder(Arc::new(recorder)), snapshotter)
}

/// Every series as `name{label=value,…}` with its value as text.
fn series(snapshotter: &Snapshotter) -> BTreeMap<String, String> {
    let one = |(key, _unit, _text, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match (key.kind(), value) {
            (MetricKind::Histogram, DebugValue::Histogram(values)) => format!("{values:?}"),
            (_, DebugValue::Counter(value)) => value.to_string(),
            (_, DebugValue::Gauge(value)) => value.to_string(),
            (kind, value) => format!("{kind:?} {value:?}"),
        };
        (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
    };
    snapshotter.snapshot().into_vec().into_iter().map(one).collect()
}

fn event(kind: AuditKind, reason: Option<&str>) -> AuditEvent {
    let mut event = AuditEvent::new(uuid::Uuid::nil(), kind, ManualClock::default().now(), Actor::System);
    event.reason = reason.map(str::to_owned);
    event.user_id = Some(UserId::parse("alice").unwrap());
    event.client.user_agent = Some("a very particular browser".to_owned());
    event
}

#[tokio::test]
async fn every_kind_is_counted_by_its_reason() {
    let (audit, snapshotter) = lab();
    for kind in AuditKind::ALL {
        audit.record(&[event(kind, None), event(kind, None)]).await.unwrap();
    }
    audit
        .record(&[event(AuditKind::Revoked, Some("logout")), event(AuditKind::Revoked, Some("logout"))])
        .await
        .unwrap();
    audit.record(&[event(AuditKind::Rejected, Some("bad_signature"))]).await.unwrap();
    audit.flush().await.unwrap();
    let series = series(&snapshotter);
    for kind in AuditKind::ALL {
        assert_eq!(series[&format!("{EVENTS}{{kind={},reason=none}}", kind.as_str())], "2");
    }
    assert_eq!(series[&format!("{EVENTS}{{kind=revoked,reason=logout}}")], "2");
    assert_eq!(series[&format!("{EVENTS}{{kind=rejected,reason=bad_signature}}")], "1");
}

#[tokio::test]
async fn nothing_from_outside_is_a_label() {
    let (audit, snapshotter) = lab();
    let audit = audit.knowing(["lost_phone"]);
    for number in 0..10_000 {
        let typed = format!("my reason number {number}");
        audit.record(&[event(AuditKind::Revoked, Some(&typed))]).await.unwrap();
    }
    audit.record(&[event(AuditKind::Revoked, Some("lost_phone"))]).await.unwrap();
    let series = series(&snapshotter);
    let names: BTreeSet<_> = series.keys().map(String::as_str).collect();
    let expected =
        [format!("{EVENTS}{{kind=revoked,reason=lost_phone}}"), format!("{EVENTS}{{kind=revoked,reason=other}}")];
    assert_eq!(names, expected.iter().map(String::as_str).collect());
    assert_eq!(series[&expected[1]], "10000");
}

/// Each name that core gives has to be known here, or it would be counted as another.
#[tokio::test]
async fn cores_own_reasons_are_known() {
    let rejections = [
        Rejection::Malformed,
        Rejection::TooLong,
        Rejection::UnknownKey,
        Rejection::WrongAlgorithm,
        Rejection::BadSignature,
        Rejection::WrongKind,
        Rejection::WrongIssuer,
        Rejection::WrongAudience,
        Rejection::MissingClaim,
        Rejection::NotYetValid,
        Rejection::Expired,
        Rejection::UnknownSession,
        Rejection::ProofMissing,
        Rejection::BadProof,
        Rejection::ProofReplayed,
        Rejection::WrongPossessor,
    ];
    let revocations = [RevocationReason::LOGOUT, RevocationReason::EVICTED, RevocationReason::UPSTREAM_LOGOUT];
    let reasons = rejections.map(|rejection| rejection.as_str().to_owned()).into_iter();
    for reason in reasons.chain(revocations.map(|reason| reason.to_string())) {
        let (audit, snapshotter) = lab();
        audit.record(&[event(AuditKind::Rejected, Some(&reason))]).await.unwrap();
        assert!(series(&snapshotter).contains_key(&format!("{EVENTS}{{kind=rejected,reason={reason}}}")), "{reason}");
    }
}

#[test]
fn operations_are_counted_by_result_and_timed() {
    let (audit, snapshotter) = lab();
    for operation in Operation::ALL {
        audit.operation(operation, Ok(()), Duration::from_millis(250));
        audit.operation(operation, Err(ErrorKind::InvalidToken(Rejection::Expired)), Duration::from_millis(500));
        audit.operation(operation, Err(ErrorKind::Unavailable), Duration::from_millis(500));
    }
    audit.incident(Incident::AuditSinkFailed);
    audit.incident(Incident::AuditSinkFailed);
    let series = series(&snapshotter);
    for operation in Operation::ALL.map(Operation::as_str) {
        for result in ["ok", "expired", "unavailable"] {
            assert_eq!(series[&format!("{OPERATIONS}{{operation={operation},result={result}}}")], "1");
        }
        assert_eq!(series[&format!("{OPERATION_SECONDS}{{operation={operation}}}")], "[0.25, 0.5, 0.5]");
    }
    assert_eq!(series[&format!("{INCIDENTS}{{incident=audit_sink_failed}}")], "2");
    assert_eq!(series.len(), Operation::ALL.len() * 4 + 1);
}

#[test]
fn the_recorder_of_the_process_may_come_later() {
    let audit = MetricsAudit::new();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || audit.incident(Incident::RuleFailed));
    assert_eq!(series(&snapshotter)[&format!("{INCIDENTS}{{incident=rule_failed}}")], "1");
}

#[tokio::test]
async fn live_sessions_are_the_storages_number_with_its_time() {
    let (audit, snapshotter) = lab();
    let storage = MemoryStorage::new(MemoryStorageConfig::default()).unwrap();
    let clock = ManualClock::default();
    for name in ["alice", "bob", "carol"] {
        storage.insert(&sign_in(name, &clock)).await.unwrap();
    }
    audit.sample_once(&storage, &clock).await.unwrap();
    let gauges = |series: &BTreeMap<String, String>| {
        [LIVE_SESSIONS, LIVE_SESSIONS_EXACT, LIVE_SESSIONS_SAMPLED].map(|name| series[&format!("{name}{{}}")].clone())
    };
    assert_eq!(gauges(&series(&snapshotter)), ["3", "1", "1767225600"]);
    // Every minute, by the clock. Sessions that end without anybody's doing are counted no more.
    clock.advance(Duration::from_secs(90));
    let sampling = audit.sample_live_sessions(&storage, &clock, Duration::from_mins(1));
    tokio::pin!(sampling);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut sampling).await.is_err());
    assert_eq!(gauges(&series(&snapshotter)), ["3", "1", "1767225690"]);
    clock.advance(Duration::from_mins(1));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut sampling).await.is_err());
    assert_eq!(gauges(&series(&snapshotter)), ["0", "1", "1767225750"]);
}

/// A session of two minutes.
fn sign_in(name: &str, clock: &ManualClock) -> Insert {
    let (random, user, now) = (SystemRandom::new().unwrap(), UserId::parse(name).unwrap(), clock.now());
    let id = SessionId::generate(&user, now, &random).unwrap();
    let end = now + Duration::from_mins(2);
    let session = Session::new(id, user, now, end);
    let control = Control::new(Seed::generate(&random).unwrap(), now, end);
    let limit = SessionLimit::new(5, OnLimit::EvictOldest);
    Insert::new(SessionRecord::new(session, control), limit, Incarnations { user: 1, global: 2 }, now)
}
