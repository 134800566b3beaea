//! Tells the owner of an account of a sign-in from a device that it did not know.

use session_manager_core::Session;

use super::listing::{describe, minute, place};
use crate::accounts::{DeviceToken, Fault, User};
use crate::app::App;
use crate::mail::{DeviceSummary, Letter};

/// Remembers the device after the answer, and mails the owner when it is new to an account that knows others.
///
/// A browser is known by its cookie. A program keeps none and is known by its user agent, so that it is told of once and not at every
/// sign-in; that alone does not spare it from the lockout, for anybody can send its user agent.
pub(super) async fn notice(app: &App, user: &User, device: Option<DeviceToken>, session: &Session) {
    let agent = session.user_agent.as_deref().unwrap_or_default();
    let token = device.unwrap_or_else(|| app.devices().of_program(user.id, agent));
    let sighting = Sighting {
        user: user.clone(),
        token,
        device: describe(session).unwrap_or_else(|| "unknown".to_owned()),
        place: place(session),
        session: session.created_at,
    };
    let inner = app.clone();
    let work = async move {
        if let Err(error) = sighting.tell(&inner).await {
            tracing::warn!(%error, "a device could not be remembered, or its owner not told");
        }
    };
    app.background().spawn(work).await;
}

struct Sighting {
    user: User,
    token: DeviceToken,
    device: String,
    place: String,
    session: chrono::DateTime<chrono::Utc>,
}

impl Sighting {
    async fn tell(self, app: &App) -> Result<(), Fault> {
        if !app.accounts().remember_device(self.user.id, &self.token, self.session).await? {
            return Ok(());
        }
        let device =
            DeviceSummary { device: self.device.into(), place: self.place.into(), time: minute(self.session).into() };
        app.mailer().send(&self.user.recipient(), &Letter::NewDevice { device }, app.now()).await?;
        Ok(())
    }
}
