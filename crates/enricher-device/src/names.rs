//! The names that people know: the parser tells a browser's editions apart, which a list of devices does not want.

/// What a browser is called.
pub(crate) fn browser(family: &str, agent: &str) -> String {
    let name = match family {
        "Mobile Safari" | "Mobile Safari UI/WKWebView" => "Safari",
        "Chrome Mobile" | "Chrome Mobile iOS" | "Chrome Mobile WebView" => "Chrome",
        "Firefox Mobile" | "Firefox iOS" | "Firefox (Shiretoko)" | "Firefox (Minefield)" => "Firefox",
        "Edge Mobile" => "Edge",
        "Opera Mobile" | "Opera Tablet" => "Opera",
        "IE" | "IE Mobile" | "IE Large Screen" => "Internet Explorer",
        "QQ Browser Mobile" | "QQ Browser Mini" => "QQ Browser",
        "Android" => "Android Browser",
        "Amazon Silk" => "Silk",
        "Yandex Browser Lite" => "Yandex Browser",
        "BlackBerry WebKit" => "BlackBerry Browser",
        "Facebook Messenger" => "Messenger",
        "UC Browser Mini" => "UC Browser",
        "DuckDuckGo Mobile" => "DuckDuckGo",
        "MiuiBrowser" => "Mi Browser",
        "HeadlessChrome" => "Headless Chrome",
        other => other,
    };
    // Word and Outlook call themselves by the engine of old Internet Explorers, which nobody uses for anything else.
    if name == "Internet Explorer" && agent.contains("ms-office") {
        "Microsoft Office".to_owned()
    } else {
        name.to_owned()
    }
}

/// What a system is called; `None` for what is none.
pub(crate) fn system(family: &str) -> Option<String> {
    let name = match family {
        "Mac OS X" => "macOS",
        "Chrome OS" | "Chromium OS" => "ChromeOS",
        "ATV OS X" => "tvOS",
        "WatchOS" => "watchOS",
        "GNU/Linux" => "Linux",
        "webOS TV" | "WebOS" => "webOS",
        "Other" | "ChromeCast" | "iOS-Device" => return None,
        other => other,
    };
    Some(name.to_owned())
}

/// Whether the parser only says what kind of device it is.
pub(crate) fn is_no_model(model: &str) -> bool {
    let generic =
        ["Smartphone", "Tablet", "Feature Phone", "Desktop", "Mac", "Spider", "Generic", "K", "Linux", "Browser"];
    generic.iter().any(|name| model.eq_ignore_ascii_case(name)) || model.starts_with("Generic")
}
