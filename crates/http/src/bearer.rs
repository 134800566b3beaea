//! Reading `Authorization: Bearer` (RFC 6750 section 2.1).

use std::fmt;

use http::{HeaderMap, header};

use crate::challenge::ChallengeError;

/// The longest `Authorization` value that is looked at, in bytes.
pub const MAX_AUTHORIZATION_BYTES: usize = 8192;

/// A bearer token as the client sent it, not yet verified. `Debug` is redacted, and there is no `==` that would leak by
/// its time.
#[derive(Clone, Copy)]
pub struct BearerToken<'h>(&'h str);

/// Why an `Authorization` header was refused. Never holds any of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BearerError {
    /// More than one `Authorization` header.
    #[error("more than one authorization header")]
    Repeated,
    /// Longer than [`MAX_AUTHORIZATION_BYTES`].
    #[error("authorization header is too long")]
    TooLong,
    /// The scheme is Bearer and what follows is no token.
    #[error("bearer token is malformed")]
    Malformed,
}

impl<'h> BearerToken<'h> {
    /// Reads the token of a request.
    ///
    /// `None` without an `Authorization` header, and for another scheme: a request through a proxy's `Basic` protection may
    /// still carry its session in a cookie.
    ///
    /// # Errors
    ///
    /// [`BearerError`]. Do not fall back to a cookie then: which credential was meant cannot be told.
    ///
    /// ```
    /// use http::{HeaderMap, header};
    /// use session_manager_http::BearerToken;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(header::AUTHORIZATION, "Bearer abc.def".parse()?);
    /// let token = BearerToken::read(&headers)?.ok_or("no token")?;
    /// assert_eq!(token.expose(), "abc.def");
    /// assert_eq!(format!("{token:?}"), "BearerToken(redacted)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(headers: &'h HeaderMap) -> Result<Option<Self>, BearerError> {
        Ok(token_of(headers, b"bearer")?.map(Self))
    }

    /// The token itself, to be verified. Never log it.
    pub fn expose(&self) -> &'h str {
        self.0
    }
}

/// The token of an `Authorization` header with this scheme, in lower case.
pub(crate) fn token_of<'h>(headers: &'h HeaderMap, wanted: &[u8]) -> Result<Option<&'h str>, BearerError> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(BearerError::Repeated);
    }
    if line.len() > MAX_AUTHORIZATION_BYTES {
        return Err(BearerError::TooLong);
    }
    let line = line.as_bytes();
    let scheme_end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (scheme, rest) = line.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(wanted) {
        return Ok(None);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let token = rest.get(spaces..).unwrap_or_default();
    if !is_b64token(token) {
        return Err(BearerError::Malformed);
    }
    std::str::from_utf8(token).map(Some).map_err(|_| BearerError::Malformed)
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

impl BearerError {
    /// The RFC 6750 error code to answer with: a repeated header is an invalid *request* (400), the rest an invalid
    /// *token* (401).
    pub fn challenge_error(self) -> ChallengeError {
        match self {
            Self::Repeated => ChallengeError::InvalidRequest,
            Self::TooLong | Self::Malformed => ChallengeError::InvalidToken,
        }
    }
}

/// RFC 6750 `b64token`: at least one character of the alphabet, then any number of `=`.
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = token.get(..token.len() - padding).unwrap_or_default();
    !body.is_empty() && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn request(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn headers() {
        for (lines, expected) in [
            (&[][..], Ok(None)),
            (&["Bearer abc"], Ok(Some("abc"))),
            (&["bearer abc"], Ok(Some("abc"))),
            (&["BEARER   abc"], Ok(Some("abc"))),
            (&["Bearer AZaz09-._~+/=="], Ok(Some("AZaz09-._~+/=="))),
            (&["Basic dXNlcjpwYXNz"], Ok(None)),
            (&["Bearerabc"], Ok(None)),
            (&["DPoP abc"], Ok(None)),
            (&[""], Ok(None)),
            (&["Bearer"], Err(BearerError::Malformed)),
            (&["Bearer "], Err(BearerError::Malformed)),
            (&["Bearer \tabc"], Err(BearerError::Malformed)),
            (&["Bearer ="], Err(BearerError::Malformed)),
            (&["Bearer a=b"], Err(BearerError::Malformed)),
            (&["Bearer a b"], Err(BearerError::Malformed)),
            (&["Bearer a, Bearer b"], Err(BearerError::Malformed)),
            (&["Bearer a,b"], Err(BearerError::Malformed)),
            (&["Bearer \"a\""], Err(BearerError::Malformed)),
            (&["Bearer caf\u{e9}"], Err(BearerError::Malformed)),
            (&["Bearer a", "Bearer a"], Err(BearerError::Repeated)),
            (&["Bearer a", "Basic b"], Err(BearerError::Repeated)),
        ] {
            let headers = request(lines);
            assert_eq!(
                BearerToken::read(&headers).map(|token| token.map(|token| token.expose())),
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn length() {
        let longest = "a".repeat(MAX_AUTHORIZATION_BYTES - "Bearer ".len());
        assert!(BearerToken::read(&request(&[&format!("Bearer {longest}")])).unwrap().is_some());
        let headers = request(&[&format!("Bearer {longest}a")]);
        assert_eq!(BearerToken::read(&headers).err(), Some(BearerError::TooLong));
    }

    #[test]
    fn codes() {
        assert_eq!(BearerError::Repeated.challenge_error(), ChallengeError::InvalidRequest);
        assert_eq!(BearerError::Malformed.challenge_error(), ChallengeError::InvalidToken);
        assert_eq!(BearerError::TooLong.challenge_error(), ChallengeError::InvalidToken);
    }

    proptest! {
        #[test]
        fn only_b64tokens_come_out(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let line = [b"Bearer ".as_slice(), &line].concat();
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.insert(header::AUTHORIZATION, value);
                if let Ok(Some(token)) = BearerToken::read(&headers) {
                    prop_assert!(!token.expose().is_empty());
                    prop_assert!(token.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)));
                }
            }
        }
    }
}
