//! Tests of session cookies: names, refusals, reading, and the equality of set and removal.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn access() -> SessionCookie {
    SessionCookie::access("session", CookieScheme::Https).unwrap()
}

fn request(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
}

#[test]
fn names_and_attributes() {
    let plain = CookieScheme::LoopbackHttp;
    let refresh = |scheme| SessionCookie::refresh("refresh", "/auth/refresh", scheme).unwrap();
    for (cookie, expected) in [
        (access(), "__Host-session=v; HttpOnly; SameSite=Lax; Secure; Path=/"),
        (SessionCookie::access("session", plain).unwrap(), "session=v; HttpOnly; SameSite=Lax; Path=/"),
        (refresh(CookieScheme::Https), "__Secure-refresh=v; HttpOnly; SameSite=Lax; Secure; Path=/auth/refresh"),
        (refresh(plain), "refresh=v; HttpOnly; SameSite=Lax; Path=/auth/refresh"),
        (
            access().with_same_site(SameSite::None).unwrap().with_partitioned(true).unwrap(),
            "__Host-session=v; HttpOnly; SameSite=None; Partitioned; Secure; Path=/",
        ),
        (
            access().with_same_site(SameSite::Strict).unwrap().with_max_age(Some(Duration::from_millis(90_500))),
            "__Host-session=v; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=90",
        ),
    ] {
        let header = cookie.set("v").unwrap();
        assert_eq!(header.to_str().unwrap(), expected);
        assert!(header.is_sensitive());
    }
}

#[test]
fn refused_at_construction() {
    let long = "n".repeat(65);
    for name in
        ["", "a b", "a=b", "a;b", "a\r\nb", "caf\u{e9}", "__Host-a", "__secure-a", "__x", "$Version", long.as_str()]
    {
        assert_eq!(SessionCookie::access(name, CookieScheme::Https), Err(CookieError::InvalidName), "{name:?}");
    }
    let long = format!("/{}", "p".repeat(1024));
    for path in ["", "auth", "/a;Domain=example", "/a b", "/a\r\nX: y", "/caf\u{e9}", long.as_str()] {
        assert_eq!(SessionCookie::refresh("r", path, CookieScheme::Https), Err(CookieError::InvalidPath), "{path:?}");
    }
    let plain = SessionCookie::access("session", CookieScheme::LoopbackHttp).unwrap();
    assert_eq!(plain.clone().with_same_site(SameSite::None), Err(CookieError::NeedsHttps));
    assert_eq!(plain.clone().with_partitioned(true), Err(CookieError::NeedsHttps));
    assert!(plain.with_partitioned(false).is_ok());
}

#[test]
fn refused_values() {
    for value in ["", "a b", "a;Path=/", "a,b", "a\"b", "a\\b", "a\r\nSet-Cookie: x=y", "caf\u{e9}", "a\0b"] {
        assert_eq!(access().set(value), Err(CookieError::InvalidValue), "{value:?}");
    }
    let overhead = access().set("v").unwrap().len() - 1;
    let largest = "v".repeat(MAX_COOKIE_BYTES - overhead);
    assert_eq!(access().set(&largest).unwrap().len(), MAX_COOKIE_BYTES);
    assert_eq!(access().set(&format!("{largest}v")), Err(CookieError::TooLarge));
    assert_eq!(access().set(&"v".repeat(1 << 20)), Err(CookieError::TooLarge));
}

