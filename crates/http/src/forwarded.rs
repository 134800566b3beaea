//! Reading the hops of `Forwarded` (RFC 7239) and `X-Forwarded-For` from the right, one at a time.
//!
//! The published parsers read a whole chain from the left and refuse it when any part is malformed. What stands on the
//! left is the client's to write, so there one stray quote would hide the client behind the proxy's address. Read from
//! the right, the part that trusted proxies wrote means the same whatever stands before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field::{is_token, trim};

/// The grammar of a list of hops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Grammar {
    /// RFC 7239 elements, with quoted strings.
    Forwarded,
    /// Addresses separated by commas.
    AddressList,
}

impl Grammar {
    /// Cuts the rightmost element off `line`: `(what stands left of its comma, the element)`.
    ///
    /// The left part is `None` when the element was the last one. The whole is `None` when a quoted string does not
    /// begin, so that no element can be told.
    pub(crate) fn split_last(self, line: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
        let comma = match self {
            Self::AddressList => line.iter().rposition(|byte| *byte == b','),
            Self::Forwarded => last_unquoted(line, b',').ok()?,
        };
        Some(match comma {
            None => (None, trim(line)),
            Some(at) => {
                let (left, element) = line.split_at(at);
                (Some(left), trim(element.get(1..).unwrap_or_default()))
            }
        })
    }

    /// The address of one element, canonical; `None` when it holds none that can be told for certain.
    pub(crate) fn address(self, element: &[u8]) -> Option<IpAddr> {
        match self {
            Self::AddressList => node_address(unquote(element)?.as_ref()),
            Self::Forwarded => forwarded_for(element),
        }
    }
}

/// The `for` parameter of one `Forwarded` element as an address.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut rest = Some(element);
    let mut found = None;
    while let Some(pairs) = rest {
        let at = last_unquoted(pairs, b';').ok()?;
        let (left, pair) = match at {
            None => (None, pairs),
            Some(at) => (pairs.get(..at), pairs.get(at + 1..)?),
        };
        rest = left;
        let pair = trim(pair);
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") {
            if found.is_some() {
                return None; // RFC 7239 section 4: each parameter once. Which of two was meant cannot be told.
            }
            found = Some(value);
        }
    }
    node_address(unquote(found?)?.as_ref())
}

/// RFC 7239 `node`: an address, in brackets where it is IPv6, with an optional port.
///
/// `unknown` and obfuscated identifiers are no addresses. IPv6 without brackets is accepted, as `X-Forwarded-For` has it.
fn node_address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, after) = bracketed.split_once(']')?;
        if !after.is_empty() && !is_port(after.strip_prefix(':')?) {
            return None;
        }
        return address.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical());
    }
    match node.split_once(':') {
        Some((v4, port)) if !port.contains(':') => {
            let address = v4.parse::<Ipv4Addr>().ok()?;
            is_port(port).then_some(IpAddr::V4(address))
        }
        _ => node.parse::<IpAddr>().ok().map(|address| address.to_canonical()),
    }
}

/// RFC 7239 `node-port`: digits, or an obfuscated port.
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty() && hidden.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

/// A quoted string ends and does not begin.
struct Unbalanced;

/// The position of the last `separator` outside quoted strings.
fn last_unquoted(line: &[u8], separator: u8) -> Result<Option<usize>, Unbalanced> {
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match *byte {
            // Inside a quoted string an escaped quote is preceded by an odd number of backslashes.
            b'"' if quoted && backslashes_before(line, at) % 2 == 1 => {}
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => return Ok(Some(at)),
            _ => {}
        }
    }
    if quoted { Err(Unbalanced) } else { Ok(None) }
}

fn backslashes_before(line: &[u8], at: usize) -> usize {
    let before = line.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count()
}

