//! Runs the service: listens, serves, and ends in good order.

mod activity;
mod connections;
mod envelope;
mod greeting;
mod layers;
mod places;
mod progress;
mod reread;
mod signals;
mod tls;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use session_manager_core::SystemClock;
use tokio::net::TcpListener;
use tower::Layer as _;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};

use crate::app::App;
use crate::config::Settings;
use crate::data::{Data, key_folder};
use crate::exit::{StartError, reason};
use crate::operate::doctor;
use crate::routes;

pub(crate) use reread::READ_EVERY as READ_KEYS_EVERY;

/// How long requests in flight may take to end after the signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs until a signal ends it.
///
/// # Errors
/// Everything that keeps the service from starting.
pub(crate) async fn run(settings: Settings) -> Result<(), StartError> {
    // Before everything else, so that a signal that comes early is not lost.
    let signal = signals::Signals::listen()?;
    let (hangups, key_hangups) = (signals::Hangups::listen()?, signals::Hangups::listen()?);
    let listener = bind(settings.listen).await?;
    let address = listener.local_addr().map_err(|error| cannot_listen(settings.listen, &error))?;
    let certificate = settings.certificate();
    let tls = match &certificate {
        Some(certificate) => Some(tls::Tls::new(certificate.read().await?)?),
        None => None,
    };
    let data = Data::open(&settings).await?;
    let app = App::new(settings, data, address, Arc::new(SystemClock)).await?;
    greeting::warn(&app, address);
    doctor::warn_of_backup(&app).await;
    let scheme = if tls.is_some() { "https" } else { "http" };
    say(&format!("listening on {scheme}://{address}\n{}", greeting::quick_start(&app)));
    let maintenance = tokio::spawn(app.maintenance());
    let (folder, keys) = (key_folder(&app.settings().data), app.data().keys.clone());
    let rereading =
        tokio::spawn(reread::follow(app.keys().clone(), folder, keys, Arc::clone(app.clock()), key_hangups));
    let (tls, presented) = tls.unzip();
    let following = presented.zip(certificate).map(|(presented, certificate)| {
        let host = app.public_url().host().map(str::to_owned);
        presented.warn(host.as_deref(), app.now());
        tokio::spawn(presented.follow(certificate, host, Arc::clone(app.clock()), hangups))
    });
    serve(listener, tls, routes::router(app.clone()), &app, signal).await;
    rereading.abort();
    if let Some(following) = following {
        following.abort();
    }
    // A clean-up that is cut off in its middle is rolled back, and goes on after the next start.
    maintenance.abort();
    let _ = maintenance.await;
    app.background().finish(DRAIN).await;
    app.providers().background().finish(DRAIN).await;
    if let Err(error) = app.sessions().manager().flush().await {
        tracing::error!(%error, "the audit trail could not be completed");
    }
    app.data().close().await;
    tracing::info!("ended");
    Ok(())
}

/// The routes with all that is around them. Paths with a slash at the end are those without.
pub(crate) fn service(routes: Router, app: &App) -> NormalizePath<Router> {
    NormalizePathLayer::trim_trailing_slash().layer(layers::wrap(routes, app))
}

/// Serves until the signal, then lets the requests in flight end.
async fn serve(listener: TcpListener, tls: Option<tls::Tls>, routes: Router, app: &App, mut signal: signals::Signals) {
    let most = usize::try_from(app.settings().http.max_connections).unwrap_or(usize::MAX);
    let open = connections::serve(listener, tls, most, service(routes, app), signal.received()).await;
    app.streams().end();
    tracing::info!("ending: no new connections, requests in flight may finish");
    if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still running after {DRAIN:?} and were cut off");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> StartError {
    StartError::environment(
        format!("cannot listen on {address}"),
        reason(error),
        "Stop the other process, or choose another address with --listen 127.0.0.1:8081 (port 0 picks a free one).",
    )
}

/// Writes to standard output. Nobody reading it is no reason to stop.
fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
