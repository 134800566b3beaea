//! The enricher.

use std::fmt;
use std::fmt::Write;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::{ClientInfo, Device, DeviceKind, Enrichment, Result, SessionEnricher};
use sha2::{Digest, Sha256};

use crate::hints::Hints;
use crate::parse::Parser;

/// Tells what device a client is: browser, operating system, kind, model, and a text for people.
///
/// # Behaviour
/// - It works in memory and waits for nothing.
/// - Nothing is made up: what a user agent does not tell is left out, and one that tells nothing gives no device.
/// - What the application sets as `device_info` or `device` at sign-in stays.
pub struct DeviceEnricher {
    parser: &'static Parser,
}

impl DeviceEnricher {
    /// An enricher. The first one in a process prepares the patterns, which takes a moment; all share them.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](session_manager_core::ErrorKind::Internal) when the patterns that come with the crate cannot be used.
    pub fn new() -> Result<Self> {
        Ok(Self { parser: Parser::shared()? })
    }

    /// What this client is; `None` where it tells nothing.
    pub fn device(&self, client: &ClientInfo) -> Option<Device> {
        let agent = client.user_agent.as_deref().unwrap_or_default();
        let hints = Hints::of(&client.hints);
        if agent.trim().is_empty() && hints.is_empty() {
            return None;
        }
        let mut device = self.parser.parse(agent);
        hints.refine(&mut device, agent);
        let known = device.browser.is_some() || device.os.is_some() || device.kind != DeviceKind::Unknown;
        if !known {
            return None;
        }
        device.fingerprint = Some(fingerprint(&device));
        Some(device)
    }
}

/// The text for people: "Firefox on Windows".
fn describe(device: &Device) -> Option<String> {
    if device.is_bot {
        return Some(device.browser.as_ref().map_or_else(|| "Bot".to_owned(), |name| format!("{name} (bot)")));
    }
    match (&device.browser, &device.os) {
        (Some(browser), Some(os)) => Some(format!("{browser} on {os}")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

/// A hash of what stays when browser and system are updated: their names, the kind and the model, but no version.
fn fingerprint(device: &Device) -> String {
    let mut digest = Sha256::new().chain_update("sm-device/1");
    let kind = Some(device.kind.as_str().to_owned());
    for part in [&device.browser, &device.os, &kind, &device.model] {
        let text = part.as_deref().unwrap_or_default();
        digest.update(u64::try_from(text.len()).unwrap_or_default().to_be_bytes());
        digest.update(text);
    }
    digest.finalize().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[async_trait]
impl SessionEnricher for DeviceEnricher {
    fn name(&self) -> &'static str {
        "device"
    }

    async fn enrich(&self, client: &ClientInfo, enrichment: &mut Enrichment) -> Result<()> {
        if let Some(device) = self.device(client) {
            enrichment.device_info = enrichment.device_info.take().or_else(|| describe(&device));
            enrichment.device = enrichment.device.take().or(Some(device));
        }
        Ok(())
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

impl fmt::Debug for DeviceEnricher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceEnricher")
    }
}
