//! What a new password must be.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::Serialize;

/// A rule that a password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Violation {
    TooShort,
    TooLong,
    NoUpperCase,
    NoLowerCase,
    NoDigit,
    NoSpecial,
    Common,
}

impl Violation {
    /// The rule in words.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TooShort => "must be at least 8 characters long",
            Self::TooLong => "must be at most 128 characters long",
            Self::NoUpperCase => "must contain an upper-case letter",
            Self::NoLowerCase => "must contain a lower-case letter",
            Self::NoDigit => "must contain a digit",
            Self::NoSpecial => "must contain a character that is neither letter nor digit",
            Self::Common => "must not be one of the most common passwords",
        }
    }
}

/// All rules that the password breaks, in a fixed order.
pub(crate) fn violations(password: &str) -> Vec<Violation> {
    let length = password.chars().count();
    let rules = [
        (Violation::TooShort, length < 8),
        (Violation::TooLong, length > 128),
        (Violation::NoUpperCase, !password.chars().any(char::is_uppercase)),
        (Violation::NoLowerCase, !password.chars().any(char::is_lowercase)),
        (Violation::NoDigit, !password.chars().any(char::is_numeric)),
        (Violation::NoSpecial, password.chars().all(char::is_alphanumeric)),
        // Nobody's common password is longer; the rest need not be folded.
        (Violation::Common, length <= 128 && is_common(password)),
    ];
    rules.into_iter().filter(|rule| rule.1).map(|rule| rule.0).collect()
}

/// Looks the password up as it is, without the decoration around it, and with the usual replacements undone.
fn is_common(password: &str) -> bool {
    static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("common.txt").split_whitespace().collect());
    let lower = password.to_lowercase();
    let trimmed = lower.trim_matches(|c: char| !c.is_alphabetic());
    // `p@ssw0rd` begins and ends with letters, `$ecret1!` does not: both ways of trimming are tried.
    let symbols_off = lower.trim_end_matches(|c: char| !c.is_alphabetic());
    [lower.as_str(), trimmed, symbols_off]
        .into_iter()
        .any(|form| COMMON.contains(form) || COMMON.contains(&*plain(form)))
}

fn plain(word: &str) -> String {
    let letter = |c| match c {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    };
    word.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::Violation::{Common, NoDigit, NoLowerCase, NoSpecial, NoUpperCase, TooLong, TooShort};
    use super::*;

    #[test]
    fn each_rule_is_told() {
        let longest = format!("Aa1!{}", "x".repeat(124));
        let cases: [(&str, &[Violation]); 12] = [
            ("Correct-Horse-7", &[]),
            ("Xk4!xk4!", &[]),
            ("Xk4!xk4", &[TooShort]),
            (&longest, &[]),
            (&format!("{longest}x"), &[TooLong]),
            ("correct-horse-7", &[NoUpperCase]),
            ("CORRECT-HORSE-7", &[NoLowerCase]),
            ("Correct-Horse-x", &[NoDigit]),
            ("CorrectHorse7", &[NoSpecial]),
            ("", &[TooShort, NoUpperCase, NoLowerCase, NoDigit, NoSpecial]),
            ("password", &[NoUpperCase, NoDigit, NoSpecial, Common]),
            // Characters count, not bytes.
            ("Äö1!ßßßß", &[]),
        ];
        for (password, expected) in cases {
            assert_eq!(violations(password), expected, "{password}");
        }
    }

    #[test]
    fn common_passwords_are_found_under_their_decoration() {
        for password in
            ["Password1!", "P@ssw0rd1!", "!!Password2024!!", "$ecret123!", "QWERTY123!", "Welcome2024!", "1q2w3e4r"]
        {
            assert!(is_common(password), "{password}");
        }
        for password in ["Correct-Horse-7", "My-Password-is-1!", "Secret-Garden-9", "", "!!!111"] {
            assert!(!is_common(password), "{password}");
        }
    }

    #[test]
    fn violations_are_machine_readable() {
        assert_eq!(serde_json::to_string(&[NoUpperCase, TooShort]).unwrap(), r#"["no_upper_case","too_short"]"#);
    }
}
