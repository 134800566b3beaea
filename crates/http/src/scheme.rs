//! Whether cookies are for https or for plain http on this machine.

use std::net::IpAddr;

use http::Uri;

/// Where browsers reach the application: decides the names of cookies and whether they are `Secure`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CookieScheme {
    /// https: `Secure` and the prefixed names.
    Https,
    /// http on loopback, for development: plain names without `Secure`. Worth a warning at start.
    LoopbackHttp,
}

/// The public URL suits no session cookie.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("public url must be https, or http on a loopback host")]
pub struct CookieSchemeError;

impl CookieScheme {
    /// The scheme for an application that browsers reach at `public_url`.
    ///
    /// # Errors
    ///
    /// [`CookieSchemeError`] for http on any host but loopback, and for anything that is no absolute URL.
    ///
    /// ```
    /// use session_manager_http::CookieScheme;
    ///
    /// assert_eq!(CookieScheme::for_public_url(&"https://bank.example".parse()?), Ok(CookieScheme::Https));
    /// assert!(CookieScheme::for_public_url(&"http://bank.example".parse()?).is_err());
    /// # Ok::<(), http::uri::InvalidUri>(())
    /// ```
    pub fn for_public_url(public_url: &Uri) -> Result<Self, CookieSchemeError> {
        match (public_url.scheme_str(), public_url.host()) {
            (Some("https"), Some(_)) => Ok(Self::Https),
            (Some("http"), Some(host)) if is_loopback(host) => Ok(Self::LoopbackHttp),
            _ => Err(CookieSchemeError),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = host.to_ascii_lowercase();
    // RFC 6761 section 6.3: `localhost` and every name below it.
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn public_urls() {
        for (url, expected) in [
            ("https://bank.example", Ok(CookieScheme::Https)),
            ("HTTPS://bank.example/app", Ok(CookieScheme::Https)),
            ("https://localhost", Ok(CookieScheme::Https)),
            ("http://localhost:8080", Ok(CookieScheme::LoopbackHttp)),
            ("http://App.LocalHost", Ok(CookieScheme::LoopbackHttp)),
            ("http://127.0.0.1:8080/", Ok(CookieScheme::LoopbackHttp)),
            ("http://127.8.9.1", Ok(CookieScheme::LoopbackHttp)),
            ("http://[::1]:8080", Ok(CookieScheme::LoopbackHttp)),
            ("http://bank.example", Err(CookieSchemeError)),
            ("http://localhost.bank.example", Err(CookieSchemeError)),
            ("http://notlocalhost", Err(CookieSchemeError)),
            ("http://10.0.0.1", Err(CookieSchemeError)),
            ("http://0.0.0.0:8080", Err(CookieSchemeError)),
            ("ftp://localhost", Err(CookieSchemeError)),
            ("localhost:8080", Err(CookieSchemeError)),
            ("/", Err(CookieSchemeError)),
        ] {
            assert_eq!(CookieScheme::for_public_url(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
