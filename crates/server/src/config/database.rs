//! What `database.url` may say: a file of SQLite, or a database on PostgreSQL, MySQL or MariaDB.

use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::{SecretUrl, SqliteFile};

/// What is wrong with it, without repeating it.
pub(super) fn fault(url: &SecretUrl) -> Option<&'static str> {
    const EXAMPLE: &str = "is not a URL like postgres://USER:PASSWORD@HOST/DATABASE";
    let url = url.expose();
    if let Some(file) = SqliteFile::parse(url) {
        return file.err();
    }
    // A driver takes the URL of any scheme for its own.
    let database = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => {
            url.parse::<PgConnectOptions>().map(|options| options.get_database().map(str::to_owned))
        }
        Some("mysql" | "mariadb") => {
            url.parse::<MySqlConnectOptions>().map(|options| options.get_database().map(str::to_owned))
        }
        _ => return Some("must begin with sqlite:, postgres:// or mysql://"),
    };
    match database {
        Err(_) => Some(EXAMPLE),
        Ok(None) => Some("must name the database, after the host and a slash"),
        Ok(Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(url: &str) -> Option<&'static str> {
        fault(&serde_json::from_value::<SecretUrl>(url.into()).unwrap())
    }

    #[test]
    fn the_databases_of_accounts_are_these() {
        for url in [
            "sqlite:a.db",
            "postgres://app:hunter2@db.example/accounts",
            "postgresql://app@db.example:5433/accounts?sslmode=verify-full",
            "mysql://app:hunter2@db.example/accounts?ssl-mode=VERIFY_IDENTITY",
            "mariadb://app@[::1]/accounts",
        ] {
            assert_eq!(fault_of(url), None, "{url}");
        }
        for (url, expected) in [
            ("sqlite::memory:", "in memory"),
            ("redis://:hunter2@a", "must begin with"),
            ("postgres:hunter2", "must begin with"),
            ("hunter2", "must begin with"),
            ("postgres://app:hunter2@db.example", "name the database"),
            ("mysql://app:hunter2@db.example/", "name the database"),
            ("postgres://app:hunter2@db.example:port/x", "is not a URL"),
            ("postgres://app@db.example/x?sslmode=hunter2", "is not a URL"),
        ] {
            let why = fault_of(url).unwrap();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{url}: {why}");
        }
    }
}
