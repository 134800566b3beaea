//! The suite for audit sinks; most tests use [`audit_conformance!`](crate::audit_conformance).

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use serde_json::json;
use session_manager_core::clock::after;
use session_manager_core::{Actor, AuditBackend, AuditEvent, AuditKind, ClientInfo, SessionId, UserId};
use uuid::Uuid;

use super::concurrency::at_once;
use super::kit::{HOSTILE, assert_silent, endless};

/// An audit sink together with a way to see what it holds.
#[async_trait]
pub trait AuditProbe: AuditBackend {
    /// Everything that the sink holds, oldest first; `None` where it keeps nothing that can be read back.
    async fn recorded(&self) -> Option<Vec<AuditEvent>>;
}

#[async_trait]
impl AuditProbe for session_manager_core::NoopAudit {
    async fn recorded(&self) -> Option<Vec<AuditEvent>> {
        None
    }
}

/// Something that not every sink does. What is lacking is named by the test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AuditAbility {
    /// What it holds can be read back. A sink that lacks it must give `None`.
    ReadBack,
    /// An event that is recorded twice is held once.
    Once,
    /// Text reads back exactly as it was, not escaped or cut.
    Verbatim,
    /// A person can be erased from what it holds, which a log cannot.
    Erasure,
}

/// A sink and what it lacks.
#[derive(Clone, Debug)]
pub struct AuditSubject {
    sink: Arc<dyn AuditProbe>,
    lacking: &'static [AuditAbility],
}

impl AuditSubject {
    /// A fresh, empty sink, and what it lacks.
    pub fn new(sink: impl AuditProbe + 'static, lacking: &'static [AuditAbility]) -> Self {
        Self { sink: Arc::new(sink), lacking }
    }

    fn has(&self, ability: AuditAbility) -> bool {
        !self.lacking.contains(&ability)
    }

    async fn record(&self, events: &[AuditEvent]) {
        self.sink.record(events).await.expect("the sink records");
    }

    /// What the sink holds once it is flushed; nothing to compare where it cannot be read back.
    #[allow(clippy::print_stderr, reason = "what is not proved is said aloud")]
    async fn held(&self) -> Option<Vec<AuditEvent>> {
        self.sink.flush().await.expect("the sink flushes");
        let held = self.sink.recorded().await;
        assert_eq!(held.is_some(), self.has(AuditAbility::ReadBack), "the sink and its test disagree on ReadBack");
        if held.is_none() {
            eprintln!("NOT READ BACK: what the sink was told is not compared with what it holds");
        }
        held
    }
}

/// An event with every field filled.
fn full(number: u128, kind: AuditKind) -> AuditEvent {
    let at = DateTime::from_timestamp_millis(1_767_225_600_123).expect("a time");
    let mut event = AuditEvent::new(Uuid::from_u128(number), kind, at, Actor::Service("billing".to_owned()));
    event.session_id = Some(SessionId::from(Uuid::from_u128(number + (1 << 64))));
    event.user_id = Some(UserId::parse("alice@example.org").expect("a user id"));
    let address = "2001:db8::17".parse().expect("an address");
    event.client = ClientInfo::new().ip(address).agent("Firefox on Linux").named("Zoë's laptop").application("web");
    event.client.hints.insert("sec-ch-ua-mobile".to_owned(), "?0".to_owned());
    event.reason = Some("logout".to_owned());
    event.request_id = Some("req-1".to_owned());
    event.details.insert("count".to_owned(), json!(3));
    event.details.insert("deep".to_owned(), json!({"list": [1, "two", null, true]}));
    event
}

