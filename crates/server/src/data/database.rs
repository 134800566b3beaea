//! Opens the SQLite file and brings it up to date.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Error, SqlSafeStr as _};

use crate::config::SqliteFile;
use crate::exit::{StartError, reason};
use crate::files;

/// Our migrations, oldest first. A released one is never changed: its checksum is in the databases.
const MIGRATIONS: [(i64, &str, &str); 7] = [
    (1, "accounts", include_str!("../../migrations/0001_accounts.sql")),
    (2, "sessions", include_str!("../../migrations/0002_sessions.sql")),
    (3, "rotations", include_str!("../../migrations/0003_rotations.sql")),
    (4, "providers", include_str!("../../migrations/0004_providers.sql")),
    (5, "session feed", include_str!("../../migrations/0005_session_feed.sql")),
    (6, "audit", include_str!("../../migrations/0006_audit.sql")),
    (7, "backup mark", include_str!("../../migrations/0007_backup_mark.sql")),
];

/// WAL lets readers go on beside the one writer; more connections than this only wait for the disk.
const CONNECTIONS: u32 = 8;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Up to this size every page is checked at the start; beyond it would take seconds.
const CHECKED_SIZE: u64 = 64 * 1024 * 1024;

/// What SQLite keeps beside the file. It makes them with the permissions of the file.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Opens or makes the database.
pub(super) async fn open(file: SqliteFile) -> Result<SqlitePool, StartError> {
    let path = file.path();
    let unreadable = |error: io::Error| {
        StartError::environment(
            format!("the database file {} cannot be opened", path.display()),
            reason(&error),
            "Correct the permissions, or choose another folder with --data FOLDER.",
        )
    };
    let opened = if file.made { files::open_private(path) } else { File::open(path) };
    let found = opened.and_then(|file| file.metadata()).map_err(unreadable)?;
    files::require_private("database file", path, &found, "")?;
    for companion in COMPANIONS.map(|ending| beside(path, ending)) {
        match fs::metadata(&companion) {
            Ok(found) => files::require_private("database file", &companion, &found, "")?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let options = file
        .options
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        // Nothing that was acknowledged is lost, not even when the machine loses power.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .optimize_on_close(true, None);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(BUSY_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file does not drop connections; the check would cost a tenth of the throughput.
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|error| unusable(path, &error))?;
    if found.len() <= CHECKED_SIZE {
        check_pages(&pool, path).await?;
    }
    migrator().run(&pool).await.map_err(|error| not_migrated(path, error))?;
    Ok(pool)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

async fn check_pages(pool: &SqlitePool, path: &Path) -> Result<(), StartError> {
    let verdict: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await.map_err(|error| unusable(path, &error))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(path)) }
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.map(migration).to_vec())
}

fn not_migrated(path: &Path, error: MigrateError) -> StartError {
    let newest = MIGRATIONS.iter().map(|migration| migration.0).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(version) if version > newest => StartError::environment(
            format!("the database {} is newer than this server", path.display()),
            format!("it has schema version {version}, this server knows up to {newest}"),
            "Start the newer server, or restore the database from before the update.",
        ),
        MigrateError::VersionMissing(version)
        | MigrateError::VersionMismatch(version)
        | MigrateError::Dirty(version) => StartError::environment(
            format!("the database {} was not made by this server", path.display()),
            format!("its schema version {version} differs from ours"),
            "Choose another folder with --data FOLDER, or restore the database from the backup.",
        ),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => unusable(path, &error),
        other => StartError::environment(
            format!("the database {} cannot be brought up to date", path.display()),
            other.to_string(),
            "Restore it from the backup or choose another folder with --data FOLDER.",
        ),
    }
}

fn unusable(path: &Path, error: &Error) -> StartError {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    // The lower byte is the primary code, the rest says more about it.
    match code.map(|code| code % 256) {
        Some(CORRUPT | NOT_A_DATABASE) => damaged(path),
        _ => StartError::environment(
            format!("the database {} cannot be used", path.display()),
            error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned()),
            "Check the file, its folder and the space on the disk, or choose another folder with --data FOLDER.",
        ),
    }
}

fn damaged(path: &Path) -> StartError {
    StartError::environment(
        format!("the database {} is damaged", path.display()),
        "it is not a sound SQLite database",
        "Restore it from the backup, or move it away to begin with an empty one.",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    async fn open(path: &Path) -> Result<SqlitePool, StartError> {
        super::open(SqliteFile::at(path)).await
    }

    async fn message(path: &Path) -> String {
        open(path).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn the_settings_are_those_that_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pool = open(&folder.path().join("x")).await.unwrap();
        for (pragma, expected) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1), ("PRAGMA busy_timeout", 5000)]
        {
            assert_eq!(sqlx::query_scalar::<_, i64>(pragma).fetch_one(&pool).await.unwrap(), expected, "{pragma}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.unwrap();
        assert_eq!(mode, "wal");
    }

    #[tokio::test]
    async fn a_second_start_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        open(&path).await.unwrap().close().await;
        let pool = open(&path).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&pool).await.unwrap();
        assert_eq!(count, i64::try_from(MIGRATIONS.len()).unwrap());
    }

    #[tokio::test]
    async fn garbage_is_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for garbage in [b"x".repeat(10), b"garbage ".repeat(1000)] {
            drop(files::open_private(&path).unwrap());
            fs::write(&path, garbage).unwrap();
            let text = message(&path).await;
            assert!(text.contains("is damaged") && text.contains("backup"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_damaged_page_is_found_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        open(&path).await.unwrap().close().await;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let pages = file.metadata().unwrap().len() / 4096;
        for page in 1..pages {
            file.write_all_at(&[0xAB; 512], page * 4096).unwrap();
        }
        assert!(message(&path).await.contains("is damaged"));
    }

    #[tokio::test]
    async fn a_newer_or_foreign_schema_is_refused() {
        for (statement, expected) in [
            ("UPDATE _sqlx_migrations SET version = 99 WHERE version = 2", "newer than this server"),
            ("UPDATE _sqlx_migrations SET checksum = x'00'", "not made by this server"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            let pool = open(&path).await.unwrap();
            sqlx::query(statement).execute(&pool).await.unwrap();
            pool.close().await;
            assert!(message(&path).await.contains(expected));
        }
    }
}
