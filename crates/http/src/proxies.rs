//! The list of proxies whose forwarding headers are believed.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;

/// The networks of the application's own reverse proxies.
///
/// Empty by default: then no forwarding header is ever believed and the client is the peer of the connection.
///
/// Deserialises from a list of strings, each a network in CIDR notation or one address.
///
/// # Security
///
/// List only machines that *overwrite or append to* the configured header. A network of length zero would let every
/// client choose its own address, so it is refused.
///
/// ```
/// use session_manager_http::TrustedProxies;
///
/// let proxies = TrustedProxies::parse(["10.0.0.0/8", "2001:db8::1"])?;
/// assert!(proxies.contains("10.1.2.3".parse()?));
/// assert!(proxies.contains("::ffff:10.1.2.3".parse()?), "the mapped spelling is the same address");
/// assert!(TrustedProxies::parse(["0.0.0.0/0"]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

/// Why a list of trusted proxies was refused. Names the entry, counted from zero, and never repeats it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustedProxiesError {
    /// The entry is neither a network in CIDR notation nor an address.
    #[error("trusted proxy {index} is neither an address nor a network in CIDR notation")]
    Malformed {
        /// Position in the list.
        index: usize,
    },
    /// The entry covers every address of its family.
    #[error("trusted proxy {index} covers every address, so that clients could choose their own")]
    Everyone {
        /// Position in the list.
        index: usize,
    },
}

impl TrustedProxies {
    /// Trusts nobody: the client is always the peer.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads a list of networks and addresses.
    ///
    /// # Errors
    ///
    /// [`TrustedProxiesError`] at the first entry that is malformed or covers everyone.
    pub fn parse<I, S>(entries: I) -> Result<Self, TrustedProxiesError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let networks = entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| parse_entry(index, entry.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self { networks })
    }

    /// Whether this address is one of the proxies. IPv4-mapped IPv6 counts as the IPv4 address it carries.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

impl TryFrom<Vec<String>> for TrustedProxies {
    type Error = TrustedProxiesError;

    fn try_from(entries: Vec<String>) -> Result<Self, Self::Error> {
        Self::parse(entries)
    }
}

fn parse_entry(index: usize, entry: &str) -> Result<IpNet, TrustedProxiesError> {
    let entry = entry.trim();
    let network = entry
        .parse::<IpNet>()
        .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| TrustedProxiesError::Malformed { index })?;
    // `::ffff:0:0/96` is the whole of IPv4 by another name, so the length is judged after the canonical form is taken.
    let network = canonical(network);
    if network.prefix_len() == 0 || covers_all_mapped(&network) {
        return Err(TrustedProxiesError::Everyone { index });
    }
    Ok(network)
}

/// The IPv4 form of a network of IPv4-mapped addresses; any other network as it is.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    match mapped.map(|(address, length)| Ipv4Net::new(address, length)) {
        Some(Ok(v4)) => IpNet::V4(v4),
        _ => network,
    }
}

/// Whether an IPv6 network is so wide that it was meant to hold every IPv4 address.
fn covers_all_mapped(network: &IpNet) -> bool {
    matches!(network, IpNet::V6(v6) if v6.contains(&std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn membership() {
        let proxies =
            TrustedProxies::parse(["10.0.0.0/8", "192.0.2.7", " ::ffff:198.51.100.0/120 ", "2001:db8::/32"]).unwrap();
        for (address, expected) in [
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("198.51.100.9", true),
            ("::ffff:198.51.100.9", true),
            ("198.51.101.9", false),
            ("2001:db8:1::", true),
            ("2001:db9::", false),
            ("::1", false),
        ] {
            assert_eq!(proxies.contains(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn refused_lists() {
        for (entry, expected) in [
            ("", TrustedProxiesError::Malformed { index: 1 }),
            ("proxy.example", TrustedProxiesError::Malformed { index: 1 }),
            ("10.0.0.0/33", TrustedProxiesError::Malformed { index: 1 }),
            ("10.0.0.1:80", TrustedProxiesError::Malformed { index: 1 }),
            ("0.0.0.0/0", TrustedProxiesError::Everyone { index: 1 }),
            ("10.0.0.0/0", TrustedProxiesError::Everyone { index: 1 }),
            ("::/0", TrustedProxiesError::Everyone { index: 1 }),
            ("::ffff:0:0/96", TrustedProxiesError::Everyone { index: 1 }),
            ("::/64", TrustedProxiesError::Everyone { index: 1 }),
        ] {
            assert_eq!(TrustedProxies::parse(["10.0.0.1", entry]), Err(expected), "{entry}");
        }
    }

    #[test]
    fn none_trusts_nobody() {
        assert!(TrustedProxies::none().is_empty());
        assert!(!TrustedProxies::none().contains("127.0.0.1".parse().unwrap()));
    }
}
