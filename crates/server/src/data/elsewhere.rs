//! The same tests on another database: they run again in a process of their own, which is told a server where each makes a database.

use std::path::Path;
use std::process::Command;

use session_manager_services::{MariaDb, Postgres, fresh_mysql_database, fresh_postgres_database};

use crate::config::Settings;

/// Tells the tests the server for their databases; without it each has a file.
const VARIABLE: &str = "SESSION_MANAGER_TEST_ACCOUNTS_URL";

/// What is run again: the accounts by themselves, and all that the API does with them.
const ACCOUNTS: &[&str] = &["accounts::"];
const CREDENTIALS: &[&str] =
    &["tests::account::", "tests::password::", "tests::resets::", "tests::sign_in::", "tests::letters"];
const PROVIDERS: &[&str] = &["tests::providers::", "tests::authorization::", "tests::authorization_failures::"];
const SESSIONS: &[&str] = &[
    "tests::sessions::",
    "tests::admin::",
    "tests::audit::",
    "tests::rotation::",
    "tests::outage::",
    "tests::journey::",
    "sessions::transaction::",
];
/// What is about SQLite alone, begins servers of its own, or is alone in its process.
const OTHERS: [&str; 4] = [
    // It looks at what is logged, and by its whole process.
    "the_token_is_neither_logged_nor_stored",
    "accounts::races::",
    "a_taken_address_costs_the_same_commit_as_a_free_one",
    "nothing_that_a_provider_gave_is_readable_in_the_database",
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

/// Runs the suites again, of which at least so many tests have to pass.
fn again_on(url: &str, suites: &[&str], least: u32) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(suites).args(OTHERS.iter().flat_map(|name| ["--skip", name])).arg("--test-threads=4");
    let output = command.env(VARIABLE, url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = said.split("test result: ok. ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(passed.is_some_and(|passed: u32| passed >= least), "{passed:?} of {least}");
}

macro_rules! again {
    ($($test:ident, $suites:ident, $least:literal;)+) => {
        mod postgres {
            $(#[test]
            fn $test() {
                super::again_on(&super::Postgres::start().unwrap().url(), super::$suites, $least);
            })+
        }
        mod mariadb {
            $(#[test]
            fn $test() {
                super::again_on(&super::MariaDb::start().unwrap().url(), super::$suites, $least);
            })+
        }
    };
}

again! {
    accounts, ACCOUNTS, 50;
    credentials, CREDENTIALS, 40;
    providers, PROVIDERS, 35;
    sessions, SESSIONS, 40;
}
