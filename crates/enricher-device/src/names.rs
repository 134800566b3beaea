//! The names that people know: the parser tells a browser's editions apart, which a list of devices does not want.

/// What a browser is called.
pub(crate) fn browser(family: &str, agent: &str) -> String {
    // Some browsers say it last, after all that they are made of.
    let says = |word: &str| agent.contains(word);
    if says("MiuiBrowser/") {
        return "Mi Browser".to_owned();
    }
    if says("OPRGX/") || says(" OPX/") {
        return "Opera GX".to_owned();
    }
    if says("YaSearchBrowser") {
        return "Yandex Browser".to_owned();
    }
    let name = match family {
        "Mobile Safari" | "Mobile Safari UI/WKWebView" | "MobileSafari" => "Safari",
        "Chrome Mobile" | "Chrome Mobile iOS" | "Chrome Mobile WebView" => "Chrome",
        "Firefox Mobile"
        | "Firefox iOS"
        | "Firefox Alpha"
        | "Firefox Beta"
        | "Firefox (Shiretoko)"
        | "Firefox (Minefield)" => "Firefox",
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
    if name == "Internet Explorer" && says("ms-office") { "Microsoft Office".to_owned() } else { name.to_owned() }
}

/// What a system is called; `None` for what is none. Where the patterns know none, or a more general one, the agent may still name it.
pub(crate) fn system(family: Option<&str>, agent: &str) -> Option<String> {
    let says = |word: &str| agent.contains(word);
    let name = match family.unwrap_or_default() {
        "Windows" if says("Windows Phone") => "Windows Phone",
        "Android" if says("HarmonyOS") => "HarmonyOS",
        "" | "Other" if says("Windows NT") || says("windows nt") => "Windows",
        "" | "Other" if says("CrOS ") => "ChromeOS",
        "" | "Other" if says("Watch OS") || agent.starts_with("Watch") => "watchOS",
        "Mac OS X" => "macOS",
        "Chrome OS" | "Chromium OS" => "ChromeOS",
        "ATV OS X" => "tvOS",
        "WatchOS" => "watchOS",
        "GNU/Linux" => "Linux",
        "webOS TV" | "WebOS" => "webOS",
        "" | "Other" | "ChromeCast" | "iOS-Device" => return None,
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
