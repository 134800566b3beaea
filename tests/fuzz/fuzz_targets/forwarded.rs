//! Forwarded headers: nothing panics, an untrusted peer is believed nothing, and whatever the client writes on the left
//! changes nothing that the proxies wrote on the right.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use session_manager_http::{AddressBasis, AddressHeader, ClientAddressConfig, ClientAddressResolver, TrustedProxies};

static RESOLVERS: LazyLock<Vec<(HeaderName, ClientAddressResolver)>> = LazyLock::new(|| {
    let single = HeaderName::from_static("cf-connecting-ip");
    [
        (http::header::FORWARDED, AddressHeader::Forwarded),
        (HeaderName::from_static("x-forwarded-for"), AddressHeader::XForwardedFor),
        (single.clone(), AddressHeader::Single(single)),
    ]
    .into_iter()
    .map(|(name, header)| {
        let trusted_proxies = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8"]).unwrap();
        (name, ClientAddressResolver::new(ClientAddressConfig { trusted_proxies, header, ..Default::default() }))
    })
    .collect()
});

fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let stranger: IpAddr = [203, 0, 113, 7].into();
    let proxy: IpAddr = [10, 0, 0, 1].into();
    for (name, resolver) in &*RESOLVERS {
        let mut headers = HeaderMap::new();
        headers.append(name, value.clone());
        let told = resolver.resolve(stranger, &headers);
        assert_eq!((told.ip, told.basis), (stranger, AddressBasis::Peer));
        let told = resolver.resolve(proxy, &headers);
        assert!(told.basis != AddressBasis::Peer || told.ip == proxy);
        if matches!(name.as_str(), "forwarded" | "x-forwarded-for") {
            // The proxy appends the client's address: that is the client, whatever the client had sent.
            let element = if name == "forwarded" { "for=198.51.100.9" } else { "198.51.100.9" };
            let mut lines = headers.clone();
            lines.append(name, HeaderValue::from_static(element));
            let told = resolver.resolve(proxy, &lines);
            assert_eq!((told.ip, told.basis), ([198, 51, 100, 9].into(), AddressBasis::Header), "a line of its own");
        }
    }
});
