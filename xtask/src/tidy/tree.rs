//! The text files of the work tree in memory, so that a rule's test can make up a tree.

use std::{collections::BTreeMap, fs, io, path::Path};

/// Never ours, wherever they are.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];
/// The server's default data folder, at the top only; git ignores it as well.
const SKIPPED_AT_TOP: [&str; 1] = ["data"];

/// Paths are relative to the root, with `/`; a file that is not UTF-8 has no text.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let skipped =
                SKIPPED.contains(&name.as_str()) || prefix.is_empty() && SKIPPED_AT_TOP.contains(&name.as_str());
            if skipped {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else {
                let text = String::from_utf8(fs::read(entry.path())?).ok();
                self.files.insert(path, text);
            }
        }
        Ok(())
    }

    /// Every text file with its path.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Every path, of files without text too.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub(super) fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| has_extension(path, "rs"))
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| has_extension(path, "md"))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Whether there is a file or a folder of this path.
    pub(super) fn exists(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        self.files.contains_key(path) || self.paths().any(|file| file.starts_with(&inside))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), Some((*text).to_owned()));
        Self { files: files.iter().map(own).collect() }
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_exist_when_they_hold_something() {
        let tree = Tree::of(&[("docs/guide/a.md", ""), ("docsextra", "")]);
        for (path, expected) in [("docs", true), ("docs/guide", true), ("docs/guide/a.md", true), ("doc", false)] {
            assert_eq!(tree.exists(path), expected, "{path}");
        }
    }

    #[test]
    fn the_real_tree_has_no_build_products() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let tree = Tree::read(root).unwrap();
        assert!(tree.paths().all(|path| !path.contains("target/") && !path.starts_with(".git/")));
        assert!(tree.rust_files().any(|(path, _)| path == "xtask/src/main.rs"));
    }
}
