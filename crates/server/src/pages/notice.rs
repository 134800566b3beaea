//! What a page says after a redirect: a code from a fixed set in the query, so that no link can put words on our pages.

use maud::{Markup, html};
use serde::{Deserialize, Deserializer};

use super::{failure, icons};

/// A message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    CheckMail,
    Verified,
    SignedOut,
    SignedOutEverywhere,
    SessionOver,
    SessionEnded,
    OthersEnded,
    AlreadyEnded,
    LinkMailed,
    PasswordReset,
    SessionsEnded,
    AccountDisabled,
    AccountEnabled,
    TokensRotated,
    ConnectionAdded,
    ConnectionRenamed,
    ConnectionRemoved,
    Connected,
    Disconnected,
    NotConnected,
    AliasTaken,
    AliasWrong,
}

impl Notice {
    const ALL: [Self; 22] = [
        Self::CheckMail,
        Self::Verified,
        Self::SignedOut,
        Self::SignedOutEverywhere,
        Self::SessionOver,
        Self::SessionEnded,
        Self::OthersEnded,
        Self::AlreadyEnded,
        Self::LinkMailed,
        Self::PasswordReset,
        Self::SessionsEnded,
        Self::AccountDisabled,
        Self::AccountEnabled,
        Self::TokensRotated,
        Self::ConnectionAdded,
        Self::ConnectionRenamed,
        Self::ConnectionRemoved,
        Self::Connected,
        Self::Disconnected,
        Self::NotConnected,
        Self::AliasTaken,
        Self::AliasWrong,
    ];

    /// The path with the notice for the page there.
    pub(super) fn on(self, path: &str) -> String {
        format!("{path}?notice={}", self.code())
    }

    /// The box on the page.
    pub(super) fn render(self) -> Markup {
        if self.is_refusal() {
            return failure::alert(self.text());
        }
        html! {
            div.notice role="status" { (icons::done()) p { (self.text()) } }
        }
    }

    /// Whether it says that something was not done.
    const fn is_refusal(self) -> bool {
        matches!(self, Self::NotConnected | Self::AliasTaken | Self::AliasWrong)
    }

    const fn code(self) -> &'static str {
        match self {
            Self::CheckMail => "check-mail",
            Self::Verified => "verified",
            Self::SignedOut => "signed-out",
            Self::SignedOutEverywhere => "signed-out-everywhere",
            Self::SessionOver => "session-over",
            Self::SessionEnded => "session-ended",
            Self::OthersEnded => "others-ended",
            Self::AlreadyEnded => "already-ended",
            Self::LinkMailed => "link-mailed",
            Self::PasswordReset => "password-reset",
            Self::SessionsEnded => "sessions-ended",
            Self::AccountDisabled => "account-disabled",
            Self::AccountEnabled => "account-enabled",
            Self::TokensRotated => "tokens-rotated",
            Self::ConnectionAdded => "connection-added",
            Self::ConnectionRenamed => "connection-renamed",
            Self::ConnectionRemoved => "connection-removed",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::NotConnected => "not-connected",
            Self::AliasTaken => "alias-taken",
            Self::AliasWrong => "alias-wrong",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::CheckMail => "Almost there: open the link in the mail that we have just sent you.",
            Self::Verified => "Your e-mail address is confirmed. You can sign in now.",
            Self::SignedOut => "You are signed out.",
            Self::SignedOutEverywhere => "You are signed out on all devices, this one included.",
            Self::SessionOver => "Your session has ended. Please sign in again.",
            Self::SessionEnded => "The device is signed out.",
            Self::OthersEnded => "All other devices are signed out.",
            Self::AlreadyEnded => "That device was signed out already.",
            Self::LinkMailed => {
                "If that address has an account, we have just sent a mail there: open the link in it to set a new password."
            }
            Self::PasswordReset => {
                "Your password is changed, and all devices are signed out. Sign in with the new one."
            }
            Self::SessionsEnded => "All sessions of the account are ended.",
            Self::AccountDisabled => "The account is disabled, and all of its sessions are ended.",
            Self::AccountEnabled => "The account is open again.",
            Self::TokensRotated => "The tokens are rotated.",
            Self::ConnectionAdded => "The connection is added. Connect it next.",
            Self::ConnectionRenamed => "The connection has its new alias.",
            Self::ConnectionRemoved => "The connection is removed.",
            Self::Connected => "You are connected.",
            Self::Disconnected => "The connection is given back to the provider.",
            Self::NotConnected => "The connection was not made. Begin it again on this page.",
            Self::AliasTaken => "Another connection has this alias already. Nothing was changed.",
            Self::AliasWrong => "An alias has 1 to 100 characters on one line. Nothing was changed.",
        }
    }
}

/// The query of a page that can show a notice.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NoticeQuery {
    /// None also for a code that is not ours.
    #[serde(deserialize_with = "known")]
    pub(super) notice: Option<Notice>,
}

fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Notice>, D::Error> {
    let code = String::deserialize(deserializer)?;
    Ok(Notice::ALL.into_iter().find(|notice| notice.code() == code))
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;

    #[test]
    fn codes_round_trip_and_others_say_nothing() {
        for notice in Notice::ALL {
            let uri = notice.on("/devices").parse().unwrap();
            assert_eq!(Query::<NoticeQuery>::try_from_uri(&uri).unwrap().notice, Some(notice));
        }
        for query in ["", "?notice", "?notice=", "?notice=You%20won", "?other=1"] {
            let uri = format!("/devices{query}").parse().unwrap();
            assert_eq!(Query::<NoticeQuery>::try_from_uri(&uri).unwrap().notice, None, "{query}");
        }
    }
}
