//! Registration, and the confirmation of addresses.

use crate::accounts::{Registration, User};
use crate::app::App;
use crate::problem::Rejection;

/// Makes an account that waits for the confirmation of its address. Whether the address was taken cannot be told from the result.
///
/// # Errors
/// A weak password (400).
pub(crate) async fn register(app: &App, registration: Registration) -> Result<(), Rejection> {
    Ok(app.accounts().register(registration, app.now()).await?)
}

/// Confirms an address by the token that was mailed to it.
///
/// # Errors
/// The link is not valid any more (400).
pub(crate) async fn verify_email(app: &App, token: &str) -> Result<User, Rejection> {
    Ok(app.accounts().verify_email(token, app.now()).await??)
}
