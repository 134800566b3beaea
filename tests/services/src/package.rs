//! Which programs are needed, where they are, and which packages they come from.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// A package of Debian's and what we need of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// The programs that we use.
    programs: &'static [&'static str],
}

pub(crate) const POSTGRESQL: Package =
    Package { name: "postgresql", programs: &["initdb", "postgres", "pg_isready", "psql"] };
pub(crate) const PGBOUNCER: Package = Package { name: "pgbouncer", programs: &["pgbouncer"] };
pub(crate) const MARIADB: Package =
    Package { name: "mariadb-server", programs: &["mariadb-install-db", "mariadbd", "mariadb-admin", "mariadb"] };
pub(crate) const REDIS: Package = Package { name: "redis-server", programs: &["redis-server"] };
pub(crate) const MEMCACHED: Package = Package { name: "memcached", programs: &["memcached"] };
/// No server: it counts instructions.
pub(crate) const VALGRIND: Package = Package { name: "valgrind", programs: &["valgrind"] };

/// Folders that hold servers, but are not on everybody's path.
const FOLDERS: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/sbin"];
/// Debian keeps PostgreSQL's programs here, in `<version>/bin`.
const POSTGRESQL_VERSIONS: &str = "/usr/lib/postgresql";

impl Package {
    /// Everything that [`Services`](crate::Services) and [`instructions`](crate::instructions()) need.
    pub const ALL: [Self; 6] = [POSTGRESQL, PGBOUNCER, MARIADB, REDIS, MEMCACHED, VALGRIND];

    /// Where its programs are.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] for the first one that is not there.
    pub fn find(self) -> Result<Vec<PathBuf>> {
        self.programs.iter().map(|program| self.program(program)).collect()
    }

    pub(crate) fn program(self, name: &'static str) -> Result<PathBuf> {
        let folders = folders();
        let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or(Error::Missing { program: name, package: self })
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The packages of which this machine lacks something.
pub fn missing() -> Vec<Package> {
    Package::ALL.into_iter().filter(|package| package.find().is_err()).collect()
}

/// PostgreSQL's own folders come before the path: Debian's path has wrappers around some of its programs, which choose
/// a version in their own way.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = postgresql_folders(Path::new(POSTGRESQL_VERSIONS));
    folders.extend(std::env::split_paths(&path));
    folders.extend(FOLDERS.iter().map(PathBuf::from));
    folders
}

/// The newest version first.
fn postgresql_folders(versions: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(versions).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.iter().map(|version| versions.join(version.to_string()).join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_postgresql_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["9", "15", "17", "lib"] {
            fs::create_dir(folder.path().join(version)).unwrap();
        }
        let found = postgresql_folders(folder.path());
        assert_eq!(found, ["17", "15", "9"].map(|version| folder.path().join(version).join("bin")));
        assert_eq!(postgresql_folders(&folder.path().join("none")), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let strange = Package { name: "strange-server", programs: &["sh", "no-such-server-anywhere"] };
        assert!(strange.program("sh").is_ok());
        assert_eq!(
            strange.find().unwrap_err().to_string(),
            "`no-such-server-anywhere` is not installed; it is in Debian's package strange-server"
        );
    }
}
