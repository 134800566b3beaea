//! A short, honest guess at what a user agent stands for; what it does not know it shows as it is.

use std::borrow::Cow;

use session_manager_core::{ClientInfo, Device, DeviceKind, Session};

/// The most characters of a text that a client made up.
const SHOWN: usize = 72;

/// A token of the user agent and the browser it gives away. The first hit counts: most browsers also name those they imitate.
const BROWSERS: [(&str, &str); 16] = [
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Programs that begin their user agent with their own name.
const PROGRAMS: [(&str, &str); 9] = [
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("HTTPie/", "HTTPie"),
    ("PostmanRuntime/", "Postman"),
    ("insomnia/", "Insomnia"),
    ("python-requests/", "Python program"),
    ("Go-http-client/", "Go program"),
    ("okhttp/", "Android app"),
    ("Dalvik/", "Android app"),
];

/// A system, the kind of device it runs on, and its token. "Linux" and "Macintosh" come last: phones and tablets name them too.
const SYSTEMS: [(&str, &str, DeviceKind); 11] = [
    ("iPhone", "iPhone", DeviceKind::Phone),
    ("iPad", "iPad", DeviceKind::Tablet),
    ("Apple TV", "Apple TV", DeviceKind::Tv),
    ("SMART-TV", "a TV", DeviceKind::Tv),
    ("SmartTV", "a TV", DeviceKind::Tv),
    ("Web0S", "a TV", DeviceKind::Tv),
    ("Android", "Android", DeviceKind::Tablet),
    ("CrOS", "ChromeOS", DeviceKind::Desktop),
    ("Windows NT", "Windows", DeviceKind::Desktop),
    ("Macintosh", "macOS", DeviceKind::Desktop),
    ("Linux", "Linux", DeviceKind::Desktop),
];

/// A device in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described<'a> {
    /// What the user calls it, else what it was recognised as, else a guess, else the user agent itself.
    pub(super) title: Cow<'a, str>,
    /// "Firefox on Linux", where the title is a name.
    pub(super) program: Option<Cow<'a, str>>,
    pub(super) kind: DeviceKind,
}

/// What a user agent stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guess {
    text: Cow<'static, str>,
    kind: DeviceKind,
}

/// Describes the device of a session.
pub(super) fn describe(session: &Session) -> Described<'_> {
    let agent = session.user_agent.as_deref().unwrap_or_default();
    let guess = guess(agent);
    let kind = match session.device.as_ref().map(|device| device.kind) {
        None | Some(DeviceKind::Unknown) => guess.as_ref().map_or(DeviceKind::Unknown, |guess| guess.kind),
        Some(kind) => kind,
    };
    let recognised =
        said(session.device_info.as_deref()).or_else(|| session.device.as_ref().and_then(words).map(Cow::Owned));
    let program = recognised.or_else(|| guess.map(|guess| guess.text)).or_else(|| said(Some(agent)));
    match (said(session.device_name.as_deref()), program) {
        (Some(title), program) => Described { title, program, kind },
        (None, Some(title)) => Described { title, program: None, kind },
        (None, None) => Described { title: Cow::Borrowed("Unknown device"), program: None, kind },
    }
}

/// The client of an event in one line: what the user calls the device, else a guess, else the user agent itself.
pub(super) fn client(client: &ClientInfo) -> Option<Cow<'_, str>> {
    let agent = client.user_agent.as_deref();
    let guessed = || agent.and_then(guess).map(|guess| guess.text);
    said(client.device_name.as_deref()).or_else(guessed).or_else(|| said(agent))
}

/// A text of a stranger, if there is one, cut to a length that fits a line.
fn said(text: Option<&str>) -> Option<Cow<'_, str>> {
    let text = text?.trim();
    match text.char_indices().nth(SHOWN) {
        None => (!text.is_empty()).then_some(Cow::Borrowed(text)),
        Some((end, _)) => Some(Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default().trim_end()))),
    }
}

