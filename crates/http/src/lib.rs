//! Framework-neutral HTTP pieces of session-manager.

#![doc = include_str!("../README.md")]

mod address;
mod bearer;
mod challenge;
mod client;
mod cookie;
mod csrf;
mod dpop;
mod field;
mod forwarded;
mod mapping;
pub mod oauth;
mod problem;
mod problem_type;
mod proxies;
mod scheme;

pub use crate::{
    address::{
        AddressBasis, AddressHeader, AddressHeaderError, ClientAddress, ClientAddressConfig, ClientAddressResolver,
    },
    bearer::{BearerError, BearerToken, MAX_AUTHORIZATION_BYTES},
    challenge::{Challenge, ChallengeError},
    client::{MAX_REQUEST_ID_BYTES, MAX_USER_AGENT_BYTES, request_id, user_agent},
    cookie::{CookieError, MAX_COOKIE_BYTES, SameSite, SessionCookie},
    csrf::{CrossSiteError, CrossSitePolicy, OriginError},
    dpop::{DpopToken, MAX_DPOP_PROOF_BYTES, proof_of},
    mapping::{RETRY_AFTER_OUTAGE, problem_for},
    problem::{PROBLEM_JSON, Problem},
    problem_type::ProblemType,
    proxies::{TrustedProxies, TrustedProxiesError},
    scheme::{CookieScheme, CookieSchemeError},
};
