//! The benchmark program runs: every group, as short as it can be. What it measures is looked at by people.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use session_manager_services::{Service, url};

/// Runs the groups and returns the rows of their tables.
fn rows(groups: &[&str]) -> Vec<String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_session-manager-bench")).arg("--quick").args(groups).output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{groups:?}: {errors}\n{out}");
    out.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| operation")).map(str::to_owned).collect()
}

#[test]
fn every_operation_is_compared_without_a_server() {
    let rows = rows(&["memory", "sqlite", "growth-memory"]);
    assert_eq!(rows.len(), 8 + 8 + 4, "{rows:#?}");
    assert!(!rows.iter().any(|row| row.contains("NaN") || row.contains("inf")), "{rows:#?}");
}

/// It starts servers of its own; where the tests have none, none are installed.
#[test]
fn every_operation_is_compared_on_servers() {
    if url(Service::Postgres).is_none() || url(Service::Redis).is_none() {
        return;
    }
    let rows = rows(&["postgres", "redis", "bytes", "growth-postgres", "growth-redis"]);
    let bytes = rows.iter().filter(|row| row.contains("bytes")).count();
    assert!(
        bytes >= 2 && rows.iter().filter(|row| row.contains("(storage)")).count() == 5 + 5 + 4 + 2 * 4,
        "{rows:#?}"
    );
}

#[test]
fn a_group_that_does_not_exist_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_session-manager-bench")).arg("speed").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("growth-redis"));
}
