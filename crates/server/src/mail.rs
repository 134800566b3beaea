//! Mail: messages of ours, written to the spool folder and named in the log, or handed to a mail server.

mod message;
mod outbox;
mod templates;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

pub(crate) use outbox::Outbox;
pub(crate) use templates::{DeviceSummary, Letter};

use crate::accounts::EmailAddress;
use crate::config::PublicUrl;
use crate::files;
use crate::limits::Letters;
use crate::random;

/// Sends our letters. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mailer {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    spool: PathBuf,
    public_url: PublicUrl,
    /// The way to a mail server, in place of the spool folder.
    outbox: Option<Outbox>,
    /// From whom letters are; `no-reply` at the host of `public_url` unless set.
    sender: Option<EmailAddress>,
    /// How many letters strangers can cause; as many as they like without.
    letters: Option<Letters>,
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
    Spool(#[source] io::Error),
}

impl Mailer {
    /// Spools into `spool`, which exists; links begin with `public_url`.
    pub(crate) fn new(spool: PathBuf, public_url: PublicUrl) -> Self {
        Self { inner: Arc::new(Inner { spool, public_url, outbox: None, sender: None, letters: None }) }
    }

    /// Hands letters to a mail server.
    pub(crate) fn over(public_url: PublicUrl, outbox: Outbox, sender: Option<EmailAddress>) -> Self {
        Self {
            inner: Arc::new(Inner { spool: PathBuf::new(), public_url, outbox: Some(outbox), sender, letters: None }),
        }
    }

    /// Sends no more of the letters that strangers can cause than this admits.
    pub(crate) fn within(self, letters: Letters) -> Self {
        Self { inner: Arc::new(Inner { letters: Some(letters), ..Inner::clone(&self.inner) }) }
    }

    /// Where letters wait for the mail server, if there is one.
    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        self.inner.outbox.as_ref()
    }

    /// Writes the letter as one file, whole or not at all, and logs recipient, subject and file; never the link. With a mail server it is in the
    /// outbox then, which hands it on.
    ///
    /// # Behaviour
    /// - A dropped future may leave the file written.
    /// - A letter that anybody can cause is withheld once its mailbox had enough of them. Nothing is returned then.
    ///
    /// # Security
    /// To withhold a letter costs what it costs to send it, so that the time of an answer does not tell which it was.
    pub(crate) async fn send(
        &self,
        recipient: &Recipient,
        letter: &Letter<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<PathBuf>, MailError> {
        let withheld = match &self.inner.letters {
            Some(letters) if letter.is_anybodys() => !letters.admits(&recipient.email).await,
            _ => false,
        };
        let id = Uuid::from_bytes(random::bytes().map_err(|error| MailError::Message(error.into()))?);
        let message = message::compose(&self.inner, recipient, letter, id, now)?;
        // Sorted by name is sorted by time.
        let time = now.to_rfc3339_opts(SecondsFormat::Millis, true).replace([':', '-'], "");
        let name = format!("{time}-{}-{}", letter.slug(), id.simple());
        let inner = self.inner.clone();
        let written = tokio::task::spawn_blocking(move || inner.write(&name, &message, now, withheld)).await;
        let path = written.map_err(|error| MailError::Spool(error.into()))?.map_err(MailError::Spool)?;
        let (to, subject) = (&recipient.email, letter.subject());
        match &path {
            Some(path) => tracing::info!(%to, subject, file = %path.display(), "mail spooled"),
            None => {
                tracing::info!(%to, subject, "mail withheld: the mailbox had enough of those that anybody can cause");
            }
        }
        Ok(path)
    }
}

impl Inner {
    /// Nothing for a letter that is withheld.
    fn write(
        &self,
        name: &str,
        message: &message::Composed,
        now: DateTime<Utc>,
        withheld: bool,
    ) -> io::Result<Option<PathBuf>> {
        match &self.outbox {
            Some(outbox) if withheld => outbox.withhold(message, now)?,
            Some(outbox) => return outbox.put(name, message, now).map(Some),
            None if withheld => withhold(&self.spool, message.bytes.len())?,
            None => {
                let name = format!("{name}.eml");
                files::write_unique(&self.spool, &name, &message.bytes)?;
                return Ok(Some(self.spool.join(name)));
            }
        }
        Ok(None)
    }
}

/// Writes as much of nothing, over and over to one file: a link that nobody was sent must not lie about.
fn withhold(folder: &Path, length: usize) -> io::Result<()> {
    files::write_unique(folder, ".withheld", &vec![b' '; length])
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
