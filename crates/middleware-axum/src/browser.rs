//! What concerns requests by cookie only: the cookies, and which sites may cause such requests.

use http::{HeaderMap, Method, header};
use session_manager_http::{CrossSiteError, CrossSitePolicy};

use crate::cookies::SessionCookies;

/// How browsers are dealt with.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) cookies: SessionCookies,
    pub(crate) cross_site: CrossSitePolicy,
}

impl Browser {
    /// Refuses a request that does more than read, or opens a WebSocket, and that another site caused.
    pub(crate) fn refuse_other_sites(&self, method: &Method, headers: &HeaderMap) -> Result<(), CrossSiteError> {
        // A WebSocket is opened by GET, from any site, and no later check follows.
        let method = if opens_websocket(headers) { &Method::CONNECT } else { method };
        self.cross_site.check(method, headers)
    }
}

fn opens_websocket(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::UPGRADE).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}