#[test]
fn reading() {
    for (lines, expected) in [
        (&[][..], Ok(None)),
        (&["theme=dark"], Ok(None)),
        (&["__Host-session=t"], Ok(Some("t"))),
        (&["theme=dark; __Host-session=t; x=y"], Ok(Some("t"))),
        (&["theme=dark;__Host-session=t"], Ok(Some("t"))),
        (&["theme=dark", "__Host-session=t"], Ok(Some("t"))),
        (&["a=\u{1F36A}; =; ;; x; \u{e9}; __Host-session=t=="], Ok(Some("t=="))),
        (&["__Host-session="], Ok(None)),
        (&["__Host-session"], Ok(None)),
        (&["session=t"], Ok(None)),
        (&["__host-session=t"], Ok(None)),
        (&["x__Host-session=t"], Ok(None)),
        (&["x=__Host-session=t"], Ok(None)),
        (&["\u{2003}__Host-session=t"], Ok(None)),
        (&["\u{a0}__Host-session=t; __Host-session=mine"], Ok(Some("mine"))),
        (&["__Host-session=t; __Host-session=t"], Ok(Some("t"))),
        (&["__Host-session=t; __Host-session=u"], Err(CookieError::Ambiguous)),
        (&["__Host-session=t", "__Host-session=u"], Err(CookieError::Ambiguous)),
        (&["__Host-session=t; __Host-session="], Err(CookieError::Ambiguous)),
        (&["__Host-session=\"t\""], Err(CookieError::InvalidValue)),
        (&["__Host-session=t u"], Err(CookieError::InvalidValue)),
        (&["__Host-session=caf\u{e9}"], Err(CookieError::InvalidValue)),
    ] {
        assert_eq!(access().read(&request(lines)), expected, "{lines:?}");
    }
    let long = format!("__Host-session={}", "t".repeat(MAX_COOKIE_BYTES + 1));
    assert_eq!(access().read(&request(&[&long])), Err(CookieError::TooLarge));
}

#[test]
fn removal_is_in_the_past() {
    let removal = access().removal();
    let expected =
        "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(removal.to_str().unwrap(), expected);
}

/// The attributes that say which cookie is meant: all but the value and the time.
fn identity(header: &HeaderValue) -> BTreeSet<String> {
    let line = header.to_str().unwrap();
    let (name, _) = line.split_once('=').unwrap();
    let attributes = line.split("; ").skip(1).filter(|a| !a.starts_with("Max-Age=") && !a.starts_with("Expires="));
    attributes.map(str::to_owned).chain([name.to_owned()]).collect()
}

fn any_cookie() -> impl Strategy<Value = SessionCookie> {
    let same_site = prop_oneof![Just(SameSite::Strict), Just(SameSite::Lax), Just(SameSite::None)];
    ("[a-z][a-z0-9_-]{0,20}", "/[a-z/.-]{0,30}", any::<(bool, bool, bool, Option<u64>)>(), same_site).prop_map(
        |(name, path, (https, refresh, partitioned, max_age), same_site)| {
            let scheme = if https { CookieScheme::Https } else { CookieScheme::LoopbackHttp };
            let cookie = if refresh {
                SessionCookie::refresh(&name, &path, scheme)
            } else {
                SessionCookie::access(&name, scheme)
            };
            let cookie = cookie.unwrap().with_max_age(max_age.map(Duration::from_secs));
            let cookie = cookie.clone().with_same_site(same_site).unwrap_or(cookie);
            cookie.clone().with_partitioned(partitioned).unwrap_or(cookie)
        },
    )
}

proptest! {
    #[test]
    fn set_and_removal_carry_equal_attributes(cookie in any_cookie(), value in "[A-Za-z0-9._~-]{1,80}") {
        let set = cookie.set(&value).unwrap();
        prop_assert_eq!(identity(&set), identity(&cookie.removal()));
        prop_assert!(identity(&set).contains("HttpOnly"));
        prop_assert!(!set.to_str().unwrap().contains("Domain"));
        prop_assert_eq!(identity(&set).contains("Secure"), cookie.name().starts_with("__"));
    }

    #[test]
    fn what_is_set_is_read(cookie in any_cookie(), value in "[A-Za-z0-9._~-]{1,80}", other in "[ -:<-~]{0,40}") {
        let set = cookie.set(&value).unwrap();
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        let headers = request(&[&format!("zz{other}; {pair}")]);
        prop_assert_eq!(cookie.read(&headers), Ok(Some(value.as_str())));
    }

    #[test]
    fn reading_never_panics(line in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(value) = HeaderValue::from_bytes(&line) {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, value);
            let _ = access().read(&headers);
        }
    }
}
