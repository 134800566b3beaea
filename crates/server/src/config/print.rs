//! Prints the effective configuration as TOML that can be read again, secrets masked.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::Value;

use super::{OAuthClient, Provider, Settings};

/// The sections whose keys users choose, `providers.KEY.name` and so on, each with the names below a key.
static CHOSEN: LazyLock<[(&str, BTreeSet<String>); 2]> = LazyLock::new(|| {
    [
        ("providers", names(serde_json::to_value(Provider::default()))),
        ("oauth.clients", names(serde_json::to_value(OAuthClient::default()))),
    ]
});

/// The settings, one `key = value` a line; keys without a value as comments.
pub(crate) fn print(settings: &Settings) -> String {
    let mut text = String::new();
    let tree = serde_json::to_value(settings).unwrap_or_default();
    flatten(&tree, "", &mut |key, value| {
        // A JSON string, number, boolean or list of strings is also one of TOML.
        let line = match value {
            Value::Null => writeln!(text, "# {key} is not set"),
            value => writeln!(text, "{key} = {value}"),
        };
        debug_assert!(line.is_ok(), "writing to a string cannot fail");
    });
    text
}

/// Whether there is such a key.
pub(super) fn is_key(key: &str) -> bool {
    let is_chosen = |(section, names): &(&str, BTreeSet<String>)| {
        within(key, section).and_then(|rest| rest.split_once('.')).is_some_and(|(_, name)| names.contains(name))
    };
    keys().contains(key) || CHOSEN.iter().any(is_chosen)
}

/// Whether there are keys below this one.
pub(super) fn is_section(key: &str) -> bool {
    let is_chosen = |(section, _): &(&str, BTreeSet<String>)| {
        let is_above = key == *section || within(section, key).is_some();
        is_above || within(key, section).is_some_and(|name| !name.contains('.'))
    };
    CHOSEN.iter().any(is_chosen) || keys().iter().any(|name| within(name, key).is_some())
}

/// What follows the section and its dot.
fn within<'a>(key: &'a str, section: &str) -> Option<&'a str> {
    key.strip_prefix(section)?.strip_prefix('.')
}

/// The names of all keys, but for those below what users choose.
fn keys() -> &'static BTreeSet<String> {
    static KEYS: LazyLock<BTreeSet<String>> = LazyLock::new(|| names(serde_json::to_value(Settings::default())));
    &KEYS
}

fn names(tree: serde_json::Result<Value>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    flatten(&tree.unwrap_or_default(), "", &mut |key, _| {
        keys.insert(key.to_owned());
    });
    keys
}

fn flatten(tree: &Value, prefix: &str, leaf: &mut dyn FnMut(&str, &Value)) {
    match tree {
        Value::Object(members) => {
            for (name, value) in members {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(value, &key, leaf);
            }
        }
        value => leaf(prefix, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_contract() {
        let contract = "admin.email audit.sinks backend data database.url geoip.city http.address_header \
            http.max_connections http.trusted_proxies listen mail.from mail.spool mail.transport mail.url metrics.enabled policy.absolute_lifetime policy.access_token_lifetime \
            policy.idle_timeout policy.max_sessions policy.on_limit policy.refresh_grace policy.step_up_max_age \
            policy.touch_interval public_url rate_limits.enabled sessions.cache_url sessions.storage sessions.url \
            suspicion.device_change suspicion.impossible_travel suspicion.network_change suspicion.new_country suspicion.new_device \
            suspicion.rejected_tokens tls.certificate tls.key verification.max_age verification.mode";
        assert_eq!(
            keys().iter().map(String::as_str).collect::<Vec<_>>(),
            contract.split_whitespace().collect::<Vec<_>>()
        );
    }
}
