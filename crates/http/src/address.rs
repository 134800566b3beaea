//! The address of the client behind the application's own proxies.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;

use crate::{forwarded::Grammar, proxies::TrustedProxies};

/// Finds the client's address from the connection's peer and, behind trusted proxies, from one header.
///
/// # Behaviour
///
/// - The header is read only when the peer is a trusted proxy.
/// - The hops are walked from the right, past trusted proxies; the first that is none is the client. Several lines of the
///   header count as one list in their order.
/// - A hop that cannot be told (`unknown`, obfuscated, malformed, empty) stops the walk: the last trusted address is
///   returned, at the least the peer, and never anything further left, which the client may have written.
/// - IPv4-mapped IPv6 is returned as IPv4.
/// - At most [`ClientAddressConfig::max_hops`] hops and [`ClientAddressConfig::max_header_bytes`] bytes are examined, from
///   the right, whatever the size of the header.
///
/// ```
/// use http::HeaderMap;
/// use session_manager_http::{ClientAddressConfig, ClientAddressResolver, TrustedProxies};
///
/// let resolver = ClientAddressResolver::new(ClientAddressConfig {
///     trusted_proxies: TrustedProxies::parse(["10.0.0.0/8"])?,
///     ..ClientAddressConfig::default()
/// });
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", "1.2.3.4, 203.0.113.9, 10.0.0.7".parse()?);
///
/// let client = resolver.resolve("10.0.0.1".parse()?, &headers);
/// assert_eq!(client.ip.to_string(), "203.0.113.9", "what stands further left is hearsay");
/// let client = resolver.resolve("198.51.100.1".parse()?, &headers);
/// assert_eq!(client.ip.to_string(), "198.51.100.1", "a stranger's header is not read");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClientAddressResolver {
    config: ClientAddressConfig,
}

/// How [`ClientAddressResolver`] finds the client. Deserialisable; every field has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientAddressConfig {
    /// The application's proxies. Default: none, so that the peer is the client.
    pub trusted_proxies: TrustedProxies,
    /// The one header that the proxies write. Default: `X-Forwarded-For`.
    pub header: AddressHeader,
    /// Bytes of the header examined, counted from the right. Default: 4,096.
    pub max_header_bytes: usize,
    /// Hops examined, counted from the right. Default: 16.
    pub max_hops: usize,
}

/// Which header names the client. Deserialises from the header's name.
///
/// # Security
///
/// Only the configured header is read, for a proxy passes on the ones it does not know: whoever reads all of them reads
/// what the client wrote in one of them.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(try_from = "String")]
#[non_exhaustive]
pub enum AddressHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// A header holding exactly one address, which the proxy overwrites, such as `CF-Connecting-IP`.
    Single(HeaderName),
}

/// The configured header's name is no header name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the client address header is not a header name")]
pub struct AddressHeaderError;

/// The client's address and what it rests on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClientAddress {
    /// The address, IPv4-mapped IPv6 in its IPv4 form.
    pub ip: IpAddr,
    /// What it rests on.
    pub basis: AddressBasis,
}

/// What a [`ClientAddress`] rests on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AddressBasis {
    /// The peer of the connection: it is no trusted proxy, or it sent no such header.
    Peer,
    /// The header written by trusted proxies.
    Header,
    /// The last trusted address before a hop that could not be told or a limit. Worth a warning: it is a proxy's address.
    Stopped,
}

impl ClientAddressResolver {
    /// A resolver with this configuration.
    pub fn new(config: ClientAddressConfig) -> Self {
        Self { config }
    }

    /// The client of a request that came from `peer` with these headers. Never fails and allocates nothing to speak of.
    pub fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.to_canonical();
        let at_peer = |basis| ClientAddress { ip: peer, basis };
        let config = &self.config;
        if !config.trusted_proxies.contains(peer) {
            return at_peer(AddressBasis::Peer);
        }
        let (name, grammar) = match &config.header {
            AddressHeader::Forwarded => (&header::FORWARDED, Grammar::Forwarded),
            AddressHeader::XForwardedFor => (&X_FORWARDED_FOR, Grammar::AddressList),
            AddressHeader::Single(name) => (name, Grammar::AddressList),
        };
        if !headers.contains_key(name) {
            return at_peer(AddressBasis::Peer);
        }
        let lines = headers.get_all(name).iter();
        if matches!(config.header, AddressHeader::Single(_)) {
            let single = self.single(lines, grammar);
            return single
                .map_or(at_peer(AddressBasis::Stopped), |ip| ClientAddress { ip, basis: AddressBasis::Header });
        }
        self.walk(peer, lines.rev(), grammar)
    }

    /// The one address of the one line. Two lines mean that some proxy passed on the client's own.
    fn single<'a>(&self, mut lines: impl Iterator<Item = &'a HeaderValue>, grammar: Grammar) -> Option<IpAddr> {
        let line = lines.next()?;
        if lines.next().is_some() || line.len() > self.config.max_header_bytes {
            return None;
        }
        grammar.address(line.as_bytes())
    }

    /// Walks the lines, given last first, from the right.
    fn walk<'a>(&self, peer: IpAddr, lines: impl Iterator<Item = &'a HeaderValue>, grammar: Grammar) -> ClientAddress {
        let mut last_trusted = ClientAddress { ip: peer, basis: AddressBasis::Header };
        let mut bytes_left = self.config.max_header_bytes;
        let mut hops_left = self.config.max_hops;
        for line in lines {
            let (window, cut) = right_end(line.as_bytes(), bytes_left);
            let mut rest = Some(window);
            while let Some(right) = rest {
                let stopped = ClientAddress { basis: AddressBasis::Stopped, ..last_trusted };
                let Some((left, element)) = grammar.split_last(right) else { return stopped };
                // An element that begins where the window was cut is only the end of one.
                if hops_left == 0 || (cut && left.is_none()) {
                    return stopped;
                }
                let Some(ip) = grammar.address(element) else { return stopped };
                let hop = ClientAddress { ip, basis: AddressBasis::Header };
                if !self.config.trusted_proxies.contains(ip) {
                    return hop;
                }
                last_trusted = hop;
                hops_left -= 1;
                rest = left;
            }
            bytes_left = bytes_left.saturating_sub(window.len());
        }
        last_trusted
    }
}

impl Default for ClientAddressConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::none(),
            header: AddressHeader::default(),
            max_header_bytes: 4096,
            max_hops: 16,
        }
    }
}

/// The header's name in lower case, from which it deserialises.
impl fmt::Display for AddressHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded => f.write_str(header::FORWARDED.as_str()),
            Self::XForwardedFor => f.write_str(X_FORWARDED_FOR.as_str()),
            Self::Single(name) => f.write_str(name.as_str()),
        }
    }
}

impl TryFrom<String> for AddressHeader {
    type Error = AddressHeaderError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| AddressHeaderError)?;
        Ok(if name == header::FORWARDED {
            Self::Forwarded
        } else if name == X_FORWARDED_FOR {
            Self::XForwardedFor
        } else {
            Self::Single(name)
        })
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The last `limit` bytes of a line, and whether something was cut off.
fn right_end(line: &[u8], limit: usize) -> (&[u8], bool) {
    match line.len().checked_sub(limit) {
        None | Some(0) => (line, false),
        Some(start) => (line.get(start..).unwrap_or_default(), true),
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
