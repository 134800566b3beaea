//! The two pieces of HTTP field syntax (RFC 9110 section 5.6) that several parsers here share.

/// Without the spaces and tabs around it. Only those: Unicode white space separates nothing in HTTP.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether a token may hold this byte.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming() {
        for (raw, expected) in
            [("", ""), (" \t", ""), (" a b\t", "a b"), ("\u{a0}a\u{2003}", "\u{a0}a\u{2003}"), ("\na", "\na")]
        {
            assert_eq!(trim(raw.as_bytes()), expected.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn tokens() {
        assert!(b"abcXYZ019!#$%&'*+-.^_`|~".iter().all(|byte| is_token(*byte)));
        assert!(!b" \t\"(),/:;<=>?@[\\]{}\x7f\x80\0".iter().any(|byte| is_token(*byte)));
    }
}
