//! What kind of device it is. The parser names devices, but not their kinds.

use session_manager_core::DeviceKind;

/// What is known when the kind is judged.
pub(crate) struct Seen<'a> {
    pub(crate) agent: &'a str,
    /// The browser's family, as the parser names it.
    pub(crate) family: Option<&'a str>,
    /// The system, as people name it.
    pub(crate) os: Option<&'a str>,
    /// The device's family, as the parser names it.
    pub(crate) device: Option<&'a str>,
}

/// Programs without a person before them, by the beginning of their family.
const PROGRAMS: [&str; 26] = [
    "curl",
    "Wget",
    "Python",
    "python",
    "aiohttp",
    "httpx",
    "HTTPie",
    "Go-http-client",
    "Java",
    "Apache-HttpClient",
    "okhttp",
    "axios",
    "node-fetch",
    "got",
    "undici",
    "libwww-perl",
    "PHP",
    "Ruby",
    "Faraday",
    "Postman",
    "insomnia",
    "reqwest",
    "Dart",
    "Scrapy",
    "aws-sdk",
    "Boto",
];

/// Words in a user agent that no person's browser has.
const ROBOTS: [&str; 14] = [
    "bot/",
    "bot ",
    "bot;",
    "bot)",
    "crawler",
    "spider",
    "slurp",
    "feedfetcher",
    "http://help.",
    "mediapartners",
    "preview",
    "scanner",
    "monitor",
    "+http",
];

/// Televisions and consoles.
const SCREENS: [&str; 33] = [
    "smart-tv",
    "smarttv",
    "smart tv",
    "googletv",
    "google tv",
    "appletv",
    "apple tv",
    "android tv",
    "androidtv",
    "hbbtv",
    "netcast",
    "web0s",
    "webos.tv",
    "bravia",
    "aftb",
    "aftt",
    "aftm",
    "afts",
    "crkey",
    "roku",
    "viera",
    "opera tv",
    "inettvbrowser",
    "dtv",
    "dlnadoc",
    "ce-html",
    "nintendo",
    "playstation",
    "xbox",
    "philipstv",
    "tv safari",
    " tv;",
    "tizen tv",
];

/// Watches, cars, readers and glasses.
const THINGS: [&str; 18] = [
    "watch",
    "wear os",
    "sm-r",
    "glass",
    "qtcarbrowser",
    "tesla",
    "oculus",
    "quest",
    "vive",
    "pico ",
    "embedded",
    "raspbian",
    "kindle/",
    "jvm",
    "kobo",
    "homepod",
    "galaxy gear",
    "asterix",
];

/// Words of tablets, in whatever system.
const TABLETS: [&str; 16] = [
    "ipad", "tablet", "playbook", "kindle", "silk/", "kf", "nexus 7", "nexus 9", "nexus 10", "xoom", "sch-i800",
    "gt-p", "sm-t", "mediapad", "touchpad", "pad ",
];

/// Words of phones, in whatever system.
const PHONES: [&str; 25] = [
    "iphone",
    "ipod",
    "windows phone",
    "iemobile",
    "blackberry",
    "bb10",
    "symbian",
    "series60",
    "series40",
    "nokia",
    "midp",
    "docomo",
    "kddi-",
    "softbank",
    "vodafone",
    "j-phone",
    "willcom",
    "emobile",
    "up.browser",
    "opera mini",
    "opera mobi",
    "webos/",
    "phone;",
    "mobile;",
    "kaios",
];

/// Systems of desktop and laptop computers.
const DESKTOPS: [&str; 34] = [
    "Windows",
    "macOS",
    "Linux",
    "ChromeOS",
    "Ubuntu",
    "Kubuntu",
    "Debian",
    "Fedora",
    "Red Hat",
    "CentOS",
    "SUSE",
    "openSUSE",
    "Gentoo",
    "Arch Linux",
    "Mandriva",
    "Slackware",
    "Mint",
    "Linux Mint",
    "PCLinuxOS",
    "FreeBSD",
    "OpenBSD",
    "NetBSD",
    "DragonFly BSD",
    "Solaris",
    "SunOS",
    "Haiku",
    "BeOS",
    "OS/2",
    "AmigaOS",
    "Mac OS",
    "Mac OS Classic",
    "VRE",
    "Mageia",
    "Lubuntu",
];

pub(crate) fn kind(seen: &Seen<'_>) -> DeviceKind {
    let agent = seen.agent.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    let family = seen.family.unwrap_or_default();
    if seen.device == Some("Spider") || PROGRAMS.iter().any(|name| family.starts_with(name)) {
        return DeviceKind::Bot;
    }
    if says(&ROBOTS) && !agent.contains("cubot") {
        return DeviceKind::Bot;
    }
    if says(&SCREENS) || matches!(seen.os, Some("tvOS" | "Roku" | "FireTV")) {
        return DeviceKind::Tv;
    }
    if matches!(seen.os, Some("watchOS")) || says(&THINGS) {
        return DeviceKind::Embedded;
    }
    if seen.os == Some("Windows") && !says(&["windows phone", "iemobile", "windows ce", "windows mobile"]) {
        return DeviceKind::Desktop;
    }
    let device = seen.device.unwrap_or_default();
    if device.starts_with("iPad") || device == "Generic Tablet" {
        return DeviceKind::Tablet;
    }
    if matches!(device, "Generic Smartphone" | "Generic Feature Phone") || device.starts_with("iPhone") {
        return DeviceKind::Phone;
    }
    let android = agent.contains("android") || matches!(seen.os, Some("Android" | "HarmonyOS"));
    let mobile = agent.contains("mobile");
    if says(&TABLETS) && !says(&["iphone"]) {
        return DeviceKind::Tablet;
    }
    if says(&PHONES) {
        return DeviceKind::Phone;
    }
    if android {
        // Browsers say "Mobile" on phones and leave it out on tablets.
        return if mobile || !agent.contains("mozilla/") { DeviceKind::Phone } else { DeviceKind::Tablet };
    }
    if matches!(seen.os, Some("iOS")) {
        return DeviceKind::Phone;
    }
    if seen.os.is_some_and(|os| DESKTOPS.contains(&os)) {
        return if mobile && seen.os == Some("Linux") { DeviceKind::Phone } else { DeviceKind::Desktop };
    }
    if mobile { DeviceKind::Phone } else { DeviceKind::Unknown }
}
