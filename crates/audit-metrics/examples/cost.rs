//! What `authenticate` takes longer with the sink and the telemetry on: `cargo run --release -p session-manager-audit-metrics --example cost`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a program for maintainers"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::registry::{AtomicStorage, Registry};
use session_manager_audit_metrics::MetricsAudit;
use session_manager_core::{
    ClientInfo, Delivery, ManualClock, NewSession, NoopAudit, RequestContext, SessionManager, Token, UserId,
};
use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};
use session_manager_testkit::ReferenceBackend;

/// As exporters keep their series.
struct Kept(Registry<Key, AtomicStorage>);

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.get_or_create_counter(key, |counter| Counter::from_arc(Arc::clone(counter)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.get_or_create_gauge(key, |gauge| Gauge::from_arc(Arc::clone(gauge)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.get_or_create_histogram(key, |histogram| Histogram::from_arc(Arc::clone(histogram)))
    }
}

/// What is on beside the manager itself.
#[derive(Clone, Copy)]
enum On {
    Nothing,
    /// A sink that does nothing: what core itself spends on making events.
    Events,
    Metrics,
}

fn manager(on: On) -> (SessionManager, Token) {
    let mut builder = SessionManager::builder()
        .storage(Arc::new(MemoryStorage::new(MemoryStorageConfig::default()).unwrap()))
        .backend(Arc::new(ReferenceBackend::default()))
        .clock(Arc::new(ManualClock::default()))
        .allow_volatile(true);
    match on {
        On::Nothing => {}
        On::Events => builder = builder.audit(Arc::new(NoopAudit), Delivery::BestEffort),
        On::Metrics => {
            let metrics = MetricsAudit::with_recorder(Arc::new(Kept(Registry::new(AtomicStorage))));
            builder = builder.audit(Arc::new(metrics.clone()), Delivery::BestEffort).telemetry(Arc::new(metrics));
        }
    }
    let manager = builder.build().unwrap();
    let user = UserId::parse("alice").unwrap();
    let context = RequestContext::from_client(ClientInfo::new());
    let created = manager.create(NewSession::of(user), &context);
    let token = created.now_or_never().unwrap().unwrap().tokens.access;
    (manager, token)
}

fn main() {
    let context = RequestContext::from_client(ClientInfo::new());
    let beds = [On::Nothing, On::Events, On::Metrics].map(manager);
    let mut least = [Duration::MAX; 3];
    // In turn, so that a busy machine is busy for all three.
    for _ in 0..40 {
        for ((manager, token), least) in beds.iter().zip(&mut least) {
            let begun = Instant::now();
            for _ in 0..2_000 {
                black_box(manager.authenticate(token.expose(), &context).now_or_never().unwrap().unwrap());
            }
            *least = begun.elapsed().min(*least);
        }
    }
    let [nothing, events, metrics] = least.map(|least| least.as_secs_f64() * 1e9 / 2_000.0);
    println!("authenticate, opaque tokens, memory storage, the least of 40 rounds, in nanoseconds");
    println!("nothing on {nothing:.0}, a sink that does nothing {events:.0}, metrics {metrics:.0}");
    println!("metrics over nothing {:.0}, over the sink that does nothing {:.0}", metrics - nothing, metrics - events);
}
