//! Mail: messages of ours, written to the spool folder and named in the log.

mod message;
mod templates;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

pub(crate) use templates::{DeviceSummary, Letter};

use crate::accounts::EmailAddress;
use crate::config::PublicUrl;
use crate::files;
use crate::random;

/// Sends our letters. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mailer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spool: PathBuf,
    public_url: PublicUrl,
}

/// Who gets a letter.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    pub(crate) name: String,
    pub(crate) email: EmailAddress,
}

/// A letter could not be sent. Holds no address and no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailError {
    #[error("the mail could not be put together")]
    Message(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the mail could not be written to the spool folder")]
    Spool(#[source] std::io::Error),
}

impl Mailer {
    /// Spools into `spool`, which exists; links begin with `public_url`.
    pub(crate) fn new(spool: PathBuf, public_url: PublicUrl) -> Self {
        Self { inner: Arc::new(Inner { spool, public_url }) }
    }

    /// Writes the letter as one `.eml` file, whole or not at all, and logs recipient, subject and file; never the link.
    ///
    /// # Behaviour
    /// A dropped future may leave the file written.
    pub(crate) async fn send(
        &self,
        recipient: &Recipient,
        letter: &Letter<'_>,
        now: DateTime<Utc>,
    ) -> Result<PathBuf, MailError> {
        let id = Uuid::from_bytes(random::bytes().map_err(|error| MailError::Message(error.into()))?);
        let bytes = message::format(&self.inner.public_url, recipient, letter, id, now)?;
        // Sorted by name is sorted by time.
        let time = now.to_rfc3339_opts(SecondsFormat::Millis, true).replace([':', '-'], "");
        let name = format!("{time}-{}-{}.eml", letter.slug(), id.simple());
        let inner = self.inner.clone();
        let path = inner.spool.join(&name);
        let written = tokio::task::spawn_blocking(move || files::write_unique(&inner.spool, &name, &bytes)).await;
        written.map_err(|error| MailError::Spool(error.into()))?.map_err(MailError::Spool)?;
        tracing::info!(
            to = %recipient.email, subject = letter.subject(), file = %path.display(),
            "mail spooled"
        );
        Ok(path)
    }
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
