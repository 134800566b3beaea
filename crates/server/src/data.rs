//! The data folder with its lock, and the database of the accounts with our own migrations: a file of SQLite in it, or one elsewhere.

mod database;
#[cfg(test)]
mod elsewhere;
mod lock;
mod mark;
mod network;

use std::path::{Path, PathBuf};

use session_manager_core::{Clock as _, SystemClock};

use crate::config::{Settings, SqliteFile};
use crate::exit::{StartError, reason};
use crate::files;
use crate::keys::Keys;
use crate::sql::{self, Pool};
#[cfg(test)]
pub(crate) use elsewhere::{fresh_database, settings_at, test_settings};
use lock::{FolderLock, KeyLock};
pub(crate) use mark::BackupMark;

/// An opened data folder. Dropping it releases the folder's lock.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) pool: Pool,
    /// Connections to the same database for sessions in it, apart: a transaction of the accounts that sessions are a part of asks for them too.
    pub(crate) for_sessions: Pool,
    pub(crate) keys: Keys,
    /// Where mail is spooled; exists.
    pub(crate) mail: PathBuf,
    /// Tells a database that was restored from a backup.
    pub(crate) mark: BackupMark,
    /// Another server is using the folder too.
    pub(crate) shared: bool,
    _lock: FolderLock,
}

impl Data {
    /// Makes the folder where it is missing, reads or makes the keys, opens the database and brings it up to date.
    ///
    /// # Errors
    /// An unwritable folder; a folder, key file or database that others than its owner may open; a damaged key file or database, or one that a
    /// newer server made.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, StartError> {
        let folder = &settings.data;
        let mail = settings.mail.spool.clone().unwrap_or_else(|| folder.join("mail"));
        files::make_folder(folder).map_err(|error| unwritable(folder, &error))?;
        close(folder)?;
        files::make_folder(&mail).map_err(|error| unwritable(&mail, &error))?;
        for path in [folder, &mail] {
            probe(path)?;
        }
        let lock = FolderLock::acquire(folder).await?;
        let keys = keys_under(&KeyLock::acquire(folder).await?, folder)?;
        let pool = pool(settings).await?;
        let mark = BackupMark::new(&pool, folder);
        mark.advance(SystemClock.now()).await.map_err(|error| {
            StartError::environment("the database cannot be written", error.to_string(), "Check the space on its disk.")
        })?;
        let shared = lock.is_shared();
        let for_sessions = pool.beside(sql::CONNECTIONS);
        Ok(Self { pool, for_sessions, keys, mail, mark, shared, _lock: lock.into_running() })
    }

    /// Ends all connections to the database.
    pub(crate) async fn close(&self) {
        self.for_sessions.close().await;
        self.pool.close().await;
    }
}

/// The keys as they are in the file, which is made when there is none.
///
/// # Errors
/// Those of the folder, the lock and the key file.
pub(crate) async fn keys(settings: &Settings) -> Result<Keys, StartError> {
    Ok(locked_keys(settings).await?.0)
}

/// Changes the key file, which is made when there is none, in one step. Nobody else changes it meanwhile.
///
/// # Errors
/// Those of the folder, the lock, the key file and the change: the file then is as before.
pub(crate) async fn change_keys(
    settings: &Settings,
    change: impl FnOnce(Keys, &Path) -> Result<Keys, StartError>,
) -> Result<Keys, StartError> {
    let (keys, _lock) = locked_keys(settings).await?;
    let folder = key_folder(&settings.data);
    change(keys, &folder)?.saved(&folder)
}

async fn locked_keys(settings: &Settings) -> Result<(Keys, (FolderLock, KeyLock)), StartError> {
    let folder = &settings.data;
    files::make_folder(folder).map_err(|error| unwritable(folder, &error))?;
    close(folder)?;
    // No server starts meanwhile, and no other command changes them.
    let lock = (FolderLock::acquire(folder).await?, KeyLock::acquire(folder).await?);
    Ok((keys_under(&lock.1, folder)?, lock))
}

/// The keys, made where there are none. What a command that was killed has left beside them goes.
fn keys_under(_: &KeyLock, folder: &Path) -> Result<Keys, StartError> {
    let folder = key_folder(folder);
    let keys = Keys::load_or_create(&folder)?;
    if let Err(error) = files::remove_unfinished(&folder) {
        tracing::warn!(%error, "what a killed command has left beside the key file cannot be removed");
    }
    Ok(keys)
}

