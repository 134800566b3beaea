//! The trail is read back by user, session, kind and time, page by page, and as JSON Lines.

use futures_util::TryStreamExt;
use session_manager_audit_db::AuditQuery;
use session_manager_core::{AuditBackend, AuditEvent, AuditKind, SessionId};
use uuid::Uuid;

use crate::fixture::{Fixture, Server, at, event, user};

on_each!(by_user_session_kind_and_time, page_by_page, as_json_lines);

async fn by_user_session_kind_and_time<S: Server>() {
    let fixture = Fixture::<S>::plain().await;
    let mut told = vec![
        event(AuditKind::Created, "alice", 0),
        event(AuditKind::Refreshed, "alice", 10),
        event(AuditKind::Revoked, "alice", 20),
        event(AuditKind::Created, "bob", 30),
    ];
    let other = SessionId::from(Uuid::from_u128(8));
    told[3].session_id = Some(other);
    fixture.audit.record(&told).await.unwrap();
    let all = AuditQuery::new;
    let cases: [(AuditQuery, &[usize]); 10] = [
        (all(), &[3, 2, 1, 0]),
        (all().oldest_first(), &[0, 1, 2, 3]),
        (all().user(user("alice")), &[2, 1, 0]),
        (all().user(user("Alice")), &[]),
        (all().session(other), &[3]),
        (all().kind(AuditKind::Created), &[3, 0]),
        (all().kind(AuditKind::Created).kind(AuditKind::Revoked).user(user("alice")), &[2, 0]),
        (all().from(at(10)).until(at(30)), &[2, 1]),
        (all().from(at(31)), &[]),
        (all().user(user("alice")).kind(AuditKind::Accessed), &[]),
    ];
    for (query, expected) in cases {
        let found = fixture.audit.query(&query).await.unwrap().events;
        let expected: Vec<_> = expected.iter().map(|number| told[*number].clone()).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

async fn page_by_page<S: Server>() {
    let fixture = Fixture::<S>::plain().await;
    // Several at one time, so that the id decides.
    let mut told: Vec<_> = (0..25).map(|number| event(AuditKind::Accessed, "alice", number / 7)).collect();
    fixture.audit.record(&told).await.unwrap();
    told.sort_by_key(|event| (event.at, event.id));
    for oldest_first in [true, false] {
        let mut query = AuditQuery::new().limit(4);
        if oldest_first {
            query = query.oldest_first();
        }
        let mut found = Vec::new();
        loop {
            let page = fixture.audit.query(&query).await.unwrap();
            assert!(page.events.len() == 4 || page.next.is_none());
            found.extend(page.events);
            let Some(next) = page.next else { break };
            // Through its text, and with events that come meanwhile.
            query = query.after(next.to_string().parse().unwrap());
            if !oldest_first {
                fixture.audit.record(&[event(AuditKind::Accessed, "alice", 1000)]).await.unwrap();
            }
        }
        if !oldest_first {
            found.reverse();
        }
        assert_eq!(found, told);
    }
}

async fn as_json_lines<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    let told: Vec<_> = (0..1205).map(|millis| event(AuditKind::Accessed, "alice", millis)).collect();
    fixture.audit.record(&told).await.unwrap();
    let lines: Vec<String> = fixture.audit.export(AuditQuery::new().oldest_first()).try_collect().await.unwrap();
    assert!(lines.iter().all(|line| line.ends_with('\n') && line.lines().count() == 1));
    let found: Vec<AuditEvent> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found, told);
}
