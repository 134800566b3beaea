//! Addresses, windows, and shared counters that are out of reach.

use async_trait::async_trait;
use session_manager_core::ManualClock;

use super::*;

/// Counters that several servers share, and that do not answer.
#[derive(Debug)]
struct Down;

#[async_trait]
impl Counters for Down {
    async fn count(&self, _: &CounterName<'_>, _: u32) -> Result<Counted, CountersDown> {
        Err(CountersDown("connection refused".into()))
    }

    async fn give_back(&self, _: &CounterName<'_>) -> Result<Counted, CountersDown> {
        Err(CountersDown("connection refused".into()))
    }
}

fn budget(limit: Limit) -> Budget {
    Budget::of("POST", "/x".to_owned(), limit).unwrap()
}

#[test]
fn an_address_of_ipv6_stands_for_its_network() {
    for (address, subject) in [
        (Some("198.51.100.1"), "ip 198.51.100.1"),
        (Some("::ffff:198.51.100.1"), "ip 198.51.100.1"),
        (Some("2001:db8:1:2:3:4:5:6"), "ip 2001:db8:1:2::"),
        (None, "ip 127.0.0.1"),
    ] {
        assert_eq!(Subject::of_address(address.map(|text| text.parse().unwrap())).to_string(), subject);
    }
}

#[tokio::test]
async fn a_window_begins_by_the_services_clock() {
    let clock = Arc::new(ManualClock::default());
    let limiter = Limiter::new(clock.clone());
    let budget = budget(Limit::ip(Rate::per_minute(1)));
    clock.advance(Duration::from_millis(59_500));
    let standing = limiter.count(&budget, &Subject::Everybody, 1).await.unwrap();
    assert_eq!((standing.admitted, standing.reset), (true, Duration::from_millis(500)));
    assert!(!limiter.count(&budget, &Subject::Everybody, 1).await.unwrap().admitted);
    clock.advance(Duration::from_millis(499));
    assert!(!limiter.count(&budget, &Subject::Everybody, 1).await.unwrap().admitted);
    clock.advance(Duration::from_millis(1));
    assert!(limiter.count(&budget, &Subject::Everybody, 1).await.unwrap().admitted);
}

#[tokio::test]
async fn an_outage_of_the_counters_lets_requests_go_on_but_keeps_what_is_worth_guessing() {
    let limiter = Limiter::new(Arc::new(ManualClock::default()));
    limiter.share(Arc::new(Down));
    let limit = Limit::ip(Rate::per_minute(2));
    let (open, kept) = (budget(limit), budget(limit.kept()));
    for outages in 1..=5 {
        assert_eq!(limiter.count(&open, &Subject::Everybody, 1).await, None);
        assert_eq!(limiter.outages(), outages);
    }
    for admitted in [true, true, false] {
        assert_eq!(limiter.count(&kept, &Subject::Everybody, 1).await.unwrap().admitted, admitted);
    }
    assert_eq!(limiter.outages(), 8);
}
