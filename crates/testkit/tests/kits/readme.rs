//! The front page lists every check of these suites with what it proves, and none is left out of its macro.

use std::path::Path;

/// The checks that a suite's file holds, with their documentation, and the names that its macro runs.
fn suite(name: &str) -> (Vec<(String, String)>, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance").join(name).join("mod.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut said, mut checks) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            said.push(text);
        } else if let Some(function) = line.strip_prefix("pub async fn ") {
            checks.push((function.split('(').next().unwrap().to_owned(), said.join(" ")));
        } else {
            said.clear();
        }
    }
    let run = text.lines().skip_while(|line| !line.contains("(@tests $factory,")).skip(1);
    let run = run.take_while(|line| !line.contains(");")).map(|line| line.trim().to_owned()).collect();
    (checks, run)
}

#[test]
fn every_check_is_run_and_on_the_front_page() {
    let readme = include_str!("../../README.md");
    for name in ["audit", "enricher", "backend"] {
        let (checks, run) = suite(name);
        assert!(checks.len() >= 6, "{name}: the checks were not found");
        assert_eq!(run, checks.iter().map(|(check, _)| check.clone()).collect::<Vec<_>>(), "{name}");
        for (check, proves) in checks {
            let line = format!("| `{check}` | {proves} |");
            assert!(readme.lines().any(|shown| shown == line), "the front page should have\n{line}");
        }
    }
}
