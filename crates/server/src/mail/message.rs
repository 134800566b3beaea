//! A letter as an RFC 5322 message whose text lines arrive as they were written.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox, SinglePart};
use lettre::{Address, Message};
use uuid::Uuid;

use super::{Inner, Letter, MailError, Recipient};

/// A message with its headers, and its envelope.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
}

/// The whole message.
pub(super) fn compose(
    Inner { public_url, sender, .. }: &Inner,
    recipient: &Recipient,
    letter: &Letter<'_>,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Composed, MailError> {
    let domain = public_url.domain().unwrap_or("localhost");
    let from = match sender {
        Some(sender) => sender.as_str().parse(),
        None => Address::new("no-reply", domain),
    };
    let from = from.map_err(|error| MailError::Message(error.into()))?;
    let to: Address = recipient
        .email
        .as_str()
        .parse()
        .map_err(|error: lettre::address::AddressError| MailError::Message(error.into()))?;
    let text = letter.text(public_url, &one_line(&recipient.name));
    let message = Message::builder()
        .from(Mailbox::new(Some("Session Manager".to_owned()), from.clone()))
        .to(Mailbox::new(Some(one_line(&recipient.name)), to.clone()))
        .subject(letter.subject())
        .date(SystemTime::from(now))
        .message_id(Some(format!("<{}@{domain}>", id.simple())))
        .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(unbroken(&text)?))
        .map_err(|error| MailError::Message(error.into()))?;
    Ok(Composed { from, to, bytes: message.formatted() })
}

/// As 7bit where possible, otherwise 8bit, up to the 998 octets a line that RFC 5322 allows. The builder's own choice would be
/// quoted-printable beyond 76, which breaks the link in two.
fn unbroken(text: &str) -> Result<Body, MailError> {
    let encoding = if text.is_ascii() { ContentTransferEncoding::SevenBit } else { ContentTransferEncoding::EightBit };
    if text.lines().any(|line| line.len() > 998 || line.contains('\r')) {
        return Err(MailError::Message("a line of the text is too long".into()));
    }
    Ok(Body::dangerous_pre_encoded(text.replace('\n', "\r\n").into_bytes(), encoding))
}

/// The name without what could begin another line or header.
fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}
