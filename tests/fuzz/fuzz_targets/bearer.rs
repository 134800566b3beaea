//! `Authorization`: nothing panics, and a token that is read stands in the header as it is.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use session_manager_http::BearerToken;

fuzz_target!(|data: &[u8]| {
    for line in [data.to_vec(), [b"Bearer ", data].concat()] {
        let Ok(value) = HeaderValue::from_bytes(&line) else { continue };
        let mut headers = HeaderMap::new();
        headers.append(header::AUTHORIZATION, value.clone());
        if let Ok(Some(token)) = BearerToken::read(&headers) {
            let text = token.expose();
            assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(line.ends_with(text.as_bytes()) && line[..7].eq_ignore_ascii_case(b"bearer "));
            assert!(!format!("{token:?}").contains(text) || "BearerToken(redacted)".contains(text));
            // Which of two was meant cannot be told.
            headers.append(header::AUTHORIZATION, value);
            assert!(BearerToken::read(&headers).is_err());
        }
    }
});
