//! The same tests on another database: they run again in a process of their own, which is told a server where each makes a database.

use std::path::Path;
use std::process::Command;

use session_manager_services::{MariaDb, Postgres, fresh_mysql_database, fresh_postgres_database};

use crate::config::Settings;

/// Tells the tests the server for their databases; without it each has a file.
const VARIABLE: &str = "SESSION_MANAGER_TEST_ACCOUNTS_URL";

/// What is run again: all that has to do with accounts, by the API and by the pages.
const SUITES: [&str; 5] = ["accounts::", "api::tests::", "pages::tests::", "limits::", "app::tests::"];
/// What is about SQLite, or about no database.
const OTHERS: [&str; 6] = [
    // These begin servers of their own.
    "accounts::races::",
    // It looks at SQLite's own count of commits.
    "a_taken_address_costs_the_same_commit_as_a_free_one",
    // It looks into the file.
    "nothing_that_a_provider_gave_is_readable_in_the_database",
    "api::tests::openapi::",
    "api::tests::table::",
    "headers::",
];

/// Settings for a test.
pub(crate) fn test_settings(folder: &Path) -> Settings {
    let url = std::env::var(VARIABLE).ok().map(|server| fresh_database(&server));
    settings_at(folder, url.as_deref())
}

/// Settings with the database at this URL.
pub(crate) fn settings_at(folder: &Path, url: Option<&str>) -> Settings {
    let database = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
    Settings { data: folder.to_owned(), database, ..Settings::default() }
}

/// A database that no other test knows.
pub(crate) fn fresh_database(server: &str) -> String {
    let fresh = if server.starts_with("postgres") { fresh_postgres_database } else { fresh_mysql_database };
    fresh(server).unwrap()
}

fn again_on(url: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(SUITES).args(OTHERS.iter().flat_map(|name| ["--skip", name])).arg("--test-threads=6");
    let output = command.env(VARIABLE, url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = said.split("ok. ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|text| text.parse().ok());
    assert!(passed.is_some_and(|passed: u32| passed > 200), "{passed:?}");
}

#[test]
fn all_of_it_on_postgres() {
    again_on(&Postgres::start().unwrap().url());
}

#[test]
fn all_of_it_on_mariadb() {
    again_on(&MariaDb::start().unwrap().url());
}
