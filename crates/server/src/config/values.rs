//! How single values are written: durations, lists in one string, URLs that may hold a password.

use std::fmt;
use std::net::SocketAddr;

use serde::de::value::StringDeserializer;
use serde::de::{Error as _, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

/// A URL that may hold a password: masked in `Debug` and in print.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretUrl(String);

impl SecretUrl {
    /// The URL as configured. Keep it out of logs and errors.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The URL without its password and its query; several, separated by commas, each by itself.
    pub(crate) fn masked(&self) -> String {
        self.0.split(',').map(|one| mask(one.trim())).collect::<Vec<_>>().join(",")
    }
}

fn mask(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return if text.contains(['@', '?']) { "***".to_owned() } else { text.to_owned() };
    };
    if url.cannot_be_a_base() && url.scheme() != "sqlite" {
        return "***".to_owned();
    }
    if url.cannot_be_a_base() {
        return text.split_once('?').map_or_else(|| text.to_owned(), |(before, _)| format!("{before}?***"));
    }
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.to_string()
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

/// The origin under which browsers reach the service: scheme, host, port, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl(Url);

impl PublicUrl {
    /// Reads an origin.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "not a URL; write it like https://accounts.example.org")?;
        if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
            return Err("the scheme must be https, or http on loopback");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold a user name or password");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("it is scheme, host and port only, without path, query or fragment");
        }
        Ok(Self(url))
    }

    /// `http://`, or `https://`, and the address listened on.
    pub(crate) fn of_listener(address: SocketAddr, tls: bool) -> Option<Self> {
        let scheme = if tls { "https" } else { "http" };
        Self::parse(&format!("{scheme}://{address}")).ok()
    }

    /// Whether the address is on this machine only.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Whether it is `https`, so that cookies are `Secure` and carry their prefixes.
    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, an address of IPv6 in brackets.
    pub(crate) fn host(&self) -> Option<&str> {
        self.0.host_str()
    }

    /// The host when it is a name, for the sender of mails.
    pub(crate) fn domain(&self) -> Option<&str> {
        self.0.domain()
    }

    /// The text of the origin, `https://accounts.example.org`.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PublicUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whether the host of a URL is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Durations as people write them: `30d`, `5m`, `10s`.
pub(super) mod duration {
    use std::time::Duration;

    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    pub(in crate::config) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(text.trim())
            .map_err(|_| D::Error::custom("not a duration; write it like 30d, 7d, 5m or 10s"))
    }
}

/// Networks, or single addresses, as a list or separated by commas.
pub(super) mod networks {
    use std::net::IpAddr;

    use ipnet::IpNet;
    use serde::Serialize as _;
    use serde::de::Error as _;

    use super::{Deserializer, Serializer, words};

    pub(in crate::config) fn serialize<S: Serializer>(value: &Vec<IpNet>, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let network = |word: String| {
            let parsed = word.parse().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
            parsed.map_err(|_| D::Error::custom("not an address or network; write it like 10.0.0.0/8 or ::1"))
        };
        words(deserializer)?.into_iter().map(network).collect()
    }
}

/// The header in which proxies name the client, by its own name.
pub(super) mod address_header {
    use serde::de::Error as _;
    use session_manager_http::AddressHeader;

    use super::{Deserialize, Deserializer, Serializer};

    pub(in crate::config) fn serialize<S: Serializer>(value: &AddressHeader, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<AddressHeader, D::Error> {
        let name = String::deserialize(deserializer)?.trim().to_owned();
        AddressHeader::try_from(name).map_err(|_| {
            D::Error::custom("not the name of a header; write x-forwarded-for, forwarded or another one like x-real-ip")
        })
    }
}

/// One of the names of an enumeration. The error lists them and does not repeat what was written.
pub(super) fn choice<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    named(String::deserialize(deserializer)?)
}

fn named<'de, T: Deserialize<'de>, E: serde::de::Error>(name: String) -> Result<T, E> {
    let name: StringDeserializer<serde::de::value::Error> = name.into_deserializer();
    T::deserialize(name).map_err(|error| {
        let text = error.to_string();
        E::custom(text.split_once("`, ").map_or("not one of the known names", |(_, expected)| expected))
    })
}

/// Audit sinks as a list or separated by commas.
pub(super) mod sinks {
    use serde::Serialize as _;

    use super::{Deserializer, Serializer, named, words};
    use crate::config::AuditSink;

    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Vec<AuditSink>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<AuditSink>, D::Error> {
        words(deserializer)?.into_iter().map(named).collect()
    }
}

/// A list, or one string with commas (the environment and `--set` know no lists).
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Words;

    impl<'de> Visitor<'de> for Words {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of strings, or one string with commas")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let text = text.trim().trim_start_matches('[').trim_end_matches(']');
            let word = |word: &str| word.trim().trim_matches('"').to_owned();
            Ok(text.split(',').map(word).filter(|word| !word.is_empty()).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = list.next_element()? {
                words.push(word);
            }
            Ok(words)
        }
    }

    deserializer.deserialize_any(Words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_queries_are_masked() {
        let cases = [
            ("postgres://app:hunter2@db/x?sslkey=hunter2", "postgres://app:***@db/x?***"),
            ("redis://:hunter2@a:1,redis://:hunter2@b:2", "redis://:***@a:1,redis://:***@b:2"),
            ("sqlite:./x.db", "sqlite:./x.db"),
            ("sqlite:./x.db?key=hunter2", "sqlite:./x.db?***"),
            ("app:hunter2@db", "***"),
            ("127.0.0.1:6379", "127.0.0.1:6379"),
            ("//app:hunter2@db", "***"),
        ];
        for (url, masked) in cases {
            let url = SecretUrl(url.to_owned());
            assert_eq!(url.masked(), masked);
            assert!(!format!("{url:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_public_url_is_an_origin() {
        for (text, loopback) in [
            ("https://a.example", false),
            ("http://localhost:8080/", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:1", true),
            ("http://0.0.0.0:8080", false),
            ("http://localhost.evil.example", false),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(url.is_loopback(), loopback, "{text}");
            assert_eq!(url.as_str(), text.trim_end_matches('/'));
        }
        for text in
            ["", "a.example", "ftp://a", "https://u:p@a", "https://a/b", "https://a?x", "https://a#x", "javascript:1"]
        {
            assert!(PublicUrl::parse(text).is_err(), "{text}");
        }
    }
}
