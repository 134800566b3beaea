//! The bounded queue of a batched sink: nothing is lost without being counted.

use std::time::Duration;

use session_manager_audit_db::{AuditTable, Batching, Overflow, UserIdEncoding};
use session_manager_core::{AuditBackend, AuditKind, ErrorKind};

use crate::fixture::{Fixture, Server, event, events};

on_each!(
    written_after_an_interval_or_when_a_batch_is_full,
    what_finds_no_room_is_dropped_and_counted,
    or_whoever_records_waits,
    an_outage_loses_nothing_that_is_queued,
    one_bad_event_does_not_hold_up_the_others,
    a_flush_that_is_dropped_loses_nothing,
);

/// Lets the background work run for a moment.
async fn a_moment(work: &mut (impl Future<Output = ()> + Unpin)) {
    assert!(tokio::time::timeout(Duration::from_millis(50), work).await.is_err());
}

async fn written_after_an_interval_or_when_a_batch_is_full<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    let audit = fixture.another().batched(Batching::default().batch(10).interval(Duration::from_secs(5)));
    let mut work = audit.maintenance().unwrap();
    a_moment(&mut work).await;
    audit.record(&events("alice", 3)).await.unwrap();
    a_moment(&mut work).await;
    assert_eq!((fixture.rows().await, audit.stats().queued), (0, 3));
    fixture.clock.advance(Duration::from_secs(5));
    while fixture.rows().await < 3 {
        a_moment(&mut work).await;
    }
    audit.record(&events("bob", 25)).await.unwrap();
    while fixture.rows().await < 28 {
        a_moment(&mut work).await;
    }
    let stats = audit.stats();
    assert_eq!((stats.queued, stats.written, stats.missing()), (0, 28, 0));
    assert!(audit.verify(None).await.unwrap().broken().is_none());
}

async fn what_finds_no_room_is_dropped_and_counted<S: Server>() {
    let fixture = Fixture::<S>::plain().await;
    let audit = fixture.another().batched(Batching::default().capacity(5));
    let told = events("alice", 8);
    audit.record(&told).await.unwrap();
    audit.record(&told[7..]).await.unwrap();
    assert_eq!((audit.stats().queued, audit.stats().dropped), (5, 4));
    audit.flush().await.unwrap();
    assert_eq!(fixture.all().await, told[..5], "the first ones are kept");
    assert_eq!((audit.stats().queued, audit.stats().written, audit.stats().missing()), (0, 5, 4));
}

async fn or_whoever_records_waits<S: Server>() {
    let fixture = Fixture::<S>::plain().await;
    let audit = fixture.another().batched(Batching::default().capacity(5).batch(2).on_overflow(Overflow::Wait));
    let told = events("alice", 23);
    // Nobody runs the background work.
    audit.record(&told).await.unwrap();
    assert!(fixture.rows().await >= 18);
    audit.flush().await.unwrap();
    assert_eq!(fixture.all().await, told);
    assert_eq!(audit.stats().missing(), 0);
}

async fn an_outage_loses_nothing_that_is_queued<S: Server>() {
    let fixture = Fixture::<S>::plain().await;
    let batching = Batching::default().capacity(5).batch(2).on_overflow(Overflow::Wait);
    let audit = fixture.another().batched(batching);
    fixture.run("ALTER TABLE audit RENAME TO away").await;
    let told = events("alice", 7);
    audit.record(&told[..3]).await.unwrap();
    assert_eq!(audit.flush().await.unwrap_err().kind(), ErrorKind::Misconfigured);
    assert!(audit.record(&told[3..]).await.is_err(), "whoever waits is told");
    assert_eq!((audit.stats().queued, audit.stats().returned), (5, 2));
    fixture.run("ALTER TABLE away RENAME TO audit").await;
    audit.flush().await.unwrap();
    assert_eq!(fixture.all().await, told[..5]);
    // A required sink is told again by the manager, from the first event that it may not have taken.
    audit.record(&told[3..]).await.unwrap();
    audit.flush().await.unwrap();
    assert_eq!(fixture.all().await, told);
    assert!(audit.stats().failures >= 2);
}

async fn one_bad_event_does_not_hold_up_the_others<S: Server>() {
    let fixture = Fixture::<S>::with(AuditTable::new("audit").users(UserIdEncoding::BigInt)).await;
    let audit = fixture.another().batched(Batching::default());
    let told = [("42", 0), ("alice", 1), ("43", 2)].map(|(name, millis)| event(AuditKind::Created, name, millis));
    audit.record(&told).await.unwrap();
    audit.flush().await.unwrap();
    assert_eq!(fixture.all().await, [told[0].clone(), told[2].clone()]);
    assert_eq!((audit.stats().refused, audit.stats().missing(), audit.stats().written), (1, 1, 2));
}

async fn a_flush_that_is_dropped_loses_nothing<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    let audit = fixture.another().batched(Batching::default().batch(3));
    let told = events("alice", 60);
    audit.record(&told).await.unwrap();
    for micros in [0, 100, 300, 1_000, 3_000, 5_000] {
        let _ = tokio::time::timeout(Duration::from_micros(micros), audit.flush()).await;
    }
    audit.flush().await.unwrap();
    assert_eq!(fixture.all().await, told);
    assert!(audit.verify(None).await.unwrap().broken().is_none());
}
