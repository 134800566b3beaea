//! Refusing requests that another site made a browser send with the user's cookie.

use http::{HeaderMap, HeaderName, Method, Uri, header};

/// Judges whether a request that is authenticated by a cookie comes from the application's own pages.
///
/// Ask it only for requests whose credential is a cookie: a bearer token is never sent by a browser on its own.
///
/// # Behaviour
///
/// - `GET`, `HEAD` and `OPTIONS` pass; such handlers must change nothing. Every other method is judged.
/// - `Sec-Fetch-Site` decides where it is sent: `same-origin` and `none` (the user's own doing) pass, `cross-site` is
///   refused, `same-site` passes for an allowed origin, or for all after [`CrossSitePolicy::allow_same_site`].
/// - Without it (http, older browsers) `Origin` must be an allowed one.
/// - Without either the request is refused. Every browser since 2020 sends `Origin` with an unsafe method; other
///   clients use a bearer token, or send `Origin`. `Referer` is not consulted: it is absent where privacy settings
///   strip it, and where it is present so is `Origin`.
/// - A repeated, malformed or unknown value is refused.
///
/// ```
/// use http::{HeaderMap, Method};
/// use session_manager_http::CrossSitePolicy;
///
/// let policy = CrossSitePolicy::new(["https://bank.example"])?;
/// let mut headers = HeaderMap::new();
/// headers.insert("sec-fetch-site", "cross-site".parse()?);
/// assert!(policy.check(&Method::POST, &headers).is_err());
/// assert!(policy.check(&Method::GET, &headers).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CrossSitePolicy {
    origins: Vec<Origin>,
    allow_same_site: bool,
}

/// An allowed origin is not of the form `scheme://host[:port]` with http or https.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("allowed origin is not of the form scheme://host[:port]")]
pub struct OriginError;

/// Why a request was refused as coming from another site.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CrossSiteError {
    /// The browser says that another site caused it.
    #[error("request comes from another site")]
    CrossSite,
    /// The browser says that another origin of the same site caused it, which is not allowed.
    #[error("request comes from another origin of the same site")]
    SameSite,
    /// `Origin` is none of the allowed ones.
    #[error("request comes from an origin that is not allowed")]
    Origin,
    /// Neither `Sec-Fetch-Site` nor `Origin` says where it comes from.
    #[error("request does not say where it comes from")]
    Unknown,
    /// One of the two headers is repeated or malformed.
    #[error("request origin is malformed")]
    Malformed,
}

impl CrossSitePolicy {
    /// A policy for an application whose pages live at these origins, such as `https://bank.example`.
    ///
    /// # Errors
    ///
    /// [`OriginError`] for an entry of another form: a path, user information, another scheme, `null`.
    pub fn new<I, S>(origins: I) -> Result<Self, OriginError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let origins = origins.into_iter().map(|origin| Origin::parse(origin.as_ref()).ok_or(OriginError));
        Ok(Self { origins: origins.collect::<Result<_, _>>()?, allow_same_site: false })
    }

    /// Whether every origin of the same site (registrable domain) is trusted. Default: no, for one forgotten subdomain
    /// would be enough to act for the user.
    pub fn allow_same_site(mut self, allow: bool) -> Self {
        self.allow_same_site = allow;
        self
    }

    /// Judges one request.
    ///
    /// # Errors
    ///
    /// [`CrossSiteError`]; answer 403.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), CrossSiteError> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        match only_value(headers, &SEC_FETCH_SITE)? {
            Some(b"same-origin" | b"none") => Ok(()),
            Some(b"same-site") if self.allow_same_site => Ok(()),
            Some(b"same-site") => match self.origin_is_allowed(headers)? {
                Some(true) => Ok(()),
                _ => Err(CrossSiteError::SameSite),
            },
            Some(b"cross-site") => Err(CrossSiteError::CrossSite),
            Some(_) => Err(CrossSiteError::Malformed),
            None => match self.origin_is_allowed(headers)? {
                Some(true) => Ok(()),
                Some(false) => Err(CrossSiteError::Origin),
                None => Err(CrossSiteError::Unknown),
            },
        }
    }

    /// Whether `Origin` is an allowed one; `None` when there is no such header.
    fn origin_is_allowed(&self, headers: &HeaderMap) -> Result<Option<bool>, CrossSiteError> {
        let Some(value) = only_value(headers, &header::ORIGIN)? else { return Ok(None) };
        // `null` (a sandboxed frame, a redirect across sites) parses as no origin and so is never allowed.
        let origin = std::str::from_utf8(value).ok().and_then(Origin::parse);
        Ok(Some(origin.is_some_and(|origin| self.origins.contains(&origin))))
    }
}

