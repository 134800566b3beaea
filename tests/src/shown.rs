//! Commands as a page or a program shows them, taken from there and run by a shell.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

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

/// Commands with what a page says that they write: the `text` block that comes next, before any other commands. Without one they write nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The commands.
    pub block: Block,
    /// What they write.
    pub answer: Option<String>,
}

/// The `sh` blocks of a Markdown page with their answers, in their order.
pub fn steps(page: &str) -> Vec<Step> {
    // A block of answers becomes one of commands in its own place, and then what follows is known.
    let marked = page.replace("\n```text\n", "\n```sh\n\u{0}\n");
    let mut steps: Vec<Step> = Vec::new();
    for block in blocks(&marked) {
        match (block.text.strip_prefix("\u{0}\n"), steps.last_mut()) {
            (Some(answer), Some(last)) => last.answer = Some(answer.to_owned()),
            _ => steps.push(Step { block, answer: None }),
        }
    }
    steps
}

/// What differs between an answer as it is shown and as it was written; nothing where they are alike.
///
/// # Behaviour
/// An answer is one or more of: a status with a JSON text below it, where the commands write the text first and then the status; or else a line.
/// `…` in a shown text stands for any text, a text of only `…` for any value, and a member of that name for any further members.
pub fn difference(shown: &str, written: &str) -> Option<String> {
    let (mut left, mut shown_lines) = (written, shown.lines().peekable());
    while let Some(line) = shown_lines.next() {
        let is_status = line.len() == 3 && line.parse::<u16>().is_ok();
        if !is_status {
            let (first, rest) = left.split_once('\n').unwrap_or((left, ""));
            if !is_like(line, first) {
                return Some(format!("shown {line}, written {first}"));
            }
            left = rest;
            continue;
        }
        let mut body = String::new();
        if shown_lines.peek().is_some_and(|next| next.starts_with(['{', '['])) {
            for next in shown_lines.by_ref() {
                body.push_str(next);
                if serde_json::from_str::<Value>(&body).is_ok() {
                    break;
                }
            }
        }
        let marker = format!("\n{line}\n");
        let Some((text, rest)) = left.split_once(&marker) else {
            return Some(format!("no status {line} in {left}"));
        };
        left = rest;
        if let Some(difference) = body_difference(&body, text) {
            return Some(difference);
        }
    }
    (!left.trim().is_empty()).then(|| format!("not shown: {left}"))
}

fn body_difference(shown: &str, written: &str) -> Option<String> {
    if shown.trim().is_empty() || written.trim().is_empty() {
        return (shown.trim() != written.trim()).then(|| format!("shown {shown}, written {written}"));
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("{error}: {text}"));
    match (read(shown), read(written)) {
        (Ok(shown), Ok(written)) => {
            (!is_alike(&shown, &written)).then(|| format!("shown {shown:#}, written {written:#}"))
        }
        (Err(error), _) | (_, Err(error)) => Some(error),
    }
}

fn is_alike(shown: &Value, written: &Value) -> bool {
    match (shown, written) {
        (Value::String(text), _) if text == "…" => !written.is_object() && !written.is_array(),
        (Value::String(shown), Value::String(written)) => is_like(shown, written),
        (Value::Array(shown), Value::Array(written)) => {
            shown.len() == written.len() && shown.iter().zip(written).all(|(shown, written)| is_alike(shown, written))
        }
        (Value::Object(shown), Value::Object(written)) => {
            let is_whole = !shown.contains_key("…");
            let named = shown.iter().filter(|(name, _)| *name != "…");
            let mut named = named.map(|(name, value)| written.get(name).is_some_and(|found| is_alike(value, found)));
            named.all(|alike| alike) && (!is_whole || shown.len() == written.len())
        }
        _ => shown == written,
    }
}

fn is_like(shown: &str, written: &str) -> bool {
    match shown.split_once('…') {
        Some((start, end)) => {
            written.len() >= start.len() + end.len() && written.starts_with(start) && written.ends_with(end)
        }
        None => shown == written,
    }
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
    fn an_answer_belongs_to_the_commands_before_it() {
        let page = "```sh\none\n```\ntext\n```text\n200\n{}\n```\n```sh\ntwo\n```\n";
        let found: Vec<_> = steps(page).into_iter().map(|step| (step.block.text, step.answer)).collect();
        assert_eq!(found, [("one\n".to_owned(), Some("200\n{}\n".to_owned())), ("two\n".to_owned(), None)]);
    }

    #[test]
    fn answers_that_differ_are_told_apart() {
        let written = "{\"a\":1,\"b\":\"xyz\"}\n200\n\n204\nline\n";
        for (shown, alike) in [
            ("200\n{\"a\": 1,\n\"b\": \"x…z\"}\n204\nline\n", true),
            ("200\n{\"a\": \"…\", \"…\": \"…\"}\n204\nl…\n", true),
            ("200\n{\"a\": 2, \"b\": \"xyz\"}\n204\nline\n", false),
            ("200\n{\"a\": 1}\n204\nline\n", false),
            ("200\n{\"a\": 1, \"b\": \"xyz\", \"c\": \"…\"}\n204\nline\n", false),
            ("200\n{\"a\": 1, \"b\": \"x…y\"}\n204\nline\n", false),
            ("201\n{\"a\": 1, \"b\": \"xyz\"}\n204\nline\n", false),
            ("200\n{\"a\": 1, \"b\": \"xyz\"}\n204\nother\n", false),
            ("200\n{\"a\": 1, \"b\": \"xyz\"}\n204\n", false),
            ("200\n204\nline\n", false),
        ] {
            assert_eq!(difference(shown, written).is_none(), alike, "{shown}");
        }
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
