//! Counting refused tokens by client address: whoever sends garbage costs neither storage nor sinks anything.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::after;

/// How long a count goes on.
const WINDOW: Duration = Duration::from_mins(1);
/// How many addresses are counted each by itself; more are counted together.
const ADDRESSES: usize = 4096;
/// How many refusals are recorded in a window, of whatever number of addresses.
const RECORDS: u32 = 60;

/// The counts of this window and the one before.
#[derive(Debug, Default)]
pub(super) struct Rejections(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    since: DateTime<Utc>,
    now: HashMap<Option<IpAddr>, u32>,
    before: HashMap<Option<IpAddr>, u32>,
    recorded: u32,
}

/// What a refusal added up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Noted {
    /// How many there were from this address, this one included.
    pub(super) count: u32,
    /// Whether it is to be recorded: the first of an address, its tenth, hundredth and so on, and not too many altogether.
    pub(super) recorded: bool,
}

impl Rejections {
    /// Counts a refusal.
    pub(super) fn note(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> Noted {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.turn(now);
        let block = counts.block(address);
        let before = counts.before.get(&block).copied().unwrap_or_default();
        let current = counts.now.entry(block).or_default();
        *current = current.saturating_add(1);
        let count = current.saturating_add(before);
        let recorded =
            count.checked_ilog10().is_some_and(|digits| 10_u32.pow(digits) == count) && counts.recorded < RECORDS;
        counts.recorded = counts.recorded.saturating_add(u32::from(recorded));
        Noted { count, recorded }
    }

    /// How many there were from an address in the last minute or two.
    pub(super) fn count(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.turn(now);
        let block = counts.block(address);
        let of = |counts: &HashMap<Option<IpAddr>, u32>| counts.get(&block).copied().unwrap_or_default();
        of(&counts.now).saturating_add(of(&counts.before))
    }
}

impl Counts {
    /// Begins another window when this one is over; what was counted goes with the one after it.
    fn turn(&mut self, now: DateTime<Utc>) {
        if self.since <= now && now < after(self.since, WINDOW) {
            return;
        }
        let followed = self.since <= now && now < after(self.since, WINDOW * 2);
        let ended = std::mem::take(&mut self.now);
        self.before = if followed { ended } else { HashMap::new() };
        (self.since, self.recorded) = (now, 0);
    }

    /// An address of IPv6 counts as its /64: who has one of them has them all. Beyond [`ADDRESSES`], all that are new are one.
    fn block(&self, address: Option<IpAddr>) -> Option<IpAddr> {
        let block = address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
            v4 @ IpAddr::V4(_) => v4,
        });
        if self.now.len() < ADDRESSES || self.now.contains_key(&block) { block } else { None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + millis).unwrap()
    }

    #[test]
    fn the_first_the_tenth_and_the_hundredth_are_recorded() {
        let rejections = Rejections::default();
        let address = Some(IpAddr::from([203, 0, 113, 7]));
        let recorded: Vec<u32> = (0..150)
            .map(|_| rejections.note(address, at(0)))
            .filter(|noted| noted.recorded)
            .map(|noted| noted.count)
            .collect();
        assert_eq!(recorded, [1, 10, 100]);
        assert_eq!(rejections.count(address, at(119_999)), 150, "a minute and the one before");
        assert_eq!(rejections.count(address, at(240_000)), 0);
    }

    #[test]
    fn a_network_is_one_sender() {
        let rejections = Rejections::default();
        let one = |text: &str| rejections.note(Some(text.parse().unwrap()), at(0)).count;
        assert_eq!(
            [one("2001:db8::1"), one("2001:db8::2"), one("2001:db8:0:1::1"), one("::ffff:1.2.3.4"), one("1.2.3.4")],
            [1, 2, 1, 1, 2]
        );
    }

    #[test]
    fn many_addresses_cost_bounded_memory_and_few_records() {
        let rejections = Rejections::default();
        let recorded = (0..20_000_u32)
            .filter(|number| rejections.note(Some(IpAddr::V4((*number).into())), at(0)).recorded)
            .count();
        assert_eq!(recorded, usize::try_from(RECORDS).unwrap());
        assert!(rejections.0.lock().unwrap().now.len() <= ADDRESSES + 1);
    }
}
