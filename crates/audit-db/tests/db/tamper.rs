//! Whatever is done to a chained table without the key is found, and the first row named.

use session_manager_audit_db::{Defect, Head, Verification};
use session_manager_core::{AuditBackend, ErrorKind};

use crate::fixture::{Fixture, Server, at, events, user};

on_each!(
    any_change_of_any_row,
    rows_that_are_gone,
    rows_that_are_moved,
    a_tail_that_is_cut,
    a_chain_without_the_key,
    marks_that_are_forged,
    an_older_key,
);

/// Ten rows, and the head as it was kept outside.
async fn ten<S: Server>() -> (Fixture<S>, Head) {
    let fixture = Fixture::<S>::chained().await;
    fixture.audit.record(&events("alice", 10)).await.unwrap();
    let head = fixture.audit.head().await.unwrap();
    holds(&fixture, &head, 10).await;
    (fixture, head)
}

async fn holds<S: Server>(fixture: &Fixture<S>, head: &Head, rows: u64) {
    let found = fixture.audit.verify(Some(head)).await.unwrap();
    assert!(matches!(&found, Verification::Holds(verified) if verified.rows == rows), "{found:?}");
}

/// The first broken row and what is wrong with it.
async fn broken<S: Server>(fixture: &Fixture<S>, head: &Head) -> (u64, Defect) {
    let found = fixture.audit.verify(Some(head)).await.unwrap();
    let broken = found.broken().unwrap_or_else(|| panic!("nothing was found: {found:?}"));
    (broken.seq, broken.defect)
}

async fn any_change_of_any_row<S: Server>() {
    let changes = [
        ("kind = 'created'", Defect::Changed),
        ("session_id = NULL", Defect::Changed),
        ("user_id = 'mallory'", Defect::PersonalChanged),
        ("user_id = NULL", Defect::PersonalChanged),
        ("actor = 'system'", Defect::PersonalChanged),
        ("ip_address = '192.0.2.1'", Defect::PersonalChanged),
        ("user_agent = 'other'", Defect::PersonalChanged),
        ("device_name = ''", Defect::PersonalChanged),
        ("application = NULL", Defect::PersonalChanged),
        ("hints = '{}'", Defect::PersonalChanged),
        ("request_id = 'other'", Defect::PersonalChanged),
        ("reason = 'another'", Defect::PersonalChanged),
        ("details = NULL", Defect::PersonalChanged),
        ("mac = commitments", Defect::Changed),
        ("commitments = mac", Defect::Changed),
        ("subject_salt = client_salt", Defect::PersonalChanged),
        ("reason = NULL, details = NULL, text_salt = NULL", Defect::Blanked),
        ("user_id = NULL, subject_salt = NULL", Defect::Blanked),
    ];
    for (row, (change, defect)) in (1_u64..).zip(changes) {
        let row = row % 10 + 1;
        let (fixture, head) = ten::<S>().await;
        fixture.run(&format!("UPDATE audit SET {change} WHERE seq = {row}")).await;
        assert_eq!(broken(&fixture, &head).await, (row, defect), "{change}");
        let named = fixture.audit.verify(None).await.unwrap();
        assert!(named.broken().is_some_and(|broken| broken.event.is_some()), "{change}: {named:?}");
    }
    // The time, whose column has another type in each database.
    let (fixture, head) = ten::<S>().await;
    fixture
        .run("UPDATE audit SET at = (SELECT earlier FROM (SELECT MIN(at) AS earlier FROM audit) AS x) WHERE seq = 4")
        .await;
    assert_eq!(broken(&fixture, &head).await, (4, Defect::Changed));
}

async fn rows_that_are_gone<S: Server>() {
    for (gone, first) in [("seq = 1", 1), ("seq = 5", 5), ("seq IN (5, 6)", 5), ("seq = 10", 10), ("seq > 0", 1)] {
        let (fixture, head) = ten::<S>().await;
        fixture.run(&format!("DELETE FROM audit WHERE {gone}")).await;
        assert_eq!(broken(&fixture, &head).await, (first, Defect::Missing), "{gone}");
    }
}

async fn rows_that_are_moved<S: Server>() {
    let (fixture, head) = ten::<S>().await;
    for swap in ["seq = 99 WHERE seq = 4", "seq = 4 WHERE seq = 6", "seq = 6 WHERE seq = 99"] {
        fixture.run(&format!("UPDATE audit SET {swap}")).await;
    }
    assert_eq!(broken(&fixture, &head).await, (4, Defect::Changed));
    // A row before all others, and one after.
    for (moved, first) in [("seq = 0 WHERE seq = 3", 3), ("seq = 11 WHERE seq = 3", 3)] {
        let (fixture, head) = ten::<S>().await;
        fixture.run(&format!("UPDATE audit SET {moved}")).await;
        assert_eq!(broken(&fixture, &head).await, (first, Defect::Missing), "{moved}");
    }
}

