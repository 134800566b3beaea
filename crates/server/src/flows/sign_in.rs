//! Signing in, and renewing what that gave.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::StatusCode;
use session_manager_core::{
    Created, NewSession, PolicyOverrides, Refreshed, RequestContext, RevocationReason, Session, SessionId, TokenKind,
    UserId,
};
use uuid::Uuid;

use super::profile::open_account;
use super::revocation::end;
use super::{DeviceName, new_device};
use crate::accounts::{Attempted, DeviceToken, EmailAddress, Origin, Refusal, SignInAttempt, User};
use crate::app::App;
use crate::limits::SessionMeter;
use crate::passwords::Password;
use crate::problem::Rejection;
use crate::sessions::with_role;

/// The longest that a session lives whose user asked not to be remembered.
const NOT_REMEMBERED: Duration = Duration::from_hours(24);

/// The attribute of a session whose user asked to be remembered.
const REMEMBERED: &str = "remembered";

/// Somebody signs in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) email: EmailAddress,
    pub(crate) password: Password,
    /// What the user calls the device.
    pub(crate) device_name: Option<DeviceName>,
    /// `Some(false)` ends the session after a day at the latest; otherwise it lives as long as the policy says. For a browser,
    /// `Some(true)` also makes the cookies outlast the browser's own session.
    pub(crate) remember: Option<bool>,
    /// The secret of the device's cookie, when it sent one.
    pub(crate) device: Option<DeviceToken>,
}

/// Somebody signed in.
#[derive(Clone, Debug)]
pub(crate) struct LoggedIn {
    pub(crate) user: User,
    pub(crate) created: Created,
}

/// Checks address and password and begins a session.
///
/// # Behaviour
/// - A device that is new to the account is remembered, and its owner told by mail, after the answer.
/// - A sign-in that overlaps a new password, or the end of the account, is refused as if it had come after it.
///
/// # Errors
/// 401 with one text for an unknown address and a wrong password; 403 locked, and, only after the right password, not verified or disabled;
/// 409 where the policy rejects one session more.
pub(crate) async fn login(app: &App, login: Login, context: &RequestContext) -> Result<LoggedIn, Rejection> {
    let Login { email, password, device_name, remember, device } = login;
    let origin = origin(context, device.clone());
    let attempt = SignInAttempt { email, password, origin };
    let signed_in = told(app, app.accounts().sign_in(attempt, app.now()).await?).await?;
    let user = signed_in.user.clone();
    let mut context = context.clone();
    context.client.device_name = device_name.map(DeviceName::into_string);
    let overrides = match remember {
        Some(false) => {
            let lifetime = app.sessions().manager().policy().absolute_lifetime.min(NOT_REMEMBERED);
            PolicyOverrides::new().absolute_lifetime(lifetime)
        }
        Some(true) | None => PolicyOverrides::new(),
    };
    let mut new = NewSession::of(user_id(user.id)?).by(["pwd"]).overriding(overrides);
    if remember == Some(true) {
        new = new.attribute(REMEMBERED, true);
    }
    let created = with_role(user.role, app.sessions().manager().create(new, &context)).await?;
    if let Err(refusal) = app.accounts().still_admits(&signed_in).await? {
        let disabled = refusal == Refusal::Disabled;
        let reason = if disabled { RevocationReason::ACCOUNT_DISABLED } else { RevocationReason::PASSWORD_CHANGED };
        end(app, &created.snapshot.session.user_id, created.snapshot.key(), reason, &context).await?;
        return Err(refusal.into());
    }
    new_device::notice(app, &user, device, &created.snapshot.session).await;
    Ok(LoggedIn { user, created })
}

/// Exchanges a refresh token for a new pair, within the session's limit.
///
/// # Behaviour
/// Only a new generation counts. An answer that is repeated within the grace costs nothing, and a token that will be refused anyway is asked
/// about no limit, so that no replay stays unseen.
///
/// # Errors
/// 401 with a type of its own for expired, revoked, reuse detected and rotated out; revoked when the account is gone or disabled. 429 when
/// the session had too many new generations; the token stays good.
pub(crate) async fn refresh(
    app: &App,
    token: &str,
    context: &RequestContext,
    meter: &SessionMeter,
) -> Result<Refreshed, Rejection> {
    if meter.counts()
        && let Some(session) = would_begin_generation(app, token).await?
        && let Err(refusal) = meter.look(session).await
        // The last one that was left may have gone to a request with the same token, whose answer this one is to repeat.
        && would_begin_generation(app, token).await?.is_some()
    {
        return Err(refusal);
    }
    let refreshed = app.sessions().manager().refresh(token, context).await?;
    let session = &refreshed.snapshot.session;
    if refreshed.converged {
        meter.show(session.id).await;
    } else {
        meter.spend(session.id).await;
    }
    match open_account(app, &session.user_id).await {
        Ok(_) => Ok(refreshed),
        Err(rejection) if rejection.problem().status() == StatusCode::UNAUTHORIZED => {
            // The sessions of an account end with it. One that is left, whatever the reason, ends here.
            end(app, &session.user_id, session.key(), RevocationReason::ACCOUNT_DISABLED, context).await?;
            Err(rejection)
        }
        Err(rejection) => Err(rejection),
    }
}

/// The session of a refresh token that would begin a new generation; none for one that repeats an answer, or is refused.
async fn would_begin_generation(app: &App, token: &str) -> Result<Option<SessionId>, Rejection> {
    let found = app.sessions().manager().introspect(token).await?;
    let found = found.filter(|found| found.kind == TokenKind::Refresh);
    let found = found.filter(|found| found.verified.generation >= found.snapshot.control.generation);
    Ok(found.map(|found| found.snapshot.session.id))
}

/// Whether the user asked to be remembered, so that cookies outlast the browser.
pub(crate) fn is_remembered(session: &Session) -> bool {
    session.attributes.get(REMEMBERED).is_some_and(|value| *value == true)
}

/// From where a password is tried. A peer without an address (a Unix socket) counts as this machine.
pub(super) fn origin(context: &RequestContext, device: Option<DeviceToken>) -> Origin {
    Origin { address: context.client.ip_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), device }
}

/// The outcome, after the delay by which guessing is slowed down: the same whether the password was right or wrong.
pub(super) async fn told<T, E: Into<Rejection>>(app: &App, attempted: Attempted<T, E>) -> Result<T, Rejection> {
    if !attempted.delay.is_zero() {
        app.clock().sleep(attempted.delay).await;
    }
    attempted.outcome.map_err(Into::into)
}

/// The account as the sessions know it.
pub(super) fn user_id(id: Uuid) -> Result<UserId, Rejection> {
    Ok(UserId::parse(&id.to_string())?)
}
