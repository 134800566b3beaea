//! The signals that end the service, and the one by which its files are read again.

use crate::exit::StartError;

/// SIGHUP, from the moment of [`Hangups::listen`] on. Elsewhere there is none.
#[derive(Debug)]
pub(super) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    #[cfg(unix)]
    pub(super) fn listen() -> Result<Self, StartError> {
        Ok(Self { hangup: listen(tokio::signal::unix::SignalKind::hangup())? })
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> Result<Self, StartError> {
        Ok(Self {})
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// SIGTERM and SIGINT (Ctrl-C elsewhere), from the moment of [`Signals::listen`] on.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn listen() -> Result<Self, StartError> {
        use tokio::signal::unix::SignalKind;
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> Result<Self, StartError> {
        Ok(Self {})
    }

    #[cfg(unix)]
    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(super) async fn received(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(unix)]
fn listen(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal, StartError> {
    tokio::signal::unix::signal(kind).map_err(|error| {
        StartError::environment("cannot wait for signals", error.to_string(), "Check the limits of the process.")
    })
}
