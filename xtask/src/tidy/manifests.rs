//! How the manifests are written: everything that can be said once is said in the root `Cargo.toml`.

use toml::Value;

use super::{
    Problem,
    cargo::{Kind, SERVICES, each_member, is_ours, workspace_table},
    tree::Tree,
};

/// Taken over from the workspace by every member …
const FIELDS: [&str; 6] = ["version", "edition", "rust-version", "license", "repository", "authors"];
/// … and these by what may be published.
const PUBLISHED_FIELDS: [&str; 2] = ["keywords", "categories"];

pub(super) fn package_fields(tree: &Tree) -> Vec<Problem> {
    each_member(tree, |manifest| {
        let published = manifest.package("publish") != Some(&Value::Boolean(false));
        let fields = FIELDS.iter().chain(if published { &PUBLISHED_FIELDS[..] } else { &[] });
        let not_inherited = fields.filter(|field| !manifest.inherits(field));
        let mut texts: Vec<_> =
            not_inherited.map(|field| format!("{field} is not taken over from the workspace")).collect();
        if manifest.package("description").and_then(Value::as_str).is_none_or(str::is_empty) {
            texts.push("has no description".to_owned());
        }
        if published && manifest.package("readme").and_then(Value::as_str) != Some("README.md") {
            texts.push("does not say readme = \"README.md\"".to_owned());
        }
        texts
    })
}

/// The workspace forbids `unsafe`, and no crate steps out of its lints.
pub(super) fn workspace_lints(tree: &Tree) -> Vec<Problem> {
    let mut problems = each_member(tree, |manifest| {
        if manifest.inherits_lints() { vec![] } else { vec!["does not take over the workspace's lints"] }
    });
    let lints = workspace_table(tree, "lints");
    let unsafe_code = lints.get("rust").and_then(|rust| rust.get("unsafe_code")?.as_str());
    if unsafe_code != Some("forbid") {
        problems.push(Problem::new("Cargo.toml", "the workspace's lints do not forbid unsafe_code"));
    }
    problems
}

/// One version of everything, in the root; what of ours is used in tests only is named by path, or publishing would ask
/// for it in an order that does not exist.
pub(super) fn member_dependencies(tree: &Tree) -> Vec<Problem> {
    each_member(tree, |manifest| {
        let mut texts = Vec::new();
        for dependency in manifest.dependencies() {
            let name = dependency.package;
            // The servers' library is never published, and only what is not published either depends on it otherwise.
            if name == SERVICES || is_ours(name) && dependency.kind == Kind::Dev {
                if !dependency.is_path_only() {
                    texts.push(format!("the dependency {name} is not named by its path alone"));
                }
            } else if !dependency.inherits() {
                texts.push(format!("the dependency {name} does not say workspace = true"));
            }
        }
        texts
    })
}

/// What is ours has path and version; what is not comes without its default features.
pub(super) fn workspace_dependencies(tree: &Tree) -> Vec<Problem> {
    let table = workspace_table(tree, "dependencies");
    let texts = table.iter().filter_map(|(name, value)| {
        if is_ours(name) {
            let complete = value.get("path").is_some() && value.get("version").is_some();
            return (!complete).then(|| format!("{name} needs both path and version"));
        }
        let no_defaults = value.get("default-features") == Some(&Value::Boolean(false));
        (!no_defaults).then(|| format!("{name} does not say default-features = false"))
    });
    texts.map(|text| Problem::new("Cargo.toml", text)).collect()
}

