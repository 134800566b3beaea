//! The page that maps every security requirement to its tests names tests that exist.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Problem, cargo,
    functions::{self, Function},
    tree::Tree,
};

const PAGE: &str = "docs/security/verification.md";
/// The checks of the test kit carry no attribute: a macro makes the tests of them, in the crate of each storage.
const CHECKS: &str = "crates/testkit/src/conformance";

/// A test is named as `crate_name::module::test_name`: where nextest finds it, with `_` for `-`.
pub(super) fn named_tests(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut crates = BTreeMap::new();
    for (number, line) in (1..).zip(tree.text(PAGE).unwrap_or_default().lines()) {
        for name in line.split('`').skip(1).step_by(2).filter(|code| is_test_name(code)) {
            if let Err(text) = find(tree, &mut crates, name) {
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

/// `crates` keeps what was read of each crate.
fn find<'a>(
    tree: &Tree,
    crates: &mut BTreeMap<&'a str, BTreeSet<Function>>,
    name: &'a str,
) -> Result<(), &'static str> {
    let (krate, path) = name.split_once("::").ok_or("is not the path of a test")?;
    let members = cargo::members(tree);
    let member = members.iter().find(|manifest| manifest.name().replace('-', "_") == krate);
    let folder = &member.ok_or("there is no such crate")?.folder;
    let functions = crates.entry(krate).or_insert_with(|| functions::of_crate(tree, folder));
    let mut named = functions.iter().filter(|function| function.path == path);
    let first = named.next().ok_or("there is no such test")?;
    if first.is_test || named.any(|function| function.is_test) || is_check(tree, folder, path) {
        return Ok(());
    }
    Err("this is no test: no attribute makes it one, nor does the list of the conformance checks name it")
}

/// Whether the function is one of the conformance checks: the list that the macro reads names it.
fn is_check(tree: &Tree, folder: &str, path: &str) -> bool {
    let Some((_, name)) = path.rsplit_once("::") else { return false };
    let mut files = tree.rust_files().filter(|(file, _)| file.starts_with(CHECKS) && file.starts_with(folder));
    path.starts_with("conformance::") && files.any(|(_, text)| text.lines().any(|line| line.trim() == name))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_caught, assert_tidy},
        *,
    };

    const POLICY: &str = "\
mod tests {
    // fn only_said()
    #[test]
    fn idle_is_exact() {}

    fn helps() {}
}
";
    const TREE: [(&str, &str); 11] = [
        ("crates/core/Cargo.toml", "[package]\nname = \"session-manager-core\"\n"),
        ("crates/core/src/lib.rs", "mod policy;\nmod json;\n"),
        ("crates/core/src/policy.rs", POLICY),
        ("crates/core/src/json.rs", "#[path = \"json_tests.rs\"]\nmod tests;\n"),
        ("crates/core/src/json_tests.rs", "#[test]\nfn reads() {}\n"),
        ("crates/testkit/Cargo.toml", "[package]\nname = \"session-manager-testkit\"\n"),
        ("crates/testkit/src/lib.rs", "pub mod conformance;\n"),
        ("crates/testkit/src/conformance/mod.rs", "mod cap;\nmod table;\n"),
        ("crates/testkit/src/conformance/cap.rs", "pub async fn cap_holds() {}\npub async fn forgotten() {}\n"),
        ("crates/testkit/src/conformance/table.rs", "macro_rules! list {\n    cap {\n        cap_holds\n    }\n}\n"),
        ("tests/Cargo.toml", "[package]\nname = \"session-manager-tests\"\n"),
    ];
    const WALK: (&str, &str) = ("tests/tests/smoke.rs", "#[tokio::test]\nasync fn walk() {}\n");

    fn page(text: &str) -> Vec<(&str, &str)> {
        TREE.into_iter().chain([WALK, (PAGE, text)]).collect()
    }

    #[test]
    fn named_tests_that_exist_are_found() {
        assert_tidy(named_tests, &page("| 8 | `session_manager_core::policy::tests::idle_is_exact` |"));
        assert_tidy(
            named_tests,
            &page("`session_manager_tests::smoke::walk`, `SessionPolicy::nist_aal1()`, `jku`, a::b"),
        );
        assert_tidy(named_tests, &page("`session_manager_core::json::tests::reads`"));
        assert_tidy(named_tests, &page("`session_manager_testkit::conformance::cap::cap_holds`"));
        assert_tidy(named_tests, &TREE);
    }

    #[test]
    fn named_tests_that_do_not_exist_are_caught() {
        for (name, why) in [
            ("session_manager_core::policy::tests::idle_is_exac", "no such test"),
            ("session_manager_core::policy::tests::idle_is_exact_too", "no such test"),
            ("session_manager_core::policy::tests::only_said", "no such test"),
            ("session_manager_core::policy::tests::helps", "no attribute"),
            ("session_manager_core::json_tests::reads", "no such test"),
            ("session_manager_testkit::conformance::cap::forgotten", "no attribute"),
            ("session_manager_testkit::conformance::cap::cap_hold", "no such test"),
            ("session_manager_core::policy::other::idle_is_exact", "no such test"),
            ("session_manager_core::epoch::tests::idle_is_exact", "no such test"),
            ("session_manager_tests::policy::tests::idle_is_exact", "no such test"),
            ("session_manager_cache::policy::tests::idle_is_exact", "no such crate"),
        ] {
            assert_caught(named_tests, &page(&format!("first line\n| 8 | `{name}` |")), PAGE, why);
        }
    }
}
