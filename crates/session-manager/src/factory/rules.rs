//! The rules that look twice.

use std::sync::Arc;

use session_manager_core::{Result, SessionStorage, SuspicionRule};

use super::config::{Config, Suspicion};

#[cfg(feature = "suspicion")]
pub(super) fn rules(config: &Config, storage: &Arc<dyn SessionStorage>) -> Result<Vec<Arc<dyn SuspicionRule>>> {
    use session_manager_suspicion::{
        DeviceChange, History, ImpossibleTravel, NetworkChange, NewCountry, NewDevice, RejectedTokens,
    };

    use super::config::Enricher;

    let Suspicion { new_country, impossible_travel, device_change, new_device, network_change, rejected_tokens } =
        config.suspicion;
    for (rule, is_on, enricher, name) in [
        ("new_country", new_country.is_some(), Enricher::Geoip, "geoip"),
        ("impossible_travel", impossible_travel.is_some(), Enricher::Geoip, "geoip"),
        ("device_change", device_change.is_some(), Enricher::Device, "device"),
        ("new_device", new_device.is_some(), Enricher::Device, "device"),
    ] {
        if is_on && !config.enrichers.contains(&enricher) {
            return Err(super::refuse(format!("`suspicion.{rule}` needs `{name}` in `enrichers`")));
        }
    }
    let history = History::new(Arc::clone(storage));
    let mut rules: Vec<Arc<dyn SuspicionRule>> = Vec::new();
    if let Some(action) = new_country {
        rules.push(Arc::new(NewCountry::new().action(action.into()).history(history.clone())));
    }
    if let Some(action) = impossible_travel {
        rules.push(Arc::new(ImpossibleTravel::new().action(action.into()).history(history.clone())));
    }
    if let Some(action) = device_change {
        rules.push(Arc::new(DeviceChange::new().action(action.into())));
    }
    if let Some(action) = new_device {
        rules.push(Arc::new(NewDevice::new(history).action(action.into())));
    }
    if let Some(action) = network_change {
        rules.push(Arc::new(NetworkChange::new().action(action.into())));
    }
    if let Some(threshold) = rejected_tokens {
        rules.push(Arc::new(RejectedTokens::new(threshold.get())));
    }
    Ok(rules)
}

#[cfg(not(feature = "suspicion"))]
pub(super) fn rules(config: &Config, _: &Arc<dyn SessionStorage>) -> Result<Vec<Arc<dyn SuspicionRule>>> {
    if config.suspicion == Suspicion::default() {
        return Ok(Vec::new());
    }
    Err(super::not_compiled("suspicion", "any rule", "suspicion"))
}
