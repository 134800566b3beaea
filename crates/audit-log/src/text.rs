//! Text from outside, made safe for a log: one line stays one line, and a token that strayed into it is not shown.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A longer run of token characters is a credential, not a name: ids, trace ids and SHA-256 digests have at most 64.
const LONGEST_WORD: usize = 64;
const REDACTED: &str = "[redacted]";

/// Escapes, and redacts what looks like a token.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    match redact(text) {
        Cow::Borrowed(text) => escape(text),
        Cow::Owned(text) => Cow::Owned(escape(&text).into_owned()),
    }
}

/// Escapes what can split, recolour or reorder a line, as JSON does (`\u001b`), so that escaped JSON is still JSON.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Control characters (newline, ANSI escape, C1), line separators, and those that change the direction of what follows.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

fn redact(text: &str) -> Cow<'_, str> {
    let is_separator = |character: char| !(character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.'));
    if text.len() <= LONGEST_WORD || !text.split(is_separator).any(|word| word.len() > LONGEST_WORD) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_separator) {
        let word = piece.trim_end_matches(is_separator);
        if word.len() > LONGEST_WORD {
            out.push_str(REDACTED);
            out.push_str(piece.strip_prefix(word).unwrap_or_default());
        } else {
            out.push_str(piece);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_untouched_and_not_copied() {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        for text in ["", agent, "Zoës \"iPad\" \\ 12", "0190f5fe-7c00-7a00-8000-00000000000a", &"a".repeat(64)] {
            assert!(matches!(safe(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_could_forge_a_line_is_escaped() {
        let cases = [
            ("a\nb", "a\\u000ab"),
            ("a\r\nb", "a\\u000d\\u000ab"),
            ("\u{1b}[31mred", "\\u001b[31mred"),
            ("\u{9b}31m\u{7f}\0", "\\u009b31m\\u007f\\u0000"),
            ("a\u{2028}b\u{85}c", "a\\u2028b\\u0085c"),
            ("\u{202e}gpj.exe\u{2066}", "\\u202egpj.exe\\u2066"),
        ];
        for (text, expected) in cases {
            assert_eq!(safe(text), expected);
        }
    }

    #[test]
    fn long_words_are_redacted_and_their_surroundings_kept() {
        let token = "x".repeat(65);
        assert_eq!(safe(&token), REDACTED);
        assert_eq!(
            safe(&format!("Bearer {token}, then \"{token}\"é\n{token}")),
            "Bearer [redacted], then \"[redacted]\"é\\u000a[redacted]"
        );
    }
}
