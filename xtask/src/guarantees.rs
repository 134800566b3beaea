//! What the last run of the tests proved of each storage: the table of guarantees in the book, and the matrix of defects.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use quick_junit::{Report, TestCase, TestCaseStatus};

use crate::process::{Failure, Outcome};

/// The page of the book that is made here.
const PAGE: &str = "docs/security/guarantees.md";
/// Where the checks are described: the rows.
const CHECKS: &str = "crates/testkit/README.md";
/// What nextest leaves, by its profile `ci`.
const REPORT: &str = "target/nextest/ci/junit.xml";

/// A storage: its name, the test binary, and the modules with the conformance suite and the broken copies.
struct Column {
    name: &'static str,
    binary: &'static str,
    suite: &'static str,
    defects: Option<&'static str>,
}

const fn column(name: &'static str, binary: &'static str, suite: &'static str, defects: &'static str) -> Column {
    Column { name, binary, suite, defects: Some(defects) }
}

const SQLX: &str = "session-manager-storage-sqlx::servers";
const REDIS: &str = "session-manager-storage-redis::conformance";

const COLUMNS: &[Column] = &[
    column("memory", "session-manager-storage-memory::conformance", "value", "defects"),
    column("SQLite", "session-manager-storage-sqlx::conformance", "value", "defects"),
    column("PostgreSQL", SQLX, "conformance::postgres_value", "conformance::postgres_defects"),
    Column { name: "pgbouncer", binary: SQLX, suite: "conformance::postgres_behind_pgbouncer", defects: None },
    column("MariaDB", SQLX, "conformance::mariadb_value", "conformance::mariadb_defects"),
    column("Redis", REDIS, "value", "defects"),
    column("Sentinel", REDIS, "by_sentinel", "defects_by_sentinel"),
    column("Cluster", REDIS, "cluster", "defects_on_a_cluster"),
    column("memcached", "session-manager-storage-memcached::conformance", "memcached", "defects"),
    column("tiered", "session-manager-storage-tiered::conformance", "memory", "defects"),
    Column { name: "tiered on SQLite", binary: "session-manager-tests::tiered", suite: "sqlite", defects: None },
    Column { name: "tiered on Redis", binary: "session-manager-tests::tiered", suite: "redis", defects: None },
];

/// What a test said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cell {
    /// Proven; or, for a defect, caught.
    Yes,
    /// The storage lacks what it would need, and says so.
    Lacks,
    Failed,
}

impl Cell {
    const fn sign(self) -> &'static str {
        match self {
            Self::Yes => "✓",
            Self::Lacks => "–",
            Self::Failed => "FAILED",
        }
    }
}

/// After a run of all tests: prints the matrix of defects, and fails unless the page says what was proved.
pub(crate) fn check(root: &Path) -> Outcome {
    let proved = Proved::read(root)?;
    println!("{}", proved.matrix()?);
    let page = proved.page()?;
    if fs::read_to_string(root.join(PAGE)).is_ok_and(|text| text == page) {
        return Ok(());
    }
    Err(Failure::Check(format!("{PAGE} does not say what the tests proved: run `cargo xtask guarantees` after them")))
}

/// Writes the page from the last run of all tests.
pub(crate) fn write(root: &Path) -> Outcome {
    let proved = Proved::read(root)?;
    println!("{}", proved.matrix()?);
    let failed = |error| Failure::Check(format!("{PAGE} cannot be written: {error}"));
    fs::write(root.join(PAGE), proved.page()?).map_err(failed)
}

/// The tests of all storages, by binary and name, and the rows.
struct Proved {
    tests: BTreeMap<(String, String), Cell>,
    rows: Vec<(String, String)>,
}

impl Proved {
    fn read(root: &Path) -> Result<Self, Failure> {
        let missing = |error| Failure::Check(format!("{REPORT} cannot be read ({error}): run `cargo xtask ci` first"));
        let report = fs::read_to_string(root.join(REPORT)).map_err(missing)?;
        let report = Report::deserialize_from_str(&report)
            .map_err(|error| Failure::Check(format!("{REPORT} is not understood: {error}")))?;
        let checks = fs::read_to_string(root.join(CHECKS))
            .map_err(|error| Failure::Check(format!("{CHECKS} cannot be read: {error}")))?;
        Ok(Self { tests: tests(&report), rows: rows(&checks) })
    }

    fn cell(&self, column: &Column, module: &str, test: &str) -> Result<Cell, Failure> {
        let key = (column.binary.to_owned(), format!("{module}::{test}"));
        let missing = || Failure::Check(format!("{} {}::{test} did not run", column.binary, module));
        self.tests.get(&key).copied().ok_or_else(missing)
    }

