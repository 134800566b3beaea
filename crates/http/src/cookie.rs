//! Session cookies: one type writes the set and the removal cookie and reads the value back.

use std::time::Duration;

use cookie::{Cookie, time};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

use crate::{
    field::{is_token, trim},
    scheme::CookieScheme,
};

/// The size of a whole `Set-Cookie` value that every browser accepts, in bytes (RFC 6265 section 6.1).
pub const MAX_COOKIE_BYTES: usize = 4096;

/// A cookie that carries a session token.
///
/// # Behaviour
///
/// - The set and the removal cookie come from one template, so their attributes are equal by construction; a removal with
///   other attributes would leave the cookie standing.
/// - Always `HttpOnly`, never with `Domain`. On https `Secure`, with the `__Host-` prefix for [`SessionCookie::access`]
///   (path `/`) and `__Secure-` for [`SessionCookie::refresh`] (a path of its own); on loopback http plain names.
/// - `SameSite=Lax` unless [set otherwise](SessionCookie::with_same_site).
/// - The values it makes are marked sensitive, so that `http` redacts them in `Debug`.
///
/// ```
/// use http::{HeaderMap, header};
/// use session_manager_http::{CookieScheme, SessionCookie};
///
/// let cookie = SessionCookie::access("session", CookieScheme::Https)?;
/// assert_eq!(cookie.set("token")?.to_str()?, "__Host-session=token; HttpOnly; SameSite=Lax; Secure; Path=/");
/// assert!(cookie.removal().to_str()?.starts_with("__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0"));
///
/// let mut request = HeaderMap::new();
/// request.insert(header::COOKIE, "theme=dark; __Host-session=token".parse()?);
/// assert_eq!(cookie.read(&request)?, Some("token"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionCookie {
    name: String,
    path: String,
    secure: bool,
    same_site: SameSite,
    partitioned: bool,
    max_age: Option<Duration>,
}

/// When a browser sends the cookie along with requests that another site caused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SameSite {
    /// Never.
    Strict,
    /// On top-level navigation by a safe method only.
    #[default]
    Lax,
    /// Always. https only.
    None,
}

/// Why a cookie could not be made or read. Never holds a cookie's value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty, longer than 64 bytes, no RFC 6265 token, or begins with `__` (kept for prefixes) or `$`.
    #[error("cookie name is not usable")]
    InvalidName,
    /// The path does not begin with `/`, is longer than 1,024 bytes, or holds a character that an attribute cannot.
    #[error("cookie path is not usable")]
    InvalidPath,
    /// `SameSite=None` and `Partitioned` need https.
    #[error("cookie attribute needs https")]
    NeedsHttps,
    /// The value is empty or holds a character that a cookie cannot (RFC 6265 `cookie-octet`).
    #[error("cookie value is not usable")]
    InvalidValue,
    /// The whole would exceed [`MAX_COOKIE_BYTES`].
    #[error("cookie exceeds {MAX_COOKIE_BYTES} bytes")]
    TooLarge,
    /// The request holds several cookies of this name with different values.
    #[error("several cookies of the same name")]
    Ambiguous,
}

impl SessionCookie {
    /// The cookie of the access token: path `/`, on https named `__Host-<name>`.
    ///
    /// # Errors
    ///
    /// [`CookieError::InvalidName`].
    pub fn access(name: &str, scheme: CookieScheme) -> Result<Self, CookieError> {
        Self::new("__Host-", name, "/", scheme)
    }

    /// The cookie of the refresh token: sent to `path` and below only, on https named `__Secure-<name>`.
    ///
    /// # Errors
    ///
    /// [`CookieError::InvalidName`] and [`CookieError::InvalidPath`].
    pub fn refresh(name: &str, path: &str, scheme: CookieScheme) -> Result<Self, CookieError> {
        Self::new("__Secure-", name, path, scheme)
    }

    fn new(prefix: &str, name: &str, path: &str, scheme: CookieScheme) -> Result<Self, CookieError> {
        if !is_usable_name(name) {
            return Err(CookieError::InvalidName);
        }
        if !is_usable_path(path) {
            return Err(CookieError::InvalidPath);
        }
        let secure = scheme == CookieScheme::Https;
        Ok(Self {
            name: if secure { format!("{prefix}{name}") } else { name.to_owned() },
            path: path.to_owned(),
            secure,
            same_site: SameSite::default(),
            partitioned: false,
            max_age: None,
        })
    }

    /// With another `SameSite`.
    ///
    /// # Errors
    ///
    /// [`CookieError::NeedsHttps`] for [`SameSite::None`] without https.
    pub fn with_same_site(mut self, same_site: SameSite) -> Result<Self, CookieError> {
        if same_site == SameSite::None && !self.secure {
            return Err(CookieError::NeedsHttps);
        }
        self.same_site = same_site;
        Ok(self)
    }