fn ids(events: &[AuditEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}

/// The sink's name is stable, not empty, and fit for a label.
pub async fn name_is_stable_and_not_empty(subject: AuditSubject) {
    let name = subject.sink.name().to_owned();
    assert!(!name.trim().is_empty() && name.len() <= 64 && !name.chars().any(char::is_control), "{name:?}");
    subject.record(&[full(1, AuditKind::Created)]).await;
    assert_eq!(subject.sink.name(), name);
}

/// Every field of an event of every kind reads back as it was, and what an event does not say stays unsaid.
pub async fn every_field_is_recorded(subject: AuditSubject) {
    let mut events: Vec<_> = (1..).zip(AuditKind::ALL).map(|(number, kind)| full(number, kind)).collect();
    for actor in [Actor::System, Actor::User(UserId::parse("root").expect("a user id"))] {
        let number = u128::try_from(events.len()).expect("a number") + 1;
        events.push(AuditEvent::new(Uuid::from_u128(number), AuditKind::Rotated, DateTime::UNIX_EPOCH, actor));
    }
    subject.record(&events).await;
    if let Some(held) = subject.held().await {
        assert_eq!(held, events);
    }
}

/// Events stand in the order in which they were recorded, within a call and from call to call, whatever time they bear.
pub async fn order_is_kept(subject: AuditSubject) {
    let mut events = Vec::new();
    // Neither the ids nor the times are in the order of recording.
    for number in [5, 3, 9, 1, 8, 2, 7] {
        let mut event = full(number, AuditKind::Accessed);
        event.at = after(event.at, std::time::Duration::from_secs(u64::try_from(number).expect("a number")));
        events.push(event);
    }
    subject.record(&[]).await;
    subject.record(&events[..3]).await;
    for event in &events[3..5] {
        subject.record(std::slice::from_ref(event)).await;
    }
    subject.record(&events[5..]).await;
    if let Some(held) = subject.held().await {
        assert_eq!(ids(&held), ids(&events));
    }
}

/// Recording an event again, by its id, is harmless: in the same call, in a later one, and after a flush.
pub async fn recording_again_is_harmless(subject: AuditSubject) {
    let events = [full(1, AuditKind::Revoked), full(2, AuditKind::Expired)];
    subject.record(&[events[0].clone(), events[0].clone(), events[1].clone()]).await;
    subject.sink.flush().await.expect("the sink flushes");
    subject.record(&events).await;
    if let Some(mut held) = subject.held().await {
        if !subject.has(AuditAbility::Once) {
            let mut seen = BTreeSet::new();
            held.retain(|event| seen.insert(event.id));
        }
        assert_eq!(held, events);
    }
}

/// What was recorded is there after a flush, and flushing again, or with nothing to flush, is fine.
pub async fn flush_leaves_nothing_behind(subject: AuditSubject) {
    subject.sink.flush().await.expect("there is nothing to flush");
    for number in 1..=100 {
        subject.record(&[full(number, AuditKind::Refreshed)]).await;
    }
    if let Some(held) = subject.held().await {
        assert_eq!(held.len(), 100);
    }
    subject.sink.flush().await.expect("there is nothing left to flush");
}

/// Text from outside is taken, forges no event and changes no other field; where the sink keeps text verbatim, it reads back exactly.
pub async fn hostile_text_is_recorded_and_forges_nothing(subject: AuditSubject) {
    let endless = endless();
    let mut events = Vec::new();
    for (number, text) in (1..).zip(HOSTILE.into_iter().chain([&*endless])) {
        let mut event = full(number, AuditKind::Rejected);
        event.client = ClientInfo::new().agent(text).named(text).application(text);
        event.client.hints.insert("sec-ch-ua".to_owned(), text.to_owned());
        (event.reason, event.request_id) = (Some(text.to_owned()), Some(text.to_owned()));
        event.details.insert("note".to_owned(), json!([text]));
        event.details.insert(format!("key {text}"), json!(1));
        events.push(event);
    }
    subject.record(&events).await;
    let Some(held) = subject.held().await else { return };
    if subject.has(AuditAbility::Verbatim) {
        assert_eq!(held, events);
    }
    let sure = |events: &[AuditEvent]| -> Vec<_> {
        let parts = |event: &AuditEvent| {
            (event.id, event.kind, event.at, event.session_id, event.user_id.clone(), event.actor.clone())
        };
        events.iter().map(parts).collect()
    };
    assert_eq!(sure(&held), sure(&events));
}

/// What many record at once is all held, each caller's in its order.
pub async fn concurrent_callers_lose_nothing(subject: AuditSubject) {
    let tasks = at_once(32, |caller| {
        let subject = subject.clone();
        async move {
            let caller = u128::try_from(caller).expect("a number");
            let mine: Vec<_> = (0..8).map(|number| full(caller * 8 + number + 1, AuditKind::Accessed)).collect();
            for pair in mine.chunks(2) {
                subject.record(pair).await;
                tokio::task::yield_now().await;
            }
            subject.sink.flush().await.expect("the sink flushes");
            ids(&mine)
        }
    })
    .await;
    let Some(held) = subject.held().await else { return };
    assert_eq!(held.len(), 32 * 8, "nothing is lost, and nothing is there twice");
    for mine in tasks {
        let found: Vec<_> = ids(&held).into_iter().filter(|id| mine.contains(id)).collect();
        assert_eq!(found, mine, "one caller's events stand in its order");
    }
}

/// Who is erased is named by no event any more, nor is the client of what they did; every event stays, and those of others as they were.
/// A sink that lacks `AuditAbility::Erasure` says that it has erased nothing.
pub async fn a_person_is_erased_and_nobody_else(subject: AuditSubject) {
    let person = UserId::parse("mallory-17").expect("a user id");
    let other = UserId::parse("mallory-1").expect("a user id");
    let acts = [
        (Some(&person), Actor::User(person.clone())),
        (Some(&other), Actor::User(other.clone())),
        (Some(&other), Actor::User(person.clone())),
        (Some(&person), Actor::Service("billing".to_owned())),
        (None, Actor::System),
    ];
    let events = (1..).zip(acts).map(|(number, (user, actor))| {
        let mut event = full(number, AuditKind::Revoked);
        event.user_id = user.cloned();
        event.details.insert("by".to_owned(), json!(actor.to_string()));
        event.actor = actor;
        event
    });
    let events: Vec<_> = events.collect();
    subject.record(&events).await;
    let erased = subject.sink.erase(&person).await.expect("the sink erases");
    if !subject.has(AuditAbility::Erasure) {
        assert_eq!(erased, 0, "a sink that cannot erase does not say that it has");
        return;
    }
    assert_eq!(erased, 3);
    assert_eq!(subject.sink.erase(&person).await.expect("the sink erases"), 0, "repeating it is harmless");
    let Some(held) = subject.held().await else { return };
    assert_eq!(ids(&held), ids(&events), "events stay");
    assert_eq!((&held[1], &held[4]), (&events[1], &events[4]), "others are as they were");
    for (before, after) in events.iter().zip(&held) {
        let text = serde_json::to_string(after).expect("an event");
        assert!(!text.contains(person.as_str()), "{text}");
        assert_eq!((after.kind, after.at, after.session_id), (before.kind, before.at, before.session_id));
    }
    assert_eq!(held[0].client, ClientInfo::new(), "the client was the person's");
    assert_eq!(held[2].user_id.as_ref(), Some(&other), "it happened to somebody else");
    assert_eq!(held[3].actor, events[3].actor, "somebody else did it");
}

/// The `Debug` text of the sink names no session, user or client, also while it holds their events.
pub async fn debug_text_names_nobody(subject: AuditSubject) {
    let event = full(1, AuditKind::Created);
    subject.record(std::slice::from_ref(&event)).await;
    let session = event.session_id.expect("a session").to_string();
    let debug = format!("{:?} {:#?}", subject.sink, subject.sink);
    assert_silent(&debug, &[&session, "alice@example.org", "2001:db8::17", "Firefox on Linux", "laptop", "req-1"]);
}

/// Generates a module of tests, one for each check of the suite for audit sinks.
///
/// The second argument makes a future of a **fresh, empty** sink that is an [`AuditProbe`](crate::conformance::audit::AuditProbe). What
/// it does not do is named in `lacking`, by [`AuditAbility`](crate::conformance::audit::AuditAbility).
///
/// ```
/// use session_manager_core::NoopAudit;
/// use session_manager_testkit::{ReferenceAudit, audit_conformance};
///
/// audit_conformance!(in_memory, async || ReferenceAudit::new());
/// audit_conformance!(nothing, async || NoopAudit, lacking = [ReadBack, Once, Verbatim, Erasure]);
/// ```
#[macro_export]
macro_rules! audit_conformance {
    ($module:ident, $factory:expr $(,)?) => {
        $crate::audit_conformance!($module, $factory, lacking = []);
    };
    ($module:ident, $factory:expr, lacking = [$($ability:ident),* $(,)?] $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            const LACKING: &[$crate::conformance::audit::AuditAbility] =
                &[$($crate::conformance::audit::AuditAbility::$ability),*];

            $crate::audit_conformance!(@tests $factory,
                name_is_stable_and_not_empty
                every_field_is_recorded
                order_is_kept
                recording_again_is_harmless
                flush_leaves_nothing_behind
                hostile_text_is_recorded_and_forges_nothing
                concurrent_callers_lose_nothing
                a_person_is_erased_and_nobody_else
                debug_text_names_nobody
            );
        }
    };
    (@tests $factory:expr, $($check:ident)*) => {
        $(#[test]
        fn $check() {
            $crate::conformance::run_kit($factory, async |sink| {
                let subject = $crate::conformance::audit::AuditSubject::new(sink, LACKING);
                $crate::conformance::audit::$check(subject).await;
            });
        })*
    };
}
