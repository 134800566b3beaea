//! Mail by SMTP: every letter is on the disk before it counts as sent, and is handed on in the background until the server has it.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use lettre::address::Envelope;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use serde::{Deserialize, Serialize};
use session_manager_core::Clock;
use session_manager_core::clock::after;
use tokio::sync::Notify;

use super::message::Composed;
use crate::config::SecretUrl;
use crate::files;

/// How long a mail server may take for one letter, from the connection to its last word.
const LIMIT: Duration = Duration::from_secs(30);
/// How long letters wait after a failure.
const PAUSE: Duration = Duration::from_mins(1);
/// How long a letter is tried. Its links have expired by then.
const LIFE: Duration = Duration::from_hours(24);
/// A letter that somebody has claimed for longer was theirs when their process ended.
const CLAIM: Duration = Duration::from_mins(10);

const WAITING: &str = "json";
const CLAIMED: &str = "sending";

/// A letter with its envelope (RFC 5321).
#[derive(Debug, Serialize, Deserialize)]
struct Queued {
    from: Address,
    to: Address,
    /// The whole message, RFC 5322.
    message: String,
    since: DateTime<Utc>,
}

/// The folder of letters that wait, and the way out of it.
#[derive(Clone)]
pub(crate) struct Outbox {
    folder: PathBuf,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    clock: Arc<dyn Clock>,
    more: Arc<Notify>,
}

/// What became of a letter.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    /// It is tried again.
    Waits,
    /// It never will be.
    GivenUp,
}