    /// With `Partitioned` (CHIPS): kept apart for each top-level site that embeds the application.
    ///
    /// # Errors
    ///
    /// [`CookieError::NeedsHttps`] without https.
    pub fn with_partitioned(mut self, partitioned: bool) -> Result<Self, CookieError> {
        if partitioned && !self.secure {
            return Err(CookieError::NeedsHttps);
        }
        self.partitioned = partitioned;
        Ok(self)
    }

    /// With `Max-Age`, in whole seconds; `None`, the default, ends with the browser's session.
    pub fn with_max_age(mut self, max_age: Option<Duration>) -> Self {
        self.max_age = max_age;
        self
    }

    /// The name as it goes over the wire, prefix included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path below which browsers send it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The `Set-Cookie` value that stores `value`, marked sensitive.
    ///
    /// # Errors
    ///
    /// [`CookieError::InvalidValue`] and [`CookieError::TooLarge`].
    pub fn set(&self, value: &str) -> Result<HeaderValue, CookieError> {
        if value.is_empty() || !value.bytes().all(is_cookie_octet) {
            return Err(CookieError::InvalidValue);
        }
        // Refused before it is copied; the whole is measured below.
        if value.len() > MAX_COOKIE_BYTES {
            return Err(CookieError::TooLarge);
        }
        let mut cookie = self.template(value);
        if let Some(max_age) = self.max_age {
            cookie.set_max_age(time::Duration::try_from(max_age).unwrap_or(time::Duration::MAX));
        }
        let line = cookie.to_string();
        if line.len() > MAX_COOKIE_BYTES {
            return Err(CookieError::TooLarge);
        }
        let mut header = HeaderValue::try_from(line).map_err(|_| CookieError::InvalidValue)?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// The `Set-Cookie` value that removes the cookie: the attributes of [`set`](Self::set), with an empty value, `Max-Age=0`
    /// and, for clients that know no `Max-Age`, an `Expires` in the past.
    pub fn removal(&self) -> HeaderValue {
        let mut cookie = self.template("");
        cookie.set_max_age(time::Duration::ZERO);
        cookie.set_expires(time::OffsetDateTime::UNIX_EPOCH);
        // Name and path were checked when this was made, so that the line is always a header value. Were it not, an
        // empty line is what a browser ignores.
        HeaderValue::try_from(cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Reads the value out of the `Cookie` headers; `None` when there is none of this name, or an empty one.
    ///
    /// # Behaviour
    ///
    /// - All header lines are read (HTTP/2 may split them). Names are compared byte for byte.
    /// - Cookies of other names are skipped whatever they hold, so that a neighbour's malformed cookie signs nobody out.
    /// - Only spaces and tabs are stripped. Stripping Unicode white space, as string functions do, would let a script on a
    ///   sibling domain pass off a name of its own as a `__Host-` name.
    /// - The same value several times is one cookie.
    ///
    /// # Errors
    ///
    /// - [`CookieError::Ambiguous`] for different values. Which one a browser puts first is in the hands of whoever set
    ///   the longer path, so neither "first" nor "last" is safe: a sibling domain could sign a user in to the
    ///   attacker's account. Treat it as not signed in, and send [`removal`](Self::removal).
    /// - [`CookieError::InvalidValue`] for a value that this type would never have set.
    pub fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, CookieError> {
        let mut found = None;
        let lines = headers.get_all(header::COOKIE).iter();
        for pair in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')) {
            let Some(value) = self.value_of(pair) else { continue };
            if found.is_some_and(|earlier| earlier != value) {
                return Err(CookieError::Ambiguous);
            }
            found = Some(value);
        }
        match found {
            None | Some([]) => Ok(None),
            Some(value) if value.len() > MAX_COOKIE_BYTES => Err(CookieError::TooLarge),
            Some(value) if value.iter().copied().all(is_cookie_octet) => {
                std::str::from_utf8(value).map(Some).map_err(|_| CookieError::InvalidValue)
            }
            Some(_) => Err(CookieError::InvalidValue),
        }
    }

    /// The value of a `name=value` pair of this name.
    fn value_of<'h>(&self, pair: &'h [u8]) -> Option<&'h [u8]> {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        (trim(name) == self.name.as_bytes()).then(|| trim(value))
    }

    /// Every attribute that the set and the removal cookie share: the only place where any is written.
    fn template<'c>(&'c self, value: &'c str) -> Cookie<'c> {
        Cookie::build((self.name.as_str(), value))
            .http_only(true)
            .same_site(self.same_site.into())
            .secure(self.secure)
            .partitioned(self.partitioned)
            .path(self.path.as_str())
            .build()
    }
}

impl From<SameSite> for cookie::SameSite {
    fn from(same_site: SameSite) -> Self {
        match same_site {
            SameSite::Strict => Self::Strict,
            SameSite::Lax => Self::Lax,
            SameSite::None => Self::None,
        }
    }
}

fn is_usable_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(is_token) && !name.starts_with("__") && !name.starts_with('$')
}

fn is_usable_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

/// RFC 6265 `cookie-octet`.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

#[cfg(test)]
#[path = "cookie_tests.rs"]
mod tests;
