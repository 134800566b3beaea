//! The reference schema fits, and whatever does not is named.

use session_manager_audit_db::{AuditTable, ChainKey, ChainTable, DbAudit, Field, JsonEncoding, reference_ddl};
use session_manager_core::ErrorKind;
use session_manager_core::storage::Severity;
use sqlx::{MySql, Postgres, Sqlite};

use crate::fixture::{Fixture, SECRET, Server};

on_each!(the_reference_fits, what_is_missing_is_named, wrong_mappings_are_refused);

async fn the_reference_fits<S: Server>() {
    let mappings = [
        AuditTable::new("audit"),
        AuditTable::new("audit").native(),
        AuditTable::new("audit").native().chained(ChainTable::new("audit_chain")),
    ];
    for mapping in mappings {
        let fixture = Fixture::<S>::with(mapping).await;
        let health = fixture.audit.check_schema().await.unwrap();
        assert!(health.findings.is_empty(), "{health:?}");
    }
}

async fn what_is_missing_is_named<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    for (change, expected) in [
        ("ALTER TABLE audit RENAME COLUMN reason TO why", "column audit.reason is missing"),
        ("ALTER TABLE audit ADD COLUMN tenant INTEGER NOT NULL DEFAULT 0", ""),
        ("DROP TABLE audit_chain", "table audit_chain is missing"),
    ] {
        fixture.run(change).await;
        let findings = fixture.audit.check_schema().await.unwrap().findings;
        let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(
            expected.is_empty() || errors.iter().any(|finding| finding.message.starts_with(expected)),
            "{change}: {errors:?}"
        );
    }
    let fixture = Fixture::<S>::plain().await;
    fixture.run("DROP TABLE audit").await;
    fixture.run("CREATE TABLE audit (id INTEGER, kind CHAR(3), must INTEGER NOT NULL)").await;
    let findings = fixture.audit.check_schema().await.unwrap().findings;
    let text = format!("{findings:?}");
    for expected in [
        "column audit.id has type",
        "column audit.at is missing",
        "column audit.must is NOT NULL without a default",
        "neither the primary key nor unique",
        "no index on (user_id, at, id)",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

async fn wrong_mappings_are_refused<S: Server>() {
    let (pool, _directory) = S::pool().await;
    let key = || ChainKey::new(SECRET).unwrap();
    let chained = || AuditTable::new("audit").chained(ChainTable::new("audit_chain"));
    let mut refused = vec![
        DbAudit::new(pool.clone(), AuditTable::new("audit; --")),
        DbAudit::new(pool.clone(), AuditTable::new("audit").column(Field::Kind, "id")),
        DbAudit::new(pool.clone(), AuditTable::new("audit").without(Field::UserId)),
        DbAudit::new(pool.clone(), chained()),
        DbAudit::chained(pool.clone(), AuditTable::new("audit"), key()),
        DbAudit::chained(pool.clone(), chained().without(Field::Reason), key()),
        DbAudit::chained(pool.clone(), AuditTable::new("audit").chained(ChainTable::new("a.b.c")), key()),
    ];
    for audit in refused.drain(..) {
        assert_eq!(audit.unwrap_err().kind(), ErrorKind::Misconfigured);
    }
    let fine = DbAudit::chained(pool.clone(), chained().json(JsonEncoding::Json), key()).unwrap();
    assert!(format!("{fine:?}").starts_with("DbAudit { name: \"db\""));
    let plain = DbAudit::new(pool, AuditTable::new("audit")).unwrap();
    assert_eq!(plain.head().await.unwrap_err().kind(), ErrorKind::Misconfigured);
    assert_eq!(plain.verify(None).await.unwrap_err().kind(), ErrorKind::Misconfigured);
}

/// The files in `ddl` are what is printed.
#[test]
fn the_printed_schema_is_the_one_in_the_files() {
    let mapping = AuditTable::new("session_audit").native().chained(ChainTable::new("session_audit_chain"));
    let printed = [
        ("postgres", reference_ddl::<Postgres>(&mapping).unwrap()),
        ("mysql", reference_ddl::<MySql>(&mapping).unwrap()),
        ("sqlite", reference_ddl::<Sqlite>(&mapping).unwrap()),
    ];
    for (name, ddl) in printed {
        let path = format!("{}/ddl/{name}.sql", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        let body: String =
            file.lines().filter(|line| !line.starts_with("--")).fold(String::new(), |body, line| body + line + "\n");
        assert_eq!(body.trim(), ddl.trim(), "{path}");
    }
}
