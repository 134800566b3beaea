//! A device that is new, or that changed inside a session.

use async_trait::async_trait;
use session_manager_core::{Device, Evidence, Occasion, Result, SuspicionAction, SuspicionRule};

use crate::changes::Changes;
use crate::history::History;

/// Systems that one and the same browser calls itself by: it asks for a desktop's pages, or is a tablet that always does.
const DISGUISES: [(&str, &str); 6] = [
    ("iOS", "macOS"),
    ("iPadOS", "macOS"),
    ("iOS", "Mac OS X"),
    ("iOS", "iPadOS"),
    ("Android", "Linux"),
    ("Chrome OS", "Linux"),
];

/// The browser's family or the platform changed inside a session: its tokens may have been taken to another device.
///
/// # Behaviour
/// - Versions do not count, and a browser that asks for a desktop's pages has not changed. What an enricher does not know, such as the
///   system behind a reduced user agent, is not compared.
/// - Each change is raised at once, and once in thirty days.
/// - It asks for a step-up unless told otherwise.
///
/// An enricher such as `session-manager-enricher-device` tells the device. A thief can send the owner's user agent too: it finds the
/// careless, and [`Binding`](session_manager_core::Binding) stops the others.
#[derive(Debug)]
pub struct DeviceChange {
    action: SuspicionAction,
    changes: Changes,
}

impl Default for DeviceChange {
    fn default() -> Self {
        Self { action: SuspicionAction::StepUp, changes: Changes::lasting(std::time::Duration::ZERO) }
    }
}

impl DeviceChange {
    /// The rule, which asks for a step-up.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is done about it.
    pub const fn action(mut self, action: SuspicionAction) -> Self {
        self.action = action;
        self
    }
}

#[async_trait]
impl SuspicionRule for DeviceChange {
    fn name(&self) -> &'static str {
        "device_change"
    }

    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>> {
        let (Some(session), Some(now)) = (evidence.session, &evidence.known.device) else { return Ok(None) };
        let Some(before) = &session.device else { return Ok(None) };
        let change = is_other(before, now).then(|| format!("{:?} {:?}", now.browser, now.os));
        Ok(self.changes.judge(session, change, self.action, evidence.now))
    }
}

fn is_other(before: &Device, now: &Device) -> bool {
    let differs = |before: &Option<String>, now: &Option<String>| {
        before.as_ref().zip(now.as_ref()).is_some_and(|(before, now)| before != now)
    };
    let is_disguise = || {
        before.os.as_deref().zip(now.os.as_deref()).is_some_and(|(before, now)| {
            DISGUISES.iter().any(|(one, other)| [(before, now), (now, before)].contains(&(one, other)))
        })
    };
    differs(&before.browser, &now.browser) || (differs(&before.os, &now.os) && !is_disguise())
}

/// A sign-in from a device that the user has no earlier session on. A user's first sign-in is on no new device.
///
/// # Behaviour
/// - Devices are told apart by the enricher's fingerprint, which is the same for all devices of one kind, or else by the user agent.
/// - It records, so that audit and observers hear of `suspicious` with the reason `new_device`; an application that mails its users does it
///   from there, or asks [`History::is_new_device`].
#[derive(Debug)]
pub struct NewDevice {
    action: SuspicionAction,
    history: History,
}

impl NewDevice {
    /// The rule, which records.
    pub const fn new(history: History) -> Self {
        Self { action: SuspicionAction::Record, history }
    }

    /// What is done about it.
    pub const fn action(mut self, action: SuspicionAction) -> Self {
        self.action = action;
        self
    }
}

#[async_trait]
impl SuspicionRule for NewDevice {
    fn name(&self) -> &'static str {
        "new_device"
    }

    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>> {
        let (Occasion::SignIn, Some(session)) = (evidence.occasion, evidence.session) else { return Ok(None) };
        Ok(self.history.is_new_device(session, evidence.now).await?.then_some(self.action))
    }
}
