//! Takes up another key file while the service runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::Clock;

use super::signals::Hangups;
use crate::exit::{StartError, reason};
use crate::keys::{Keys, LiveKeys};

/// How often the file is looked at. A key that takes over no sooner than this after it was announced is known to all servers of the folder.
pub(crate) const READ_EVERY: Duration = Duration::from_secs(30);

/// Reads the file in the folder again, now and then and when it is asked for. Runs until it is dropped.
///
/// # Behaviour
/// A file that cannot be used, or is of another installation, changes nothing; why is logged once.
pub(super) async fn follow(
    live: LiveKeys,
    folder: PathBuf,
    mut known: Keys,
    clock: Arc<dyn Clock>,
    mut hangups: Hangups,
) {
    let mut told: Option<String> = None;
    loop {
        let is_asked = tokio::select! {
            () = hangups.next() => true,
            () = clock.sleep(READ_EVERY) => false,
        };
        match read(folder.clone(), &known).await {
            Ok(keys) if keys.has_same_tokens(&known) => {
                if told.take().is_some() {
                    tracing::info!("the key file can be read again");
                }
            }
            Ok(keys) => match live.replace(&keys) {
                Ok(()) => {
                    tracing::info!("the keys of the tokens are those of the changed key file from now on");
                    (known, told) = (keys, None);
                }
                Err(error) => tracing::error!(%error, "the keys of the changed key file cannot be used"),
            },
            Err(error) => {
                let error = error.to_string();
                if is_asked || told.as_ref() != Some(&error) {
                    tracing::error!(%error, "the key file cannot be read again; the keys of before are used on");
                }
                told = Some(error);
            }
        }
    }
}

async fn read(folder: PathBuf, known: &Keys) -> Result<Keys, StartError> {
    let read = tokio::task::spawn_blocking(move || Keys::load(&folder)).await;
    let keys = read.map_err(|error| {
        StartError::environment("the key file cannot be read", reason(&std::io::Error::other(error)), "Try it again.")
    })??;
    if keys.is_of_one_file(known) {
        return Ok(keys);
    }
    Err(StartError::environment(
        "the key file is of another installation",
        "its root secret is another one",
        "Put the file of before back, or start the server again, which ends every session.",
    ))
}
