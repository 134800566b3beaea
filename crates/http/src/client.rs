//! What a client says about itself, made safe to store and to log.

use http::{HeaderMap, HeaderName, header};

/// The longest user agent that is kept, in bytes of UTF-8.
pub const MAX_USER_AGENT_BYTES: usize = 512;

/// The longest request id that is accepted, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 64;

/// The client's `User-Agent`, made safe; `None` when there is none, or nothing is left of it.
///
/// # Behaviour
///
/// - What is not UTF-8 becomes U+FFFD; control characters, line separators and the invisible characters that reorder text
///   become spaces, so that it can forge neither a log line nor what a reader sees; spaces at both ends are dropped.
/// - It is cut at [`MAX_USER_AGENT_BYTES`], at a character's end.
/// - Of several headers the first counts.
///
/// It is *not* escaped for HTML: templates do that.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::USER_AGENT, HeaderValue::from_bytes("Mozilla/5.0\u{2028}admin signed in".as_bytes())?);
/// assert_eq!(session_manager_http::user_agent(&headers).as_deref(), Some("Mozilla/5.0 admin signed in"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn user_agent(headers: &HeaderMap) -> Option<String> {
    let raw = headers.get(header::USER_AGENT)?.as_bytes().trim_ascii();
    let mut safe = String::with_capacity(raw.len().min(MAX_USER_AGENT_BYTES));
    let decoded = raw.utf8_chunks().flat_map(|chunk| {
        let replacement = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(replacement)
    });
    for character in decoded {
        let character = if is_misleading(character) { ' ' } else { character };
        if safe.len() + character.len_utf8() > MAX_USER_AGENT_BYTES {
            break;
        }
        safe.push(character);
    }
    let trimmed = safe.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The request's id from `X-Request-Id`; `None` unless there is exactly one, of 1 to [`MAX_REQUEST_ID_BYTES`] letters,
/// digits, `-`, `_`, `.`.
///
/// Clients may choose it: use it to correlate, never to decide.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(X_REQUEST_ID).iter();
    let id = lines.next()?.to_str().ok()?;
    let is_safe = (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (is_safe && lines.next().is_none()).then_some(id)
}

/// Characters that end a line or change how the text around them is shown.
fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn request(name: HeaderName, value: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).unwrap())])
    }

    #[test]
    fn user_agents() {
        for (raw, expected) in [
            (&b"Mozilla/5.0 (X11; Linux)"[..], Some("Mozilla/5.0 (X11; Linux)")),
            (b"  curl/8  ", Some("curl/8")),
            (b"a\tb", Some("a b")),
            ("caf\u{e9}".as_bytes(), Some("caf\u{e9}")),
            (b"caf\xe9!", Some("caf\u{fffd}!")),
            ("a\u{85}b".as_bytes(), Some("a b")),
            ("a\u{202e}b\u{2028}c".as_bytes(), Some("a b c")),
            ("\u{200b}\u{feff}".as_bytes(), None),
            (b"", None),
            (b"   ", None),
        ] {
            assert_eq!(user_agent(&request(header::USER_AGENT, raw)).as_deref(), expected, "{raw:?}");
        }
        assert_eq!(user_agent(&HeaderMap::new()), None);
    }

    #[test]
    fn a_long_user_agent_is_cut_at_a_characters_end() {
        let long = "\u{20ac}".repeat(400);
        let cut = user_agent(&request(header::USER_AGENT, long.as_bytes())).unwrap();
        assert_eq!(cut, "\u{20ac}".repeat(MAX_USER_AGENT_BYTES / 3));
    }

    #[test]
    fn request_ids() {
        let longest = "a".repeat(MAX_REQUEST_ID_BYTES);
        let too_long = "a".repeat(MAX_REQUEST_ID_BYTES + 1);
        for (raw, accepted) in [
            ("0190f1c2-7c3a-7b5e-9b1a-0123456789ab", true),
            ("req_1.2", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("a/b", false),
            ("caf\u{e9}", false),
        ] {
            let headers = request(X_REQUEST_ID, raw.as_bytes());
            assert_eq!(request_id(&headers), accepted.then_some(raw), "{raw}");
        }
        let mut twice = request(X_REQUEST_ID, b"a");
        twice.append(X_REQUEST_ID, HeaderValue::from_static("b"));
        assert_eq!(request_id(&twice), None);
        assert_eq!(request_id(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn a_user_agent_is_always_safe(raw in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let Ok(value) = HeaderValue::from_bytes(&raw) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(header::USER_AGENT, value)]);
            if let Some(agent) = user_agent(&headers) {
                prop_assert!(!agent.is_empty() && agent.len() <= MAX_USER_AGENT_BYTES);
                prop_assert!(!agent.chars().any(is_misleading));
                prop_assert_eq!(agent.trim(), agent.as_str());
            }
        }
    }
}
