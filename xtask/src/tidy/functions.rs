//! The functions of a crate under the paths that cargo and nextest name them by, read line by line from files as rustfmt leaves them.

use std::collections::BTreeSet;

use super::tree::Tree;

/// A function, and whether an attribute makes it a test.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Function {
    /// `module::name`; of an integration test `file::module::name`.
    pub(super) path: String,
    pub(super) is_test: bool,
}

/// Every function of the crate in `folder`: of its library, its program and its integration tests.
pub(super) fn of_crate(tree: &Tree, folder: &str) -> BTreeSet<Function> {
    let mut reader = Reader { tree, found: BTreeSet::new() };
    for (path, _) in tree.rust_files() {
        let inside = path.strip_prefix(folder).and_then(|path| path.strip_prefix('/'));
        let parts: Vec<_> = inside.unwrap_or_default().split('/').collect();
        match parts.as_slice() {
            ["src", "lib.rs" | "main.rs"] => reader.file(path, folder_of(path), &[]),
            ["tests", file] => reader.file(path, folder_of(path), &[file.trim_end_matches(".rs")]),
            ["tests", name, "main.rs"] => reader.file(path, folder_of(path), &[*name]),
            _ => {}
        }
    }
    reader.found
}

struct Reader<'a> {
    tree: &'a Tree,
    found: BTreeSet<Function>,
}

/// A module within a file, by its name and the column of its closing brace.
struct Inner<'a> {
    name: &'a str,
    column: usize,
}

impl<'a> Reader<'a> {
    /// Reads a module's file, and those of the modules that it declares, which are in `children`.
    fn file(&mut self, file: &str, children: &str, module: &[&str]) {
        let Some(text) = self.tree.text(file) else { return };
        let mut inner: Vec<Inner<'a>> = Vec::new();
        let mut attributes = String::new();
        let mut open_attribute = false;
        for line in text.lines() {
            let code = line.trim_start();
            let column = line.len() - code.len();
            if open_attribute || code.starts_with("#[") {
                attributes.push_str(code);
                attributes.push('\n');
                open_attribute = attributes.matches('[').count() > attributes.matches(']').count();
                continue;
            }
            if code.is_empty() || code.starts_with("//") {
                continue;
            }
            let item = without_qualifiers(code);
            if code.starts_with('}') && inner.last().is_some_and(|module| module.column == column) {
                inner.pop();
            } else if let Some(name) = named(item, "fn ") {
                let path: Vec<_> = module.iter().copied().chain(inner.iter().map(|inner| inner.name)).collect();
                self.found.insert(Function { path: joined(&path, name), is_test: makes_a_test(&attributes) });
            } else if let Some(name) = named(item, "mod ") {
                let path: Vec<_> = module.iter().copied().chain(inner.iter().map(|inner| inner.name)).collect();
                if item.ends_with(';') {
                    let folder = joined_with(children, inner.iter().map(|inner| inner.name));
                    let path: Vec<_> = path.into_iter().chain([name]).collect();
                    self.declared(file, &folder, name, path_attribute(&attributes), &path);
                } else if !item.ends_with('}') {
                    inner.push(Inner { name, column });
                }
            }
            attributes.clear();
        }
    }

    fn declared(&mut self, by: &str, folder: &str, name: &str, path: Option<&str>, module: &[&str]) {
        if let Some(path) = path {
            // Relative to the file that declares it; what it declares itself is beside it, as beside a `mod.rs`.
            let file = format!("{}/{path}", folder_of(by));
            self.file(&file, folder_of(&file), module);
            return;
        }
        let below = format!("{folder}/{name}");
        self.file(&format!("{below}.rs"), &below, module);
        self.file(&format!("{below}/mod.rs"), &below, module);
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn joined(modules: &[&str], name: &str) -> String {
    modules.iter().chain([&name]).copied().collect::<Vec<_>>().join("::")
}

fn joined_with<'a>(folder: &'a str, inner: impl Iterator<Item = &'a str>) -> String {
    std::iter::once(folder).chain(inner).collect::<Vec<_>>().join("/")
}

/// The item behind its visibility and the words before `fn`.
fn without_qualifiers(code: &str) -> &str {
    let mut rest = code;
    if let Some(visible) = rest.strip_prefix("pub") {
        let scope = visible.strip_prefix('(').and_then(|scope| scope.split_once(')'));
        rest = scope.map_or(visible, |(_, rest)| rest).trim_start();
    }
    for word in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest
}

/// The name that follows `keyword`.
fn named<'a>(item: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = item.strip_prefix(keyword)?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    rest.get(..end).filter(|name| !name.is_empty())
}

