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
const ROBOTS: [&str; 15] = [
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
    "libwww",
    "indy library",
];

/// Televisions and consoles.
const SCREENS: [&str; 41] = [
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
    "aftk",
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
    "(tv;",
    "mitv",
    "mibox",
    "-tvx",
    "ouya",
    "; shield)",
    "shield android tv",
];

/// Watches, cars, readers of mail by voice, glasses.
const THINGS: [&str; 27] = [
    "apple watch",
    "galaxy watch",
    "pixel watch",
    "zenwatch",
    "lg watch",
    "g watch",
    "smartwatch",
    "watchos",
    "wear os",
    "; sm-r",
    "samsung sm-r",
    "; sm-l3",
    "glass ",
    "qtcarbrowser",
    "tesla",
    "oculus",
    "quest",
    "vive",
    "pico ",
    "raspbian",
    "homepod",
    "galaxy gear",
    "moto 360",
    "; ow19w",
    "; ow20w",
    "owwe",
    "windows iot",
];

/// Words of tablets, in whatever system: kinds, then families of models that say "Mobile" like a phone.
const TABLETS: [&str; 55] = [
    "ipad",
    "tablet",
    "playbook",
    "kindle",
    "silk/",
    "; kf",
    "nexus 7",
    "nexus 9",
    "nexus 10",
    "xoom",
    "sch-i800",
    "gt-p",
    "; sm-t",
    "samsung sm-t",
    "; sm-x",
    "samsung sm-x",
    "pixel c",
    "mediapad",
    "touchpad",
    " pad ",
    "mi pad",
    "kobo",
    "nook",
    "smart tab",
    "lenovo tb",
    "; tb-",
    "; tb2-",
    "; tb3",
    "lenovo pb-",
    "lenovo yt",
    "lenovo b6000",
    "lenovo b80",
    "-w09",
    "-w10",
    "-w19",
    "-w00",
    "; agr-",
    "; agrk-",
    "; ags",
    "; bah",
    "; kob2-",
    "; btv-",
    "; cpn-",
    "; jdn2-",
    "; sht-",
    "; scm-",
    "; vrd-",
    "; mon-",
    "; bg2-",
    "; bgo-",
    "; gem-70",
    "; eln-",
    "; agm3-",
    "nokia t2",
    "; opd2",
];

/// Words of phones, in whatever system.
const PHONES: [&str; 30] = [
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
    "foma",
    "kddi-",
    "softbank",
    "vodafone",
    "j-phone",
    "willcom",
    "ddipocket",
    "emobile",
    "up.browser",
    "jig browser",
    "opera mini",
    "opera mobi",
    "webos/",
    "phone;",
    "mobile;",
    "kaios",
    "wireless transcoder",
    "pixel ",
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

/// The first rule that says something decides, from what is surest to what is likely.
pub(crate) fn kind(seen: &Seen<'_>) -> DeviceKind {
    let agent = seen.agent.trim_start().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    if is_program(seen, &agent) {
        return DeviceKind::Bot;
    }
    if says(&SCREENS) || matches!(seen.os, Some("tvOS" | "Roku" | "FireTV")) {
        return DeviceKind::Tv;
    }
    if seen.os == Some("watchOS") || says(&THINGS) {
        return DeviceKind::Embedded;
    }
    if seen.os == Some("Windows") && !says(&["windows phone", "iemobile", "windows ce", "windows mobile"]) {
        return DeviceKind::Desktop;
    }
    let mobile = agent.contains("mobile");
    if says(&TABLETS) && !agent.contains("iphone") {
        return DeviceKind::Tablet;
    }
    if says(&PHONES) {
        return DeviceKind::Phone;
    }
    if agent.contains("android") || matches!(seen.os, Some("Android" | "HarmonyOS")) {
        // Browsers say "Mobile" on phones and leave it out on tablets; applications say neither.
        return if mobile || !agent.starts_with("mozilla/") { DeviceKind::Phone } else { DeviceKind::Tablet };
    }
    if seen.os == Some("iOS") {
        return DeviceKind::Phone;
    }
    if agent.contains("macintosh") || seen.os.is_some_and(|os| DESKTOPS.contains(&os)) {
        return if mobile && seen.os == Some("Linux") { DeviceKind::Phone } else { DeviceKind::Desktop };
    }
    if mobile { DeviceKind::Phone } else { DeviceKind::Unknown }
}

/// Whether there is no person before it. One that names its own page and no system is a program; with a system it may be a reader.
fn is_program(seen: &Seen<'_>, agent: &str) -> bool {
    let says = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    let family = seen.family.unwrap_or_default();
    seen.device == Some("Spider")
        || PROGRAMS.iter().any(|name| family.starts_with(name))
        || (says(&ROBOTS) && !agent.contains("cubot"))
        || (agent.contains("http") && seen.os.is_none())
}
