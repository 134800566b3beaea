//! Building `WWW-Authenticate: Bearer` (RFC 6750 section 3, RFC 9470 section 3).

use std::time::Duration;

use http::HeaderValue;

/// A challenge to present a bearer token, or a better one.
///
/// Every text is made safe for a quoted string: quotes are escaped or replaced, what is no printable ASCII becomes `?`, and
/// each text is cut at 256 bytes. So a challenge can always be built, and nothing can be injected through it.
///
/// ```
/// use std::time::Duration;
/// use session_manager_http::{Challenge, ChallengeError};
///
/// let challenge = Challenge::bearer()
///     .error(ChallengeError::InsufficientUserAuthentication)
///     .description("a fresh sign-in is required")
///     .max_age(Duration::from_secs(900));
/// assert_eq!(
///     challenge.to_header(),
///     "Bearer error=\"insufficient_user_authentication\", error_description=\"a fresh sign-in is required\", max_age=\"900\""
/// );
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Challenge {
    realm: Option<String>,
    error: Option<ChallengeError>,
    description: Option<String>,
    max_age: Option<Duration>,
    acr_values: Vec<String>,
    dpop: bool,
}

/// The error code of a [`Challenge`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChallengeError {
    /// The request is malformed (400).
    InvalidRequest,
    /// The token is expired, revoked, malformed or otherwise invalid (401).
    InvalidToken,
    /// The token is valid and does not reach that far (403).
    InsufficientScope,
    /// The proof of possession is missing or not good (401, RFC 9449).
    InvalidDpopProof,
    /// The token is valid and its authentication is too old or too weak (401, RFC 9470).
    InsufficientUserAuthentication,
}

impl Challenge {
    /// A bare challenge: what a request without any credential is answered (RFC 6750 section 3.1: no error code then).
    pub fn bearer() -> Self {
        Self::default()
    }

    /// A challenge to present a token that is bound to a key, with a proof of it (RFC 9449 section 7.1).
    pub fn dpop() -> Self {
        Self { dpop: true, ..Self::default() }
    }

    /// With the protection space.
    pub fn realm(mut self, realm: &str) -> Self {
        self.realm = Some(quotable(realm, true));
        self
    }

    /// With an error code.
    pub fn error(mut self, error: ChallengeError) -> Self {
        self.error = Some(error);
        self
    }

    /// With a text for developers. Never say more in it than the client may know.
    pub fn description(mut self, description: &str) -> Self {
        self.description = Some(quotable(description, false));
        self
    }

    /// With the greatest accepted age of the authentication, in whole seconds (RFC 9470).
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// With the accepted authentication context classes, best first (RFC 9470).
    pub fn acr_values<I, S>(mut self, values: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.acr_values = values.into_iter().map(|value| quotable(value.as_ref(), false).replace(' ', "?")).collect();
        self
    }

    /// The value of the `WWW-Authenticate` header.
    pub fn to_header(&self) -> HeaderValue {
        let max_age = self.max_age.map(|age| age.as_secs().to_string());
        let acr_values = (!self.acr_values.is_empty()).then(|| self.acr_values.join(" "));
        let parameters = [
            ("realm", self.realm.as_deref()),
            ("error", self.error.map(ChallengeError::code)),
            ("error_description", self.description.as_deref()),
            ("max_age", max_age.as_deref()),
            ("acr_values", acr_values.as_deref()),
            ("algs", self.dpop.then_some(DPOP_ALGORITHMS)),
        ];
        let present = parameters.iter().filter_map(|(name, value)| value.map(|value| format!("{name}=\"{value}\"")));
        let parameters = present.collect::<Vec<_>>().join(", ");
        let scheme = if self.dpop { "DPoP" } else { "Bearer" };
        let line = format!("{scheme} {parameters}");
        // Cannot fail, as every text was made printable ASCII; the bare challenge is right in any case.
        HeaderValue::try_from(line.trim_end()).unwrap_or_else(|_| HeaderValue::from_static(scheme))
    }
}

impl ChallengeError {
    /// The code as it is written.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
        }
    }
}

/// `text` for a quoted string. RFC 6750 bars quotes and backslashes even when escaped, save in the realm.
fn quotable(text: &str, escapes: bool) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        let before = safe.len();
        match character {
            '"' | '\\' if escapes => safe.extend(['\\', character]),
            '"' => safe.push('\''),
            '\\' => safe.push('/'),
            ' '..='~' => safe.push(character),
            _ => safe.push('?'),
        }
        if safe.len() > MAX_TEXT_BYTES {
            safe.truncate(before);
            break;
        }
    }
    safe
}

const MAX_TEXT_BYTES: usize = 256;
/// The algorithms of proofs that backend-jwt verifies.
const DPOP_ALGORITHMS: &str = "EdDSA ES256 RS256";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges() {
        for (challenge, expected) in [
            (
                Challenge::dpop().error(ChallengeError::InvalidDpopProof),
                "DPoP error=\"invalid_dpop_proof\", algs=\"EdDSA ES256 RS256\"",
            ),
            (Challenge::bearer(), "Bearer"),
            (Challenge::bearer().realm("bank"), "Bearer realm=\"bank\""),
            (Challenge::bearer().realm(r#"a"b\c"#), r#"Bearer realm="a\"b\\c""#),
            (
                Challenge::bearer().realm("bank").error(ChallengeError::InvalidToken).description("the token expired"),
                "Bearer realm=\"bank\", error=\"invalid_token\", error_description=\"the token expired\"",
            ),
            (Challenge::bearer().description("a\"b\\c\r\nX: y\u{e9}"), "Bearer error_description=\"a'b/c??X: y?\""),
            (
                Challenge::bearer()
                    .error(ChallengeError::InsufficientUserAuthentication)
                    .max_age(Duration::from_millis(5999))
                    .acr_values(["urn:aal2", "a b"]),
                "Bearer error=\"insufficient_user_authentication\", max_age=\"5\", acr_values=\"urn:aal2 a?b\"",
            ),
            (Challenge::bearer().error(ChallengeError::InsufficientScope), "Bearer error=\"insufficient_scope\""),
            (Challenge::bearer().error(ChallengeError::InvalidRequest), "Bearer error=\"invalid_request\""),
        ] {
            assert_eq!(challenge.to_header(), expected);
        }
    }

    proptest! {
        /// Two parameters stay two, whatever the texts hold.
        #[test]
        fn nothing_can_be_injected(realm in any::<String>(), description in any::<String>()) {
            let header = Challenge::bearer().realm(&realm).description(&description).to_header();
            let line = header.to_str().unwrap().strip_prefix("Bearer ").unwrap();
            let mut quoted = false;
            let mut parameters = 1;
            let mut characters = line.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' if quoted => { prop_assert!(characters.next().is_some()); }
                    '"' => quoted = !quoted,
                    ',' if !quoted => parameters += 1,
                    _ => {}
                }
            }
            prop_assert!(!quoted);
            prop_assert_eq!(parameters, 2);
            prop_assert!(line.len() < 600);
        }
    }
}
