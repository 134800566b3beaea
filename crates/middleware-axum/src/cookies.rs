//! The cookies of a browser's session: set at sign-in and refresh, read on requests, removed at sign-out.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use session_manager_core::TokenPair;
use session_manager_http::{CookieError, SessionCookie};

/// What [`SessionCookies::sign_out`] has the browser forget of the site beside the session.
///
/// Browsers extend `cookies` to the whole registrable domain; a site that shares it with others uses [`SessionCookies::clear`].
pub const CLEAR_SITE_DATA: &str = r#""cache", "cookies", "storage""#;

/// The cookies that carry a session's tokens.
///
/// ```
/// use http::HeaderMap;
/// use session_manager_http::{CookieScheme, SessionCookie};
/// use session_manager_middleware_axum::SessionCookies;
///
/// let cookies = SessionCookies::new(SessionCookie::access("session", CookieScheme::Https)?)
///     .with_refresh(SessionCookie::refresh("renewal", "/", CookieScheme::Https)?);
/// let mut headers = HeaderMap::new();
/// cookies.sign_out().append_to(&mut headers);
/// assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
/// assert!(headers.contains_key("clear-site-data"));
/// # Ok::<(), session_manager_http::CookieError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookies {
    access: SessionCookie,
    refresh: Option<SessionCookie>,
    persistent: bool,
}

impl SessionCookies {
    /// The access token's cookie only: such a session lasts in the browser no longer than its access token.
    pub const fn new(access: SessionCookie) -> Self {
        Self { access, refresh: None, persistent: false }
    }

    /// With the refresh token's cookie. It reaches the paths below its own only, and only page requests there renew the session.
    pub fn with_refresh(mut self, refresh: SessionCookie) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// Whether the cookies outlast the browser's own session, until the signed-in session ends at the latest. Default: no; then the
    /// templates' own `Max-Age` counts.
    pub const fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// The access token's cookie.
    pub const fn access(&self) -> &SessionCookie {
        &self.access
    }

    /// The refresh token's cookie.
    pub const fn refresh(&self) -> Option<&SessionCookie> {
        self.refresh.as_ref()
    }

    /// Reads the access token.
    ///
    /// # Errors
    /// Those of [`SessionCookie::read`].
    pub fn access_token<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, CookieError> {
        self.access.read(headers)
    }

    /// Reads the refresh token.
    ///
    /// # Errors
    /// Those of [`SessionCookie::read`].
    ///
    /// # Security
    /// A handler that acts on it asks [`FirstParty`](crate::FirstParty) first.
    pub fn refresh_token<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, CookieError> {
        self.refresh.as_ref().map_or(Ok(None), |refresh| refresh.read(headers))
    }

    /// Hands a session's tokens to the browser.
    ///
    /// # Errors
    /// [`CookieError::TooLarge`] and [`CookieError::InvalidValue`] for tokens that fit in no cookie.
    pub fn set(&self, tokens: &TokenPair) -> Result<SetCookies, CookieError> {
        // The access cookie outlives its token: an expired token tells the server more than none.
        let left = (tokens.refresh_expires_at - tokens.issued_at).to_std().unwrap_or(Duration::ZERO);
        let set = |cookie: &SessionCookie, value: &str| {
            if self.persistent { cookie.clone().with_max_age(Some(left)).set(value) } else { cookie.set(value) }
        };
        let mut lines = vec![set(&self.access, tokens.access.expose())?];
        if let Some(refresh) = &self.refresh {
            lines.push(set(refresh, tokens.refresh.expose())?);
        }
        Ok(SetCookies { lines, clear_site_data: false })
    }

    /// Removes the cookies.
    pub fn clear(&self) -> SetCookies {
        let lines = std::iter::once(&self.access).chain(&self.refresh).map(SessionCookie::removal).collect();
        SetCookies { lines, clear_site_data: false }
    }

    /// Removes the cookies and, by `Clear-Site-Data`, what else the site left in the browser.
    pub fn sign_out(&self) -> SetCookies {
        SetCookies { clear_site_data: true, ..self.clear() }
    }
}

/// Cookies on their way to the browser: part of a response, as in `(cookies, Redirect::to("/"))`.
///
/// # Behaviour
/// They are added to those that are there already. The response becomes `Cache-Control: no-store`: a cache that kept it would hand one
/// user's session to another.
#[derive(Clone, Debug)]
#[must_use]
pub struct SetCookies {
    lines: Vec<HeaderValue>,
    clear_site_data: bool,
}

impl SetCookies {
    /// Adds them to a response's headers.
    pub fn append_to(self, headers: &mut HeaderMap) {
        for line in self.lines {
            headers.append(header::SET_COOKIE, line);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.clear_site_data {
            headers.insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static(CLEAR_SITE_DATA));
        }
    }

    /// Whether a response sets or removes one of these cookies already.
    pub(crate) fn any_in(&self, headers: &HeaderMap) -> bool {
        let mut present = headers.get_all(header::SET_COOKIE).iter().map(name_of);
        present.any(|name| self.lines.iter().any(|line| name_of(line) == name))
    }
}

impl IntoResponseParts for SetCookies {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Self::Error> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

impl IntoResponse for SetCookies {
    fn into_response(self) -> Response {
        (self, ()).into_response()
    }
}

/// The name of the cookie that a `Set-Cookie` line is about.
fn name_of(line: &HeaderValue) -> &[u8] {
    line.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}
