//! All checks in one run, with a table of what each took.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use session_manager_services::{REQUIRE, Services};

use crate::{
    browser, checks, fuzz, guarantees, interop,
    process::{Failure, Outcome},
    schemathesis, services, tidy, tools,
};

struct Step {
    name: &'static str,
    task: fn(&mut Run) -> Outcome,
}

/// What one step leaves to the next.
struct Run {
    root: PathBuf,
    servers: Option<Services>,
    /// The server's program, as soon as it is built.
    server: Option<String>,
}

impl Run {
    /// By itself, so that the table tells building from testing, and that no test's time limit has to hold a build.
    fn build_tests(&mut self) -> Outcome {
        self.server = Some(checks::build_tests(&self.root)?);
        Ok(())
    }

    fn start_servers(&mut self) -> Outcome {
        self.servers = Some(services::start(&self.root)?);
        Ok(())
    }

    /// A test that finds no server fails here, instead of being skipped. The servers are stopped afterwards in any case.
    fn test(&mut self) -> Outcome {
        let servers = self.servers.take();
        let mut variables = servers.as_ref().map(Services::environment).unwrap_or_default();
        variables.push((REQUIRE, "1".to_owned()));
        variables.extend(self.server.clone().map(|server| (checks::SERVER_VARIABLE, server)));
        checks::nextest(&self.root, ["--profile=ci"].into_iter().chain(checks::ALL_TESTS), &variables)
    }
}

/// Without them no other step makes sense.
const TOOLS: &str = "tools";

/// What takes seconds comes first; the builds follow in the order in which each finds the most already built: the test
/// binaries' libraries serve the doc tests, clippy's metadata serves the features and rustdoc.
const STEPS: &[Step] = &[
    Step { name: "fmt", task: |run| checks::fmt(&run.root) },
    Step { name: "tidy", task: |run| tidy::run(&run.root) },
    Step { name: "markdown", task: |run| checks::markdown(&run.root) },
    Step { name: "clippy", task: |run| checks::clippy(&run.root) },
    Step { name: "build", task: Run::build_tests },
    Step { name: "services", task: Run::start_servers },
    Step { name: "test", task: Run::test },
    Step { name: "guarantees", task: |run| guarantees::check(&run.root) },
    Step { name: "doctest", task: |run| checks::doctest(&run.root) },
    Step { name: "features", task: |run| checks::features(&run.root) },
    Step { name: "doc", task: |run| checks::doc(&run.root) },
    Step { name: "book", task: |run| checks::book(&run.root) },
    Step { name: "deny", task: |run| checks::deny(&run.root) },
];

/// What is too slow or too unstable for every change, the quick ones first.
const NIGHTLY: &[Step] = &[
    Step { name: "schemathesis", task: |run| schemathesis::run(&run.root) },
    Step { name: "browser", task: |run| browser::run(&run.root) },
    Step { name: "interop", task: |run| interop::run(&run.root) },
    Step { name: "pairs", task: |run| checks::feature_pairs(&run.root) },
    Step { name: "minimal", task: |run| checks::minimal_versions(&run.root) },
    Step { name: "fuzz", task: |run| fuzz::for_long(&run.root) },
];

/// Runs every step, also after one has failed, so that one run tells everything there is to repair.
pub(crate) fn run(root: &Path) -> Outcome {
    let clean_clone = std::env::var_os("CI").is_some();
    let unchanged = Step { name: "unchanged", task: |run| checks::unchanged(&run.root) };
    // Installed before the steps, not beside them: the installs keep both cores of a small machine busy.
    let install = Step { name: TOOLS, task: |run| tools::install_all(&run.root) };
    all(root, std::iter::once(&install).chain(STEPS).chain(clean_clone.then_some(&unchanged)))
}

/// The same with what is not for every change.
pub(crate) fn nightly(root: &Path) -> Outcome {
    let install = Step { name: TOOLS, task: |run| tools::install_all(&run.root) };
    all(root, std::iter::once(&install).chain(NIGHTLY))
}

fn all<'a>(root: &Path, steps: impl Iterator<Item = &'a Step>) -> Outcome {
    let started = Instant::now();
    let mut report = Report::default();
    let mut state = Run { root: root.to_owned(), servers: None, server: None };
    for step in steps {
        println!("\n=== {} ===", step.name);
        let begun = Instant::now();
        let outcome = (step.task)(&mut state);
        if let Err(failure) = &outcome {
            eprintln!("{} failed: {failure}", step.name);
        }
        let no_tools = step.name == TOOLS && outcome.is_err();
        report.add(step.name, begun.elapsed(), outcome);
        if no_tools {
            break;
        }
    }
    report.finish(started.elapsed())
}

#[derive(Default)]
struct Report {
    rows: Vec<(&'static str, Duration)>,
    failures: Vec<(&'static str, Failure)>,
}

impl Report {
    fn add(&mut self, name: &'static str, took: Duration, outcome: Outcome) {
        self.rows.push((name, took));
        if let Err(failure) = outcome {
            self.failures.push((name, failure));
        }
    }

    fn table(&self, total: Duration) -> String {
        let row = |name: &str, took: Duration, note: &str| format!("{name:<12} {:>8.1} {note}\n", took.as_secs_f64());
        let mut table = format!("\n{:<12} {:>8}\n", "step", "seconds");
        for (name, took) in &self.rows {
            let failed = self.failures.iter().any(|(failed, _)| failed == name);
            table.push_str(&row(name, *took, if failed { "FAILED" } else { "" }));
        }
        table.push_str(&row("total", total, ""));
        table
    }

    /// Prints the table and joins the failures into one: the machine's lacks count only where no check has failed.
    fn finish(self, total: Duration) -> Outcome {
        print!("{}", self.table(total));
        if self.failures.is_empty() {
            println!("every step succeeded");
            return Ok(());
        }
        let only_missing = self.failures.iter().all(|(_, failure)| matches!(failure, Failure::Missing(_)));
        let lines: Vec<_> = self.failures.iter().map(|(name, failure)| format!("{name}: {failure}")).collect();
        let text = format!("{} step(s) failed\n  {}", lines.len(), lines.join("\n  "));
        Err(if only_missing { Failure::Missing(text) } else { Failure::Check(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_failed_step_is_named_and_the_exit_code_says_which_kind() {
        let mut report = Report::default();
        report.add("fmt", SECOND, Ok(()));
        report.add("book", SECOND, Err(Failure::Missing("no mdbook".to_owned())));
        report.add("clippy", SECOND, Err(Failure::Check("bad".to_owned())));
        let table = report.table(SECOND * 3);
        assert!(table.contains("clippy            1.0 FAILED"), "{table}");
        assert!(!table.contains("fmt               1.0 FAILED"), "{table}");

        let failure = report.finish(SECOND * 3).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        let text = failure.to_string();
        assert!(text.contains("clippy: bad") && text.contains("book: no mdbook"), "{text}");
    }

    #[test]
    fn a_machine_that_lacks_something_is_not_a_failed_check() {
        let mut report = Report::default();
        report.add("tools", SECOND, Err(Failure::Missing("no npm".to_owned())));
        assert_eq!(report.finish(SECOND).unwrap_err().exit_code(), 2);
        assert!(Report::default().finish(SECOND).is_ok());
    }
}
