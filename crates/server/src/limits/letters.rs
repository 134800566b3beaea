//! How many letters strangers can have us send: to one mailbox, and through one account.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use session_manager_core::UserId;

use super::{Bound, Budget, Limiter, Rate, Scope, Subject};
use crate::accounts::EmailAddress;
use crate::problem::Rejection;

/// What one mailbox gets, whoever causes it.
const TO_A_MAILBOX: [(&str, Rate); 2] =
    [("letters to a mailbox, hour", Rate::per_hour(5)), ("letters to a mailbox, day", Rate::per_day(15))];
/// What one account sends to addresses that are not its own.
const BY_AN_ACCOUNT: (&str, Rate) = ("letters by an account", Rate::per_hour(10));
/// The endpoint by which an account does so.
const SENDER: &str = "/api/v1/auth/me";

/// Counts letters that anybody can cause by naming an address. Those about what happened to an account are not counted here: a stranger who
/// used up a budget would silence them.
///
/// # Security
/// Of the mailbox only a keyed hash leaves the process, for the counters that several servers share.
#[derive(Clone, Debug)]
pub(crate) struct Letters(Arc<Inner>);

struct Inner {
    limiter: Arc<Limiter>,
    key: hmac::Key,
    to_a_mailbox: Vec<Budget>,
    by_an_account: Budget,
}

impl Letters {
    /// Counted by this limiter, under the installation's secret.
    pub(crate) fn new(limiter: Arc<Limiter>, secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let to_a_mailbox = TO_A_MAILBOX.iter().map(|(name, rate)| budget(name, *rate, Scope::Mailbox)).collect();
        let (name, rate) = BY_AN_ACCOUNT;
        Self(Arc::new(Inner { limiter, key, to_a_mailbox, by_an_account: budget(name, rate, Scope::User) }))
    }

    /// Counts a letter to an address, and says whether it may be sent. Which of them were, nobody but the mailbox's owner may be able to tell.
    pub(crate) async fn admits(&self, recipient: &EmailAddress) -> bool {
        let subject = Subject::Mailbox(self.mailbox(recipient));
        let mut admitted = true;
        for budget in &self.0.to_a_mailbox {
            // All of them are asked, whatever the first one says: the time tells nothing either.
            let standing = self.0.limiter.count(budget, &subject, u32::from(admitted)).await;
            admitted &= standing.is_none_or(|standing| standing.admitted);
        }
        admitted
    }

    /// Counts a letter that an account has sent to an address which is not its own.
    ///
    /// # Errors
    /// The 429 to answer with, when it were too many.
    pub(crate) async fn charge(&self, sender: &UserId) -> Result<(), Rejection> {
        let standing = self.0.limiter.count(&self.0.by_an_account, &Subject::User(sender.clone()), 1).await;
        match standing.filter(|standing| !standing.admitted) {
            Some(standing) => Err(standing.refusal(SENDER)),
            None => Ok(()),
        }
    }

    /// Whatever follows a plus sign is the same mailbox at most providers: otherwise there would be no end of addresses for it.
    fn mailbox(&self, address: &EmailAddress) -> String {
        let (local, domain) = address.as_str().rsplit_once('@').unwrap_or((address.as_str(), ""));
        let local = local.split_once('+').map_or(local, |(local, _)| local);
        let mut context = hmac::Context::with_key(&self.0.key);
        for part in ["session-manager-server/mailbox/1", local, "@", domain] {
            context.update(part.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(context.sign())
    }
}

/// Kept while the shared counters are out of reach: an outage is no reason to flood anybody.
fn budget(name: &str, rate: Rate, scope: Scope) -> Budget {
    Budget { route: name.to_owned(), template: SENDER.to_owned(), bound: Bound { rate, scope }, kept: true }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Letters(***)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use session_manager_core::ManualClock;

    use super::*;

    fn letters() -> (Letters, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Letters::new(Arc::new(Limiter::new(clock.clone())), b"secret"), clock)
    }

    async fn admitted(letters: &Letters, address: &str, tried: usize) -> usize {
        let address = EmailAddress::parse(address).unwrap();
        let mut admitted = 0;
        for _ in 0..tried {
            admitted += usize::from(letters.admits(&address).await);
        }
        admitted
    }

    #[tokio::test]
    async fn a_mailbox_gets_a_few_an_hour_and_a_few_a_day_whatever_its_tag() {
        let (letters, clock) = letters();
        for (hours, address, sent) in [
            (0, "ann@b.example", 5),
            (0, "ann+another@b.example", 0),
            (0, "bob@b.example", 5),
            (0, "ann@c.example", 5),
            (1, "ANN+x@b.example", 5),
            (1, "ann@b.example", 5),
            (1, "ann@b.example", 0),
            (0, "bob@b.example", 5),
            (24, "ann@b.example", 5),
        ] {
            clock.advance(Duration::from_hours(hours));
            assert_eq!(admitted(&letters, address, 8).await, sent, "{address}");
        }
    }

    #[tokio::test]
    async fn an_account_is_told_when_it_sends_too_many() {
        let (letters, clock) = letters();
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        for _ in 0..10 {
            letters.charge(&ann).await.unwrap();
        }
        let refused = letters.charge(&ann).await.unwrap_err();
        assert_eq!(refused.problem().status(), 429);
        letters.charge(&bob).await.unwrap();
        clock.advance(Duration::from_hours(1));
        letters.charge(&ann).await.unwrap();
    }

    #[test]
    fn the_mailbox_cannot_be_read_from_its_name() {
        let (letters, _) = letters();
        let address = EmailAddress::parse("ann@b.example").unwrap();
        let other = Letters::new(Arc::new(Limiter::new(Arc::new(ManualClock::default()))), b"another secret");
        assert!(!letters.mailbox(&address).contains("ann"));
        assert_ne!(letters.mailbox(&address), other.mailbox(&address), "the hash has a key");
        assert!(!format!("{letters:?}").contains("secret"));
    }
}