/// Where the key file is.
pub(crate) fn key_folder(data: &Path) -> PathBuf {
    data.join("keys")
}

async fn pool(settings: &Settings) -> Result<Pool, StartError> {
    match &settings.database.url {
        Some(url) if SqliteFile::parse(url.expose()).is_none() => network::open(url.expose()).await,
        _ => Ok(Pool::Sqlite(database::open(database_file(settings)?).await?)),
    }
}

fn database_file(settings: &Settings) -> Result<SqliteFile, StartError> {
    let Some(url) = &settings.database.url else {
        return Ok(SqliteFile::at(&settings.data.join("session-manager.sqlite3")));
    };
    let file = SqliteFile::parse(url.expose()).unwrap_or(Err("is not one of SQLite"));
    file.map_err(|why| StartError::config("`database.url` cannot be used", why, "Write it like sqlite:PATH."))
}

/// Makes sure that nobody but its owner can open the folder. An empty one, such as `mkdir` leaves, is closed; what has files in it is either a
/// folder that others may have looked into already, or one that is not for us to close.
fn close(folder: &Path) -> Result<(), StartError> {
    let unreadable = |error| unwritable(folder, &error);
    if std::fs::read_dir(folder).map_err(unreadable)?.next().is_none() && files::close_to_others(folder) {
        tracing::info!(folder = %folder.display(), "the empty data folder was open to others, and is its owner's only now");
    }
    let found = std::fs::metadata(folder).map_err(unreadable)?;
    files::require_private("data folder", folder, &found, "")
}

/// Writes and removes a file, since the permission bits do not tell everything (read-only mounts, quotas, root).
fn probe(folder: &Path) -> Result<(), StartError> {
    let path = folder.join(format!(".probe-{}", std::process::id()));
    let written = files::open_private(&path).and_then(|_| std::fs::remove_file(&path));
    written.map_err(|error| unwritable(folder, &error))
}

