//! Which addresses lie in a place at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet, by the special-purpose registries (RFC 6890 and its updates). An IPv4 address that is mapped
/// into IPv6 is judged as what it is.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The address that a database is asked for: mapped and translated (RFC 6052) ones as the IPv4 address in them. `None` for one that lies
/// nowhere.
pub(crate) fn asked_for(address: IpAddr) -> Option<IpAddr> {
    let address = match address.to_canonical() {
        IpAddr::V6(v6) => translated(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    is_public(address).then_some(address)
}

/// The IPv4 address behind `64:ff9b::/96`.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        // Shared by carriers, protocol assignments, benchmarks, the future.
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240;
    !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [a, b, ..] = segments;
    let documentation = (a == 0x2001 && b == 0xdb8) || (a == 0x3fff && b < 0x1000);
    // Global unicast is 2000::/3; nothing else is routed. Protocol assignments 2001::/23 but for Teredo and what is delegated within.
    a & 0xe000 == 0x2000 && !documentation && !(a == 0x2001 && (0x0002..=0x01ff).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_lie_nowhere() {
        let cases = [
            ("81.2.69.142", true),
            ("1.1.1.1", true),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("100.128.0.1", true),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.168.1.1", false),
            ("198.17.0.1", true),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("203.0.113.9", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:81.2.69.142", true),
            ("fe80::1", false),
            ("fc00::1", false),
            ("fd12::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("2001:db8::1", false),
            ("2001:2::1", false),
            ("3fff:fff::1", false),
            ("3fff:1000::1", true),
            ("2001:218::1", true),
            ("2a02:d280::1", true),
        ];
        for (text, public) in cases {
            assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
        }
    }

    #[test]
    fn the_ipv4_address_within_is_asked_for() {
        let asked = |text: &str| asked_for(text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(asked("::ffff:81.2.69.142").as_deref(), Some("81.2.69.142"));
        assert_eq!(asked("64:ff9b::81.2.69.142").as_deref(), Some("81.2.69.142"));
        assert_eq!(asked("64:ff9b::10.0.0.1"), None);
        assert_eq!(asked("2001:218::1").as_deref(), Some("2001:218::1"));
        assert_eq!(asked("::ffff:127.0.0.1"), None);
    }
}
