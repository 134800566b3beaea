//! Values that are defined but that this version cannot serve: refused by name, never ignored.

use super::Settings;
use crate::exit::StartError;

/// Refuses what the settings ask for and this version does not have.
pub(super) fn check(settings: &Settings) -> Result<(), StartError> {
    let missing = missing(settings);
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing.iter().map(|(key, value)| format!("`{key}` = {value}")).collect();
    Err(StartError::config(
        "not in this version of session-manager-server",
        list.join(", "),
        "Remove the key or choose another value; `session-manager-server config print` shows the defaults.",
    ))
}

fn missing(settings: &Settings) -> Vec<(&'static str, String)> {
    let rules = [(
        "database.url",
        settings.database.url.as_ref().is_some_and(|url| !url.expose().starts_with("sqlite:")),
        "anything but sqlite:PATH",
    )];
    rules.into_iter().filter(|rule| rule.1).map(|(key, _, value)| (key, value.to_owned())).collect()
}