/// An application that takes an adapter gets nothing that it did not ask for.
pub(super) fn default_features(tree: &Tree) -> Vec<Problem> {
    each_member(tree, |manifest| {
        let may_have = ["crates/session-manager", "crates/server"].contains(&manifest.folder.as_str());
        if may_have || manifest.default_features().is_empty() {
            vec![]
        } else {
            vec!["its default features are not empty"]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_caught, assert_tidy},
        *,
    };

    const GOOD: &str = "[package]\nname = \"session-manager-http\"\ndescription = \"d\"\nreadme = \"README.md\"\n\
        version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        repository.workspace = true\nauthors.workspace = true\nkeywords.workspace = true\ncategories.workspace = true\n\
        [lints]\nworkspace = true\n[features]\ndefault = []\n";
    const PATH: &str = "crates/http/Cargo.toml";

    #[test]
    fn package_fields_come_from_the_workspace() {
        assert_tidy(package_fields, &[(PATH, GOOD)]);
        for field in FIELDS.iter().chain(&PUBLISHED_FIELDS) {
            let own = GOOD.replace(&format!("\n{field}.workspace = true"), &format!("\n{field} = \"own\""));
            assert_caught(package_fields, &[(PATH, &own)], PATH, field);
        }
        assert_caught(package_fields, &[(PATH, &GOOD.replace("\"d\"", "\"\""))], PATH, "description");
        assert_caught(package_fields, &[(PATH, &GOOD.replace("readme = \"README.md\"\n", ""))], PATH, "readme");
        let private =
            GOOD.replace("keywords.workspace = true", "publish = false").replace("readme = \"README.md\"\n", "");
        assert_tidy(package_fields, &[(PATH, &private)]);
    }

    #[test]
    fn lints_come_from_the_workspace_and_forbid_unsafe() {
        let root = ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n");
        assert_tidy(workspace_lints, &[root, (PATH, GOOD)]);
        assert_caught(workspace_lints, &[root, (PATH, &GOOD.replace("[lints]", "[other]"))], PATH, "lints");
        assert_caught(
            workspace_lints,
            &[("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"warn\"\n")],
            "Cargo.toml",
            "unsafe",
        );
    }

    #[test]
    fn versions_are_in_the_root_only() {
        let with = |table: &str, line: &str| format!("{GOOD}[{table}]\n{line}\n");
        for (table, line) in [
            ("dependencies", "serde.workspace = true"),
            ("dependencies", "session-manager-core = { workspace = true, features = [\"x\"] }"),
            ("dev-dependencies", "session-manager-testkit = { path = \"../testkit\" }"),
            ("dependencies", "session-manager-services = { path = \"../tests/services\" }"),
        ] {
            assert_tidy(member_dependencies, &[(PATH, &with(table, line))]);
        }
        for (table, line, part) in [
            ("dependencies", "serde = \"1\"", "serde does not say workspace"),
            ("dependencies", "session-manager-core = { path = \"../core\" }", "core does not say workspace"),
            ("target.'cfg(unix)'.dependencies", "nix = { version = \"1\" }", "nix does not say workspace"),
            ("dev-dependencies", "session-manager-testkit.workspace = true", "testkit is not named by its path"),
            ("dependencies", "session-manager-services.workspace = true", "services is not named by its path"),
            ("dev-dependencies", "session-manager-testkit = { path = \"../testkit\", version = \"1\" }", "path alone"),
        ] {
            assert_caught(member_dependencies, &[(PATH, &with(table, line))], PATH, part);
        }
    }

    #[test]
    fn the_root_turns_default_features_off() {
        let root = |line: &str| format!("[workspace.dependencies]\n{line}\n");
        let check = |line: &str, part| {
            assert_caught(workspace_dependencies, &[("Cargo.toml", &root(line))], "Cargo.toml", part);
        };
        assert_tidy(
            workspace_dependencies,
            &[("Cargo.toml", &root("a = { version = \"1\", default-features = false }"))],
        );
        check("a = \"1\"", "a does not say default-features = false");
        check("a = { version = \"1\", default-features = true }", "a does not say");
        check("session-manager-core = { path = \"crates/core\" }", "both path and version");
    }

    #[test]
    fn an_adapter_turns_nothing_on_by_default() {
        assert_tidy(default_features, &[(PATH, GOOD)]);
        let on = GOOD.replace("default = []", "default = [\"tls\"]\ntls = []");
        assert_caught(default_features, &[(PATH, &on)], PATH, "default features");
        assert_tidy(default_features, &[("crates/server/Cargo.toml", &on)]);
    }
}
