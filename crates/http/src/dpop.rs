//! Reading `Authorization: DPoP` with its proof (RFC 9449 §7.1).

use std::fmt;

use http::{HeaderMap, HeaderName};

use crate::bearer::{BearerError, token_of};

/// The longest proof that is looked at, in bytes.
pub const MAX_DPOP_PROOF_BYTES: usize = 4096;

const PROOF: HeaderName = HeaderName::from_static("dpop");

/// An access token that is bound to a key, with the proof that the client holds the key; neither is verified. `Debug` is redacted.
///
/// ```
/// use http::{HeaderMap, header};
/// use session_manager_http::DpopToken;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::AUTHORIZATION, "DPoP abc.def".parse()?);
/// headers.insert("dpop", "a.b.c".parse()?);
/// let token = DpopToken::read(&headers)?.ok_or("no token")?;
/// assert_eq!((token.expose(), token.proof()), ("abc.def", Some("a.b.c")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct DpopToken<'h> {
    token: &'h str,
    proof: Option<&'h str>,
}

impl<'h> DpopToken<'h> {
    /// Reads the token of a request; `None` for another scheme.
    ///
    /// # Errors
    /// [`BearerError`], also for a proof that is there twice, is too long or no text.
    pub fn read(headers: &'h HeaderMap) -> Result<Option<Self>, BearerError> {
        let Some(token) = token_of(headers, b"dpop")? else { return Ok(None) };
        Ok(Some(Self { token, proof: proof_of(headers)? }))
    }

    /// The token itself, to be verified. Never log it.
    pub const fn expose(&self) -> &'h str {
        self.token
    }

    /// The proof, where there is one.
    pub const fn proof(&self) -> Option<&'h str> {
        self.proof
    }
}

/// The proof of a request: beside a token, or alone where a token is asked for (sign-in, refresh).
///
/// # Errors
/// [`BearerError`] where it is there twice, is too long or no text.
pub fn proof_of(headers: &HeaderMap) -> Result<Option<&str>, BearerError> {
    let mut lines = headers.get_all(PROOF).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(BearerError::Repeated);
    }
    if line.len() > MAX_DPOP_PROOF_BYTES {
        return Err(BearerError::TooLong);
    }
    line.to_str().map(Some).map_err(|_| BearerError::Malformed)
}

impl fmt::Debug for DpopToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DpopToken(redacted)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn request(authorization: &str, proofs: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        for proof in proofs {
            headers.append(PROOF, HeaderValue::from_bytes(proof.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_token_comes_with_one_proof() {
        let read = |authorization, proofs: &[&str]| {
            let headers = request(authorization, proofs);
            DpopToken::read(&headers).map(|token| token.map(|token| token.proof().map(str::to_owned)))
        };
        assert_eq!(read("dpop abc", &["x.y.z"]), Ok(Some(Some("x.y.z".to_owned()))));
        assert_eq!(read("DPoP abc", &[]), Ok(Some(None)));
        assert_eq!(read("Bearer abc", &["x.y.z"]), Ok(None), "a proof makes no bearer token a bound one");
        assert_eq!(read("DPoP abc", &["x", "x"]), Err(BearerError::Repeated));
        assert_eq!(read("DPoP abc", &[&"x".repeat(MAX_DPOP_PROOF_BYTES + 1)]), Err(BearerError::TooLong));
        assert_eq!(read("DPoP abc", &["caf\u{e9}"]), Err(BearerError::Malformed));
        assert_eq!(read("DPoP", &["x"]), Err(BearerError::Malformed));
    }
}
