//! OAuth endpoints as handlers for any framework: token revocation (RFC 7009) and token introspection (RFC 7662).

mod client;
mod endpoints;
mod form;

pub use client::{ClientAuthenticator, ClientCredentials};
pub use endpoints::{MAX_FORM_BYTES, OAuthEndpoints};
