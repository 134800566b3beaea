//! What a device is called, what hints add, and what hostile user agents cost.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::{Duration, Instant};

use session_manager_core::{ClientInfo, Device, DeviceKind, Enrichment, SessionEnricher};
use session_manager_enricher_device::DeviceEnricher;

const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";
const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36";
const CHROME_PHONE: &str =
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36";
const SAFARI_PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
    Version/18.5 Mobile/15E148 Safari/604.1";
const SAFARI_TABLET: &str = "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 \
    Mobile/15E148 Safari/604.1";
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15";
const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 \
    Edg/139.0.0.0";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const ANDROID_TABLET: &str =
    "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36";
const TELEVISION: &str = "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/4.0 Chrome/94.0 \
    TV Safari/537.36";

fn client(agent: &str, hints: &[(&str, &str)]) -> ClientInfo {
    let mut client = ClientInfo::new().agent(agent);
    client.hints = hints.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    client
}

async fn enriched(client: &ClientInfo) -> Enrichment {
    let mut enrichment = Enrichment::default();
    DeviceEnricher::new().unwrap().enrich(client, &mut enrichment).await.unwrap();
    enrichment
}

fn device(client: &ClientInfo) -> Device {
    DeviceEnricher::new().unwrap().device(client).unwrap()
}

#[tokio::test]
async fn people_recognise_their_devices() {
    let cases = [
        (FIREFOX, "Firefox on Windows", DeviceKind::Desktop),
        (CHROME, "Chrome on Windows", DeviceKind::Desktop),
        (EDGE, "Edge on Windows", DeviceKind::Desktop),
        (SAFARI, "Safari on macOS", DeviceKind::Desktop),
        (CHROME_PHONE, "Chrome on Android", DeviceKind::Phone),
        (SAFARI_PHONE, "Safari on iOS", DeviceKind::Phone),
        (SAFARI_TABLET, "Safari on iOS", DeviceKind::Tablet),
        (ANDROID_TABLET, "Chrome on Android", DeviceKind::Tablet),
        (TELEVISION, "Samsung Internet on Tizen", DeviceKind::Tv),
        (GOOGLEBOT, "Googlebot (bot)", DeviceKind::Bot),
        ("curl/8.5.0", "curl (bot)", DeviceKind::Bot),
    ];
    for (agent, text, kind) in cases {
        let enrichment = enriched(&client(agent, &[])).await;
        let device = enrichment.device.unwrap();
        assert_eq!((enrichment.device_info.as_deref(), device.kind), (Some(text), kind), "{agent}");
        assert_eq!(device.is_bot, kind == DeviceKind::Bot, "{agent}");
    }
    let firefox = device(&client(FIREFOX, &[]));
    assert_eq!(
        (firefox.browser_version.as_deref(), firefox.os_version.as_deref(), firefox.model),
        (Some("140"), Some("10"), None)
    );
    assert_eq!(device(&client(SAFARI_PHONE, &[])).model.as_deref(), Some("iPhone"));
}

#[tokio::test]
async fn what_tells_nothing_gives_nothing() {
    for agent in ["", "   ", "\u{0}", "xyzzy"] {
        assert_eq!(enriched(&client(agent, &[])).await, Enrichment::default(), "{agent:?}");
    }
    assert_eq!(enriched(&ClientInfo::new()).await, Enrichment::default());
    assert!(DeviceEnricher::new().unwrap().maintenance().is_none());
    // What is there already stays.
    let mut enrichment = Enrichment::default();
    enrichment.device_info = Some("Alice's laptop".to_owned());
    DeviceEnricher::new().unwrap().enrich(&client(FIREFOX, &[]), &mut enrichment).await.unwrap();
    assert_eq!(enrichment.device_info.as_deref(), Some("Alice's laptop"));
}

