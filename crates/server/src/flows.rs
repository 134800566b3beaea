//! What users can do, each rule in one place: the JSON routes and the pages both call these functions.
//!
//! Every error is a [`Rejection`](crate::problem::Rejection), ready to be answered; pages show its
//! [`problem`](crate::problem::Rejection::problem) and [`field_errors`](crate::problem::Rejection::field_errors) in their own form.

mod administration;
mod authorization;
mod closing;
mod connecting;
mod connections;
mod device_name;
mod listing;
mod new_device;
mod password;
mod profile;
mod registration;
mod reset;
mod revocation;
mod rotation;
mod rotation_reason;
mod sign_in;
mod suspicion;
mod trail;

pub(crate) use administration::{
    Administrator, FreshAdministrator, account, close_account, end_session_of, end_sessions_of, reopen_account,
    search_users, sessions_of,
};
pub(crate) use authorization::{Authorization, authorization, end_authorization, refresh_authorization};
pub(crate) use closing::{disable_account, enable_account};
pub(crate) use connecting::{Arrival, Question, Traveller, begin_authorization, finish_authorization, question};
pub(crate) use connections::{
    ConnectionsPage, ConnectionsQuery, MAX_CONNECTIONS_PAGE, NewConnection, connection, create_connection,
    list_connections, provider_type, provider_types, remove_connection, rename_connection,
};
pub(crate) use device_name::DeviceName;
pub(crate) use listing::{ListQuery, Listing, MAX_PAGE, SessionEntry, USUAL_PAGE, list_sessions};
pub(crate) use password::{NewPasswords, change_password, reauthenticate};
pub(crate) use profile::{ProfileChange, current_user, update_profile};
pub(crate) use registration::{register, verify_email};
pub(crate) use reset::{request_password_reset, reset_link_expiry, reset_password};
pub(crate) use revocation::{logout, revoke_all, revoke_others, revoke_session};
pub(crate) use rotation::{RotationOutcome, SecurityConfig, is_own, rotate_everybody, rotate_user, security_config};
pub(crate) use rotation_reason::RotationReason;
pub(crate) use sign_in::{LoggedIn, Login, is_remembered, login, refresh};
pub(crate) use suspicion::SuspicionMails;
pub(crate) use trail::{audit_trail, latest_events};
