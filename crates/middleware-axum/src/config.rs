//! The layer and how it is configured.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Extensions, request::Parts};
use session_manager_core::SessionManager;
use session_manager_http::{ClientAddressResolver, CrossSitePolicy};

use crate::browser::Browser;
use crate::client::connected_peer;
use crate::cookies::SessionCookies;
use crate::page::is_page_request;

/// A tower layer that finds out who sent a request, for any HTTP service: an axum router, a tonic server, a bare hyper one.
///
/// # Behaviour
/// - It never answers by itself. What it found out is in the request's extensions, as a [`RequestSession`](crate::RequestSession); the
///   extractors, [`RequireSession`](crate::RequireSession) or the handler decide. So a route that asks for no session never refuses.
/// - A bearer token wins over a cookie. A malformed `Authorization: Bearer` is an error; it never falls back to the cookie.
/// - With [`SessionLayer::cookies`], a request by cookie and unsafe method is judged by the [`CrossSitePolicy`] before anything is read. So is
///   one that opens a WebSocket: it is a GET, and what is said over it is not.
/// - With a refresh cookie, a page request whose access token is missing, expired, or of a key that is gone, is renewed, and then authenticated like any other.
///   Its response sets both cookies if it starts within the grace of the rotation, and not after it: a slow response must not put an old
///   token back. Where the handler set one of the cookies itself, its word counts. A policy with a grace of zero therefore renews no page requests.
/// - A refresh token that will never be accepted again has its cookies removed. One that a re-authentication replaced (`rotated`) keeps
///   them, for the new ones may have reached the browser meanwhile. An outage of the storage removes nothing.
/// - Requests without credentials cost no storage access.
///
/// # Cancellation
/// A request dropped while it is renewed may have used its refresh token; the client's retry converges within the grace.
///
/// ```
/// use session_manager_core::SessionManager;
/// use session_manager_http::{CookieScheme, CrossSitePolicy, SessionCookie};
/// use session_manager_middleware_axum::{SessionCookies, SessionLayer};
///
/// fn layer(sessions: SessionManager) -> Result<SessionLayer, Box<dyn std::error::Error>> {
///     let cookies = SessionCookies::new(SessionCookie::access("session", CookieScheme::Https)?)
///         .with_refresh(SessionCookie::refresh("renewal", "/", CookieScheme::Https)?);
///     Ok(SessionLayer::new(sessions).cookies(cookies, CrossSitePolicy::new(["https://bank.example"])?))
/// }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SessionLayer(Arc<Config>);

/// What the layer and the extractors need to know.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) manager: SessionManager,
    pub(crate) addresses: ClientAddressResolver,
    pub(crate) peer: Arc<Peer>,
    pub(crate) fallback_peer: Option<IpAddr>,
    pub(crate) background: Arc<Predicate>,
    pub(crate) pages: Arc<Predicate>,
    pub(crate) browser: Option<Browser>,
    pub(crate) origin: Option<Arc<str>>,
}

type Peer = dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync;

type Predicate = dyn Fn(&Parts) -> bool + Send + Sync;

impl SessionLayer {
    /// A layer for bearer tokens only, without proxies.
    pub fn new(manager: SessionManager) -> Self {
        Self(Arc::new(Config {
            manager,
            addresses: ClientAddressResolver::default(),
            peer: Arc::new(connected_peer),
            fallback_peer: None,
            background: Arc::new(|_| false),
            pages: Arc::new(is_page_request),
            browser: None,
            origin: None,
        }))
    }

    /// Accepts the access token from a cookie too, and renews page requests where there is a refresh cookie.
    pub fn cookies(self, cookies: SessionCookies, cross_site: CrossSitePolicy) -> Self {
        self.with(|config| config.browser = Some(Browser { cookies, cross_site }))
    }

    /// Accepts access tokens that are bound to a key, with their proof (`DPoP`, RFC 9449), under this origin: scheme, host and port as clients
    /// see them, such as `https://api.example.org`. The manager needs a
    /// [`PossessionVerifier`](session_manager_core::PossessionVerifier). Default: such tokens are refused.
    ///
    /// # Security
    /// A bound token is never accepted as a bearer token, and a token that is bound to nothing never with the scheme `DPoP` (§7.1, §7.2).
    pub fn dpop(self, origin: &str) -> Self {
        let origin = origin.trim_end_matches('/').into();
        self.with(|config| config.origin = Some(origin))
    }

    /// How the client's address is found behind proxies. Default: no proxy is trusted.
    pub fn addresses(self, addresses: ClientAddressResolver) -> Self {
        self.with(|config| config.addresses = addresses)
    }

    /// How the connection's peer is found. Default: axum's `ConnectInfo<SocketAddr>`, which is there when the router is served by
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    pub fn peer(self, peer: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with(|config| config.peer = Arc::new(peer))
    }

    /// The peer of connections that have no address, such as those of a Unix socket. Default: none; the address is then unknown.
    pub fn fallback_peer(self, peer: IpAddr) -> Self {
        self.with(|config| config.fallback_peer = Some(peer))
    }

    /// Which requests a program sends by itself, so that they do not keep a session alive: polling, event streams. Default: none.
    pub fn background_requests(self, is_background: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.background = Arc::new(is_background))
    }

    /// Which requests fetch a page, so that an expired session is renewed on them. Default: [`is_page_request`]. The browser sends
    /// the refresh cookie only below its path, so that nothing else needs to be looked at.
    pub fn page_requests(self, is_page: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.pages = Arc::new(is_page))
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.0
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("manager", &self.0.manager)
            .field("addresses", &self.0.addresses)
            .field("cookies", &self.0.browser.as_ref().map(|browser| &browser.cookies))
            .finish_non_exhaustive()
    }
}
