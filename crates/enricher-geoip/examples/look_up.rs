//! What a look-up takes: `cargo run --release -p session-manager-enricher-geoip --example look_up -- DATABASE ADDRESS…`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a program for maintainers"
)]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use session_manager_enricher_geoip::GeoIpEnricher;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let geoip = GeoIpEnricher::builder().database(arguments.next().unwrap()).open().unwrap();
    for address in arguments {
        let parsed: IpAddr = address.parse().unwrap();
        let mut least = Duration::MAX;
        for _ in 0..30 {
            let begun = Instant::now();
            for _ in 0..1_000 {
                let _ = black_box(geoip.locate(parsed).unwrap());
            }
            least = least.min(begun.elapsed());
        }
        println!("{address}: {:.2} microseconds, the least of 30 rounds", least.as_secs_f64() * 1e3);
    }
}