fn unwritable(folder: &Path, error: &std::io::Error) -> StartError {
    StartError::environment(
        format!("the data folder {} cannot be written", folder.display()),
        reason(error),
        "Correct its permissions, or choose another folder with --data FOLDER.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> Settings {
        Settings { data: folder.to_owned(), ..Settings::default() }
    }

    #[tokio::test]
    async fn a_missing_folder_is_made_with_all_that_belongs_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(&settings(&folder.path().join("a/b"))).await.unwrap();
        assert!(!data.shared);
        let mut names: Vec<_> = std::fs::read_dir(folder.path().join("a/b"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.contains("-wal") && !name.contains("-shm"))
            .collect();
        names.sort();
        assert_eq!(names, ["backup-mark", "keys", "keys.lock", "mail", "server.lock", "session-manager.sqlite3"]);
    }

    #[tokio::test]
    async fn keys_are_changed_one_after_the_other_also_while_a_service_runs() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let running = Data::open(&settings).await.unwrap();
        let held = KeyLock::acquire(folder.path()).await.unwrap();
        let change = change_keys(&settings, Keys::with_provider_key);
        let mut change = Box::pin(change);
        let early = tokio::time::timeout(std::time::Duration::from_millis(300), change.as_mut()).await;
        assert!(early.is_err(), "somebody else is changing them");
        drop(held);
        assert_eq!(change.await.unwrap().provider_keys().len(), running.keys.provider_keys().len() + 1);
    }

    #[tokio::test]
    async fn what_a_killed_command_has_left_beside_the_keys_is_removed_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        keys(&settings).await.unwrap();
        let unfinished = key_folder(folder.path()).join(".00112233-4455-6677-8899-aabbccddeeff.tmp");
        let leave = || std::fs::write(&unfinished, "half a key").unwrap();
        leave();
        keys(&settings).await.unwrap();
        assert!(!unfinished.exists());
        leave();
        drop(Data::open(&settings).await.unwrap());
        assert!(!unfinished.exists());
        leave();
        change_keys(&settings, Keys::with_provider_key).await.unwrap();
        assert_eq!(std::fs::read_dir(key_folder(folder.path())).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_root_does_to_the_keys_keeps_the_services_user_in() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        // Only root can give the folder away; without it all is the owner's own in any case.
        let _ = chown(folder.path(), Some(4711), Some(4712));
        let owner = |path: &Path| std::fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        let service = owner(folder.path());
        for _ in 0..2 {
            change_keys(&settings, Keys::with_provider_key).await.unwrap();
            for name in ["keys", "keys/session-manager.keys", "keys.lock", "server.lock"] {
                assert_eq!(owner(&folder.path().join(name)), service, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_second_server_is_told_that_it_shares_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Data::open(&settings(folder.path())).await.unwrap();
        let second = Data::open(&settings(folder.path())).await.unwrap();
        assert!(!first.shared && second.shared);
        assert_eq!(first.keys.root_secret(), second.keys.root_secret());
        drop((first, second));
        assert!(!Data::open(&settings(folder.path())).await.unwrap().shared);
    }

    #[tokio::test]
    async fn a_file_in_place_of_the_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        for bad in [path.clone(), path.join("below")] {
            let message = Data::open(&settings(&bad)).await.unwrap_err().to_string();
            assert!(message.contains(&bad.display().to_string()) && message.contains("--data"), "{message}");
        }
    }

    fn with_url(folder: &Path, url: &str) -> Settings {
        let database = serde_json::from_value(serde_json::json!({"url": url})).unwrap();
        Settings { database, ..settings(folder) }
    }

    #[tokio::test]
    async fn the_database_is_where_the_url_says() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join("a b.db");
        let url = format!("sqlite://{}", path.display()).replace(' ', "%20");
        for (mode, starts) in [("?mode=rw", false), ("", true), ("?mode=rw", true), ("?mode=rwc", true)] {
            let opened = Data::open(&with_url(folder.path(), &format!("{url}{mode}"))).await;
            assert_eq!(opened.is_ok(), starts, "{mode} {opened:?}");
            assert_eq!(path.exists(), starts, "{mode}");
        }
        assert!(!folder.path().join("session-manager.sqlite3").exists());
        let default = database_file(&settings(Path::new("x"))).unwrap();
        assert_eq!(default.path(), Path::new("x/session-manager.sqlite3"));
    }

    #[tokio::test]
    async fn a_url_without_a_file_is_refused_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        for url in ["sqlite::memory:", "sqlite:x.db?mode=ro", "sqlite:x.db?key=hunter2"] {
            let message = Data::open(&with_url(folder.path(), url)).await.unwrap_err().to_string();
            assert!(message.starts_with("`database.url`") && !message.contains("hunter2"), "{url}: {message}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_empty_folder_is_closed_to_others_and_another_one_is_left_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = tempfile::tempdir().unwrap();
        let (empty, foreign) = (folder.path().join("empty"), folder.path().join("foreign"));
        for path in [&empty, &foreign] {
            std::fs::create_dir(path).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Data::open(&settings(&empty)).await.unwrap();
        assert_eq!(mode(&empty), 0o700);
        std::fs::write(foreign.join("theirs"), "").unwrap();
        assert!(Data::open(&settings(&foreign)).await.unwrap_err().to_string().contains("open to others"));
        assert_eq!((mode(&foreign), std::fs::read_dir(&foreign).unwrap().count()), (0o755, 1));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_others_may_open_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Data::open(&settings(folder.path())).await.unwrap().pool.close().await;
        let database = folder.path().join("session-manager.sqlite3");
        let companion = |ending: &str| folder.path().join(format!("session-manager.sqlite3{ending}"));
        for ending in ["-wal", "-shm", "-journal"] {
            std::fs::write(companion(ending), "").unwrap();
            set(&companion(ending), 0o600);
        }
        for (path, kept, modes) in [
            (folder.path().to_owned(), 0o700, [0o755, 0o710, 0o701]),
            (database, 0o600, [0o644, 0o660, 0o602]),
            (companion("-wal"), 0o600, [0o644, 0o660, 0o602]),
            (companion("-shm"), 0o600, [0o644, 0o660, 0o602]),
            (companion("-journal"), 0o600, [0o644, 0o660, 0o602]),
        ] {
            for mode in modes {
                set(&path, mode);
                let message = Data::open(&settings(folder.path())).await.unwrap_err().to_string();
                let remedy = format!("chmod {kept:o} '{}'", path.display());
                assert!(message.contains("open to others") && message.contains(&remedy), "{mode:o}: {message}");
                assert!(message.contains(&format!("{:03o} to group or world", mode & 0o077)), "{message}");
            }
            set(&path, kept);
        }
        Data::open(&settings(folder.path())).await.unwrap();
    }
}