/// A guess at a user agent; nothing rather than something wrong.
fn guess(agent: &str) -> Option<Guess> {
    if let Some((_, name)) = PROGRAMS.iter().find(|(token, _)| agent.starts_with(token)) {
        return Some(Guess { text: Cow::Borrowed(name), kind: DeviceKind::Bot });
    }
    // Browsers say so first; anything else that mentions one of these names is something else.
    if !agent.starts_with("Mozilla/5.0 (") {
        return None;
    }
    let browser = BROWSERS.iter().find(|(token, _)| agent.contains(token)).map(|(_, name)| *name)?;
    // Safari alone names its version apart; without it, it is an app's web view.
    if browser == "Safari" && !agent.contains("Version/") {
        return None;
    }
    let Some((token, system, kind)) = SYSTEMS.iter().find(|(token, ..)| agent.contains(token)) else {
        return Some(Guess { text: Cow::Borrowed(browser), kind: DeviceKind::Unknown });
    };
    let kind = if *token == "Android" && agent.contains("Mobile") { DeviceKind::Phone } else { *kind };
    Some(Guess { text: Cow::Owned(format!("{browser} on {system}")), kind })
}

/// A parsed device in words.
fn words(device: &Device) -> Option<String> {
    match (device.browser.as_deref(), device.os.as_deref()) {
        (Some(browser), Some(os)) => Some(format!("{browser} on {os}")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use session_manager_core::{SessionId, UserId};

    use super::*;

    #[test]
    fn common_user_agents_are_recognised() {
        use DeviceKind::{Bot, Desktop, Phone, Tablet, Tv};
        for (agent, text, kind) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Linux", Desktop),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
                "Edge on Windows",
                Desktop,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
                "Safari on macOS",
                Desktop,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
                Phone,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
                Phone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
                "Samsung Internet on Android",
                Phone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Chrome on Android",
                Tablet,
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Chrome on ChromeOS",
                Desktop,
            ),
            (
                "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
                "Chrome on a TV",
                Tv,
            ),
            ("curl/8.14.1", "curl", Bot),
        ] {
            assert_eq!(guess(agent), Some(Guess { text: text.into(), kind }), "{agent}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for agent in [
            "",
            "Firefox",
            "my-app (talks to curl/8)",
            "Mozilla/5.0 (compatible; somebot/2.1)",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
            "ä curl/8",
        ] {
            assert_eq!(guess(agent), None, "{agent}");
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(said(Some(&"é".repeat(SHOWN))).unwrap(), "é".repeat(SHOWN));
        assert_eq!(said(Some(&"é".repeat(SHOWN + 1))).unwrap(), format!("{}…", "é".repeat(SHOWN)));
        assert_eq!(said(Some("  x ")).unwrap(), "x");
        assert_eq!((said(Some(" ")), said(None)), (None, None));
    }

    #[test]
    fn a_name_comes_before_what_was_recognised_and_that_before_a_guess() {
        let id = SessionId::parse("01944a3c-2b00-7000-8000-000000000001").unwrap();
        let time = DateTime::from_timestamp_millis(0).unwrap();
        let mut session = Session::new(id, UserId::parse("u").unwrap(), time, time);
        let shown = |session: &Session| {
            let described = describe(session);
            (described.title.into_owned(), described.program.map(Cow::into_owned), described.kind)
        };
        assert_eq!(shown(&session), ("Unknown device".into(), None, DeviceKind::Unknown));
        session.user_agent = Some("acme-sync 1".into());
        assert_eq!(shown(&session), ("acme-sync 1".into(), None, DeviceKind::Unknown));
        session.user_agent = Some("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".into());
        assert_eq!(shown(&session), ("Firefox on Linux".into(), None, DeviceKind::Desktop));
        let mut device = Device::default();
        (device.kind, device.browser) = (DeviceKind::Tablet, Some("Firefox 145".into()));
        session.device = Some(device);
        assert_eq!(shown(&session), ("Firefox 145".into(), None, DeviceKind::Tablet));
        session.device_info = Some("Firefox on a tablet".into());
        session.device_name = Some("Ann's".into());
        assert_eq!(shown(&session), ("Ann's".into(), Some("Firefox on a tablet".into()), DeviceKind::Tablet));
    }
}
