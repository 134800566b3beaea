//! The providers that users can connect to: `[providers.KEY]`, with their OAuth 2.0 endpoints and what we are there.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;
use zeroize::Zeroizing;

use super::values;

/// By key, which stands in addresses.
pub(crate) type Providers = BTreeMap<String, Provider>;

/// The longest key; a connection's id is longer, so that the two can be told apart in an address.
const LONGEST_KEY: usize = 32;

/// A provider. Without a `client_id` it is shown and cannot be connected to yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Provider {
    /// For people.
    pub(crate) name: String,
    /// What the provider calls us.
    pub(crate) client_id: Option<String>,
    /// Missing for a public client, which has PKCE alone.
    pub(crate) client_secret: Option<ClientSecret>,
    /// How the secret is shown to the provider.
    #[serde(deserialize_with = "values::choice")]
    pub(crate) client_auth: ClientAuth,
    pub(crate) auth_url: Option<EndpointUrl>,
    pub(crate) token_url: Option<EndpointUrl>,
    /// Where tokens are given back (RFC 7009).
    pub(crate) revocation_url: Option<EndpointUrl>,
    /// What the provider calls itself. When set, its answers must name it (RFC 9207).
    pub(crate) issuer: Option<String>,
    /// What is asked for.
    #[serde(deserialize_with = "scopes")]
    pub(crate) scopes: Vec<String>,
}

impl Provider {
    /// Whether users can connect to it.
    pub(crate) fn is_configured(&self) -> bool {
        self.client_id.is_some()
    }
}

/// How a client proves itself at the token endpoint (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientAuth {
    /// In the header, which every server takes.
    #[default]
    Basic,
    /// In the body, for servers that take nothing else.
    Body,
}

/// Our password at a provider, or a client's with us: masked in `Debug` and in print.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// The secret as configured. Keep it out of logs and errors.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(***)")
    }
}

impl Serialize for ClientSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// The address of a provider's endpoint: https, or http on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointUrl(Url);

impl EndpointUrl {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "not a URL; write it like https://provider.example.org/token")?;
        if url.scheme() != "https" && !(url.scheme() == "http" && values::is_loopback(&url)) {
            return Err("it must be https, since secrets travel there; http is allowed on loopback only");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("it must not hold a user name, a password or a fragment");
        }
        Ok(Self(url))
    }

    /// The address.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for EndpointUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Scopes as a list, or in one string with blanks or commas.
fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = values::words(deserializer)?;
    Ok(words.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned).collect())
}

/// What must be otherwise, each with its key.
pub(super) fn faults(providers: &Providers) -> Vec<String> {
    let faults = |(key, provider): (&String, &Provider)| {
        let prefix = format!("providers.{key}");
        faults_of(key, provider)
            .into_iter()
            .map(
                move |(name, why)| {
                    if name.is_empty() { format!("`{prefix}` {why}") } else { format!("`{prefix}.{name}` {why}") }
                },
            )
            .collect::<Vec<_>>()
    };
    providers.iter().flat_map(faults).collect()
}

/// Whether it can be the last part of a section's name, whatever layer it comes from.
pub(super) fn is_key(key: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    !key.is_empty() && key.len() <= LONGEST_KEY && key.bytes().all(is_part)
}

fn faults_of(key: &str, provider: &Provider) -> Vec<(&'static str, &'static str)> {
    const NEEDED: &str = "must be set where there is a client_id";
    let is_empty = |text: &Option<String>| text.as_deref().is_some_and(|text| text.trim().is_empty());
    // RFC 6749 section 3.3.
    let is_scope = |scope: &String| scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    let rules = [
        ("", !is_key(key), "must have a key of 1 to 32 lower-case letters, digits, - and _"),
        ("name", provider.name.trim().is_empty(), "must not be empty"),
        ("client_id", is_empty(&provider.client_id), "must not be empty"),
        (
            "client_secret",
            provider.client_secret.as_ref().is_some_and(|secret| secret.expose().is_empty()),
            "must not be empty; leave it out for a public client",
        ),
        ("auth_url", provider.is_configured() && provider.auth_url.is_none(), NEEDED),
        ("token_url", provider.is_configured() && provider.token_url.is_none(), NEEDED),
        ("issuer", is_empty(&provider.issuer), "must not be empty"),
        (
            "scopes",
            !provider.scopes.iter().all(is_scope),
            "must not contain quotation marks, backslashes or anything beyond ASCII",
        ),
    ];
    rules.into_iter().filter(|rule| rule.1).map(|(name, _, why)| (name, why)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_or_on_this_machine() {
        for (text, good) in [
            ("https://provider.example.org/token", true),
            ("https://provider.example.org/token?tenant=1", true),
            ("http://127.0.0.1:9000/token", true),
            ("http://localhost/token", true),
            ("http://provider.example.org/token", false),
            ("http://127.0.0.1.example.org/token", false),
            ("ftp://127.0.0.1/token", false),
            ("https://user:hunter2@provider.example.org/token", false),
            ("https://provider.example.org/token#x", false),
            ("token", false),
            ("javascript:alert(1)", false),
        ] {
            assert_eq!(EndpointUrl::parse(text).is_ok(), good, "{text}");
        }
    }

    fn sound() -> Provider {
        Provider {
            name: "Acme".to_owned(),
            client_id: Some("us".to_owned()),
            auth_url: EndpointUrl::parse("https://acme.example/auth").ok(),
            token_url: EndpointUrl::parse("https://acme.example/token").ok(),
            ..Provider::default()
        }
    }

    #[test]
    fn each_fault_names_its_key() {
        type Change = fn(&mut Provider);
        let cases: [(&str, Change); 7] = [
            ("name", |p| p.name.clear()),
            ("client_id", |p| p.client_id = Some(" ".to_owned())),
            ("client_secret", |p| p.client_secret = Some(ClientSecret(Zeroizing::default()))),
            ("auth_url", |p| p.auth_url = None),
            ("token_url", |p| p.token_url = None),
            ("issuer", |p| p.issuer = Some(String::new())),
            ("scopes", |p| p.scopes = vec!["read\"".to_owned()]),
        ];
        for (name, change) in cases {
            let mut provider = sound();
            change(&mut provider);
            let found = faults(&Providers::from([("acme".to_owned(), provider)]));
            assert!(found.len() == 1 && found[0].starts_with(&format!("`providers.acme.{name}` ")), "{found:?}");
        }
        for key in ["", "Acme", "a.b", "a/b", "\u{e4}", &"x".repeat(33)] {
            let found = faults(&Providers::from([(key.to_owned(), sound())]));
            assert!(found.len() == 1 && found[0].starts_with(&format!("`providers.{key}` ")), "{found:?}");
        }
        assert!(faults(&Providers::from([("acme-bank_2".to_owned(), sound())])).is_empty());
    }

    #[test]
    fn one_that_cannot_be_connected_to_yet_needs_its_name_only() {
        let planned = Provider { name: "Later".to_owned(), ..Provider::default() };
        assert!(!planned.is_configured());
        assert!(faults(&Providers::from([("later".to_owned(), planned)])).is_empty());
    }
}