async fn a_tail_that_is_cut<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    fixture.audit.record(&events("alice", 6)).await.unwrap();
    // An attacker has kept the mark of the head as it was, genuine and signed, and puts it back.
    fixture.run("CREATE TABLE kept AS SELECT * FROM audit_chain").await;
    fixture.audit.record(&events("alice", 4)).await.unwrap();
    let head = fixture.audit.head().await.unwrap();
    fixture.run("DELETE FROM audit WHERE seq > 6").await;
    assert_eq!(
        fixture.audit.verify(None).await.unwrap().broken().unwrap().seq,
        7,
        "the mark says that there were more"
    );
    fixture.run("DELETE FROM audit_chain").await;
    fixture.run("INSERT INTO audit_chain SELECT * FROM kept").await;
    assert_eq!(broken(&fixture, &head).await, (7, Defect::Missing));
    // The application goes on, from where the attacker left it.
    fixture.audit.record(&events("bob", 6)).await.unwrap();
    assert_eq!(broken(&fixture, &head).await, (10, Defect::OtherHead));
    assert!(fixture.audit.verify(None).await.unwrap().broken().is_none(), "which only the head kept outside tells");
}

async fn a_chain_without_the_key<S: Server>() {
    // Recomputed from the first row on by somebody who knows all but the key: the same events, chained anew.
    let (fixture, head) = ten::<S>().await;
    let told = fixture.all().await;
    fixture.run("DELETE FROM audit").await;
    fixture.run("DELETE FROM audit_chain").await;
    let forger = fixture.with_secret(b"another key, which is the forger's own..");
    forger.record(&told).await.unwrap();
    assert!(forger.verify(None).await.unwrap().broken().is_none());
    assert_eq!(broken(&fixture, &head).await.1, Defect::HeadMark);
    // With the genuine mark of the head too.
    let (fixture, head) = ten::<S>().await;
    fixture.run("CREATE TABLE kept AS SELECT * FROM audit_chain").await;
    fixture.run("DELETE FROM audit").await;
    fixture.run("DELETE FROM audit_chain").await;
    fixture.with_secret(b"another key, which is the forger's own..").record(&told).await.unwrap();
    fixture.run("DELETE FROM audit_chain").await;
    fixture.run("INSERT INTO audit_chain SELECT * FROM kept").await;
    assert_eq!(broken(&fixture, &head).await, (1, Defect::Changed));
}

async fn marks_that_are_forged<S: Server>() {
    let (fixture, head) = ten::<S>().await;
    fixture.run("UPDATE audit_chain SET seq = 9 WHERE mark = 'head'").await;
    assert_eq!(broken(&fixture, &head).await, (9, Defect::HeadMark));
    // Nothing is added to what was tampered with.
    let error = fixture.audit.record(&events("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(fixture.audit.head().await.is_err());
    // Without the mark a chain would begin again in the middle.
    fixture.run("DELETE FROM audit_chain").await;
    assert_eq!(broken(&fixture, &head).await, (10, Defect::HeadMark));
    assert!(fixture.audit.record(&events("alice", 1)).await.is_err());
    // A checkpoint that nobody signed.
    let (fixture, head) = ten::<S>().await;
    fixture.audit.purge(at(3), 100).await.unwrap();
    holds(&fixture, &head, 7).await;
    fixture.run("DELETE FROM audit WHERE seq <= 5").await;
    fixture.run("UPDATE audit_chain SET seq = 5 WHERE mark = 'purged'").await;
    assert_eq!(broken(&fixture, &head).await, (5, Defect::Checkpoint));
    fixture.run("DELETE FROM audit_chain WHERE mark = 'purged'").await;
    assert_eq!(broken(&fixture, &head).await, (1, Defect::Missing));
    // An erasure's mark that is moved to another row.
    let (fixture, head) = ten::<S>().await;
    fixture.audit.record(&events("bob", 1)).await.unwrap();
    fixture.audit.erase(&user("bob")).await.unwrap();
    holds(&fixture, &head, 11).await;
    fixture.run("UPDATE audit SET user_id = NULL, subject_salt = NULL WHERE seq = 3").await;
    fixture.run("UPDATE audit_chain SET mark = 'erased/00000000000000000003/s', seq = 3 WHERE mark = 'erased/00000000000000000011/s'").await;
    assert_eq!(broken(&fixture, &head).await, (3, Defect::Blanked));
}

async fn an_older_key<S: Server>() {
    use session_manager_audit_db::{AuditTable, ChainKey, ChainTable, DbAudit};
    let (fixture, head) = ten::<S>().await;
    let newest = b"the key of next year, 40 random bytes...";
    let mapping = AuditTable::new("audit").native().chained(ChainTable::new("audit_chain"));
    let key = ChainKey::new(newest).unwrap().accepting(crate::fixture::SECRET).unwrap();
    let next = DbAudit::chained(fixture.pool.clone(), mapping, key).unwrap();
    next.record(&events("alice", 2)).await.unwrap();
    assert!(next.verify(Some(&head)).await.unwrap().broken().is_none());
    assert_eq!(fixture.audit.verify(None).await.unwrap().broken().unwrap().defect, Defect::HeadMark);
}
