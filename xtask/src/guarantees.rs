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

/// A storage: its name, the test binary, and the modules of it; what there is none of, the page shows as lacking.
struct Column {
    name: &'static str,
    binary: &'static str,
    suite: &'static str,
    /// Concurrent histories.
    histories: Option<&'static str>,
    /// Losing what it keeps.
    evictions: Option<&'static str>,
    /// Broken copies, and storages that race with themselves.
    broken: Option<[&'static str; 2]>,
}

impl Column {
    /// The module with the test of a row.
    fn module(&self, row: &Row) -> Option<&'static str> {
        match &*row.subject {
            "histories" => self.histories,
            "evictions" => self.evictions,
            _ => Some(self.suite),
        }
    }
}

const fn column(name: &'static str, binary: &'static str, suite: &'static str) -> Column {
    Column { name, binary, suite, histories: Some("histories"), evictions: None, broken: None }
}

const MEMORY: &str = "session-manager-storage-memory::conformance";
const SQLITE: &str = "session-manager-storage-sqlx::conformance";
const SQLX: &str = "session-manager-storage-sqlx::servers";
const REDIS: &str = "session-manager-storage-redis::conformance";
const MEMCACHED: &str = "session-manager-storage-memcached::conformance";
const CACHE: &str = "session-manager-storage-tiered::conformance";
const TIERED: &str = "session-manager-tests::tiered";

const COLUMNS: &[Column] = &[
    Column { broken: Some(["defects", "races"]), ..column("memory", MEMORY, "value") },
    Column { evictions: Some("evictions"), broken: Some(["defects", "races"]), ..column("SQLite", SQLITE, "value") },
    Column {
        histories: Some("conformance::postgres_histories"),
        evictions: Some("conformance::postgres_evictions"),
        broken: Some(["conformance::postgres_defects", "conformance::postgres_races"]),
        ..column("PostgreSQL", SQLX, "conformance::postgres_value")
    },
    Column {
        histories: Some("conformance::postgres_histories_behind_pgbouncer"),
        ..column("pgbouncer", SQLX, "conformance::postgres_behind_pgbouncer")
    },
    Column {
        histories: Some("conformance::mariadb_histories"),
        evictions: Some("conformance::mariadb_evictions"),
        broken: Some(["conformance::mariadb_defects", "conformance::mariadb_races"]),
        ..column("MariaDB", SQLX, "conformance::mariadb_value")
    },
    Column { evictions: Some("evictions"), broken: Some(["defects", "races"]), ..column("Redis", REDIS, "value") },
    Column {
        histories: Some("histories_by_sentinel"),
        broken: Some(["defects_by_sentinel", "races_by_sentinel"]),
        ..column("Sentinel", REDIS, "by_sentinel")
    },
    Column {
        histories: Some("histories_on_a_cluster"),
        evictions: Some("evictions_on_a_cluster"),
        broken: Some(["defects_on_a_cluster", "races_on_a_cluster"]),
        ..column("Cluster", REDIS, "cluster")
    },
    Column {
        evictions: Some("evictions"),
        broken: Some(["defects", "races"]),
        ..column("memcached", MEMCACHED, "memcached")
    },
    Column { broken: Some(["defects", "races"]), ..column("tiered", CACHE, "memory") },
    Column {
        histories: Some("histories_on_sqlite"),
        evictions: Some("evictions_on_sqlite"),
        ..column("tiered on SQLite", TIERED, "sqlite")
    },
    Column {
        histories: Some("histories_on_redis"),
        evictions: Some("evictions_on_redis"),
        ..column("tiered on Redis", TIERED, "redis")
    },
];

/// A line of the kit's tables.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    subject: String,
    check: String,
    text: String,
}

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
    rows: Vec<Row>,
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
        for row in &self.rows {
            let mut line = format!("| {} (`{}`) |", row.text, row.check);
            for column in COLUMNS {
                let cell =
                    column.module(row).map_or(Ok(Cell::Lacks), |module| self.cell(column, module, &row.check))?;
                let _ = write!(line, " {} |", cell.sign());
            }
            page.push_str(&line);
            page.push('\n');
        }
        Ok(page)
    }

    /// Which defects were caught on which storage.
    fn matrix(&self) -> Result<String, Failure> {
        let storages: Vec<_> = COLUMNS.iter().filter_map(|column| Some((column, column.broken?))).collect();
        let mut defects = Vec::new();
        if let Some((column, modules)) = storages.first() {
            for (kind, module) in modules.iter().enumerate() {
                let tests = self.tests.keys().filter(|(binary, _)| binary == column.binary);
                let named = |test: &'_ str| Some(test.strip_prefix(module)?.strip_prefix("::")?.to_owned());
                defects.extend(tests.filter_map(|(_, test)| Some((kind, named(test)?))));
            }
        }
        let mut matrix = format!("{:<30}", "defect");
        for (column, _) in &storages {
            let _ = write!(matrix, " {:<11}", column.name);
        }
        for (kind, defect) in &defects {
            let _ = write!(matrix, "\n{defect:<30}");
            for (column, modules) in &storages {
                let cell = self.cell(column, modules.get(*kind).copied().unwrap_or_default(), defect)?;
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

/// The checks with what they prove, from the kit's own tables.
fn rows(checks: &str) -> Vec<Row> {
    let one = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (subject, check, text) = (cells.next()?, cells.next()?, cells.next()?);
        let check = check.strip_prefix('`')?.strip_suffix('`')?;
        let text = text.trim_end_matches('.').to_owned();
        Some(Row { subject: subject.to_owned(), check: check.to_owned(), text })
    };
    checks.lines().skip_while(|line| !line.starts_with("## What the checks prove")).filter_map(one).collect()
}

const HEAD: &str = "\
# What every storage guarantees

This page is made by the run of the tests (`cargo xtask guarantees`), and `cargo xtask ci` fails where it is not true. A sign means
that the check ran on a real server of that kind and passed; a dash, that the storage declares not to be able to do what the check
needs, or has nothing of its own that could be lost. Besides these, every storage meets broken copies of itself and copies that race
with themselves, each of which has to be caught (`cargo xtask ci` prints which).

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
        let row = Row { subject: "a".to_owned(), check: "b_c".to_owned(), text: "Does it".to_owned() };
        assert_eq!(rows(text), [row]);
    }

    #[test]
    fn a_row_is_looked_for_where_its_subject_is_tested() {
        let of = |subject: &str| Row { subject: subject.to_owned(), check: String::new(), text: String::new() };
        let column = Column { histories: Some("h"), evictions: None, ..column("a", "b", "suite") };
        let found = ["histories", "evictions", "model", "purge"].map(|subject| column.module(&of(subject)));
        assert_eq!(found, [Some("h"), None, Some("suite"), Some("suite")]);
    }
}
