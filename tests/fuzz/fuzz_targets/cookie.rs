//! Cookies: what is set is read back, whatever stands around it, and nothing panics.

#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use session_manager_http::{CookieScheme, SessionCookie};

static COOKIES: LazyLock<[SessionCookie; 3]> = LazyLock::new(|| {
    [
        SessionCookie::access("session", CookieScheme::Https).unwrap(),
        SessionCookie::refresh("renewal", "/auth", CookieScheme::Https).unwrap(),
        SessionCookie::access("s", CookieScheme::LoopbackHttp).unwrap(),
    ]
});

fuzz_target!(|data: &[u8]| {
    let (line, value) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
    for cookie in &*COOKIES {
        let mut headers = HeaderMap::new();
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append(header::COOKIE, line);
        }
        let before = cookie.read(&headers).map(|value| value.map(str::to_owned));
        if let Ok(Some(read)) = &before {
            assert!(read.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',' && byte != b'"'));
            // What can be read could have been set, unless it is too long beside its attributes.
            assert!(cookie.set(read).is_ok() || read.len() > 3000);
        }
        let Ok(set) = cookie.set(&value) else { continue };
        let set = set.to_str().unwrap();
        assert!(set.len() <= 4096 && set.starts_with(&format!("{}={value};", cookie.name())));
        let pair = set.split(';').next().unwrap();
        headers.append(header::COOKIE, HeaderValue::from_str(pair).unwrap());
        match cookie.read(&headers) {
            Ok(read) => assert!(read == Some(&*value)),
            // Another value of the same name stands before it, or one that is none.
            Err(_) => assert!(
                before != Ok(None) || line.windows(cookie.name().len()).any(|part| part == cookie.name().as_bytes())
            ),
        }
    }
});
