//! What source files say: their heads, their length, and what must not be checked in.

use super::{Problem, tree::Tree};

/// A file of this many lines besides its tests has a second subject.
const LONGEST: usize = 500;

/// Told apart from the text that they are looked for in by being joined at build time.
const UNFINISHED: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
const OUTSIDE: &str = concat!("../", "shared");
const MACHINE: &[&str] = &[concat!("/work", "/"), concat!("/home", "/"), concat!("/root", "/"), concat!("/Users", "/")];

/// Every file begins by saying what it is for; the front page of a crate may be its README.
pub(super) fn heads(tree: &Tree) -> Vec<Problem> {
    let headless = tree.rust_files().filter(|(path, text)| {
        let first = text.lines().next().unwrap_or_default();
        let front_page = path.ends_with("/src/lib.rs") && first == "#![doc = include_str!(\"../README.md\")]";
        !front_page && first.strip_prefix("//!").is_none_or(|rest| rest.trim().is_empty())
    });
    headless.map(|(path, _)| Problem::at(path, 1, "does not begin with `//!` and what it is for")).collect()
}

/// Also where the lints do not look: in macros and in files that no target includes.
pub(super) fn unfinished(tree: &Tree) -> Vec<Problem> {
    lines(tree.rust_files(), |line| {
        let found = UNFINISHED.iter().find(|macro_call| line.contains(*macro_call))?;
        Some(format!("`{found}…)` is left over"))
    })
}

pub(super) fn length(tree: &Tree) -> Vec<Problem> {
    let code = tree.rust_files().filter(|(path, _)| !is_test_file(path));
    let long = code.filter_map(|(path, text)| {
        let count = lines_before_tests(text);
        let text = format!("has {count} lines besides its tests, more than {LONGEST}: look for the second subject");
        (count > LONGEST).then(|| Problem::new(path, text))
    });
    long.collect()
}

/// Nothing points out of the repository, but the one line of CI that finds the test data beside it.
pub(super) fn outside_paths(tree: &Tree) -> Vec<Problem> {
    let checked = tree.files().filter(|(path, _)| *path != "Cargo.lock");
    lines(checked.filter(|(path, _)| *path != ".ci/run"), |line| {
        if line.contains(OUTSIDE) {
            return Some("points to a folder outside the repository".to_owned());
        }
        let found = MACHINE.iter().find(|needle| is_absolute(line, needle))?;
        Some(format!("names a path of one machine ({found}…)"))
    })
}

/// Whether `needle` begins a path here, instead of going on with one or with an address.
fn is_absolute(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | '}' | '>' | '*'))
    })
}

fn is_test_file(path: &str) -> bool {
    let mut folders = path.split('/');
    let file = folders.next_back().unwrap_or_default();
    path.starts_with("tests/") || file == "tests.rs" || folders.any(|folder| folder == "tests")
}

/// The tests are the last thing in a file.
fn lines_before_tests(text: &str) -> usize {
    let all: Vec<_> = text.lines().collect();
    let is_tests = |pair: &[&str]| {
        matches!(pair, [cfg, module] if cfg.starts_with("#[cfg(test)]") && {
            module.starts_with("mod ") || module.starts_with("#[")
        })
    };
    all.windows(2).position(is_tests).unwrap_or(all.len())
}

fn lines<'a>(files: impl Iterator<Item = (&'a str, &'a str)>, find: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in files {
        for (number, line) in (1..).zip(text.lines()) {
            problems.extend(find(line).map(|text| Problem::at(path, number, text)));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_caught, assert_tidy},
        *,
    };

    const PATH: &str = "crates/core/src/clock.rs";

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_tidy(heads, &[(PATH, "//! The clock.\n"), ("README.md", "# No Rust")]);
        for text in ["", "//!\n//! Late.\n", "use std::fmt;\n//! Late.\n", "// The clock.\n"] {
            assert_caught(heads, &[(PATH, text)], PATH, "does not begin");
        }
    }

    #[test]
    fn what_is_not_finished_is_caught_with_its_line() {
        for call in UNFINISHED {
            let text = format!("//! A.\nfn f() {{\n    {call})\n}}\n");
            assert_eq!(
                unfinished(&Tree::of(&[(PATH, &text)])),
                [Problem::at(PATH, 3, format!("`{call}…)` is left over"))]
            );
        }
        assert_tidy(unfinished, &[(PATH, "// todo: nothing\n")]);
    }

    #[test]
    fn a_long_file_is_caught_and_its_tests_do_not_count() {
        let code = |count: usize| "fn f() {}\n".repeat(count);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", code(1000));
        assert_tidy(length, &[(PATH, &(code(LONGEST) + &tests))]);
        assert_caught(length, &[(PATH, &(code(LONGEST + 1) + &tests))], PATH, "has 501 lines");
        let hidden = format!("#[cfg(test)]\nuse x;\n{}", code(LONGEST));
        assert_caught(length, &[(PATH, &hidden)], PATH, "has 502 lines");
        for path in ["tests/tests/smoke.rs", "crates/core/tests/model.rs", "crates/core/src/manager/tests.rs"] {
            assert_tidy(length, &[(path, &code(LONGEST + 1))]);
        }
    }

    #[test]
    fn paths_out_of_the_repository_are_caught() {
        let shared = format!("see {OUTSIDE}/design.md");
        assert_tidy(
            outside_paths,
            &[(".ci/run", &shared), ("README.md", "a framework/part, net/work/x, see ./work/x")],
        );
        assert_caught(outside_paths, &[("docs/a.md", &shared)], "docs/a.md", "outside");
        for needle in MACHINE {
            let text = format!("root = \"{needle}main\"");
            assert_caught(outside_paths, &[("docs/a.toml", &text)], "docs/a.toml", needle);
        }
    }
}
