//! Where things are: the top level, the crates' folders and names, the names of source files.

use std::{collections::BTreeSet, path::Path};

use super::{Problem, cargo, tree::Tree};

/// Everything that may be at the top; whoever adds to it asks whether it cannot live in one of these.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".markdownlint-cli2.jsonc",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docs",
    "rustfmt.toml",
    "tests",
    "xtask",
];

/// An adapter's folder is `<role>-<technology>`.
const ROLES: &[&str] = &["backend", "storage", "audit", "enricher", "middleware"];
/// The crates that are no adapters.
const NO_ADAPTERS: &[&str] = &["core", "session-manager", "http", "suspicion", "testkit", "server"];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "shared", "util", "utils"];

pub(super) fn top_level(tree: &Tree) -> Vec<Problem> {
    let names: BTreeSet<_> = tree.paths().filter_map(|path| path.split('/').next()).collect();
    let strangers = names.into_iter().filter(|name| !TOP_LEVEL.contains(name));
    strangers.map(|name| Problem::new(name, "does not belong at the top level")).collect()
}

pub(super) fn crate_folders(tree: &Tree) -> Vec<Problem> {
    let folders: BTreeSet<_> =
        tree.paths().filter_map(|path| path.strip_prefix("crates/")?.split('/').next()).collect();
    let mut problems = Vec::new();
    for folder in folders {
        let path = format!("crates/{folder}");
        for file in ["Cargo.toml", "README.md"] {
            if tree.text(&format!("{path}/{file}")).is_none() {
                problems.push(Problem::new(&path, format!("has no {file}")));
            }
        }
        let is_adapter = folder.split_once('-').is_some_and(|(role, _)| ROLES.contains(&role));
        if !is_adapter && !NO_ADAPTERS.contains(&folder) {
            problems.push(Problem::new(&path, format!("is not named <role>-<technology> with a role of {ROLES:?}")));
        }
    }
    problems.extend(cargo::each_member(tree, |manifest| {
        let expected = match manifest.folder.strip_prefix("crates/") {
            Some("session-manager") => "session-manager".to_owned(),
            Some(folder) => format!("session-manager-{folder}"),
            None if manifest.folder == "xtask" => "xtask".to_owned(),
            None if manifest.folder == cargo::SERVICES_FOLDER => cargo::SERVICES.to_owned(),
            None => format!("session-manager-{}", manifest.folder),
        };
        let right = manifest.name() == expected;
        if right {
            vec![]
        } else {
            vec![format!("the package is {:?}, its folder asks for {expected:?}", manifest.name())]
        }
    }));
    problems
}

pub(super) fn file_names(tree: &Tree) -> Vec<Problem> {
    let is_empty = |path: &str| {
        let mut parts = Path::new(path).with_extension("");
        let mut names = Vec::new();
        while let Some(name) = parts.file_name() {
            names.push(name.to_string_lossy().into_owned());
            parts.pop();
        }
        names.iter().any(|name| EMPTY_NAMES.contains(&name.as_str()))
    };
    let bad = tree.rust_files().filter(|(path, _)| is_empty(path));
    bad.map(|(path, _)| Problem::new(path, "its name does not say what is inside")).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_caught, assert_tidy},
        *,
    };

    const CORE: &str = "[package]\nname = \"session-manager-core\"\n";

    #[test]
    fn a_stranger_at_the_top_is_caught() {
        assert_tidy(top_level, &[("README.md", ""), ("crates/core/x", ""), (".ci/run", "")]);
        assert_caught(
            top_level,
            &[("README.md", ""), ("scripts/a.sh", ""), ("scripts/b.sh", "")],
            "scripts",
            "top level",
        );
        assert_caught(top_level, &[("package.json", "{}")], "package.json", "top level");
    }

    #[test]
    fn a_crate_folder_has_its_role_name_and_readme() {
        let good = [("crates/core/Cargo.toml", CORE), ("crates/core/README.md", "")];
        assert_tidy(crate_folders, &good);
        assert_caught(crate_folders, &good[..1], "crates/core", "no README.md");
        assert_caught(crate_folders, &good[1..], "crates/core", "no Cargo.toml");
        let misnamed = [("crates/http/Cargo.toml", CORE), ("crates/http/README.md", "")];
        assert_caught(crate_folders, &misnamed, "crates/http/Cargo.toml", "session-manager-http");
        let no_role = "[package]\nname = \"session-manager-redis\"\n";
        let no_role = [("crates/redis/Cargo.toml", no_role), ("crates/redis/README.md", "")];
        assert_caught(crate_folders, &no_role, "crates/redis", "<role>-<technology>");
        assert_caught(crate_folders, &[("tests/Cargo.toml", CORE)], "tests/Cargo.toml", "session-manager-tests");
        let path = "tests/services/Cargo.toml";
        assert_caught(crate_folders, &[(path, CORE)], path, "session-manager-services");
        assert_tidy(crate_folders, &[(path, "[package]\nname = \"session-manager-services\"\n")]);
    }

    #[test]
    fn a_name_that_says_nothing_is_caught() {
        assert_tidy(file_names, &[("crates/core/src/clock.rs", ""), ("docs/common/page.md", "")]);
        assert_caught(file_names, &[("crates/core/src/utils.rs", "")], "crates/core/src/utils.rs", "name");
        assert_caught(file_names, &[("tests/tests/common/mod.rs", "")], "tests/tests/common/mod.rs", "name");
    }
}
