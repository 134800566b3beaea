//! The schema check names each defect; the reference DDL has none.

use session_manager_core::SessionStorage;
use session_manager_core::storage::Severity::{self, Error, Warning};
use session_manager_storage_sqlx::{
    AddressEncoding, IdEncoding, JsonEncoding, SessionTable, SqlxStorage, TimeEncoding, UserIdEncoding, reference_ddl,
};
use sqlx::{MySql, Postgres};

use crate::server::{Fixture, Server, clock, full};

on_each! {
    the_reference_has_no_defect,
    the_servers_clock_is_compared,
}

async fn the_reference_has_no_defect<S: Server>() {
    let portable = full()
        .id(IdEncoding::Text)
        .user_id(UserIdEncoding::BigInt)
        .times(TimeEncoding::Rfc3339)
        .json(JsonEncoding::Text)
        .address(AddressEncoding::Text);
    let binary = full().id(IdEncoding::Binary).user_id(UserIdEncoding::Uuid).times(TimeEncoding::Millis);
    for mapping in [full(), portable, binary.json(JsonEncoding::Json), SessionTable::new("s")] {
        let label = format!("{mapping:?}");
        let findings = Fixture::<S>::with(mapping).await.storage.check_schema().await.unwrap().findings;
        assert!(findings.is_empty(), "{findings:?} {label}");
    }
}

async fn the_servers_clock_is_compared<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let skew = fixture.storage.check(clock()).await.unwrap().clock_skew_millis.unwrap();
    assert!(skew.abs() < 1_000, "{skew}");
    let behind = clock() - chrono::TimeDelta::minutes(10);
    let skew = fixture.storage.check(behind).await.unwrap().clock_skew_millis.unwrap();
    assert!((599_000..601_000).contains(&skew), "{skew}");
}

