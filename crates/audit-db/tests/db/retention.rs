//! Old rows go in batches, and a chain still holds.

use std::time::Duration;

use futures_util::FutureExt;
use session_manager_audit_db::{DEFAULT_RETENTION, Verification};
use session_manager_core::{AuditBackend, AuditKind, Clock};

use crate::fixture::{Fixture, Server, at, event, events, user};

on_each!(
    old_rows_go_in_batches,
    a_purged_chain_holds,
    what_was_tampered_with_stays,
    nodes_clean_up_together,
    by_itself_after_ninety_days
);

async fn old_rows_go_in_batches<S: Server>() {
    let fixture = Fixture::<S>::plain().await;
    fixture.audit.record(&events("alice", 10)).await.unwrap();
    let first = fixture.audit.purge(at(7), 5).await.unwrap();
    assert_eq!((first.removed, first.complete), (5, false));
    let second = fixture.audit.purge(at(7), 5).await.unwrap();
    assert_eq!((second.removed, second.complete), (2, true));
    let left: Vec<_> = fixture.all().await.into_iter().map(|event| event.at).collect();
    assert_eq!(left, [at(7), at(8), at(9)], "what is as old as the bound stays");
}

async fn a_purged_chain_holds<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    fixture.audit.record(&events("alice", 10)).await.unwrap();
    // Recorded late: it waits for those before it.
    fixture.audit.record(&[event(AuditKind::Created, "bob", 2)]).await.unwrap();
    let head = fixture.audit.head().await.unwrap();
    fixture.audit.erase(&user("bob")).await.unwrap();
    for (bound, limit, removed, complete) in [(4, 3, 3, false), (4, 3, 1, true), (9, 100, 5, true)] {
        let purged = fixture.audit.purge(at(bound), limit).await.unwrap();
        assert_eq!((purged.removed, purged.complete), (removed, complete));
        assert!(fixture.audit.verify(Some(&head)).await.unwrap().broken().is_none());
    }
    assert_eq!(fixture.rows().await, 2);
    // All of it: the head is then the checkpoint's own.
    fixture.audit.purge(at(1000), 100).await.unwrap();
    let found = fixture.audit.verify(Some(&head)).await.unwrap();
    assert!(matches!(found, Verification::Holds(verified) if (verified.rows, verified.purged) == (0, 11)), "{found:?}");
    assert_eq!(S::number(&fixture.pool, "SELECT COUNT(*) FROM audit_chain WHERE mark LIKE 'erased%'").await, 0);
    fixture.audit.record(&events("carol", 2)).await.unwrap();
    let found = fixture.audit.verify(Some(&head)).await.unwrap();
    assert!(matches!(found, Verification::Holds(verified) if verified.head.seq == 13), "{found:?}");
}

async fn what_was_tampered_with_stays<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    fixture.audit.record(&events("alice", 5)).await.unwrap();
    fixture.run("UPDATE audit SET reason = 'another' WHERE seq = 3").await;
    let error = fixture.audit.purge(at(1000), 100).await.unwrap_err();
    assert!(error.to_string().contains("row 3"), "{error}");
    assert_eq!(fixture.rows().await, 5);
}

async fn nodes_clean_up_together<S: Server>() {
    for fixture in [Fixture::<S>::plain().await, Fixture::<S>::chained().await] {
        fixture.audit.record(&events("alice", 200)).await.unwrap();
        let nodes: Vec<_> = (0..4).map(|_| fixture.another()).collect();
        let node = |number: usize| {
            let node = &nodes[number];
            async move {
                let mut removed = 0;
                loop {
                    let purged = node.purge(at(150), 20).await.unwrap();
                    removed += purged.removed;
                    if purged.complete {
                        return removed;
                    }
                }
            }
        };
        let (a, b, c, d) = tokio::join!(node(0), node(1), node(2), node(3));
        assert_eq!(a + b + c + d, 150, "each row was removed once");
        assert_eq!(fixture.rows().await, 50);
    }
}

async fn by_itself_after_ninety_days<S: Server>() {
    let fixture = Fixture::<S>::plain().await;
    let old = events("alice", 1500);
    fixture.audit.record(&old).await.unwrap();
    fixture.audit.record(&[event(AuditKind::Created, "bob", 1_000_000)]).await.unwrap();
    fixture.clock.set(at(0));
    fixture.clock.advance(DEFAULT_RETENTION);
    fixture.clock.advance(Duration::from_secs(2));
    assert_eq!(fixture.clock.now(), at(7_776_002_000));
    let maintenance = fixture.audit.maintenance().unwrap();
    tokio::pin!(maintenance);
    while fixture.rows().await > 1 {
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut maintenance).await.is_err());
    }
    assert_eq!(fixture.rows().await, 1);
    assert!(fixture.another().keep_for_ever().maintenance().is_none());
    assert!(maintenance.now_or_never().is_none());
}