/// The content of a quoted string, or the token itself; `None` when quotes are out of place.
fn unquote(value: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return (!value.contains(&b'"')).then_some(value.into());
    };
    let inner = inner.strip_suffix(b"\"")?;
    if !inner.contains(&b'\\') && !inner.contains(&b'"') {
        return Some(inner.into());
    }
    let mut content = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => content.push(bytes.next()?),
            plain => content.push(plain),
        }
    }
    Some(content.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every hop of a line from the right, until one cannot be told.
    fn hops(grammar: Grammar, line: &[u8]) -> Vec<Option<String>> {
        let mut found = Vec::new();
        let mut rest = Some(line);
        while let Some(line) = rest {
            let Some((left, element)) = grammar.split_last(line) else {
                found.push(None);
                break;
            };
            found.push(grammar.address(element).map(|address| address.to_string()));
            rest = left;
        }
        found
    }

    #[test]
    fn forwarded_elements() {
        for (line, expected) in [
            ("for=192.0.2.60", vec![Some("192.0.2.60")]),
            ("For=192.0.2.60;Proto=http;By=203.0.113.43", vec![Some("192.0.2.60")]),
            ("proto=https ; FOR=192.0.2.60 ; host=\"a,b;for=1.1.1.1\"", vec![Some("192.0.2.60")]),
            ("for=\"[2001:db8:cafe::17]:4711\"", vec![Some("2001:db8:cafe::17")]),
            ("for=\"[2001:db8::1]\";by=_x", vec![Some("2001:db8::1")]),
            ("for=\"192.0.2.1:_port\"", vec![Some("192.0.2.1")]),
            ("for=\"192\\.0.2.1\"", vec![Some("192.0.2.1")]),
            ("for=\"[::ffff:192.0.2.1]\"", vec![Some("192.0.2.1")]),
            ("for=192.0.2.43, for=198.51.100.17", vec![Some("198.51.100.17"), Some("192.0.2.43")]),
            ("for=unknown", vec![None]),
            ("for=_hidden", vec![None]),
            ("for=\"_SEVKISEK\"", vec![None]),
            ("by=203.0.113.43", vec![None]),
            ("for=1.1.1.1;for=2.2.2.2", vec![None]),
            ("for=1.1.1.1;FOR=1.1.1.1", vec![None]),
            ("for=", vec![None]),
            ("for", vec![None]),
            ("=1.1.1.1", vec![None]),
            ("for =1.1.1.1", vec![None]),
            ("for=\"1.1.1.1", vec![None]),
            ("for=1.1.1.1\"", vec![None]),
            ("for=1.1.1.1\"x\"", vec![None]),
            ("for=192.0.2.1:99999", vec![None]),
            ("for=192.0.2.1:", vec![None]),
            ("for=\"[fe80::1%1]\"", vec![None]),
            ("for=\"[192.0.2.1]\"", vec![None]),
            ("", vec![None]),
            // What a client wrote before it never changes the element that the proxy appended.
            ("for=\"1.1.1.1, for=203.0.113.9", vec![Some("203.0.113.9"), None]),
            ("for=\"evil\\, for=203.0.113.9;host=\"x\"", vec![Some("203.0.113.9"), None]),
            ("for=\"\\\", for=\"[2001:db8::9]\"", vec![Some("2001:db8::9"), None]),
        ] {
            let got = hops(Grammar::Forwarded, line.as_bytes());
            let expected: Vec<_> = expected.into_iter().map(|hop| hop.map(str::to_owned)).collect();
            assert_eq!(got, expected, "{line}");
        }
    }

    #[test]
    fn address_lists() {
        for (line, expected) in [
            ("192.0.2.1", vec![Some("192.0.2.1")]),
            ("192.0.2.1:8080", vec![Some("192.0.2.1")]),
            ("2001:db8::1", vec![Some("2001:db8::1")]),
            ("[2001:db8::1]", vec![Some("2001:db8::1")]),
            ("[2001:db8::1]:443", vec![Some("2001:db8::1")]),
            ("\"[2001:db8::1]:443\"", vec![Some("2001:db8::1")]),
            ("::ffff:192.0.2.1", vec![Some("192.0.2.1")]),
            (" 1.1.1.1 ,\t2.2.2.2 ", vec![Some("2.2.2.2"), Some("1.1.1.1")]),
            ("1.1.1.1,,2.2.2.2", vec![Some("2.2.2.2"), None, Some("1.1.1.1")]),
            ("1.1.1.1,", vec![None, Some("1.1.1.1")]),
            ("unknown", vec![None]),
            ("localhost", vec![None]),
            ("192.0.2.01", vec![None]),
            ("192.0.2", vec![None]),
            ("0xC0.0.2.1", vec![None]),
            ("192.0.2.1:80:80", vec![None]),
            ("[2001:db8::1", vec![None]),
            ("[2001:db8::1]443", vec![None]),
            ("fe80::1%eth0", vec![None]),
            ("\u{2003}192.0.2.1", vec![None]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|hop| hop.map(str::to_owned)).collect();
            assert_eq!(hops(Grammar::AddressList, line.as_bytes()), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            for grammar in [Grammar::Forwarded, Grammar::AddressList] {
                let _ = hops(grammar, &line);
            }
        }

        /// The property that the published parsers lack.
        #[test]
        fn the_right_end_is_independent_of_the_left(
            left in "[ -~]{0,60}",
            address in any::<IpAddr>(),
            host in "[ -~]{0,20}",
        ) {
            let host = host.replace('\\', "\\\\").replace('"', "\\\"");
            let node = if address.is_ipv6() { format!("[{address}]:80") } else { address.to_string() };
            let line = format!("{left}, host=\"{host}\";for=\"{node}\"");
            let (_, element) = Grammar::Forwarded.split_last(line.as_bytes()).unwrap();
            prop_assert_eq!(Grammar::Forwarded.address(element), Some(address.to_canonical()));
        }

        #[test]
        fn what_is_written_is_read(address in any::<IpAddr>()) {
            prop_assert_eq!(Grammar::AddressList.address(address.to_string().as_bytes()), Some(address.to_canonical()));
        }
    }
}
