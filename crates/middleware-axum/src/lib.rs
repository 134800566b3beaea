//! Tower layer and axum extractors of session-manager.

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod browser;
mod client;
mod config;
mod cookies;
mod credential;
mod extract;
mod layer;
mod page;
mod rejection;
mod require;
mod state;

pub use config::SessionLayer;
pub use cookies::{CLEAR_SITE_DATA, SessionCookies, SetCookies};
pub use extract::{ClientContext, FirstParty, FreshSession, OptionalSession, SessionManagerHandle};
pub use layer::SessionService;
pub use page::is_page_request;
pub use rejection::{Refusal, SessionRejection};
pub use require::{RequireSession, RequireSessionService};
pub use state::{Credential, CurrentSession, RequestSession};
