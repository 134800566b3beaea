//! The pages of the book and the links between Markdown files.

use super::{Problem, tree::Tree};

const SUMMARY: &str = "docs/SUMMARY.md";

/// A page that the summary does not name is in no book.
pub(super) fn summary(tree: &Tree) -> Vec<Problem> {
    let summary = tree.text(SUMMARY).unwrap_or_default();
    let named: Vec<_> = summary.lines().flat_map(targets).filter_map(|target| resolve(SUMMARY, target)).collect();
    let pages = tree.pages().map(|(path, _)| path).filter(|path| path.starts_with("docs/") && *path != SUMMARY);
    let missing = pages.filter(|path| !named.iter().any(|page| page == path));
    missing.map(|path| Problem::new(path, format!("is not in {SUMMARY}"))).collect()
}

/// A link to a file leads to one that is there.
pub(super) fn links(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.pages() {
        let mut fenced = false;
        for (number, line) in (1..).zip(text.lines()) {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            if fence || fenced {
                continue;
            }
            for target in targets(line) {
                if resolve(path, target).is_some_and(|file| !tree.exists(&file)) {
                    problems.push(Problem::at(path, number, format!("links to {target}, which is not there")));
                }
            }
        }
    }
    problems
}

/// The targets of the links in a line, outside of code.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, opening) in line.match_indices("](") {
        let (before, after) = line.split_at(at + opening.len());
        let in_code = before.matches('`').count() % 2 == 1;
        let inside = after.split([')', ' ']).next().unwrap_or_default();
        if !in_code && !inside.is_empty() {
            found.push(inside);
        }
    }
    found
}

/// The file in the tree that a link on `page` means; nothing for addresses, anchors and items of rustdoc.
fn resolve(page: &str, target: &str) -> Option<String> {
    let file = target.split('#').next().unwrap_or_default();
    let is_file = file.contains(['/', '.']) && !file.contains(':') && !file.starts_with('/');
    if !is_file {
        return None;
    }
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_caught, assert_tidy},
        *,
    };

    #[test]
    fn a_page_that_is_in_no_book_is_caught() {
        let summary_page = (SUMMARY, "# Summary\n\n- [Start](./guide/start.md)\n");
        assert_tidy(summary, &[summary_page, ("docs/guide/start.md", ""), ("README.md", "")]);
        let forgotten = [summary_page, ("docs/guide/start.md", ""), ("docs/start.md", "")];
        assert_caught(summary, &forgotten, "docs/start.md", "not in docs/SUMMARY.md");
    }

    #[test]
    fn a_link_to_nothing_is_caught() {
        let page = "docs/guide/start.md";
        for good in [
            "[a](https://example.org/x.md) [b](#part) [c](../../README.md#top) [d](mailto:a@b.c)",
            "`[code](gone.md)` [item](crate::gone)",
            "```markdown\n[a](gone.md)\n```",
            "[folder](../) [self](start.md) [item](SessionLayer)",
        ] {
            assert_tidy(links, &[(page, good), ("README.md", "")]);
        }
        for bad in ["[a](gone.md)", "text [a](../gone.md#part \"title\")", "```\n```\n[`code`](gone.md)"] {
            assert_caught(links, &[(page, bad)], page, "gone.md");
        }
    }
}
