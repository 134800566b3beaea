//! Mail: messages of ours, written to the spool folder and named in the log, or handed to a mail server.

mod message;
mod outbox;
mod templates;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

pub(crate) use outbox::Outbox;
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
    /// The way to a mail server, in place of the spool folder.
    outbox: Option<Outbox>,
    /// From whom letters are; `no-reply` at the host of `public_url` unless set.
    sender: Option<EmailAddress>,
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
        Self { inner: Arc::new(Inner { spool, public_url, outbox: None, sender: None }) }
    }

    /// Hands letters to a mail server.
    pub(crate) fn over(public_url: PublicUrl, outbox: Outbox, sender: Option<EmailAddress>) -> Self {
        Self { inner: Arc::new(Inner { spool: PathBuf::new(), public_url, outbox: Some(outbox), sender }) }
    }

    /// Where letters wait for the mail server, if there is one.
    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        self.inner.outbox.as_ref()
    }

    /// Writes the letter as one file, whole or not at all, and logs recipient, subject and file; never the link. With a mail server it is in the
    /// outbox then, which hands it on.
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
        let message = message::compose(&self.inner, recipient, letter, id, now)?;
        // Sorted by name is sorted by time.
        let time = now.to_rfc3339_opts(SecondsFormat::Millis, true).replace([':', '-'], "");
        let name = format!("{time}-{}-{}", letter.slug(), id.simple());
        let inner = self.inner.clone();
        let written = tokio::task::spawn_blocking(move || inner.write(&name, &message, now)).await;
        let path = written.map_err(|error| MailError::Spool(error.into()))?.map_err(MailError::Spool)?;
        tracing::info!(
            to = %recipient.email, subject = letter.subject(), file = %path.display(),
            "mail spooled"
        );
        Ok(path)
    }
}

impl Inner {
    fn write(&self, name: &str, message: &message::Composed, now: DateTime<Utc>) -> std::io::Result<PathBuf> {
        if let Some(outbox) = &self.outbox {
            return outbox.put(name, message, now);
        }
        let name = format!("{name}.eml");
        files::write_unique(&self.spool, &name, &message.bytes)?;
        Ok(self.spool.join(name))
    }
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