    fn page(&self) -> Result<String, Failure> {
        let mut page = HEAD.to_owned();
        let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
        let _ = writeln!(page, "| guarantee | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for (check, text) in &self.rows {
            let mut line = format!("| {text} (`{check}`) |");
            for column in COLUMNS {
                let _ = write!(line, " {} |", self.cell(column, column.suite, check)?.sign());
            }
            page.push_str(&line);
            page.push('\n');
        }
        Ok(page)
    }

    /// Which defects were caught on which storage.
    fn matrix(&self) -> Result<String, Failure> {
        let storages: Vec<_> = COLUMNS.iter().filter(|column| column.defects.is_some()).collect();
        let mut defects: Vec<_> = self
            .tests
            .keys()
            .filter_map(|(binary, test)| {
                let first = storages.first()?;
                if binary == first.binary { test.strip_prefix(first.defects?)?.strip_prefix("::") } else { None }
            })
            .collect();
        defects.sort_unstable();
        let mut matrix = format!("{:<30}", "defect");
        for column in &storages {
            let _ = write!(matrix, " {:<11}", column.name);
        }
        for defect in &defects {
            let _ = write!(matrix, "\n{defect:<30}");
            for column in &storages {
                let cell = self.cell(column, column.defects.unwrap_or_default(), defect)?;
                let word = if cell == Cell::Yes { "caught" } else { cell.sign() };
                let _ = write!(matrix, " {word:<11}");
            }
        }
        if defects.is_empty() {
            return Err(Failure::Check("no broken storage was tried".to_owned()));
        }
        Ok(matrix)
    }
}

fn tests(report: &Report) -> BTreeMap<(String, String), Cell> {
    let suites = report.test_suites.iter();
    let cases = suites.flat_map(|suite| suite.test_cases.iter().map(|case| (suite.name.to_string(), case)));
    cases.map(|(binary, case)| ((binary, case.name.to_string()), cell(case))).collect()
}

fn cell(case: &TestCase) -> Cell {
    if !matches!(case.status, TestCaseStatus::Success { .. }) {
        return Cell::Failed;
    }
    let said = case.system_err.as_ref().map(quick_junit::XmlString::as_str).unwrap_or_default();
    if said.contains("SKIPPED ") && !said.contains("CAUGHT ") { Cell::Lacks } else { Cell::Yes }
}

/// The checks with what they prove, from the kit's own table.
fn rows(checks: &str) -> Vec<(String, String)> {
    let one = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (_, check, text) = (cells.next()?, cells.next()?, cells.next()?);
        Some((check.strip_prefix('`')?.strip_suffix('`')?.to_owned(), text.trim_end_matches('.').to_owned()))
    };
    checks.lines().skip_while(|line| !line.starts_with("## What the checks prove")).filter_map(one).collect()
}

const HEAD: &str = "\
# What every storage guarantees

This page is made by the run of the tests (`cargo xtask guarantees`), and `cargo xtask ci` fails where it is not true. A sign means
that the check ran on a real server of that kind and passed; a dash, that the storage declares not to be able to do what the check
needs. Besides these, random histories on every storage are compared with a plain reference, and every storage meets broken copies of
itself, each of which has to be caught (`cargo xtask ci` prints which).

";

#[cfg(test)]
mod tests_of_the_table {
    use super::*;

    const JUNIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="n" tests="3" failures="1" errors="0">
  <testsuite name="a::conformance" tests="3" disabled="0" errors="0" failures="1">
    <testcase name="value::one" classname="a::conformance"><system-err>SKIPPED one: the storage lacks Feed</system-err></testcase>
    <testcase name="value::two" classname="a::conformance"><system-err>CAUGHT x by y
SKIPPED x by z</system-err></testcase>
    <testcase name="value::three" classname="a::conformance"><failure type="test failure">no</failure></testcase>
  </testsuite>
</testsuites>"#;

    #[test]
    fn a_report_is_told_apart() {
        let found = tests(&Report::deserialize_from_str(JUNIT).unwrap());
        let cell = |name: &str| found[&("a::conformance".to_owned(), format!("value::{name}"))];
        assert_eq!([cell("one"), cell("two"), cell("three")], [Cell::Lacks, Cell::Yes, Cell::Failed]);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn the_rows_are_those_of_the_kit() {
        let text = "| x | `no` | y |\n## What the checks prove\n\n| subject | check | it proves |\n|---|---|---|\n| a | `b_c` | Does it. |\n";
        assert_eq!(rows(text), [("b_c".to_owned(), "Does it".to_owned())]);
    }
}
