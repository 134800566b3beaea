//! The schema check names each defect; the reference DDL has none.

use session_manager_core::SessionStorage;
use session_manager_core::storage::Severity;
use session_manager_storage_sqlx::{
    IdEncoding, SessionTable, SqlxStorage, TimeEncoding, UserIdEncoding, reference_ddl,
};
use sqlx::sqlite::SqliteSynchronous;
use sqlx::{Sqlite, SqlitePool};

use crate::fixture::{Fixture, at, full};

#[tokio::test]
async fn each_defect_is_named() {
    use Severity::{Error, Warning};
    let text = |table: SessionTable| table.id(IdEncoding::Text).times(TimeEncoding::Rfc3339);
    let cases = [
        (full(), "\"country\" TEXT,\n", "", Error, "column sessions.country is missing (TEXT)"),
        (
            full(),
            "\"version\" INTEGER NOT NULL,\n    \"revoked",
            "\"version\" TEXT NOT NULL,\n    \"revoked",
            Error,
            "column sessions.version has type TEXT",
        ),
        (full(), "\"created_at\" INTEGER", "\"created_at\" TEXT", Error, "column sessions.created_at has type TEXT"),
        (full(), "\"seed\" BLOB", "\"seed\" TEXT", Error, "column sessions.seed has type TEXT"),
        (
            full(),
            "\"user_id\" TEXT NOT NULL",
            "\"user_id\" STRING NOT NULL",
            Error,
            "column sessions.user_id has type STRING",
        ),
        (
            full(),
            "\"user_id\" TEXT NOT NULL",
            "\"user_id\" TEXT NOT NULL COLLATE NOCASE",
            Error,
            "column sessions.user_id has collation NOCASE",
        ),
        (
            full(),
            "\"user_id\" TEXT NOT NULL",
            "\"user_id\" TEXT NOT NULL COLLATE RTRIM",
            Error,
            "column sessions.user_id has collation RTRIM",
        ),
        (
            text(full()),
            "\"id\" TEXT NOT NULL",
            "\"id\" TEXT COLLATE NOCASE NOT NULL",
            Error,
            "column sessions.id has collation NOCASE",
        ),
        (
            full(),
            "\"subject\" TEXT NOT NULL PRIMARY KEY",
            "\"subject\" TEXT COLLATE NOCASE PRIMARY KEY",
            Error,
            "session_epochs.subject has collation NOCASE",
        ),
        (
            full(),
            "\"subject\" TEXT NOT NULL PRIMARY KEY",
            "\"subject\" TEXT",
            Error,
            "session_epochs.subject is neither the primary key nor unique",
        ),
        (
            full(),
            "\"id\" BLOB NOT NULL PRIMARY KEY",
            "\"id\" BLOB NOT NULL",
            Error,
            "column sessions.id is neither the primary key nor unique",
        ),
        (
            full(),
            "\"revoked_at\" INTEGER,",
            "\"revoked_at\" INTEGER NOT NULL,",
            Error,
            "column sessions.revoked_at must accept NULL",
        ),
        (
            full(),
            "\"details\" TEXT",
            "\"shard\" INTEGER NOT NULL, \"details\" TEXT",
            Error,
            "column sessions.shard is NOT NULL without a default",
        ),
        (full(), "\"session_epochs\"", "\"other\"", Error, "table session_epochs is missing"),
        (full(), "\"session_once\" (", "\"other\" (", Error, "table session_once is missing"),
        (
            full(),
            "ON \"sessions\" (\"user_id\",",
            "ON \"sessions\" (\"version\",",
            Warning,
            "no index on (user_id, created_at, id)",
        ),
        (
            full(),
            "ON \"sessions\" (\"expires_at\")",
            "ON \"sessions\" (\"version\")",
            Warning,
            "no index on (expires_at)",
        ),
        (
            full(),
            "(\"external_issuer\", \"external_sid\")",
            "(\"external_sid\", \"external_issuer\")",
            Warning,
            "no index on (external_issuer, external_sid), which serves finding sessions by their external id",
        ),
        (
            full(),
            "INDEX \"sessions_external\"",
            "UNIQUE INDEX \"sessions_external\"",
            Error,
            "unique index on (external_issuer, external_sid): a second sign-in under one session of the identity provider",
        ),
        (
            full(),
            "\"external_sid\" TEXT,",
            "\"external_sid\" TEXT UNIQUE,",
            Error,
            "unique index on (external_sid): a second sign-in",
        ),
    ];
    for (mapping, from, to, severity, expected) in cases {
        let ddl = reference_ddl::<Sqlite>(&mapping).unwrap();
        assert!(ddl.contains(from), "{from} is not in {ddl}");
        // STRICT tables know no other types.
        let broken = ddl.replace(from, to).replace(" STRICT", "");
        let broken = if expected.contains("once is missing") {
            broken.replace("ON \"session_once\"", "ON \"other\"")
        } else {
            broken
        };
        let fixture = Fixture::with_ddl(mapping, broken).await;
        let findings = fixture.storage.check_schema().await.unwrap().findings;
        let [finding] = findings.as_slice() else { panic!("{expected}: {findings:?}") };
        assert!(finding.message.contains(expected), "{expected}: {finding:?}");
        assert_eq!(finding.severity, severity, "{expected}");
    }
}

#[tokio::test]
async fn settings_that_endanger_writes_are_named() {
    let fixture = Fixture::new().await;
    assert!(fixture.storage.check(at(0)).await.unwrap().findings.is_empty());
    let options = fixture.pool.connect_options().as_ref().clone().synchronous(SqliteSynchronous::Normal);
    let careless = SqlxStorage::new(SqlitePool::connect_with(options).await.unwrap(), full()).unwrap();
    let findings = careless.check(at(0)).await.unwrap().findings;
    assert!(
        findings.iter().any(|finding| finding.message.contains("synchronous") && finding.severity == Severity::Warning),
        "{findings:?}"
    );
}

const PRINT: &str = "cargo test -p session-manager-storage-sqlx --test sqlite -- --ignored print_the_reference_ddl";

#[test]
#[ignore = "writes the file"]
fn print_the_reference_ddl() {
    let comment = "-- The reference schema for SQLite, all tables mapped: what `reference_ddl` prints.\n-- For the application's own migrations; no crate runs it.";
    let ddl = reference_ddl::<Sqlite>(&full()).unwrap();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/ddl/sqlite.sql"), format!("{comment}\n\n{ddl}")).unwrap();
}

#[test]
fn the_file_holds_the_reference_ddl() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ddl/sqlite.sql")).unwrap();
    let (comment, statements) = file.split_once("\n\n").unwrap();
    assert!(comment.lines().all(|line| line.starts_with("-- ")), "{comment}");
    assert_eq!(statements, reference_ddl::<Sqlite>(&full()).unwrap(), "print it anew with: {PRINT}");
}

#[test]
fn other_encodings_have_other_types() {
    let ddl = reference_ddl::<Sqlite>(
        &full().id(IdEncoding::Text).user_id(UserIdEncoding::BigInt).times(TimeEncoding::Rfc3339),
    )
    .unwrap();
    for expected in [
        "\"id\" TEXT NOT NULL PRIMARY KEY",
        "\"user_id\" INTEGER NOT NULL",
        "\"created_at\" TEXT NOT NULL",
        "\"grace_until\" TEXT,",
    ] {
        assert!(ddl.contains(expected), "{expected}: {ddl}");
    }
}
