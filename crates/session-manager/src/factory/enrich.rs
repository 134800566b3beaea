//! Who tells more about a client.

use std::sync::Arc;

use session_manager_core::{Result, SessionEnricher};

use super::config::{Config, Enricher};
use super::resources::Resources;

/// The enrichers, and those of them that an application uses by themselves.
#[derive(Default)]
pub(super) struct Enriching {
    pub(super) enrichers: Vec<Arc<dyn SessionEnricher>>,
    #[cfg(feature = "enricher-geoip")]
    pub(super) geoip: Option<Arc<session_manager_enricher_geoip::GeoIpEnricher>>,
}

pub(super) fn enrichers(config: &Config, resources: &Resources) -> Result<Enriching> {
    let mut enriching = Enriching::default();
    for (index, enricher) in config.enrichers.iter().enumerate() {
        if config.enrichers.iter().take(index).any(|earlier| earlier == enricher) {
            return Err(super::refuse("`enrichers` names one twice"));
        }
        let enricher = match enricher {
            Enricher::Device => device()?,
            Enricher::Geoip => geoip(config, resources, &mut enriching)?,
        };
        enriching.enrichers.push(enricher);
    }
    Ok(enriching)
}

#[cfg(feature = "enricher-device")]
fn device() -> Result<Arc<dyn SessionEnricher>> {
    Ok(Arc::new(session_manager_enricher_device::DeviceEnricher::new()?))
}

#[cfg(not(feature = "enricher-device"))]
fn device() -> Result<Arc<dyn SessionEnricher>> {
    Err(super::not_compiled("enrichers", "device", "enricher-device"))
}

#[cfg(feature = "enricher-geoip")]
fn geoip(config: &Config, resources: &Resources, enriching: &mut Enriching) -> Result<Arc<dyn SessionEnricher>> {
    use session_manager_enricher_geoip::{GeoIpBuilder, GeoIpEnricher};

    if config.geoip.databases.is_empty() {
        return Err(super::refuse("`enrichers` = geoip needs the files of `geoip.databases`"));
    }
    let mut builder = config.geoip.databases.iter().fold(GeoIpEnricher::builder(), GeoIpBuilder::database);
    if let Some(clock) = &resources.clock {
        builder = builder.clock(Arc::clone(clock));
    }
    let geoip = Arc::new(builder.open()?);
    enriching.geoip = Some(Arc::clone(&geoip));
    Ok(geoip)
}

#[cfg(not(feature = "enricher-geoip"))]
fn geoip(_: &Config, _: &Resources, _: &mut Enriching) -> Result<Arc<dyn SessionEnricher>> {
    Err(super::not_compiled("enrichers", "geoip", "enricher-geoip"))
}
