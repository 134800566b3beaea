//! Tests of the client address: tables of chains, and the property that nobody chooses their own address.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn resolver(header: &str) -> ClientAddressResolver {
    ClientAddressResolver::new(ClientAddressConfig {
        trusted_proxies: TrustedProxies::parse(["10.0.0.0/8", "fd00::/8"]).unwrap(),
        header: AddressHeader::try_from(header.to_owned()).unwrap(),
        ..ClientAddressConfig::default()
    })
}

fn headers(name: &str, lines: &[&str]) -> HeaderMap {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
}

#[test]
fn a_header_is_written_by_the_name_that_it_is_read_from() {
    for (written, name) in
        [("Forwarded", "forwarded"), ("X-Forwarded-For", "x-forwarded-for"), ("CF-Connecting-IP", "cf-connecting-ip")]
    {
        let header = AddressHeader::try_from(written.to_owned()).unwrap();
        assert_eq!(header.to_string(), name);
        assert_eq!(AddressHeader::try_from(header.to_string()), Ok(header));
    }
}

#[test]
fn chains() {
    use AddressBasis::{Header, Peer, Stopped};
    let xff = "x-forwarded-for";
    let rfc = "forwarded";
    let cf = "cf-connecting-ip";
    for (header, peer, lines, ip, basis) in [
        (xff, "198.51.100.1", &["1.1.1.1"][..], "198.51.100.1", Peer),
        (xff, "10.0.0.1", &[], "10.0.0.1", Peer),
        (xff, "::ffff:10.0.0.1", &[], "10.0.0.1", Peer),
        (xff, "::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["203.0.113.9"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["6.6.6.6, 203.0.113.9"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.2, fd00::1"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3", Header),
        // Several lines are one list.
        (xff, "10.0.0.1", &["6.6.6.6", "203.0.113.9", "10.0.0.2"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["203.0.113.9, 10.0.0.3", "10.0.0.2"], "203.0.113.9", Header),
        // A hop that cannot be told is never stepped over.
        (xff, "10.0.0.1", &["6.6.6.6, unknown"], "10.0.0.1", Stopped),
        (xff, "10.0.0.1", &["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2", Stopped),
        (xff, "10.0.0.1", &["6.6.6.6,"], "10.0.0.1", Stopped),
        (xff, "10.0.0.1", &["6.6.6.6", ""], "10.0.0.1", Stopped),
        (xff, "10.0.0.1", &["garbage, 203.0.113.9"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["\"garbage, 203.0.113.9"], "203.0.113.9", Header),
        (xff, "10.0.0.1", &["caf\u{e9}"], "10.0.0.1", Stopped),
        (rfc, "10.0.0.1", &["for=6.6.6.6, for=203.0.113.9;by=10.0.0.2, for=10.0.0.2"], "203.0.113.9", Header),
        (rfc, "10.0.0.1", &["for=\"6.6.6.6, for=203.0.113.9"], "203.0.113.9", Header),
        (rfc, "10.0.0.1", &["for=\"6.6.6.6", "for=203.0.113.9"], "203.0.113.9", Header),
        (rfc, "10.0.0.1", &["for=6.6.6.6, for=_hidden"], "10.0.0.1", Stopped),
        (rfc, "10.0.0.1", &["for=6.6.6.6, proto=https"], "10.0.0.1", Stopped),
        (rfc, "fd00::2", &["for=\"[2001:db8::9]:443\""], "2001:db8::9", Header),
        (cf, "10.0.0.1", &["203.0.113.9"], "203.0.113.9", Header),
        (cf, "10.0.0.1", &["10.0.0.9"], "10.0.0.9", Header),
        (cf, "10.0.0.1", &["6.6.6.6", "203.0.113.9"], "10.0.0.1", Stopped),
        (cf, "10.0.0.1", &["6.6.6.6, 203.0.113.9"], "10.0.0.1", Stopped),
        (cf, "198.51.100.1", &["6.6.6.6"], "198.51.100.1", Peer),
    ] {
        let got = resolver(header).resolve(peer.parse().unwrap(), &headers(header, lines));
        assert_eq!((got.ip.to_string().as_str(), got.basis), (ip, basis), "{header} {peer} {lines:?}");
    }
}

#[test]
fn only_the_configured_header_is_read() {
    let mut all = headers("forwarded", &["for=6.6.6.6"]);
    all.extend(headers("x-real-ip", &["6.6.6.6"]));
    let got = resolver("x-forwarded-for").resolve("10.0.0.1".parse().unwrap(), &all);
    assert_eq!(got, ClientAddress { ip: "10.0.0.1".parse().unwrap(), basis: AddressBasis::Peer });
}

#[test]
fn work_is_bounded_from_the_right() {
    let peer = "10.0.0.1".parse().unwrap();
    let flood = "6.6.6.6,".repeat(100_000);
    let got = resolver("x-forwarded-for").resolve(peer, &headers("x-forwarded-for", &[&flood, "203.0.113.9"]));
    assert_eq!(got.ip.to_string(), "203.0.113.9", "a flood on the left does not hide the client");

    let deep = format!("6.6.6.6{}", ", 10.0.0.2".repeat(40));
    let got = resolver("x-forwarded-for").resolve(peer, &headers("x-forwarded-for", &[&deep]));
    assert_eq!((got.ip.to_string().as_str(), got.basis), ("10.0.0.2", AddressBasis::Stopped));

    // A window of seven bytes shows only `1.1.1.1` of `211.1.1.1`, which is another address.
    let mut narrow = resolver("x-forwarded-for");
    narrow.config.max_header_bytes = 7;
    let got = narrow.resolve(peer, &headers("x-forwarded-for", &["211.1.1.1"]));
    assert_eq!((got.ip, got.basis), (peer, AddressBasis::Stopped));
}

#[test]
fn configuration() {
    let config: ClientAddressConfig =
        serde_json::from_str(r#"{"trusted_proxies": ["10.0.0.0/8"], "header": "CF-Connecting-IP", "max_hops": 3}"#)
            .unwrap();
    assert_eq!(config.header, AddressHeader::Single(HeaderName::from_static("cf-connecting-ip")));
    assert_eq!((config.max_hops, config.max_header_bytes), (3, 4096));
    for (json, header) in
        [("{}", AddressHeader::XForwardedFor), (r#"{"header": "Forwarded"}"#, AddressHeader::Forwarded)]
    {
        let config: ClientAddressConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.header, header);
        assert!(config.trusted_proxies.is_empty());
    }
    for wrong in [r#"{"trusted_proxies": ["0.0.0.0/0"]}"#, r#"{"header": "not a name"}"#, r#"{"hops": 3}"#] {
        assert!(serde_json::from_str::<ClientAddressConfig>(wrong).is_err(), "{wrong}");
    }
}

/// Addresses of which about half are trusted.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<IpAddr>(), any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c]))]
}

proptest! {
    #[test]
    fn arbitrary_headers_never_win_against_an_untrusted_peer(
        peer in any::<IpAddr>(),
        line in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let Ok(value) = HeaderValue::from_bytes(&line) else { return Ok(()) };
        for name in ["forwarded", "x-forwarded-for", "cf-connecting-ip"] {
            let resolver = resolver(name);
            let mut map = HeaderMap::new();
            map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.clone());
            let got = resolver.resolve(peer, &map);
            if !resolver.config.trusted_proxies.contains(peer) {
                prop_assert_eq!(got, ClientAddress { ip: peer.to_canonical(), basis: AddressBasis::Peer });
            }
        }
    }

    /// Against a reference: the rightmost untrusted address, or the leftmost of all trusted ones.
    #[test]
    fn the_rightmost_untrusted_hop_is_the_client(
        peer in address(),
        hops in proptest::collection::vec(address(), 1..10),
        client_prefix in "[ -~]{0,40}",
        split in any::<u16>(),
    ) {
        let resolver = resolver("x-forwarded-for");
        let trusted = |ip: &IpAddr| resolver.config.trusted_proxies.contains(*ip);
        let texts: Vec<_> = hops.iter().map(ToString::to_string).collect();
        let (first, second) = texts.split_at(usize::from(split) % texts.len());
        let mut lines = vec![client_prefix.as_str()];
        let (first, second) = (first.join(", "), second.join(" ,"));
        if !first.is_empty() {
            lines.push(&first);
        }
        lines.push(&second);
        let got = resolver.resolve(peer, &headers("x-forwarded-for", &lines));
        if !trusted(&peer) {
            prop_assert_eq!(got.ip, peer.to_canonical());
        } else if let Some(client) = hops.iter().rev().find(|ip| !trusted(ip)) {
            prop_assert_eq!(got, ClientAddress { ip: client.to_canonical(), basis: AddressBasis::Header });
        } else if got.basis == AddressBasis::Stopped {
            prop_assert_eq!(got.ip, hops.first().unwrap().to_canonical());
        }
    }
}
