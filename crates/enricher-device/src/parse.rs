//! What the user agent says, by the patterns of uap-core.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::Deserialize;
use session_manager_core::{Device, Error, ErrorKind, Result};
use ua_parser::{device, os, user_agent};

use crate::kind::{Seen, kind};
use crate::names;

/// No more of a user agent is looked at: browsers send less, and what comes after it cannot cost time.
pub(crate) const LONGEST: usize = 1024;
/// No name or version is longer.
const LONGEST_NAME: usize = 64;

const PATTERNS: &str = include_str!("../data/regexes.json");

/// The patterns, ready for use. They match in time linear in the text.
pub(crate) struct Parser {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
    devices: device::Extractor<'static>,
}

/// The file of patterns.
#[derive(Deserialize)]
struct Patterns {
    #[serde(borrow, rename = "user_agent_parsers")]
    browsers: Vec<user_agent::Parser<'static>>,
    #[serde(borrow, rename = "os_parsers")]
    systems: Vec<os::Parser<'static>>,
    #[serde(borrow, rename = "device_parsers")]
    devices: Vec<device::Parser<'static>>,
}

impl Parser {
    /// The one of this process.
    pub(crate) fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Parser> = OnceLock::new();
        if let Some(parser) = SHARED.get() {
            return Ok(parser);
        }
        let parser = Self::new()?;
        Ok(SHARED.get_or_init(|| parser))
    }

    fn new() -> Result<Self> {
        let broken = || Error::new(ErrorKind::Internal, "device").because("the patterns of user agents cannot be used");
        let patterns: Patterns = serde_json::from_str(PATTERNS).map_err(|source| broken().with_source(source))?;
        let browsers = user_agent::Builder::new().push_all(patterns.browsers).map_err(|_| broken())?;
        let systems = os::Builder::new().push_all(patterns.systems).map_err(|_| broken())?;
        let devices = device::Builder::new().push_all(patterns.devices).map_err(|_| broken())?;
        Ok(Self {
            browsers: browsers.build().map_err(|_| broken())?,
            systems: systems.build().map_err(|_| broken())?,
            devices: devices.build().map_err(|_| broken())?,
        })
    }

    pub(crate) fn parse(&self, agent: &str) -> Device {
        let agent = beginning(agent);
        let mut device = Device::default();
        let mut family = None;
        if let Some(found) = self.browsers.extract(agent) {
            device.browser_version = found.major.and_then(clean);
            family = clean(&found.family);
        }
        let mut system = None;
        if let Some(found) = self.systems.extract(agent) {
            system = clean(&found.os);
            let parts = [found.major, found.minor].map(|part| part.as_deref().and_then(clean));
            device.os_version = match parts {
                [Some(major), Some(minor)] => Some(format!("{major}.{minor}")),
                [major, _] => major,
            };
        }
        device.os = names::system(system.as_deref(), agent);
        let (mut thing, mut model) = (None, None);
        if let Some(found) = self.devices.extract(agent) {
            thing = clean(&found.device);
            model = found.model.as_deref().and_then(clean);
        }
        let seen = Seen { agent, family: family.as_deref(), os: device.os.as_deref(), device: thing.as_deref() };
        device.kind = kind(&seen);
        device.is_bot = device.kind == session_manager_core::DeviceKind::Bot;
        device.browser = family.map(|family| names::browser(&family, agent));
        device.model = model.filter(|model| !device.is_bot && !names::is_no_model(model));
        if device.browser.is_none() {
            device.browser_version = None;
        }
        if device.os.is_none() {
            device.os_version = None;
        }
        device
    }
}

/// As much of a text as is looked at.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A name as it may be shown: without control characters, short. `None` where nothing is left, or it says that nothing is known.
pub(crate) fn clean(text: &str) -> Option<String> {
    let text: Cow<'_, str> =
        if text.chars().any(char::is_control) { text.replace(char::is_control, " ").into() } else { text.into() };
    let text: String = text.trim().chars().take(LONGEST_NAME).collect();
    (!text.is_empty() && text != "Other").then_some(text)
}
