//! What `database.url` may say: a file of SQLite, out of the many things that a URL of its driver can say.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use url::form_urlencoded;

const SCHEME: &str = "sqlite:";

/// An SQLite file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteFile {
    pub(crate) options: SqliteConnectOptions,
    /// Whether it is made when it is missing.
    pub(crate) made: bool,
}

impl SqliteFile {
    /// The file at a path, made when it is missing.
    pub(crate) fn at(path: &Path) -> Self {
        Self { options: SqliteConnectOptions::new().filename(path), made: true }
    }

    /// Reads `sqlite:PATH` or `sqlite://PATH`, with `?mode=rwc` (as without it) or `?mode=rw` behind it; nothing for a URL of another
    /// database.
    ///
    /// # Errors
    /// What must be otherwise, without repeating the URL.
    pub(crate) fn parse(url: &str) -> Option<Result<Self, &'static str>> {
        url.starts_with(SCHEME).then(|| read(url))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.options.get_filename()
    }
}

fn read(url: &str) -> Result<SqliteFile, &'static str> {
    const IN_MEMORY: &str = "must name a file: a database in memory would end with its connection";
    let mut made = true;
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        made = match (&*name, &*value) {
            ("mode", "rwc") => true,
            ("mode", "rw") => false,
            ("mode", "ro") => return Err("must not be read-only: accounts and sessions are written to it"),
            ("mode", "memory") => return Err(IN_MEMORY),
            _ => return Err("has a parameter that this server does not know; it knows mode=rwc and mode=rw"),
        };
    }
    let options: SqliteConnectOptions = url.parse().map_err(|_| "is not a URL like sqlite:PATH")?;
    match options.get_filename().to_str() {
        // The driver's own names for what is no file, and those by which SQLite itself would take the rest for parameters.
        Some("" | ":memory:") | None => Err(IN_MEMORY),
        Some(name) if name.starts_with("file:sqlx-in-memory-") => Err(IN_MEMORY),
        Some(name) if name.starts_with("file:") => Err("must name a file, without `file:` before it"),
        Some(name) if name.contains('\0') => Err("must name a file, and no file has a NUL in its name"),
        Some(_) => Ok(SqliteFile { options, made }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_where_the_url_says() {
        for (url, path, made) in [
            ("sqlite:a/b.db", "a/b.db", true),
            ("sqlite://b.db", "b.db", true),
            ("sqlite:/a/b.db", "/a/b.db", true),
            ("sqlite:///a/b.db?mode=rwc", "/a/b.db", true),
            ("sqlite:///a/b.db?mode=rw", "/a/b.db", false),
            ("sqlite:a%20b%3Fc.db", "a b?c.db", true),
        ] {
            let file = SqliteFile::parse(url).unwrap().unwrap();
            assert_eq!((file.path(), file.made), (Path::new(path), made), "{url}");
        }
        assert!(SqliteFile::parse("postgres://app@db/x").is_none());
        let at = SqliteFile::at(Path::new("x/y.sqlite3"));
        assert_eq!((at.path(), at.made), (Path::new("x/y.sqlite3"), true));
    }

    #[test]
    fn what_is_no_file_that_can_be_written_is_refused() {
        for (url, expected) in [
            ("sqlite::memory:", "in memory"),
            ("sqlite://:memory:", "in memory"),
            ("sqlite:%3Amemory%3A", "in memory"),
            ("sqlite:", "in memory"),
            ("sqlite://", "in memory"),
            ("sqlite:a.db?mode=memory", "in memory"),
            ("sqlite:a.db?mode=ro", "read-only"),
            ("sqlite:a.db?mode=rw&mode=ro", "read-only"),
            ("sqlite:a.db?mode=hunter2", "does not know"),
            ("sqlite:a.db?key=hunter2", "does not know"),
            ("sqlite:a.db?immutable=true", "does not know"),
            ("sqlite:a.db?cache=shared", "does not know"),
            ("sqlite:file:a.db%3Fmode=memory", "`file:`"),
            ("sqlite:a%00b.db", "NUL"),
            ("sqlite:%ff.db", "sqlite:PATH"),
        ] {
            let why = SqliteFile::parse(url).unwrap().unwrap_err();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{url}: {why}");
        }
    }
}
