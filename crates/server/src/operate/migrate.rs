//! `migrate storage`: copies every session to another storage, beside the running service.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use session_manager::storage_migration::{CopyOptions, CopyProgress, copy};
use session_manager_core::storage::ScanCursor;

use super::{failed, misspelt, say};
use crate::cli::MigrateCommand;
use crate::config::{self, SecretUrl, SessionStorageKind, Settings};
use crate::data::Data;
use crate::exit::StartError;
use crate::files;
use crate::sessions;

/// Where an interrupted copy goes on.
const FILE: &str = "migration.json";
/// How often the place is written down and the progress shown, where that is no terminal.
const SAY_EVERY: u64 = 10_000;

#[derive(Debug, Serialize, Deserialize)]
struct Interrupted {
    /// Without passwords.
    from: String,
    to: String,
    cursor: String,
}

pub(super) async fn run(settings: &Settings, command: MigrateCommand) -> Result<(), StartError> {
    let MigrateCommand::Storage { from, to, per_second } = command;
    let (old, new) = (place(settings, &from, "--from")?, place(settings, &to, "--to")?);
    let names = [&old, &new].map(|place| named(&place.sessions));
    if names.first() == names.last() {
        return Err(misspelt("the way", "--from and --to are the same storage"));
    }
    let data = Data::open(settings).await?;
    let (old, new) = (sessions::storage(&old, &data).await?, sessions::storage(&new, &data).await?);
    let [from, to] = names;
    let resume = interrupted(&settings.data).filter(|last| last.from == from && last.to == to);
    if resume.is_some() {
        say("going on where the last copy was interrupted\n")?;
    }
    let options = CopyOptions::new().per_second(per_second).resume(resume.map(|last| ScanCursor(last.cursor)));
    let shown = Shown::new();
    let folder = settings.data.clone();
    let mut step = |progress: &CopyProgress| {
        shown.show(progress);
        let last = progress.cursor.as_ref().map(|cursor| Interrupted {
            from: from.clone(),
            to: to.clone(),
            cursor: cursor.0.clone(),
        });
        note(&folder, last.as_ref());
    };
    let resumed = options.resume.is_some();
    let mut done = copy(&*old, &*new, &options, &mut step).await;
    if resumed && done.is_ok() {
        // What changed before the place where it went on was not looked at: once more, from one end to the other.
        done = copy(&*old, &*new, &options.resume(None), &mut step).await;
    }
    shown.end();
    let done =
        done.map_err(|error| failed("the copy was interrupted, and goes on here when it is called again", error))?;
    data.close().await;
    say(&format!(
        "sessions: {} read, {} written, {} were there as new, {} were removed meanwhile\n",
        done.scanned, done.written, done.kept, done.gone
    ))
}

/// The settings with the storage that an argument names.
fn place(settings: &Settings, text: &str, argument: &str) -> Result<Settings, StartError> {
    let (kind, url) = text.split_once('=').map_or((text, None), |(kind, url)| (kind, Some(url)));
    let storage: SessionStorageKind = serde_json::from_value(kind.into())
        .map_err(|_| misspelt(argument, "the kind is sqlx, redis, redis-cluster or redis-sentinel"))?;
    if matches!(storage, SessionStorageKind::Memory | SessionStorageKind::Memcached | SessionStorageKind::Tiered) {
        return Err(misspelt(argument, "a storage of this kind cannot be read from one end to the other"));
    }
    let url: Option<SecretUrl> = url
        .map(|url| serde_json::from_value(url.into()))
        .transpose()
        .map_err(|_| misspelt(argument, "the URL cannot be read"))?;
    let sessions = config::Sessions { storage, url, cache_url: None };
    let settings = Settings { sessions, ..settings.clone() };
    config::check(&settings)?;
    Ok(settings)
}

fn named(sessions: &config::Sessions) -> String {
    let kind = serde_json::to_value(sessions.storage).unwrap_or_default();
    let url = sessions.url.as_ref().map(SecretUrl::masked).unwrap_or_default();
    format!("{}={url}", kind.as_str().unwrap_or_default())
}

fn interrupted(folder: &Path) -> Option<Interrupted> {
    serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
}

/// Writes down where to go on; at the end there is nothing to go on with.
fn note(folder: &Path, last: Option<&Interrupted>) {
    let done = match last {
        Some(last) => serde_json::to_vec(last)
            .map_err(std::io::Error::from)
            .and_then(|bytes| files::write_unique(folder, FILE, &bytes)),
        None => match std::fs::remove_file(folder.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done,
        },
    };
    if let Err(error) = done {
        tracing::warn!(%error, "an interruption would begin the copy anew");
    }
}

/// A line on a terminal that moves, and else a line now and then; both on standard error.
enum Shown {
    Bar(ProgressBar),
    Lines(std::sync::atomic::AtomicU64),
}

impl Shown {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines(std::sync::atomic::AtomicU64::new(0));
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {pos} sessions read ({per_sec}), {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar(bar)
    }

    fn show(&self, progress: &CopyProgress) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(progress.scanned);
                bar.set_message(format!("{} written", progress.written));
            }
            Self::Lines(last) => {
                let step = progress.scanned / SAY_EVERY;
                if last.swap(step, std::sync::atomic::Ordering::Relaxed) != step {
                    // Nobody reading it is no reason to stop.
                    let _ = writeln!(std::io::stderr(), "{} read, {} written", progress.scanned, progress.written);
                }
            }
        }
    }

    fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_is_a_kind_and_its_url() {
        let settings = Settings::default();
        for (text, name) in [
            ("sqlx", "sqlx="),
            ("sqlx=postgres://app:hunter2@db/x", "sqlx=postgres://app:***@db/x"),
            ("redis=redis://:hunter2@a:1", "redis=redis://:***@a:1"),
            ("redis-cluster=redis://a:1,redis://b:2", "redis-cluster=redis://a:1,redis://b:2"),
        ] {
            assert_eq!(named(&place(&settings, text, "--to").unwrap().sessions), name);
        }
        for text in ["", "memory", "memcached=a:1", "tiered", "redis", "redis=postgres://a", "postgres=postgres://a"] {
            let message = place(&settings, text, "--to").unwrap_err().to_string();
            assert!(message.contains("--to") || message.contains("`sessions.url`"), "{text}: {message}");
        }
    }
}
