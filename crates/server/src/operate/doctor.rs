//! `doctor`: looks at everything that the service depends on.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use session_manager::enricher_geoip::GeoIpEnricher;
use session_manager_core::storage::{Finding, Severity};
use session_manager_core::{Clock as _, SystemClock};

use super::say;
use super::table::Rows;
use crate::app::App;
use crate::cli::Output;
use crate::config::{PublicUrl, Settings};
use crate::data::Data;
use crate::exit::StartError;

/// A database of places that is older names many addresses wrongly; the usual ones come every week.
const OLD: Duration = Duration::from_hours(60 * 24);
/// Beyond this, deadlines of different clocks are felt.
const SKEW: i64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Error,
}

/// What was found of one thing.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

#[derive(Debug, Default)]
struct Report(Vec<Check>);

impl Report {
    fn add(&mut self, what: &'static str, verdict: Verdict, detail: impl Into<String>) {
        self.0.push(Check { what, verdict, detail: detail.into() });
    }

    /// What a check of a schema or a storage has found.
    fn findings(&mut self, what: &'static str, findings: &[Finding], well: &str) {
        if findings.is_empty() {
            self.add(what, Verdict::Ok, well);
        }
        for finding in findings {
            let verdict = if finding.severity >= Severity::Error { Verdict::Error } else { Verdict::Warning };
            self.add(what, verdict, &finding.message);
        }
    }

    fn end(self, output: Output) -> Result<(), StartError> {
        if output.json {
            for check in &self.0 {
                let line =
                    serde_json::to_string(check).map_err(|error| super::failed("it cannot be written", error))?;
                say(&format!("{line}\n"))?;
            }
        } else {
            let mut rows = Rows::new(&["", "WHAT", "FOUND"]);
            for check in &self.0 {
                let sign = match check.verdict {
                    Verdict::Ok => "ok",
                    Verdict::Warning => "WARNING",
                    Verdict::Error => "ERROR",
                };
                rows.add(&[sign.to_owned(), check.what.to_owned(), check.detail.clone()]);
            }
            say(&rows.into_text())?;
        }
        let errors = self.0.iter().filter(|check| check.verdict == Verdict::Error).count();
        if errors == 0 {
            return Ok(());
        }
        Err(StartError::environment("something is wrong", format!("errors: {errors}"), "Each line above says what."))
    }
}

pub(super) async fn run(settings: &Settings, output: Output) -> Result<(), StartError> {
    let mut report = Report::default();
    report.add("configuration", Verdict::Ok, "valid");
    examine(settings, &mut report).await;
    report.end(output)
}

/// Goes on for as long as there is something to look at.
async fn examine(settings: &Settings, report: &mut Report) {
    let data = match Data::open(settings).await {
        Ok(data) => data,
        Err(error) => return report.add("data folder", Verdict::Error, error.to_string()),
    };
    report.add(
        "data folder",
        Verdict::Ok,
        format!("{} can be written, and is its owner's only", settings.data.display()),
    );
    report.add("keys", Verdict::Ok, "can be read, and are their owner's only");
    places(settings, report);
    certificate(settings, report).await;
    let engine = data.pool.engine();
    let app = match App::new(settings.clone(), data, settings.listen, Arc::new(SystemClock)).await {
        Ok(app) => app,
        Err(error) => return report.add("sessions", Verdict::Error, error.to_string()),
    };
    match app.accounts().ping().await {
        Ok(()) => report.add("accounts", Verdict::Ok, format!("can be read, in {}", engine.name())),
        Err(fault) => report.add("accounts", Verdict::Error, fault.to_string()),
    }
    sessions(&app, report).await;
    if let Some(audit) = app.sessions().audit() {
        match audit.check_schema().await {
            Ok(health) => report.findings("audit trail", &health.findings, "its tables fit"),
            Err(error) => report.add("audit trail", Verdict::Error, error.to_string()),
        }
    }
    backup(&app, report).await;
    app.data().close().await;
}

async fn sessions(app: &App, report: &mut Report) {
    match app.sessions().manager().check().await {
        Ok(health) => {
            report.findings("sessions", &health.findings, "their storage is reached and keeps its promises");
            if let Some(skew) = health.clock_skew_millis.filter(|skew| skew.abs() > SKEW) {
                report.add("clock", Verdict::Warning, format!("the storage's differs from ours by {skew} ms"));
            }
        }
        Err(error) => report.add("sessions", Verdict::Error, error.to_string()),
    }
}

fn places(settings: &Settings, report: &mut Report) {
    let Some(path) = &settings.geoip.city else { return };
    match GeoIpEnricher::builder().database(path).open() {
        Err(error) => report.add("places", Verdict::Error, error.to_string()),
        Ok(database) => {
            let is_old = database.status().iter().any(|status| status.is_older_than(OLD, SystemClock.now().into()));
            let (verdict, detail) = if is_old {
                (Verdict::Warning, "the database is older than sixty days; fetch a new one")
            } else {
                (Verdict::Ok, "the database can be read")
            };
            report.add("places", verdict, detail);
        }
    }
}

/// Of the listener.
async fn certificate(settings: &Settings, report: &mut Report) {
    const WHAT: &str = "TLS";
    let Some(certificate) = settings.certificate() else { return };
    let pair = match certificate.read().await {
        Ok(pair) => pair,
        Err(error) => return report.add(WHAT, Verdict::Error, error.to_string()),
    };
    let url = settings.public_url.clone().or_else(|| PublicUrl::of_listener(settings.listen, true));
    let concerns = pair.concerns(url.as_ref().and_then(PublicUrl::host), SystemClock.now());
    if concerns.is_empty() {
        report.add(WHAT, Verdict::Ok, "certificate and key can be read, belong together, and are of today");
    }
    for concern in concerns {
        report.add(WHAT, Verdict::Warning, concern);
    }
}

/// A database from a backup has sessions in it that were ended since, until everybody's epoch is raised.
async fn backup(app: &App, report: &mut Report) {
    const WHAT: &str = "backup";
    let restored = match app.data().mark.restored_at().await {
        Ok(Some(restored)) => restored,
        Ok(None) => return report.add(WHAT, Verdict::Ok, "the database is the one that was written last"),
        Err(error) => return report.add(WHAT, Verdict::Error, error.to_string()),
    };
    let rotated = match app.sessions().manager().epochs(None).await {
        // Within a grace some of them live on.
        Ok(epochs) => {
            let global = epochs.global.filter(|global| global.grace_until.is_none_or(|until| until <= app.now()));
            global.and_then(|global| global.rotated_at)
        }
        Err(error) => return report.add(WHAT, Verdict::Error, error.to_string()),
    };
    let at = super::table::time(restored);
    if rotated.is_some_and(|rotated| rotated >= restored) {
        return report.add(
            WHAT,
            Verdict::Ok,
            format!("the database was restored ({at}), and all sessions were ended since"),
        );
    }
    report.add(
        WHAT,
        Verdict::Error,
        format!(
            "the database was restored from a backup ({at}): sessions that were ended after it was made may be back. End all \
             of them: session-manager-server tokens rotate --everybody --reason 'backup restored'"
        ),
    );
}

/// Says so in the log of the service too.
pub(crate) async fn warn_of_backup(app: &App) {
    let mut report = Report::default();
    backup(app, &mut report).await;
    for check in report.0.iter().filter(|check| check.verdict == Verdict::Error) {
        tracing::error!("{}", check.detail);
    }
}
