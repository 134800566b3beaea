//! The dashboard and the alert rules of `docs/operations` ask only for series that there are.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use session_manager_audit_metrics::{
    EVENTS, INCIDENTS, LIVE_SESSIONS, LIVE_SESSIONS_EXACT, LIVE_SESSIONS_SAMPLED, OPERATION_SECONDS, OPERATIONS,
};

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../docs/operations/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Every name of a series in a text.
fn asked_for(text: &str) -> Vec<&str> {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character| !word(character)).filter(|name| name.starts_with("session_manager_")).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_known_series() {
    let histogram = ["bucket", "sum", "count"].map(|suffix| format!("{OPERATION_SECONDS}_{suffix}"));
    let mut known = vec![
        EVENTS,
        OPERATIONS,
        INCIDENTS,
        LIVE_SESSIONS,
        LIVE_SESSIONS_EXACT,
        LIVE_SESSIONS_SAMPLED,
        OPERATION_SECONDS,
    ];
    known.extend(histogram.iter().map(String::as_str));
    for name in ["grafana-dashboard.json", "alerts.yaml", "metrics.md"] {
        let text = page(name);
        let asked = asked_for(&text);
        assert!(!asked.is_empty(), "{name}");
        for series in asked {
            assert!(known.contains(&series), "{name} asks for {series}");
        }
    }
}

#[test]
fn the_dashboard_is_json_and_its_panels_are_distinct() {
    let dashboard: serde_json::Value = serde_json::from_str(&page("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: std::collections::BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!((ids.len(), panels.len()), (12, 12));
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].as_str().is_some_and(|expr| !expr.is_empty())));
}
