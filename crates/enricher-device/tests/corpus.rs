//! Accuracy on labelled user agents that others made: woothee's and ua-parser-js', neither of which the patterns were made from, and uap-core's own
//! where it is at hand.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use serde::Deserialize;
use session_manager_core::{ClientInfo, Device, DeviceKind};
use session_manager_enricher_device::DeviceEnricher;

/// What was asked, what was right, and what was not.
#[derive(Default)]
struct Score {
    right: usize,
    wrong: Vec<String>,
}

impl Score {
    fn judge(&mut self, right: bool, agent: &str, expected: &str, found: Option<&str>) {
        if right {
            self.right += 1;
        } else {
            self.wrong.push(format!("{expected:?} was taken for {found:?}: {agent}"));
        }
    }

    /// Shows the misses, and says whether at least so many of a hundred are right.
    #[must_use]
    fn at_least(&self, percent: usize, what: &str) -> bool {
        let all = self.right + self.wrong.len();
        let found = self.right * 1000 / all.max(1);
        eprintln!("{what}: {} of {all} right, {}.{} %", self.right, found / 10, found % 10);
        for wrong in &self.wrong {
            eprintln!("  {wrong}");
        }
        all > 20 && self.right * 100 >= percent * all
    }
}

fn device(enricher: &DeviceEnricher, agent: &str) -> Device {
    enricher.device(&ClientInfo::new().agent(agent)).unwrap_or_default()
}

/// A name without what spellings differ in.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// What a label is called here: pairs of plain names.
fn same(label: &str, found: Option<&str>, synonyms: &[(&str, &str)]) -> bool {
    let (label, found) = (plain(label), plain(found.unwrap_or_default()));
    label == found || synonyms.iter().any(|(theirs, ours)| *theirs == label && *ours == found)
}

#[derive(Deserialize)]
struct Woothee {
    #[serde(rename = "target", default)]
    agent: String,
    name: Option<String>,
    os: Option<String>,
    category: Option<String>,
}

/// The names of woothee that are browsers', not crawlers' or carriers'.
const WOOTHEE_BROWSERS: [&str; 11] = [
    "Internet Explorer",
    "Edge",
    "Chrome",
    "Safari",
    "Firefox",
    "Opera",
    "Vivaldi",
    "Sleipnir",
    "Google Search App",
    "Yandex Browser",
    "SamsungBrowser",
];

#[test]
fn woothees_test_sets() {
    let enricher = DeviceEnricher::new().unwrap();
    let cases: Vec<Woothee> = serde_json::from_str(include_str!("corpus/woothee.json")).unwrap();
    let (mut browsers, mut systems, mut kinds) = (Score::default(), Score::default(), Score::default());
    for case in cases.iter().filter(|case| !case.agent.is_empty()) {
        let found = device(&enricher, &case.agent);
        if let Some(name) = case.name.as_deref().filter(|name| WOOTHEE_BROWSERS.contains(name)) {
            let synonyms = [
                ("samsungbrowser", "samsunginternet"),
                ("opera", "operamini"),
                ("googlesearchapp", "google"),
                ("safari", "androidbrowser"),
                ("safari", "blackberrybrowser"),
            ];
            browsers.judge(
                same(name, found.browser.as_deref(), &synonyms),
                &case.agent,
                name,
                found.browser.as_deref(),
            );
        }
        let person = matches!(case.category.as_deref(), Some("pc" | "smartphone"));
        if let Some(os) = case.os.as_deref().filter(|os| person && *os != "UNKNOWN") {
            let os = os
                .split_once(' ')
                .filter(|(first, rest)| *first == "Windows" && !rest.starts_with(['P', 'C']))
                .map_or(os, |(first, _)| first);
            let synonyms = [
                ("macosx", "macos"),
                ("iphone", "ios"),
                ("ipad", "ios"),
                ("ipod", "ios"),
                ("windowsphoneos", "windowsphone"),
                ("symbianos", "symbianos"),
                ("blackberry", "blackberryos"),
                ("blackberry10", "blackberryos"),
                ("macosclassic", "macos"),
                ("bsd", "freebsd"),
                ("bsd", "openbsd"),
                ("bsd", "netbsd"),
                ("linux", "ubuntu"),
                ("linux", "fedora"),
                ("linux", "debian"),
            ];
            systems.judge(same(os, found.os.as_deref(), &synonyms), &case.agent, os, found.os.as_deref());
        }
        let right = match case.category.as_deref() {
            Some("pc") => found.kind == DeviceKind::Desktop,
            // Tablets are smartphones to woothee.
            Some("smartphone") => matches!(found.kind, DeviceKind::Phone | DeviceKind::Tablet),
            Some("mobilephone") => found.kind == DeviceKind::Phone,
            Some("crawler") => found.kind == DeviceKind::Bot && found.is_bot,
            Some("appliance") => found.kind == DeviceKind::Tv,
            _ => continue,
        };
        kinds.judge(right, &case.agent, case.category.as_deref().unwrap_or_default(), Some(found.kind.as_str()));
    }
    let good = [
        browsers.at_least(95, "woothee, browsers"),
        systems.at_least(95, "woothee, systems"),
        kinds.at_least(90, "woothee, kinds"),
    ];
    assert_eq!(good, [true; 3], "browsers, systems, kinds");
}

#[derive(Deserialize)]
struct UaParserJs {
    user_agent: String,
    browser: Option<String>,
    os: Option<String>,
    device: Option<String>,
}

