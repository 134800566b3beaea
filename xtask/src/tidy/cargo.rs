//! What the rules need to know of a `Cargo.toml`.

use toml::{Table, Value};

use super::{Problem, tree::Tree};

/// The library that starts servers for tests.
pub(super) const SERVICES: &str = "session-manager-services";
pub(super) const SERVICES_FOLDER: &str = "tests/services";

/// A member's manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) path: String,
    /// The member's folder: `crates/core`, `tests`, `tests/services`, `xtask`.
    pub(super) folder: String,
    table: Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Dev,
    Build,
}

#[derive(Debug)]
pub(super) struct Dependency<'a> {
    pub(super) kind: Kind,
    pub(super) package: &'a str,
    value: &'a Value,
}

/// The manifests of the workspace's members, in the order of their paths.
pub(super) fn members(tree: &Tree) -> Vec<Manifest> {
    let is_member = |path: &str| match path.strip_suffix("/Cargo.toml") {
        Some(folder) => ["tests", SERVICES_FOLDER, "xtask"].contains(&folder) || is_crate_folder(folder),
        None => false,
    };
    let manifests = tree.files().filter(|(path, _)| is_member(path));
    // A manifest that is no TOML is cargo's to complain about: nothing runs then, this program included.
    manifests.filter_map(|(path, text)| Manifest::parse(path, text)).collect()
}

/// The root manifest's table at `[workspace.<name>]`.
pub(super) fn workspace_table(tree: &Tree, name: &str) -> Table {
    let root = tree.text("Cargo.toml").and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
    root.get("workspace").and_then(|workspace| workspace.get(name)?.as_table().cloned()).unwrap_or_default()
}

/// Runs `find` for every member and puts what it says at the member's manifest.
pub(super) fn each_member<T: Into<String>>(tree: &Tree, find: impl Fn(&Manifest) -> Vec<T>) -> Vec<Problem> {
    let members = members(tree);
    let problems = members.iter().flat_map(|manifest| {
        let texts = find(manifest);
        texts.into_iter().map(|text| Problem::new(&manifest.path, text))
    });
    problems.collect()
}

/// Whether a crate of this name is one of ours.
pub(super) fn is_ours(package: &str) -> bool {
    package == "session-manager" || package.starts_with("session-manager-") || package == "xtask"
}

fn is_crate_folder(folder: &str) -> bool {
    folder.strip_prefix("crates/").is_some_and(|name| !name.contains('/'))
}

impl Manifest {
    fn parse(path: &str, text: &str) -> Option<Self> {
        let folder = path.strip_suffix("/Cargo.toml")?.to_owned();
        Some(Self { path: path.to_owned(), folder, table: text.parse().ok()? })
    }

    pub(super) fn name(&self) -> &str {
        self.package("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The field `key` of `[package]`.
    pub(super) fn package(&self, key: &str) -> Option<&Value> {
        self.table.get("package")?.get(key)
    }

    /// Whether the field of `[package]` is taken over from the workspace.
    pub(super) fn inherits(&self, key: &str) -> bool {
        self.package(key).and_then(|value| value.get("workspace")) == Some(&Value::Boolean(true))
    }

    /// Whether the workspace's lints are on.
    pub(super) fn inherits_lints(&self) -> bool {
        let lints = self.table.get("lints").and_then(|lints| lints.get("workspace"));
        lints == Some(&Value::Boolean(true))
    }

    /// What the feature `default` turns on.
    pub(super) fn default_features(&self) -> &[Value] {
        let default = self.table.get("features").and_then(|features| features.get("default")?.as_array());
        default.map_or(&[], Vec::as_slice)
    }

    /// All dependencies, of every kind and target.
    pub(super) fn dependencies(&self) -> Vec<Dependency<'_>> {
        let targets = self.table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let tables = std::iter::once(&self.table).chain(targets.filter_map(Value::as_table));
        let kinds =
            [("dependencies", Kind::Normal), ("dev-dependencies", Kind::Dev), ("build-dependencies", Kind::Build)];
        let mut found = Vec::new();
        for table in tables {
            for (key, kind) in kinds {
                let entries = table.get(key).and_then(Value::as_table).into_iter().flatten();
                found.extend(entries.map(|(name, value)| Dependency::new(kind, name, value)));
            }
        }
        found
    }
}

impl<'a> Dependency<'a> {
    fn new(kind: Kind, name: &'a str, value: &'a Value) -> Self {
        let package = value.get("package").and_then(Value::as_str).unwrap_or(name);
        Self { kind, package, value }
    }

    /// Whether its version is the workspace's.
    pub(super) fn inherits(&self) -> bool {
        self.value.get("workspace") == Some(&Value::Boolean(true))
    }

    /// Whether it is named by path alone, so that publishing forgets it.
    pub(super) fn is_path_only(&self) -> bool {
        self.value.get("path").is_some() && self.value.get("version").is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_every_kind_and_target_are_seen() {
        let text = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = { path = \"../b\" }\n\
                    [target.'cfg(unix)'.build-dependencies]\nc = { package = \"real\", workspace = true }\n";
        let tree = Tree::of(&[("crates/x/Cargo.toml", text), ("crates/x/fuzz/Cargo.toml", text)]);
        let members = members(&tree);
        let [manifest] = members.as_slice() else { panic!("one member expected") };
        let seen: Vec<_> = manifest.dependencies().iter().map(|dep| (dep.kind, dep.package)).collect();
        assert_eq!(seen, [(Kind::Normal, "a"), (Kind::Dev, "b"), (Kind::Build, "real")]);
        let flags: Vec<_> = manifest.dependencies().iter().map(|dep| (dep.inherits(), dep.is_path_only())).collect();
        assert_eq!(flags, [(false, false), (false, true), (true, false)]);
    }
}