type Case = (SessionTable, &'static str, &'static str, Severity, &'static str);

async fn each_is_named<S: Server>(cases: Vec<Case>) {
    for (mapping, from, to, severity, expected) in cases {
        let ddl = reference_ddl::<S>(&mapping).unwrap();
        assert!(ddl.contains(from), "{from} is not in {ddl}");
        let fixture = Fixture::<S>::with_ddl(mapping, &ddl.replace(from, to)).await;
        let findings = fixture.storage.check_schema().await.unwrap().findings;
        let [finding] = findings.as_slice() else { panic!("{expected}: {findings:?}") };
        assert!(finding.message.contains(expected), "{expected}: {finding:?}");
        assert_eq!(finding.severity, severity, "{expected}");
    }
}

#[tokio::test]
async fn defects_in_postgres_are_named() {
    if session_manager_services::url(Postgres::SERVICE).is_none() {
        return;
    }
    let blind = "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);\nCREATE TABLE \"sessions\" (\n    \"id\" uuid NOT NULL PRIMARY KEY,\n    \"user_id\" text COLLATE blind";
    let cases = vec![
        (
            full(),
            "    \"country\" text COLLATE \"C\",\n",
            "",
            Error,
            "column sessions.country is missing (text COLLATE",
        ),
        (
            full(),
            "\"version\" bigint NOT NULL,\n    \"rev",
            "\"version\" integer NOT NULL,\n    \"rev",
            Error,
            "column sessions.version has type integer",
        ),
        (
            full(),
            "\"created_at\" timestamptz(3)",
            "\"created_at\" timestamp",
            Error,
            "timestamp without time zone, which means another time",
        ),
        (full(), "\"created_at\" timestamptz(3)", "\"created_at\" timestamptz(0)", Error, "does not hold milliseconds"),
        (full(), "\"seed\" bytea", "\"seed\" text", Error, "column sessions.seed has type text"),
        (full(), "\"details\" jsonb", "\"details\" text", Error, "column sessions.details has type text"),
        (full(), "\"ip_address\" inet", "\"ip_address\" cidr", Error, "column sessions.ip_address has type cidr"),
        (
            full(),
            "\"user_id\" text COLLATE \"C\"",
            "\"user_id\" char(40)",
            Error,
            "column sessions.user_id has type character(40)",
        ),
        (
            full(),
            "CREATE TABLE \"sessions\" (\n    \"id\" uuid NOT NULL PRIMARY KEY,\n    \"user_id\" text COLLATE \"C\"",
            blind,
            Error,
            "column sessions.user_id has collation blind, by which different ids are equal",
        ),
        (
            full(),
            "\"subject\" text COLLATE \"C\"",
            "\"subject\" text",
            Warning,
            "column session_epochs.subject has collation default",
        ),
        (
            full(),
            "\"id\" uuid NOT NULL PRIMARY KEY",
            "\"id\" uuid NOT NULL",
            Error,
            "sessions.id is neither the primary key",
        ),
        (
            full(),
            "\"revoked_at\" timestamptz(3),",
            "\"revoked_at\" timestamptz(3) NOT NULL,",
            Error,
            "sessions.revoked_at must accept NULL",
        ),
        (
            full(),
            "\"details\" jsonb",
            "\"shard\" int NOT NULL, \"details\" jsonb",
            Error,
            "sessions.shard is NOT NULL without a default",
        ),
        (full(), "\"session_epochs\"", "\"other\"", Error, "table session_epochs is missing"),
        (full(), "\"mark\" xid8", "\"mark\" bigint", Error, "column session_feed.mark has type bigint"),
        (
            full(),
            "(\"user_id\", \"created_at\"",
            "(\"version\", \"created_at\"",
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
            "(\"mark\", \"seq\")",
            "(\"seq\", \"mark\")",
            Warning,
            "no index on (mark, seq), which serves the feed",
        ),
        (
            full(),
            "(\"external_issuer\", \"external_sid\")",
            "(\"external_sid\", \"external_issuer\")",
            Warning,
            "no index on (external_issuer, external_sid)",
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
            "\"external_sid\" text COLLATE \"C\",",
            "\"external_sid\" text COLLATE \"C\", UNIQUE (\"user_id\", \"external_sid\"),",
            Error,
            "unique index on (user_id, external_sid): a second sign-in",
        ),
    ];
    each_is_named::<Postgres>(cases).await;
}

#[tokio::test]
async fn defects_in_mariadb_are_named() {
    if session_manager_services::url(MySql::SERVICE).is_none() {
        return;
    }
    let user_id = "`user_id` VARBINARY(128)";
    let cases = vec![
        (full(), "    `country` VARBINARY(64),\n", "", Error, "column sessions.country is missing (VARBINARY(64))"),
        (
            full(),
            "`version` BIGINT NOT NULL,\n    `revoked",
            "`version` INT NOT NULL,\n    `revoked",
            Error,
            "column sessions.version has type int",
        ),
        (
            full(),
            "`version` BIGINT NOT NULL,\n    `revoked",
            "`version` BIGINT UNSIGNED NOT NULL,\n    `revoked",
            Error,
            "type bigint(20) unsigned",
        ),
        (
            full(),
            "`created_at` DATETIME(3)",
            "`created_at` DATETIME",
            Error,
            "has type datetime, which does not hold milliseconds",
        ),
        (
            full(),
            "`expires_at` DATETIME(3) NOT NULL,\n    `idle",
            "`expires_at` TIMESTAMP(3) NOT NULL,\n    `idle",
            Error,
            "has type timestamp(3), which ends in 2038",
        ),
        (full(), "`seed` VARBINARY(32)", "`seed` TEXT", Error, "column sessions.seed has type text"),
        (
            full(),
            user_id,
            "`user_id` VARCHAR(128)",
            Error,
            "sessions.user_id has collation utf8mb4_bin, by which different ids are equal",
        ),
        (
            full(),
            user_id,
            "`user_id` VARCHAR(128) COLLATE utf8mb4_general_nopad_ci",
            Error,
            "sessions.user_id has collation utf8mb4_general_nopad_ci",
        ),
        // It tells case, accents and spaces apart, and yet takes an é of two characters for one of one.
        (
            full(),
            user_id,
            "`user_id` VARCHAR(128) COLLATE utf8mb4_uca1400_nopad_as_cs",
            Error,
            "sessions.user_id has collation utf8mb4_uca1400_nopad_as_cs, by which different ids are equal",
        ),
        (
            full(),
            user_id,
            "`user_id` VARCHAR(128) CHARACTER SET latin1",
            Error,
            "sessions.user_id has collation latin1_swedish_ci",
        ),
        (
            full(),
            user_id,
            "`user_id` CHAR(128) COLLATE utf8mb4_nopad_bin",
            Error,
            "sessions.user_id has type char(128)",
        ),
        (
            full(),
            "`user_agent` TEXT",
            "`user_agent` TEXT CHARACTER SET utf8mb3",
            Error,
            "utf8mb3, which lacks most characters",
        ),
        (
            full(),
            "`id` BINARY(16) NOT NULL PRIMARY KEY",
            "`id` BINARY(16) NOT NULL UNIQUE",
            Error,
            "column sessions.id is not the primary key",
        ),
        (
            full(),
            "`revoked_at` DATETIME(3),",
            "`revoked_at` DATETIME(3) NOT NULL,",
            Error,
            "sessions.revoked_at must accept NULL",
        ),
        (
            full(),
            "`details` JSON",
            "`shard` INT NOT NULL, `details` JSON",
            Error,
            "sessions.shard is NOT NULL without a default",
        ),
        (full(), "`session_epochs`", "`other`", Error, "table session_epochs is missing"),
        (
            full(),
            "(`user_id`, `created_at`",
            "(`version`, `created_at`",
            Warning,
            "no index on (user_id, created_at, id)",
        ),
        (full(), "ON `sessions` (`expires_at`)", "ON `sessions` (`version`)", Warning, "no index on (expires_at)"),
        (
            full(),
            "(`external_issuer`, `external_sid`)",
            "(`external_sid`, `external_issuer`)",
            Warning,
            "no index on (external_issuer, external_sid)",
        ),
        (
            full(),
            "INDEX `sessions_external`",
            "UNIQUE INDEX `sessions_external`",
            Error,
            "unique index on (external_issuer, external_sid): a second sign-in under one session of the identity provider",
        ),
        (
            full(),
            "`external_sid` VARBINARY(255),",
            "`external_sid` VARBINARY(255), UNIQUE (`user_id`, `external_sid`),",
            Error,
            "unique index on (user_id, external_sid): a second sign-in",
        ),
    ];
    each_is_named::<MySql>(cases).await;
    // A binary collation that does not pad does.
    let ddl = reference_ddl::<MySql>(&full()).unwrap();
    let fixture =
        Fixture::<MySql>::with_ddl(full(), &ddl.replace(user_id, "`user_id` VARCHAR(128) COLLATE utf8mb4_nopad_bin"))
            .await;
    assert!(fixture.storage.check_schema().await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn settings_that_endanger_writes_are_named() {
    if session_manager_services::url(Postgres::SERVICE).is_some() {
        let fixture = Fixture::<Postgres>::new().await;
        let options = fixture.pool.connect_options().as_ref().clone().options([("synchronous_commit", "off")]);
        let pool = sqlx::PgPool::connect_with(options).await.unwrap();
        let findings = SqlxStorage::new(pool, full()).unwrap().check(clock()).await.unwrap().findings;
        assert!(findings.iter().any(|finding| finding.message.contains("synchronous_commit")), "{findings:?}");
        let sound = fixture.storage.check(clock()).await.unwrap().findings;
        assert!(!sound.iter().any(|finding| finding.message.contains("synchronous_commit")), "{sound:?}");
    }
    if session_manager_services::url(MySql::SERVICE).is_some() {
        let fixture = Fixture::<MySql>::new().await;
        let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(1);
        let pool = pool.connect_with(fixture.pool.connect_options().as_ref().clone()).await.unwrap();
        MySql::run(&pool, "SET SESSION sql_mode = ''").await;
        let findings = SqlxStorage::new(pool, full()).unwrap().check(clock()).await.unwrap().findings;
        let strict = |finding: &session_manager_core::storage::Finding| {
            finding.message.contains("not strict") && finding.severity == Error
        };
        assert!(findings.iter().any(strict), "{findings:?}");
        // The tests' shared server writes its log a second later.
        assert!(findings.iter().any(|finding| finding.message.contains("innodb_flush")), "{findings:?}");
        let sound = fixture.storage.check(clock()).await.unwrap().findings;
        assert!(!sound.iter().any(strict), "{sound:?}");
    }
}

const PRINT: &str = "cargo test -p session-manager-storage-sqlx --test servers -- --ignored print_the_reference_ddl";

fn files() -> [(&'static str, String); 2] {
    let text = |name, ddl| {
        format!(
            "-- The reference schema for {name}, all tables mapped: what `reference_ddl` prints.\n-- For the application's own migrations; no crate runs it.\n\n{ddl}"
        )
    };
    [
        ("postgres.sql", text("PostgreSQL", reference_ddl::<Postgres>(&full()).unwrap())),
        ("mysql.sql", text("MySQL and MariaDB", reference_ddl::<MySql>(&full()).unwrap())),
    ]
}

fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ddl").join(name)
}

#[test]
#[ignore = "writes the files"]
fn print_the_reference_ddl() {
    for (name, text) in files() {
        std::fs::write(path(name), text).unwrap();
    }
}

#[test]
fn the_files_hold_the_reference_ddl() {
    for (name, text) in files() {
        assert_eq!(std::fs::read_to_string(path(name)).unwrap(), text, "print it anew with: {PRINT}");
    }
}
