//! What the client hints say: fewer words than the user agent, and truer ones, since browsers freeze the user agent.

use std::collections::BTreeMap;

use session_manager_core::{Device, DeviceKind};

use crate::parse::clean;

/// No hint is looked at beyond this.
const LONGEST: usize = 512;

/// Brands that hints have beside "Chromium" and "Google Chrome", and what people call them.
const BRANDS: [(&str, &str); 12] = [
    ("Microsoft Edge", "Edge"),
    ("Microsoft Edge WebView2", "Edge"),
    ("Brave", "Brave"),
    ("Opera", "Opera"),
    ("Opera GX", "Opera GX"),
    ("Vivaldi", "Vivaldi"),
    ("YaBrowser", "Yandex Browser"),
    ("Yandex", "Yandex Browser"),
    ("Samsung Internet", "Samsung Internet"),
    ("DuckDuckGo", "DuckDuckGo"),
    ("HeadlessChrome", "Headless Chrome"),
    ("Google Chrome", "Chrome"),
];

/// The hints that were sent (`Sec-CH-UA-…`, W3C User-Agent Client Hints).
#[derive(Default)]
pub(crate) struct Hints<'a> {
    brands: Option<&'a str>,
    platform: Option<String>,
    platform_version: Option<String>,
    model: Option<String>,
    is_mobile: Option<bool>,
}

impl<'a> Hints<'a> {
    pub(crate) fn of(hints: &'a BTreeMap<String, String>) -> Self {
        let hint = |name: &str| hints.get(name).map(String::as_str).filter(|value| value.len() <= LONGEST);
        let text = |name: &str| hint(name).map(unquoted).and_then(clean);
        Self {
            brands: hint("sec-ch-ua-full-version-list").or_else(|| hint("sec-ch-ua")),
            platform: text("sec-ch-ua-platform").filter(|platform| platform != "Unknown"),
            platform_version: text("sec-ch-ua-platform-version"),
            model: text("sec-ch-ua-model"),
            is_mobile: hint("sec-ch-ua-mobile").map(|value| value.trim() == "?1"),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.brands.is_none() && self.platform.is_none() && self.model.is_none()
    }

    /// Puts what hints say in the place of what the user agent says. A program without a person stays one.
    pub(crate) fn refine(&self, device: &mut Device, agent: &str) {
        if device.is_bot {
            return;
        }
        if let Some((name, version)) = self.brand() {
            device.browser = Some(name.to_owned());
            device.browser_version = version;
        }
        if let Some(platform) = &self.platform {
            self.refine_system(device, platform);
        }
        if let Some(model) = &self.model {
            device.model = Some(model.clone());
        }
        let is_phone_or_less = matches!(device.kind, DeviceKind::Unknown | DeviceKind::Desktop | DeviceKind::Tablet);
        match (self.is_mobile, device.os.as_deref()) {
            (Some(true), _) if is_phone_or_less => device.kind = DeviceKind::Phone,
            // On a tablet a browser may ask for the desktop's pages, but the platform is told.
            (Some(false), Some("Android")) if device.kind == DeviceKind::Desktop || agent.is_empty() => {
                device.kind = DeviceKind::Tablet;
            }
            (Some(false), Some("Windows" | "macOS" | "Linux" | "ChromeOS")) if device.kind == DeviceKind::Unknown => {
                device.kind = DeviceKind::Desktop;
            }
            _ => {}
        }
    }

    fn refine_system(&self, device: &mut Device, platform: &str) {
        let name = match platform {
            "Chrome OS" | "Chromium OS" => "ChromeOS",
            "Mac OS X" => "macOS",
            other => other,
        };
        // The user agent may know the distribution.
        let finer = name == "Linux" && device.os.is_some() && device.kind == DeviceKind::Desktop;
        if !finer && device.os.as_deref() != Some(name) {
            device.os = Some(name.to_owned());
            device.os_version = None;
        }
        let Some(version) = &self.platform_version else { return };
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        device.os_version = match (name, major) {
            // Windows tells the version of an interface: 13 and more is Windows 11, 1 to 10 is Windows 10.
            ("Windows", Some(13..)) => Some("11".to_owned()),
            ("Windows", Some(1..=10)) => Some("10".to_owned()),
            ("Windows" | "Linux", _) | (_, None) => device.os_version.take(),
            (_, Some(_)) => {
                let version = version.trim_end_matches(".0");
                Some(version.to_owned())
            }
        };
    }

    /// The best known brand and its major version.
    fn brand(&self) -> Option<(&'static str, Option<String>)> {
        let told: Vec<_> = self.brands?.split(',').filter_map(brand_and_version).collect();
        BRANDS.iter().find_map(|(brand, name)| {
            let (_, version) = told.iter().find(|(told, _)| told == brand)?;
            let major = version.and_then(|version| version.split('.').next()).and_then(clean);
            Some((*name, major))
        })
    }
}

/// `"Brand";v="1.2"`.
fn brand_and_version(item: &str) -> Option<(&str, Option<&str>)> {
    let (brand, parameters) = item.split_once(';').unwrap_or((item, ""));
    let version = parameters.trim().strip_prefix("v=").map(unquoted);
    let brand = unquoted(brand);
    (!brand.is_empty()).then_some((brand, version))
}

/// A string of a structured header (RFC 8941), without its quotes.
fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}
