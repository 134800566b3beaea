//! The texts of our letters.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::config::PublicUrl;

/// What a letter says. `Debug` shows only which one it is.
#[derive(Clone)]
pub(crate) enum Letter<'a> {
    /// The link that confirms the address of a new account and activates the password of this registration, of which there may be others.
    Verify {
        token: &'a str,
        registered_at: DateTime<Utc>,
        /// Another registration of the address waits already.
        earlier: bool,
    },
    /// Somebody registered with an address that has an account.
    AlreadyRegistered,
    /// The link that sets a new password.
    Reset { token: &'a str },
    /// The password was changed, or set anew by a link.
    PasswordChanged,
    /// The link that confirms the new address of an account.
    EmailChange { token: &'a str },
    /// To the old address, when another one has replaced it.
    EmailChanged,
    /// A sign-in from a device that was not seen before.
    NewDevice { device: DeviceSummary<'a> },
    /// A session was ended because something looked wrong.
    SessionSuspicious { device: DeviceSummary<'a> },
}

/// A device in words.
#[derive(Clone, Debug)]
pub(crate) struct DeviceSummary<'a> {
    /// For example `Firefox on Linux`.
    pub(crate) device: Cow<'a, str>,
    /// Address, place, or both.
    pub(crate) place: Cow<'a, str>,
    /// When, for people.
    pub(crate) time: Cow<'a, str>,
}

impl Letter<'_> {
    /// Whether anybody can cause it by naming an address, and as often as they like. A link for a new password they cannot: an account has no
    /// more than a few.
    pub(super) fn is_anybodys(&self) -> bool {
        match self {
            Self::Verify { .. } | Self::AlreadyRegistered | Self::EmailChange { .. } => true,
            Self::Reset { .. }
            | Self::PasswordChanged
            | Self::EmailChanged
            | Self::NewDevice { .. }
            | Self::SessionSuspicious { .. } => false,
        }
    }

    /// The subject line.
    pub(super) fn subject(&self) -> &'static str {
        match self {
            Self::Verify { .. } => "Confirm your e-mail address",
            Self::AlreadyRegistered => "You already have an account",
            Self::Reset { .. } => "Set a new password",
            Self::PasswordChanged => "Your password was changed",
            Self::EmailChange { .. } => "Confirm your new e-mail address",
            Self::EmailChanged => "The e-mail address of your account was changed",
            Self::NewDevice { .. } => "New sign-in to your account",
            Self::SessionSuspicious { .. } => "We signed out a device of yours",
        }
    }

    /// The part of the file name that tells letters apart.
    pub(super) fn slug(&self) -> &'static str {
        match self {
            Self::Verify { .. } => "verify",
            Self::AlreadyRegistered => "already-registered",
            Self::Reset { .. } => "reset",
            Self::PasswordChanged => "password-changed",
            Self::EmailChange { .. } => "email-change",
            Self::EmailChanged => "email-changed",
            Self::NewDevice { .. } => "new-device",
            Self::SessionSuspicious { .. } => "session-suspicious",
        }
    }

    /// The text, with each link on a line of its own.
    pub(super) fn text(&self, url: &PublicUrl, name: &str) -> String {
        let body = match self {
            Self::Verify { token, registered_at, earlier } => verify(url, token, *registered_at, *earlier),
            Self::AlreadyRegistered => format!(
                "somebody, probably you, gave this e-mail address for a new account, or as the new address of one. It has an\n\
                 account already. Sign in to that instead:\n\n{url}/sign-in\n\nIf you forgot the password, set a new one:\n\n\
                 {url}/forgot-password\n\nIf it was not you, nothing has changed.\n"
            ),
            Self::Reset { token } => format!(
                "set a new password within one hour:\n\n{url}/reset-password?token={token}\n\n\
                 All devices will be signed out. Of several such links each is good until one is used. If you did not ask for\n\
                 this, ignore this mail: nothing has changed.\n"
            ),
            Self::PasswordChanged => format!(
                "the password of your account was just changed, and all other devices were signed out.\n\
                 If it was not you, somebody else holds your account. Set a new password at once, which signs them out:\n\n\
                 {url}/forgot-password\n"
            ),
            Self::EmailChange { token } => format!(
                "please confirm within 24 hours that this is the new e-mail address of your account:\n\n\
                 {url}/verify-email?token={token}\n\nUntil then the old one stays. If you did not ask for this, ignore this mail.\n"
            ),
            Self::EmailChanged => format!(
                "the e-mail address of your account was changed; this old address gets no further mail.\n\
                 If it was not you, write at once to those who run this service: somebody else holds your account. Where you\n\
                 are still signed in, you can sign out the devices that you do not know:\n\n{url}/devices\n"
            ),
            Self::NewDevice { device } => format!(
                "your account was used on a device that we did not know:\n\n{}\n\
                 If it was not you, sign out that device:\n\n{url}/devices\n\n\
                 Then set a new password, since somebody else may know yours:\n\n{url}/forgot-password\n",
                facts(device),
            ),
            Self::SessionSuspicious { device } => format!(
                "it looked as if somebody else was using one of your sessions, so we ended it. It had begun here:\n\n{}\n\
                 If that was you, sign in again. It may have been no more than a device that was without a network for a\n\
                 while:\n\n{url}/sign-in\n\n\
                 If it was not, set a new password, which signs out all devices:\n\n{url}/forgot-password\n",
                facts(device),
            ),
        };
        format!("Hello {name},\n\n{body}")
    }
}

impl fmt::Debug for Letter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letter({})", self.slug())
    }
}

/// Whoever registered once must be able to tell which of several mails is theirs: the time says it.
fn verify(url: &PublicUrl, token: &str, registered_at: DateTime<Utc>, earlier: bool) -> String {
    let time = registered_at.format("%Y-%m-%d %H:%M:%S UTC");
    let link = format!("{url}/verify-email?token={token}");
    if earlier {
        format!(
            "this e-mail address was registered with us again, on {time}. An earlier registration of it is waiting too, and\n\
             has a mail of its own. Only the registration whose link you open counts.\n\n\
             The link below activates the password that was chosen in the later registration, on {time}.\n\
             Open it, within 24 hours, only if that registration was yours:\n\n{link}\n\n\
             If you registered once, and earlier, use the link in that earlier mail instead. If you did not register with us\n\
             at all, ignore these mails: without the confirmation nobody can use the account.\n"
        )
    } else {
        format!(
            "this e-mail address was registered with us on {time}.\n\
             Please confirm it within 24 hours. That activates the password chosen in this registration:\n\n{link}\n\n\
             If you did not register with us then, ignore this mail: without the confirmation nobody can use the account.\n"
        )
    }
}

/// A device, line by line.
fn facts(device: &DeviceSummary<'_>) -> String {
    let [name, place, time] = [&device.device, &device.place, &device.time].map(|text| plain(text));
    format!("  Device: {name}\n  Place:  {place}\n  Time:   {time}\n")
}

/// One short line: a user agent is the text of a stranger.
fn plain(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
