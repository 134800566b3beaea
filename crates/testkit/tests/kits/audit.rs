//! Sinks: the plain one, the one that records nothing, and broken ones.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::{AuditBackend, AuditEvent, NoopAudit, Result, UserId};
use session_manager_testkit::conformance::audit::{self, AuditAbility, AuditProbe, AuditSubject};
use session_manager_testkit::conformance::run_kit;
use session_manager_testkit::{ReferenceAudit, audit_conformance};

use crate::fails;

audit_conformance!(reference, async || ReferenceAudit::new());
audit_conformance!(nothing, async || NoopAudit, lacking = [ReadBack, Once, Verbatim, Erasure]);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Nameless,
    FieldLost,
    Reversed,
    Repeated,
    Unflushed,
    Trimmed,
    Replaced,
    Talkative,
    Silent,
    Unerased,
}

/// A sink with one fault.
struct Broken {
    fault: Fault,
    sink: ReferenceAudit,
    held: Mutex<Vec<AuditEvent>>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self { fault, sink: ReferenceAudit::new(), held: Mutex::default() }
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Talkative => write!(f, "Broken({:?})", self.sink.events()),
            _ => f.write_str("Broken"),
        }
    }
}

#[async_trait]
impl AuditBackend for Broken {
    fn name(&self) -> &str {
        if self.fault == Fault::Nameless { "" } else { "broken" }
    }

    async fn record(&self, events: &[AuditEvent]) -> Result<()> {
        let mut events = events.to_vec();
        match self.fault {
            Fault::FieldLost => events.iter_mut().for_each(|event| event.client.hints.clear()),
            Fault::Reversed => events.reverse(),
            Fault::Repeated => {
                self.held.lock().unwrap().extend(events);
                return Ok(());
            }
            Fault::Unflushed => {
                self.held.lock().unwrap().append(&mut events);
                events = self.held.lock().unwrap().drain(..).collect();
                let rest = events.split_off(events.len() - events.len() % 8);
                self.held.lock().unwrap().extend(rest);
            }
            Fault::Trimmed => {
                let trim =
                    |event: &mut AuditEvent| event.reason = event.reason.take().map(|text| text.trim().to_owned());
                events.iter_mut().for_each(trim);
            }
            // Two at once: both read what is held, and each writes what it knows.
            Fault::Replaced => {
                let mut all = self.held.lock().unwrap().clone();
                tokio::task::yield_now().await;
                all.extend(events);
                *self.held.lock().unwrap() = all;
                return Ok(());
            }
            _ => {}
        }
        self.sink.record(&events).await
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn erase(&self, person: &UserId) -> Result<u64> {
        match self.fault {
            Fault::Unerased => Ok(1),
            _ => self.sink.erase(person).await,
        }
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[async_trait]
impl AuditProbe for Broken {
    async fn recorded(&self) -> Option<Vec<AuditEvent>> {
        match self.fault {
            Fault::Repeated | Fault::Replaced => Some(self.held.lock().unwrap().clone()),
            Fault::Silent => None,
            _ => Some(self.sink.events()),
        }
    }
}

/// Whether a check of a sink that lacks this fails.
macro_rules! fails {
    ($fault:ident, $check:ident, $lacking:expr) => {
        fails(|| {
            run_kit(
                async || Broken::new(Fault::$fault),
                async |sink| {
                    audit::$check(AuditSubject::new(sink, $lacking)).await;
                },
            );
        })
    };
}

macro_rules! caught {
    ($($test:ident: $fault:ident by $check:ident;)*) => { $(
        #[test]
        fn $test() {
            assert!(fails!($fault, $check, &[]), "{} did not see it", stringify!($check));
        }
    )* };
}

caught! {
    no_name: Nameless by name_is_stable_and_not_empty;
    lost_hints: FieldLost by every_field_is_recorded;
    reversed_batch: Reversed by order_is_kept;
    recorded_twice: Repeated by recording_again_is_harmless;
    flush_that_does_nothing: Unflushed by flush_leaves_nothing_behind;
    trimmed_text: Trimmed by hostile_text_is_recorded_and_forges_nothing;
    overwritten_by_another: Replaced by concurrent_callers_lose_nothing;
    talkative_debug: Talkative by debug_text_names_nobody;
    unreadable: Silent by every_field_is_recorded;
    erased_by_word_only: Unerased by a_person_is_erased_and_nobody_else;
}

/// What a test names as lacking is forgiven, and nothing beside it.
#[test]
fn only_what_is_named_is_forgiven() {
    assert!(!fails!(Repeated, recording_again_is_harmless, &[AuditAbility::Once]));
    assert!(!fails!(Trimmed, hostile_text_is_recorded_and_forges_nothing, &[AuditAbility::Verbatim]));
    assert!(fails!(Reversed, order_is_kept, &[AuditAbility::Once, AuditAbility::Verbatim]));
    assert!(fails!(FieldLost, every_field_is_recorded, &[AuditAbility::ReadBack]), "it can be read back");
}
