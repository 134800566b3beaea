//! The page that maps every security requirement to its tests names tests that exist.

use super::{Problem, cargo, tree::Tree};

const PAGE: &str = "docs/security/verification.md";

/// A test is named as `crate_name::module::test_name`: where nextest finds it, with `_` for `-`.
pub(super) fn named_tests(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(tree.text(PAGE).unwrap_or_default().lines()) {
        for name in line.split('`').skip(1).step_by(2).filter(|code| is_test_name(code)) {
            if let Err(text) = find(tree, name) {
                problems.push(Problem::at(PAGE, number, format!("{name}: {text}")));
            }
        }
    }
    problems
}

/// Whether the code is a path of lower-case words, which nothing else on that page is.
fn is_test_name(code: &str) -> bool {
    let is_word = |part: &str| {
        let all = part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        all && !part.is_empty()
    };
    code.contains("::") && code.split("::").all(is_word)
}

fn find(tree: &Tree, name: &str) -> Result<(), &'static str> {
    let parts: Vec<_> = name.split("::").collect();
    let [krate, modules @ .., test] = parts.as_slice() else {
        return Err("is not the path of a test");
    };
    let members = cargo::members(tree);
    let member = members.iter().find(|manifest| manifest.name().replace('-', "_") == *krate);
    let folder = &member.ok_or("there is no such crate")?.folder;

    let inside = tree.rust_files().filter_map(|(path, text)| {
        let path = path.strip_prefix(folder.as_str())?.strip_prefix('/')?;
        Some((module_path(path), text))
    });
    let here = |(file, text): (Vec<&str>, &str)| {
        let rest = modules.strip_prefix(file.as_slice());
        rest.is_some_and(|rest| {
            let opened = rest.iter().all(|module| defines(text, "mod ", module));
            opened && defines(text, "fn ", test)
        })
    };
    if inside.into_iter().any(here) { Ok(()) } else { Err("there is no such test") }
}

/// `src/manager/refresh.rs` is `manager::refresh`, `tests/smoke.rs` is `smoke`.
fn module_path(path: &str) -> Vec<&str> {
    let mut parts: Vec<_> = path.trim_end_matches(".rs").split('/').skip(1).collect();
    if matches!(parts.last(), Some(&("lib" | "main" | "mod"))) {
        parts.pop();
    }
    parts
}

/// Whether a line of `text` defines `keyword name`; a line of a comment does not.
fn defines(text: &str, keyword: &str, name: &str) -> bool {
    let is_definition = |line: &str| {
        line.match_indices(keyword).any(|(at, _)| {
            let (before, after) = line.split_at(at);
            let rest = after.strip_prefix(keyword).and_then(|after| after.strip_prefix(name));
            let ends = rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
            ends && !before.contains("//") && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    };
    text.lines().any(is_definition)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_caught, assert_tidy},
        *,
    };

    const TREE: [(&str, &str); 4] = [
        ("crates/core/Cargo.toml", "[package]\nname = \"session-manager-core\"\n"),
        ("crates/core/src/policy.rs", "mod tests {\n    // fn only_said()\n    fn idle_is_exact() {}\n}\n"),
        ("tests/Cargo.toml", "[package]\nname = \"session-manager-tests\"\n"),
        ("tests/tests/smoke.rs", "async fn walk() {}\n"),
    ];

    fn page(text: &str) -> Vec<(&str, &str)> {
        TREE.into_iter().chain([(PAGE, text)]).collect()
    }

    #[test]
    fn named_tests_that_exist_are_found() {
        assert_tidy(named_tests, &page("| 8 | `session_manager_core::policy::tests::idle_is_exact` |"));
        assert_tidy(
            named_tests,
            &page("`session_manager_tests::smoke::walk`, `SessionPolicy::nist_aal1()`, `jku`, a::b"),
        );
        assert_tidy(named_tests, &TREE);
    }

    #[test]
    fn named_tests_that_do_not_exist_are_caught() {
        for (name, why) in [
            ("session_manager_core::policy::tests::idle_is_exac", "no such test"),
            ("session_manager_core::policy::tests::idle_is_exact_too", "no such test"),
            ("session_manager_core::policy::tests::only_said", "no such test"),
            ("session_manager_core::policy::other::idle_is_exact", "no such test"),
            ("session_manager_core::epoch::tests::idle_is_exact", "no such test"),
            ("session_manager_tests::policy::tests::idle_is_exact", "no such test"),
            ("session_manager_cache::policy::tests::idle_is_exact", "no such crate"),
        ] {
            assert_caught(named_tests, &page(&format!("first line\n| 8 | `{name}` |")), PAGE, why);
        }
    }
}
