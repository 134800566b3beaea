//! Loopback ports that no two servers of ours ever share.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
};

/// Where ports are taken from: below the range from which outgoing connections get theirs. In that range a client could
/// take the port of a server that restarts, or connect to itself.
const FIRST: u16 = 10_240;
const LAST: u16 = 32_767;
/// Redis Cluster's nodes talk to each other on this many ports higher.
const BUS: u16 = 10_000;

/// A port that is ours until this value is dropped.
///
/// It is held by the UDP port of the same number, which none of the servers uses: the operating system gives that to one
/// process only, and takes it back when the process ends in whatever way. No file is left behind, and the server can be
/// stopped and started while the port stays ours.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claims: Vec<UdpSocket>,
}

impl Port {
    pub(crate) fn claim() -> io::Result<Self> {
        Self::find(LAST, |number| vec![number])
    }

    /// A port whose bus port is ours too.
    pub(crate) fn claim_with_bus() -> io::Result<Self> {
        Self::find(LAST - BUS, |number| vec![number, number.saturating_add(BUS)])
    }

    pub(crate) const fn number(&self) -> u16 {
        self.number
    }

    fn find(last: u16, numbers: impl Fn(u16) -> Vec<u16>) -> io::Result<Self> {
        let mut error = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..1000 {
            let number = random_between(FIRST, last);
            match numbers(number).into_iter().map(take).collect() {
                Ok(claims) => return Ok(Self { number, _claims: claims }),
                Err(why) => error = why,
            }
        }
        Err(error)
    }
}

/// Takes the UDP port, and looks whether the TCP port is free of servers that are not ours.
fn take(number: u16) -> io::Result<UdpSocket> {
    let address = (Ipv4Addr::LOCALHOST, number);
    let claim = UdpSocket::bind(address)?;
    TcpListener::bind(address)?;
    Ok(claim)
}

fn random_between(first: u16, last: u16) -> u16 {
    let span = u64::from(last.saturating_sub(first)) + 1;
    let offset = u16::try_from(random() % span).unwrap_or(0);
    first.saturating_add(offset)
}

/// A number that another process does not come upon; the standard library's hash keys are the operating system's randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_ours_until_it_is_dropped() {
        let port = Port::claim().unwrap();
        assert!(take(port.number()).is_err(), "claimed twice");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        let number = port.number();
        drop(port);
        assert!(take(number).is_err(), "somebody listens there");
        drop(listener);
        assert!(take(number).is_ok());
    }

    #[test]
    fn many_claims_at_once_are_all_different_and_within_bounds() {
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| (0..50).map(|_| Port::claim_with_bus().unwrap()).collect::<Vec<_>>()))
            .collect();
        let ports: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let numbers: BTreeSet<_> = ports.iter().flat_map(|port| [port.number(), port.number() + BUS]).collect();
        assert_eq!(numbers.len(), 800);
        assert!(numbers.iter().all(|number| (FIRST..=LAST).contains(number)));
    }
}