impl Outbox {
    /// Over `smtps://[user:password@]host[:port]`, or `smtp://…?tls=required` for STARTTLS. The folder exists. Nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong with the URL, without repeating it.
    pub(crate) fn new(folder: PathBuf, url: &SecretUrl, clock: Arc<dyn Clock>) -> Result<Self, &'static str> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose()).map_err(|_| "is no URL of SMTP")?;
        Ok(Self { folder, transport: builder.timeout(Some(LIMIT)).build(), clock, more: Arc::default() })
    }

    /// Puts a letter in; it is on the disk when this returns.
    pub(super) fn put(&self, name: &str, letter: &Composed, since: DateTime<Utc>) -> io::Result<PathBuf> {
        let name = format!("{name}.{WAITING}");
        files::write_unique(&self.folder, &name, &content(letter, since)?)?;
        self.more.notify_one();
        Ok(self.folder.join(name))
    }

    /// Costs what it costs to put a letter in.
    pub(super) fn withhold(&self, letter: &Composed, since: DateTime<Utc>) -> io::Result<()> {
        super::withhold(&self.folder, content(letter, since)?.len())
    }

    /// Hands letters on: runs until it is dropped. Several processes may do so on one folder.
    pub(crate) async fn run(&self) {
        loop {
            // After that: those that had to wait, or those of a process that has ended. New ones at once.
            let pause = if self.send_all().await { CLAIM } else { PAUSE };
            select(pin!(self.more.notified()), self.clock.sleep(pause)).await;
        }
    }

    /// Tries each letter that waits, the oldest first. Returns whether none has to wait any longer.
    async fn send_all(&self) -> bool {
        let waiting = match self.waiting() {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, "the folder of waiting mail cannot be read");
                return false;
            }
        };
        if waiting.is_empty() {
            return true;
        }
        // Whatever keeps us from the server itself, a wrong password too, is nothing about a letter.
        match self.within_limit(self.transport.test_connection()).await {
            Some(Ok(true)) => {}
            Some(Ok(false)) | None => {
                tracing::warn!("the mail server does not answer; mail waits for it");
                return false;
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the mail server cannot be reached, or does not let us in; mail waits for it");
                return false;
            }
        }
        let mut all_gone = true;
        for path in waiting {
            match self.hand_on(&path).await {
                Ok(Outcome::Sent) => tracing::info!(file = %path.display(), "mail handed on"),
                Ok(Outcome::Waits) => all_gone = false,
                Ok(Outcome::GivenUp) => {
                    tracing::error!(file = %path.display(), "a mail could not be handed on, and was put aside");
                }
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    all_gone = false;
                    tracing::error!(%error, file = %path.display(), "a waiting mail cannot be read or written");
                }
            }
        }
        all_gone
    }

    /// Nothing when it takes too long: the library's own limit ends with the connection.
    async fn within_limit<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), self.clock.sleep(LIMIT)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    fn waiting(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(WAITING) => paths.push(path),
                Some(CLAIMED) if self.is_abandoned(&path) => {
                    let back = path.with_extension("");
                    // Where another process was faster, it is theirs.
                    if std::fs::rename(&path, &back).is_ok() {
                        paths.push(back);
                    }
                }
                _ => {}
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn is_abandoned(&self, path: &Path) -> bool {
        let written = std::fs::metadata(path).and_then(|found| found.modified());
        written.is_ok_and(|written| after(DateTime::<Utc>::from(written), CLAIM) < self.clock.now())
    }

    async fn hand_on(&self, path: &Path) -> io::Result<Outcome> {
        let claim = Claim::of(path)?;
        // It counts from now.
        std::fs::File::options().append(true).open(&claim.claimed)?.set_modified(self.clock.now().into())?;
        let letter: Queued = match serde_json::from_slice(&std::fs::read(&claim.claimed)?) {
            Ok(letter) => letter,
            Err(_) => return self.put_aside(claim),
        };
        let envelope = Envelope::new(Some(letter.from), vec![letter.to]);
        let Ok(envelope) = envelope else { return self.put_aside(claim) };
        let is_old = after(letter.since, LIFE) < self.clock.now();
        match self.within_limit(self.transport.send_raw(&envelope, letter.message.as_bytes())).await {
            Some(Ok(_)) => {
                claim.end(|claimed| std::fs::remove_file(claimed))?;
                Ok(Outcome::Sent)
            }
            Some(Err(error)) if error.is_permanent() || is_old => {
                tracing::warn!(%error, "the mail server refused a mail");
                self.put_aside(claim)
            }
            None if is_old => self.put_aside(claim),
            Some(Err(error)) => {
                tracing::warn!(%error, "the mail server did not take a mail, which will be tried again");
                Ok(Outcome::Waits)
            }
            None => {
                tracing::warn!("the mail server took too long for a mail, which will be tried again");
                Ok(Outcome::Waits)
            }
        }
    }

    /// Keeps it for whoever looks into the log.
    fn put_aside(&self, claim: Claim) -> io::Result<Outcome> {
        let folder = self.folder.join("failed");
        files::make_folder(&folder)?;
        let kept = folder.join(claim.path.file_name().unwrap_or_default());
        claim.end(|claimed| std::fs::rename(claimed, kept))?;
        Ok(Outcome::GivenUp)
    }
}

/// What is in a letter's file.
fn content(letter: &Composed, since: DateTime<Utc>) -> io::Result<Vec<u8>> {
    let message = String::from_utf8_lossy(&letter.bytes).into_owned();
    let letter = Queued { from: letter.from.clone(), to: letter.to.clone(), message, since };
    Ok(serde_json::to_vec(&letter)?)
}

/// A letter that this process is sending. Unless that comes to an end, it waits again when this is dropped.
struct Claim {
    path: PathBuf,
    claimed: PathBuf,
    ended: bool,
}

impl Claim {
    fn of(path: &Path) -> io::Result<Self> {
        let claimed = PathBuf::from(format!("{}.{CLAIMED}", path.display()));
        std::fs::rename(path, &claimed)?;
        Ok(Self { path: path.to_owned(), claimed, ended: false })
    }

    fn end(mut self, how: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        how(&self.claimed)?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.ended {
            // What cannot be given back is taken back when it has been claimed for long.
            let _ = std::fs::rename(&self.claimed, &self.path);
        }
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
