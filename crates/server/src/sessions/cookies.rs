//! The cookies of browsers: access, refresh and device.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use session_manager_http::{CookieError, CookieScheme, SessionCookie};
use session_manager_middleware_axum::SessionCookies;

use crate::accounts::DeviceToken;
use crate::config::PublicUrl;

/// As long as browsers keep any cookie (RFC 6265bis section 5.5).
const DEVICE_LIFETIME: Duration = Duration::from_hours(400 * 24);

/// What a browser forgets of the site when its user signs out. Not all cookies: those of the session are removed by name, and that of the
/// device stays. It signs nobody in, and without it every sign-in would be one on a new device, mailed to the owner.
pub(crate) const CLEAR_SITE_DATA: (HeaderName, HeaderValue) =
    (HeaderName::from_static("clear-site-data"), HeaderValue::from_static(r#""cache", "storage""#));

/// The cookies that this service gives to browsers.
#[derive(Clone, Debug)]
pub(crate) struct BrowserCookies {
    session: SessionCookies,
    device: SessionCookie,
}

impl BrowserCookies {
    /// For browsers that reach the service at this URL.
    ///
    /// The path of the refresh cookie is `/`: any page renews an expired session.
    pub(super) fn new(public_url: &PublicUrl) -> Result<Self, CookieError> {
        let scheme = if public_url.is_https() { CookieScheme::Https } else { CookieScheme::LoopbackHttp };
        let session = SessionCookies::new(SessionCookie::access("session", scheme)?)
            .with_refresh(SessionCookie::refresh("renewal", "/", scheme)?);
        let device = SessionCookie::access("device", scheme)?.with_max_age(Some(DEVICE_LIFETIME));
        Ok(Self { session, device })
    }

    /// Those of the session: `remembered` ones outlast the browser, the others end with it.
    pub(crate) fn session(&self, remembered: bool) -> SessionCookies {
        self.session.clone().persistent(remembered)
    }

    /// The secret of the device that sent a request, when it is one that we could have given.
    pub(crate) fn device(&self, headers: &HeaderMap) -> Option<DeviceToken> {
        self.device.read(headers).ok().flatten().and_then(DeviceToken::parse)
    }

    /// Gives a browser the secret of its device.
    pub(crate) fn set_device(&self, device: &DeviceToken) -> Result<HeaderValue, CookieError> {
        self.device.set(device.expose())
    }
}