#[test]
fn hints_tell_what_the_user_agent_hides() {
    let brave = "\"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"139\", \"Brave\";v=\"139\"";
    let windows = [
        ("sec-ch-ua", brave),
        ("sec-ch-ua-platform", "\"Windows\""),
        ("sec-ch-ua-platform-version", "\"15.0.0\""),
        ("sec-ch-ua-mobile", "?0"),
    ];
    let found = device(&client(CHROME, &windows));
    assert_eq!((found.browser.as_deref(), found.browser_version.as_deref()), (Some("Brave"), Some("139")));
    assert_eq!((found.os.as_deref(), found.os_version.as_deref()), (Some("Windows"), Some("11")));

    let phone = [
        ("sec-ch-ua-platform", "\"Android\""),
        ("sec-ch-ua-platform-version", "\"15.0.0\""),
        ("sec-ch-ua-model", "\"Pixel 9\""),
        ("sec-ch-ua-mobile", "?1"),
    ];
    let found = device(&client(CHROME_PHONE, &phone));
    assert_eq!(
        (found.model.as_deref(), found.os_version.as_deref(), found.kind),
        (Some("Pixel 9"), Some("15"), DeviceKind::Phone)
    );

    // A tablet that asks for the desktop's pages.
    let desktop =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36";
    let found = device(&client(desktop, &[("sec-ch-ua-platform", "\"Android\""), ("sec-ch-ua-mobile", "?0")]));
    assert_eq!((found.os.as_deref(), found.kind), (Some("Android"), DeviceKind::Tablet));

    // Nonsense changes nothing, and a robot stays one.
    let nonsense = [("sec-ch-ua", ";;;,\"\";v,,"), ("sec-ch-ua-platform", "\"\""), ("sec-ch-ua-mobile", "yes")];
    assert_eq!(device(&client(CHROME, &nonsense)), device(&client(CHROME, &[])));
    assert!(device(&client(GOOGLEBOT, &windows)).is_bot);
    let long = "\"".to_owned() + &"x".repeat(600) + "\"";
    assert_eq!(device(&client(CHROME, &[("sec-ch-ua-platform", &long)])), device(&client(CHROME, &[])));
}

#[test]
fn a_fingerprint_survives_updates_and_tells_devices_apart() {
    let print = |agent: &str| device(&client(agent, &[])).fingerprint.unwrap();
    assert_eq!(print(FIREFOX), print(&FIREFOX.replace("140.0", "141.0")));
    assert_eq!(print(SAFARI_PHONE), print(&SAFARI_PHONE.replace("18_5", "18_6").replace("18.5", "18.6")));
    let all = [
        FIREFOX,
        CHROME,
        EDGE,
        SAFARI,
        CHROME_PHONE,
        SAFARI_PHONE,
        SAFARI_TABLET,
        ANDROID_TABLET,
        TELEVISION,
        GOOGLEBOT,
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().map(|agent| print(agent)).collect();
    assert_eq!(distinct.len(), all.len());
    // It is written into sessions, and so never changes.
    assert_eq!(print(FIREFOX).len(), 32);
    assert_eq!(print(FIREFOX), "f6dda20412ba5eb7203fbc83bbf1504b");
}

#[test]
fn hostile_user_agents_cost_bounded_time_and_forge_nothing() {
    let enricher = DeviceEnricher::new().unwrap();
    let parts = [
        "Mozilla/5.0 (",
        "Android ",
        "; Build/",
        "iPhone OS 1_",
        "((((",
        "a.a.a.a.",
        "Version/1.1.1",
        "\u{1F98A}",
        "%00",
        "\t",
        "Safari/",
    ];
    let mut agents: Vec<String> = parts.iter().map(|part| part.repeat(1_000_000 / part.len())).collect();
    agents.push(parts.concat().repeat(10_000));
    agents.push(format!("{FIREFOX}{}", " Firefox/1".repeat(100_000)));
    for agent in &agents {
        let begun = Instant::now();
        let found = enricher.device(&client(agent, &[]));
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?} for {}…",
            begun.elapsed(),
            agent.chars().take(20).collect::<String>()
        );
        // What comes after the first kilobyte is not looked at.
        let beginning: String = agent
            .chars()
            .scan(0, |bytes, character| {
                *bytes += character.len_utf8();
                (*bytes <= 1024).then_some(character)
            })
            .collect();
        assert_eq!(found, enricher.device(&client(&beginning, &[])));
    }
    let forged = device(&client("Evil\r\nSet-Cookie:/1.0 (Windows NT 10.0) Fire\u{1b}[31mfox/1.0\u{7}", &[]));
    for text in
        [forged.browser, forged.browser_version, forged.os, forged.os_version, forged.model].into_iter().flatten()
    {
        assert!(!text.chars().any(char::is_control) && text.chars().count() <= 64, "{text:?}");
    }
}
