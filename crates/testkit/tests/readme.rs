//! The front page lists every check with what it proves, and no check is left out of the suite.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;

use session_manager_testkit::conformance::checks;

/// The public async functions of the modules of checks, with their documentation.
fn written() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
    let mut written = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() || matches!(&*name, "run" | "concurrency" | "table") {
            continue;
        }
        let mut said = Vec::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            if let Some(text) = line.strip_prefix("/// ") {
                said.push(text.to_owned());
            } else if let Some(function) = line.strip_prefix("pub async fn ") {
                written.insert(function.split('(').next().unwrap().to_owned(), said.join(" "));
            } else {
                said.clear();
            }
        }
    }
    written
}

#[test]
fn every_check_that_is_written_is_run() {
    let listed: Vec<_> = checks().iter().map(|check| check.name().to_owned()).collect();
    let mut sorted = listed.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), listed.len(), "a check is listed twice");
    assert_eq!(sorted, written().into_keys().collect::<Vec<_>>());
}

#[test]
fn the_front_page_says_what_each_check_proves() {
    let written = written();
    let table: Vec<_> = checks()
        .iter()
        .map(|check| format!("| {} | `{}` | {} |", check.group(), check.name(), written[check.name()]))
        .collect();
    let readme = include_str!("../README.md");
    let others =
        |line: &&str| ["| model |", "| histories |", "| evictions |"].iter().any(|with| line.starts_with(with));
    let shown: Vec<_> = readme.lines().filter(|line| line.contains(" | `") && !others(line)).collect();
    assert_eq!(shown, table, "the table should be:\n{}", table.join("\n"));
}

/// What the table of guarantees reads has a row for every test that a macro makes beside the checks.
#[test]
fn the_front_page_has_the_histories_and_the_losses() {
    let rows: Vec<_> = include_str!("../README.md")
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some(format!("{} {}", cells.next()?, cells.next()?.trim_matches('`')))
        })
        .collect();
    let macros = [
        ("histories", include_str!("../src/conformance/histories/mod.rs"), "_are_linearizable"),
        ("histories", include_str!("../src/conformance/histories/mod.rs"), "everything_is_linearizable"),
        ("evictions", include_str!("../src/conformance/eviction/mod.rs"), "_revives_nothing"),
        ("model", include_str!("../src/conformance/table.rs"), "random_histories_match_the_reference"),
    ];
    for (subject, text, ending) in macros {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let tests: std::collections::BTreeSet<_> = words.filter(|word| word.ends_with(ending)).collect();
        assert!(!tests.is_empty(), "{ending}");
        for test in tests {
            assert!(rows.contains(&format!("{subject} {test}")), "the front page has no row for {test}");
        }
    }
}
