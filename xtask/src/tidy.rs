//! The project's own rules, which no linter knows: each is a small function over the tree, with a bad tree to prove it.

mod cargo;
mod direction;
mod functions;
mod layout;
mod manifests;
mod pages;
mod sources;
mod tree;
mod verification;

use std::{fmt, path::Path};

use crate::process::{Failure, Outcome};
use tree::Tree;

/// A broken rule, and where.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    /// Counted from 1; 0 stands for the file as a whole.
    line: usize,
    text: String,
}

type Rule = fn(&Tree) -> Vec<Problem>;

const RULES: &[Rule] = &[
    layout::top_level,
    layout::crate_folders,
    layout::file_names,
    manifests::package_fields,
    manifests::workspace_lints,
    manifests::member_dependencies,
    manifests::workspace_dependencies,
    manifests::default_features,
    direction::workspace_crates,
    direction::foreign_crates,
    sources::heads,
    sources::unfinished,
    sources::length,
    sources::outside_paths,
    pages::summary,
    pages::links,
    verification::named_tests,
];

/// Checks the work tree and prints what is wrong with it.
pub(crate) fn run(root: &Path) -> Outcome {
    let tree = Tree::read(root)
        .map_err(|error| Failure::Missing(format!("the tree under {} cannot be read: {error}", root.display())))?;
    let problems = check(&tree);
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() {
        println!("tidy: {} rules hold in {} files", RULES.len(), tree.files().count());
        return Ok(());
    }
    Err(Failure::Check(format!("{} broken rule(s), see above", problems.len())))
}

fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems: Vec<_> = RULES.iter().flat_map(|rule| rule(tree)).collect();
    problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    problems
}

impl Problem {
    fn new(path: &str, text: impl Into<String>) -> Self {
        Self::at(path, 0, text)
    }

    fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_tree_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let tree = Tree::read(root).unwrap();
        assert!(tree.text("xtask/src/tidy.rs").is_some(), "the tree was not read");
        let problems: Vec<_> = check(&tree).iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn problems_show_their_place() {
        assert_eq!(Problem::new("a.rs", "wrong").to_string(), "a.rs: wrong");
        assert_eq!(Problem::at("a.rs", 7, "wrong").to_string(), "a.rs:7: wrong");
    }

    /// Asserts that `rule` finds one problem in `tree`, at `path`, whose text has `part`.
    #[track_caller]
    pub(super) fn assert_caught(rule: Rule, files: &[(&str, &str)], path: &str, part: &str) {
        let problems = rule(&Tree::of(files));
        let [problem] = problems.as_slice() else { panic!("one problem expected in {path}, got {problems:?}") };
        assert_eq!(problem.path, path, "{problem}");
        assert!(problem.text.contains(part), "{problem}");
    }

    /// Asserts that `rule` finds nothing wrong in `tree`.
    #[track_caller]
    pub(super) fn assert_tidy(rule: Rule, files: &[(&str, &str)]) {
        assert_eq!(rule(&Tree::of(files)), []);
    }
}