/// An origin with the default port written out.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_ORIGIN_BYTES {
            return None;
        }
        let uri = text.parse::<Uri>().ok()?;
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // `Uri` takes a missing path for `/` and drops a fragment.
        let bare = uri.path() == "/" && uri.query().is_none() && !text.ends_with('/') && !text.contains(['#', '@']);
        let default_port = if https { 443 } else { 80 };
        // An authority that ends in a colon, or whose port is out of range, has no port of its own but text for one.
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => default_port,
            None => return None,
        };
        (bare && !authority.host().is_empty()).then(|| Self {
            https,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }
}

/// The value of a header that may stand once.
fn only_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, CrossSiteError> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return Err(CrossSiteError::Malformed);
    }
    Ok(first.map(http::HeaderValue::as_bytes))
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MAX_ORIGIN_BYTES: usize = 512;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn policy() -> CrossSitePolicy {
        CrossSitePolicy::new(["https://bank.example", "https://www.bank.example:8443"]).unwrap()
    }

    fn request(lines: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
        lines.iter().map(|(n, value)| (name(n), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn unsafe_methods() {
        let site = "sec-fetch-site";
        let own = ("origin", "https://bank.example");
        let evil = ("origin", "https://evil.example");
        for (lines, expected) in [
            (&[(site, "same-origin")][..], Ok(())),
            (&[(site, "none")], Ok(())),
            (&[(site, "cross-site")], Err(CrossSiteError::CrossSite)),
            (&[(site, "cross-site"), own], Err(CrossSiteError::CrossSite)),
            (&[(site, "same-site")], Err(CrossSiteError::SameSite)),
            (&[(site, "same-site"), evil], Err(CrossSiteError::SameSite)),
            (&[(site, "same-site"), ("origin", "https://www.bank.example:8443")], Ok(())),
            (&[(site, "Same-Origin")], Err(CrossSiteError::Malformed)),
            (&[(site, "")], Err(CrossSiteError::Malformed)),
            (&[(site, ""), own], Err(CrossSiteError::Malformed)),
            (&[(site, "same-origin"), (site, "cross-site")], Err(CrossSiteError::Malformed)),
            (&[own], Ok(())),
            (&[("origin", "https://bank.example:443")], Ok(())),
            (&[("origin", "HTTPS://BANK.example")], Ok(())),
            (&[("origin", "https://www.bank.example:8443")], Ok(())),
            (&[("origin", "https://www.bank.example")], Err(CrossSiteError::Origin)),
            (&[("origin", "http://bank.example")], Err(CrossSiteError::Origin)),
            (&[("origin", "https://bank.example.evil.example")], Err(CrossSiteError::Origin)),
            (&[("origin", "https://bank.example@evil.example")], Err(CrossSiteError::Origin)),
            (&[("origin", "https://evil@bank.example")], Err(CrossSiteError::Origin)),
            (&[("origin", "https://bank.example/")], Err(CrossSiteError::Origin)),
            (&[("origin", "null")], Err(CrossSiteError::Origin)),
            (&[("origin", "")], Err(CrossSiteError::Origin)),
            (&[("origin", "caf\u{e9}")], Err(CrossSiteError::Origin)),
            (&[own, evil], Err(CrossSiteError::Malformed)),
            (&[("referer", "https://bank.example/page")], Err(CrossSiteError::Unknown)),
            (&[], Err(CrossSiteError::Unknown)),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE, Method::CONNECT] {
                assert_eq!(policy().check(&method, &request(lines)), expected, "{method} {lines:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert_eq!(policy().check(&method, &request(lines)), Ok(()), "{method} {lines:?}");
            }
        }
    }

    #[test]
    fn same_site_can_be_allowed() {
        let policy = policy().allow_same_site(true);
        assert_eq!(policy.check(&Method::POST, &request(&[("sec-fetch-site", "same-site")])), Ok(()));
        let cross = request(&[("sec-fetch-site", "cross-site")]);
        assert_eq!(policy.check(&Method::POST, &cross), Err(CrossSiteError::CrossSite));
    }

    #[test]
    fn refused_origins() {
        for origin in [
            "",
            "null",
            "*",
            "bank.example",
            "https://",
            "https://bank.example/",
            "https://bank.example/app",
            "https://bank.example?x",
            "https://bank.example#x",
            "https://user@bank.example",
            "https://bank.example:",
            "https://bank.example:99999",
            "ftp://bank.example",
            "https://bank.example, https://evil.example",
        ] {
            assert_eq!(CrossSitePolicy::new([origin]).map(drop), Err(OriginError), "{origin}");
        }
        for origin in ["http://localhost:8080", "https://[2001:db8::1]", "https://[2001:db8::1]:8443"] {
            assert!(CrossSitePolicy::new([origin]).is_ok(), "{origin}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_origins_are_refused(origin in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&origin) {
                let mut headers = HeaderMap::new();
                headers.insert(header::ORIGIN, value);
                prop_assert!(policy().check(&Method::POST, &headers).is_err());
            }
        }
    }
}