/// The browsers that people use; the test has many of the last century.
const CURRENT_BROWSERS: [&str; 22] = [
    "Android Browser",
    "Brave",
    "Chrome",
    "DuckDuckGo",
    "Edge",
    "Firefox",
    "Huawei Browser",
    "IE",
    "Mobile Chrome",
    "Mobile Firefox",
    "Mobile Safari",
    "MIUI Browser",
    "Opera",
    "Opera GX",
    "Opera Mini",
    "Opera Touch",
    "QQBrowser",
    "Safari",
    "Samsung Internet",
    "UCBrowser",
    "Vivaldi",
    "Yandex",
];
const CURRENT_SYSTEMS: [&str; 24] = [
    "Android",
    "Arch",
    "BlackBerry",
    "CentOS",
    "Chromium OS",
    "Debian",
    "Fedora",
    "Firefox OS",
    "FreeBSD",
    "HarmonyOS",
    "KAIOS",
    "Linux",
    "Mac OS",
    "Mint",
    "OpenBSD",
    "Red Hat",
    "SUSE",
    "Tizen",
    "Ubuntu",
    "Windows",
    "Windows Phone",
    "iOS",
    "watchOS",
    "NetBSD",
];

#[test]
fn ua_parser_js_tests() {
    let enricher = DeviceEnricher::new().unwrap();
    let cases: Vec<UaParserJs> = serde_json::from_str(include_str!("corpus/ua-parser-js.json")).unwrap();
    let (mut browsers, mut systems, mut kinds) = (Score::default(), Score::default(), Score::default());
    for case in &cases {
        let found = device(&enricher, &case.user_agent);
        if let Some(name) = case.browser.as_deref().filter(|name| CURRENT_BROWSERS.contains(name)) {
            let synonyms = [
                ("ie", "internetexplorer"),
                ("mobilesafari", "safari"),
                ("mobilechrome", "chrome"),
                ("mobilefirefox", "firefox"),
                ("yandex", "yandexbrowser"),
                ("miuibrowser", "mibrowser"),
            ];
            browsers.judge(
                same(name, found.browser.as_deref(), &synonyms),
                &case.user_agent,
                name,
                found.browser.as_deref(),
            );
        }
        if let Some(os) = case.os.as_deref().filter(|os| CURRENT_SYSTEMS.contains(os)) {
            let synonyms = [
                ("chromiumos", "chromeos"),
                ("blackberry", "blackberryos"),
                ("arch", "archlinux"),
                ("mint", "linuxmint"),
                ("suse", "suse"),
            ];
            systems.judge(same(os, found.os.as_deref(), &synonyms), &case.user_agent, os, found.os.as_deref());
        }
        let right = match case.device.as_deref() {
            Some("mobile") => found.kind == DeviceKind::Phone,
            Some("tablet") => found.kind == DeviceKind::Tablet,
            Some("smarttv" | "console") => found.kind == DeviceKind::Tv,
            Some("wearable" | "embedded") => found.kind == DeviceKind::Embedded,
            _ => continue,
        };
        kinds.judge(right, &case.user_agent, case.device.as_deref().unwrap_or_default(), Some(found.kind.as_str()));
    }
    let good = [
        browsers.at_least(95, "ua-parser-js, browsers in use"),
        systems.at_least(95, "ua-parser-js, systems in use"),
        kinds.at_least(90, "ua-parser-js, kinds"),
    ];
    assert_eq!(good, [true; 3], "browsers, systems, kinds");
}

/// The corpus that the patterns were made with: it shows that they are read as they are meant.
#[test]
fn uap_cores_own_tests() {
    let Some(folder) = std::env::var_os("SESSION_MANAGER_TEST_DATA").filter(|folder| !folder.is_empty()) else {
        eprintln!("SKIPPED uap_cores_own_tests: SESSION_MANAGER_TEST_DATA is not set");
        return;
    };
    let folder = std::path::PathBuf::from(folder).join("uap");
    let enricher = DeviceEnricher::new().unwrap();
    for (name, what) in [("test_ua.yaml", "browsers"), ("test_os.yaml", "systems")] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let mut score = Score::default();
        let mut families: BTreeMap<String, String> = BTreeMap::new();
        for (agent, family) in cases(&text) {
            let found = device(&enricher, &agent);
            let found = if what == "browsers" { found.browser } else { found.os };
            // One family has one name here, whatever it is; most have their own.
            let told = found.clone().unwrap_or_default();
            let known = families.entry(family.clone()).or_insert_with(|| told.clone());
            score.judge(*known == told || same(&family, Some(&told), &[]), &agent, &family, found.as_deref());
        }
        assert!(score.at_least(95, &format!("uap-core, {what}")));
    }
}

/// The pairs of `user_agent_string` and `family` in uap-core's YAML, which has nothing but quoted scalars.
fn cases(text: &str) -> Vec<(String, String)> {
    let scalar = |line: &str| {
        let value = line.split_once(':').map(|(_, value)| value.trim()).unwrap_or_default();
        match value.chars().next() {
            Some('\'') => Some(value.trim_matches('\'').replace("''", "'")),
            Some('"') => Some(value.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\")),
            _ => None,
        }
    };
    let mut agent = None;
    let mut cases = Vec::new();
    for line in text.lines().map(|line| line.trim().trim_start_matches("- ")) {
        if line.starts_with("user_agent_string:") {
            agent = scalar(line);
        } else if line.starts_with("family:")
            && let (Some(agent), Some(family)) = (agent.take(), scalar(line))
        {
            cases.push((agent, family));
        }
    }
    cases
}
