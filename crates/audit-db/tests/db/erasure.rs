//! One person's data are erased, and nothing else.

use session_manager_audit_db::Verification;
use session_manager_core::{Actor, AuditBackend, AuditKind};

use crate::fixture::{Fixture, Server, event, events, user};

on_each!(a_person_is_erased_and_the_chain_holds, what_others_did_stays, no_other_byte_changes);

async fn a_person_is_erased_and_the_chain_holds<S: Server>() {
    for fixture in [Fixture::<S>::plain().await, Fixture::<S>::chained().await] {
        // More than one step erases.
        fixture.audit.record(&events("alice", 600)).await.unwrap();
        fixture.audit.record(&events("bob", 3)).await.unwrap();
        let head = if fixture.audit.head().await.is_ok() { Some(fixture.audit.head().await.unwrap()) } else { None };
        assert_eq!(fixture.audit.erase(&user("alice")).await.unwrap(), 600);
        assert_eq!(fixture.audit.erase(&user("alice")).await.unwrap(), 0, "there is nothing left");
        let left = fixture.all().await;
        assert_eq!(left.len(), 603);
        let text = serde_json::to_string(&left).unwrap();
        assert!(!text.contains("alice") && text.contains("bob's device"), "{text}");
        let erased = left.iter().filter(|event| event.user_id.is_none()).collect::<Vec<_>>();
        assert_eq!(erased.len(), 600);
        assert!(erased.iter().all(|event| event.session_id.is_some() && event.kind == AuditKind::Refreshed));
        if let Some(head) = head {
            let found = fixture.audit.verify(Some(&head)).await.unwrap();
            assert!(
                matches!(found, Verification::Holds(verified) if verified.rows == 603 && verified.head == head),
                "{found:?}"
            );
            // And goes on.
            fixture.audit.record(&events("carol", 1)).await.unwrap();
            assert!(fixture.audit.verify(Some(&head)).await.unwrap().broken().is_none());
        }
    }
}

async fn what_others_did_stays<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    let mut by_admin = event(AuditKind::Revoked, "alice", 0);
    by_admin.actor = Actor::User(user("admin"));
    let mut of_another = event(AuditKind::Revoked, "bob", 1);
    of_another.actor = Actor::User(user("alice"));
    let mut by_system = event(AuditKind::Expired, "alice", 2);
    by_system.actor = Actor::System;
    fixture.audit.record(&[by_admin, of_another, by_system]).await.unwrap();
    assert_eq!(fixture.audit.erase(&user("alice")).await.unwrap(), 3);
    let left = fixture.all().await;
    let told: Vec<_> = left
        .iter()
        .map(|event| {
            (
                event.user_id.as_ref().map(|user| user.as_str().to_owned()),
                event.actor.to_string(),
                event.client.ip_address.is_some(),
            )
        })
        .collect();
    let erased = || "service:erased".to_owned();
    let expected =
        [(None, "user:admin".to_owned(), true), (Some("bob".to_owned()), erased(), false), (None, erased(), false)];
    assert_eq!(told, expected);
    assert!(left.iter().all(|event| event.reason.is_none() && event.details.is_empty()));
    assert!(fixture.audit.verify(None).await.unwrap().broken().is_none());
}

async fn no_other_byte_changes<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    fixture.audit.record(&events("alice", 3)).await.unwrap();
    fixture.run("CREATE TABLE kept AS SELECT * FROM audit").await;
    fixture.audit.erase(&user("alice")).await.unwrap();
    let same = "SELECT COUNT(*) FROM audit a JOIN kept k ON a.id = k.id AND a.kind = k.kind AND a.at = k.at AND a.session_id = k.session_id \
        AND a.seq = k.seq AND a.mac = k.mac AND a.commitments = k.commitments";
    assert_eq!(S::number(&fixture.pool, same).await, 3);
    let gone = "SELECT COUNT(*) FROM audit WHERE user_id IS NULL AND actor IS NULL AND ip_address IS NULL AND user_agent IS NULL AND \
        device_name IS NULL AND application IS NULL AND hints IS NULL AND request_id IS NULL AND reason IS NULL AND details IS NULL AND \
        subject_salt IS NULL AND client_salt IS NULL AND text_salt IS NULL";
    assert_eq!(S::number(&fixture.pool, gone).await, 3);
}
