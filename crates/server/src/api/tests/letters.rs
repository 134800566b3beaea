//! Our letters send nobody to what does not exist.

use super::bench::{ANN, Bench};
use crate::accounts::EmailAddress;
use crate::mail::{DeviceSummary, Letter, Recipient};

#[tokio::test]
async fn letters_name_only_what_there_is() {
    let bench = Bench::new().await;
    let device = DeviceSummary { device: "Firefox".into(), place: "Berlin".into(), time: "now".into() };
    let verify = |earlier| Letter::Verify { token: "token", registered_at: bench.app.now(), earlier };
    // That of a reset is not sent before its page exists.
    let letters = [
        verify(false),
        verify(true),
        Letter::AlreadyRegistered,
        Letter::PasswordChanged,
        Letter::EmailChange { token: "token" },
        Letter::EmailChanged,
        Letter::NewDevice { device },
    ];
    let recipient = Recipient { name: "Ann".to_owned(), email: EmailAddress::parse(ANN).unwrap() };
    for letter in letters {
        let path = bench.app.mailer().send(&recipient, &letter, bench.app.now()).await.unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for link in text.split_whitespace().filter_map(|word| word.strip_prefix("http://127.0.0.1:8080")) {
            assert_ne!(bench.root(link).send().await.status, 404, "{letter:?}: {link}");
        }
        assert!(!text.contains("new password") && !text.contains("forgot"), "nobody can ask for one: {text}");
        let (told, named) = (text.contains("change your password"), text.contains("/api/v1/auth/me/password"));
        assert_eq!(told, named, "there is no page for it: {text}");
    }
}