/// `#[test]`, `#[tokio::test]`, and what else ends so.
fn makes_a_test(attributes: &str) -> bool {
    attributes.lines().any(|line| {
        let name = line.strip_prefix("#[").and_then(|rest| rest.split([']', '(']).next()).unwrap_or_default();
        name == "test" || name.ends_with("::test")
    })
}

fn path_attribute(attributes: &str) -> Option<&str> {
    attributes.lines().find_map(|line| line.strip_prefix("#[path = \"")?.strip_suffix("\"]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = "\
//! A library.
mod json;
pub(crate) mod manager;

pub async fn open() {}

#[cfg(test)]
mod tests {
    #[test]
    // Why it is there.
    #[allow(
        clippy::unwrap_used,
        reason = \"a test\"
    )]
    fn it_opens() {}

    fn helps() {}

    mod inner {
        #[tokio::test(flavor = \"multi_thread\")]
        async fn it_waits() {}
    }

    #[test]
    fn it_closes() {}
}
";

    fn found(files: &[(&str, &str)]) -> Vec<(String, bool)> {
        let functions = of_crate(&Tree::of(files), "crates/a");
        functions.into_iter().map(|function| (function.path, function.is_test)).collect()
    }

    fn expected(all: &[(&str, bool)]) -> Vec<(String, bool)> {
        all.iter().map(|(path, is_test)| ((*path).to_owned(), *is_test)).collect()
    }

    #[test]
    fn modules_in_a_file_and_attributes_over_functions() {
        assert_eq!(
            found(&[("crates/a/src/lib.rs", LIBRARY)]),
            expected(&[
                ("open", false),
                ("tests::helps", false),
                ("tests::inner::it_waits", true),
                ("tests::it_closes", true),
                ("tests::it_opens", true),
            ])
        );
    }

    #[test]
    fn modules_in_files_of_their_own() {
        let test = "#[test]\nfn works() {}\n";
        let tree = [
            ("crates/a/src/lib.rs", LIBRARY),
            ("crates/a/src/json.rs", "#[cfg(test)]\n#[path = \"json_tests.rs\"]\nmod tests;\n"),
            ("crates/a/src/json_tests.rs", test),
            ("crates/a/src/manager/mod.rs", "mod refresh;\n#[path = \"above/mod.rs\"]\nmod seen;\n"),
            ("crates/a/src/manager/refresh.rs", test),
            ("crates/a/src/manager/above/mod.rs", "mod below;\n"),
            ("crates/a/src/manager/above/below.rs", test),
            ("crates/a/src/forgotten.rs", test),
            ("crates/a/tests/walk.rs", "mod support;\n#[test]\nfn walks() {}\n"),
            ("crates/a/tests/support/mod.rs", "pub fn supports() {}\n"),
            ("crates/a/tests/layer/main.rs", "mod cookies;\n"),
            ("crates/a/tests/layer/cookies.rs", test),
            ("crates/ab/src/lib.rs", test),
        ];
        let paths: Vec<_> = found(&tree).into_iter().map(|(path, _)| path).collect();
        let of_library: Vec<_> = found(&tree[..1]).into_iter().map(|(path, _)| path).collect();
        let others: Vec<_> = paths.iter().filter(|path| !of_library.contains(path)).collect();
        assert_eq!(
            others,
            [
                "json::tests::works",
                "layer::cookies::works",
                "manager::refresh::works",
                "manager::seen::below::works",
                "walk::support::supports",
                "walk::walks",
            ]
        );
    }
}
