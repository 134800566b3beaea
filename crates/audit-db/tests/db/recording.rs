//! What is recorded is what was told, once, by however many writers.

use std::collections::BTreeSet;

use session_manager_audit_db::{
    AddressEncoding, AuditTable, ChainTable, Field, IdEncoding, JsonEncoding, TimeEncoding, UserIdEncoding,
    Verification,
};
use session_manager_core::{Actor, AuditBackend, AuditEvent, AuditKind, ClientInfo, ErrorKind};

use crate::fixture::{Fixture, Server, at, event, events, fresh_id, user};

on_each!(
    every_kind_with_all_its_data,
    nothing_but_the_essential,
    other_mappings,
    twice_is_once,
    a_value_that_does_not_fit,
    several_writers_make_one_chain,
);

async fn every_kind_with_all_its_data<S: Server>() {
    for fixture in [Fixture::<S>::plain().await, Fixture::<S>::chained().await] {
        let told: Vec<_> = (0..).zip(AuditKind::ALL).map(|(millis, kind)| event(kind, "alice", millis)).collect();
        fixture.audit.record(&told).await.unwrap();
        fixture.audit.flush().await.unwrap();
        assert_eq!(fixture.all().await, told);
    }
}

async fn nothing_but_the_essential<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    let told = [Actor::System, Actor::Service("desk".to_owned())].map(|actor| {
        let millis = i64::from(actor != Actor::System);
        AuditEvent::new(fresh_id(), AuditKind::Rotated, at(millis), actor)
    });
    fixture.audit.record(&told).await.unwrap();
    assert_eq!(fixture.all().await, told);
    fixture.audit.record(&[]).await.unwrap();
}

async fn other_mappings<S: Server>() {
    let bare = AuditTable::new("audit")
        .ids(IdEncoding::Text)
        .times(TimeEncoding::Rfc3339)
        .column(Field::At, "happened_at")
        .without(Field::IpAddress)
        .without(Field::UserAgent)
        .without(Field::DeviceName)
        .without(Field::Application)
        .without(Field::Hints)
        .without(Field::RequestId)
        .without(Field::Reason);
    let binary =
        AuditTable::new("audit").ids(IdEncoding::Binary).json(JsonEncoding::Json).addresses(AddressEncoding::Inet);
    for mapping in [bare, binary.clone(), binary.chained(ChainTable::new("chain").columns("m", "s", "c", "p"))] {
        let fixture = Fixture::<S>::with(mapping).await;
        let told = events("alice", 3);
        fixture.audit.record(&told).await.unwrap();
        assert_eq!(fixture.all().await, told);
        assert_eq!(fixture.audit.erase(&user("alice")).await.unwrap(), 3);
        assert!(
            fixture.all().await.iter().all(|event| event.client == ClientInfo::default() && event.reason.is_none())
        );
    }
    let numbers = Fixture::<S>::with(AuditTable::new("audit").users(UserIdEncoding::BigInt)).await;
    let told = events("42", 2);
    numbers.audit.record(&told).await.unwrap();
    assert_eq!(numbers.all().await, told);
}

async fn twice_is_once<S: Server>() {
    for fixture in [Fixture::<S>::plain().await, Fixture::<S>::chained().await] {
        // More than one statement takes.
        let told = events("alice", 300);
        let doubled: Vec<_> = told.iter().chain(&told[..10]).cloned().collect();
        fixture.audit.record(&doubled).await.unwrap();
        fixture.another().record(&told[250..]).await.unwrap();
        fixture.audit.record(&told[..1]).await.unwrap();
        assert_eq!(fixture.all().await.len(), 300);
        // What is told again changes nothing.
        let mut changed = told[5].clone();
        changed.reason = Some("another".to_owned());
        fixture.audit.record(&[changed]).await.unwrap();
        assert_eq!(fixture.all().await, told);
    }
}

async fn a_value_that_does_not_fit<S: Server>() {
    let fixture = Fixture::<S>::with(AuditTable::new("audit").users(UserIdEncoding::BigInt)).await;
    let error = fixture.audit.record(&events("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!format!("{error:?}").contains("alice"), "{error:?}");
    // A character that PostgreSQL cannot hold is replaced, not refused: whoever names a device must not stop the trail.
    let fixture = Fixture::<S>::chained().await;
    let mut told = event(AuditKind::Created, "alice", 0);
    told.client.device_name = Some("a\0b".to_owned());
    fixture.audit.record(&[told]).await.unwrap();
    assert_eq!(fixture.all().await[0].client.device_name.as_deref(), Some("a\u{FFFD}b"));
}

async fn several_writers_make_one_chain<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    let mut tasks = Vec::new();
    for writer in 0..6 {
        let audit = fixture.another();
        tasks.push(tokio::spawn(async move {
            let told = events(&format!("writer{writer}"), 20);
            for several in told.chunks(3) {
                audit.record(several).await.unwrap();
            }
            told.into_iter().map(|event| event.id).collect::<Vec<_>>()
        }));
    }
    let mut told = BTreeSet::new();
    for task in tasks {
        told.extend(task.await.unwrap());
    }
    let found: BTreeSet<_> = fixture.all().await.into_iter().map(|event| event.id).collect();
    assert_eq!(found, told);
    let Verification::Holds(verified) = fixture.audit.verify(None).await.unwrap() else {
        panic!("the chain is broken")
    };
    assert_eq!((verified.rows, verified.head.seq), (120, 120));
    assert_eq!(fixture.audit.head().await.unwrap(), verified.head);
}
