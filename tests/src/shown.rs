//! Commands as a page or a program shows them, taken from there and run by a shell.

use std::path::Path;
use std::process::{Command, Stdio};

/// The commands of one block of a page, and the heading that it stands under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The nearest heading above it.
    pub heading: String,
    /// Its lines.
    pub text: String,
}

/// The `sh` blocks of a Markdown page, in their order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut heading, mut inside) = ("", None);
    for line in page.lines() {
        match (inside, line.strip_prefix("```")) {
            (None, Some(language)) => {
                inside = Some(language == "sh");
                if language == "sh" {
                    found.push(Block { heading: heading.to_owned(), text: String::new() });
                }
            }
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => {
                if let Some(block) = found.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            (None, None) if line.starts_with('#') => heading = line.trim_start_matches('#').trim(),
            _ => {}
        }
    }
    found
}

/// Runs the blocks one after the other in one shell, in `folder`, and returns what each wrote to standard output.
///
/// Commands that fail end it, and so does a variable that was never set.
pub fn run(folder: &Path, blocks: &[String]) -> Vec<String> {
    const MARK: &str = "--- the next block ---";
    let script: Vec<_> = blocks.iter().map(|block| format!("{block}\nprintf '\\n%s\\n' '{MARK}'\n")).collect();
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", &script.concat()]).current_dir(folder).stdin(Stdio::null());
    // Neither a developer's curl settings nor a proxy stands between the commands and the server.
    shell.env("HOME", folder).env_remove("http_proxy").env_remove("HTTP_PROXY").env_remove("all_proxy");
    shell.env_remove("ALL_PROXY");
    let output = shell.output().expect("sh is there");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n--- said ---\n{said}\n--- complained ---\n{complained}", output.status);
    assert!(complained.is_empty(), "{complained}");
    let mut parts: Vec<_> = said.split(&format!("\n{MARK}\n")).map(str::to_owned).collect();
    assert_eq!(parts.pop().as_deref(), Some(""), "every block was run");
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_sh_are_taken_with_their_headings() {
        let page = "# A\n```sh\none\n# no heading\ntwo\n```\n## B\n```json\n{}\n```\ntext\n```sh\nthree\n```\n";
        let block = |heading: &str, text: &str| Block { heading: heading.to_owned(), text: text.to_owned() };
        assert_eq!(blocks(page), [block("A", "one\n# no heading\ntwo\n"), block("B", "three\n")]);
    }

    #[test]
    fn blocks_share_one_shell_and_their_output_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let said = run(folder.path(), &["A=1; echo a".to_owned(), "printf %s \"$A\"".to_owned(), ":".to_owned()]);
        assert_eq!(said, ["a\n", "1", ""]);
    }

    #[test]
    #[should_panic(expected = "UNSET")]
    fn a_block_that_fails_is_a_failed_test() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &["echo \"$UNSET\"".to_owned()]);
    }
}
