//! Our letters send nobody to what does not exist.

use super::bench::{ANN, Bench};
use crate::accounts::EmailAddress;
use crate::mail::{DeviceSummary, Letter, Recipient};

#[tokio::test]
async fn letters_name_only_what_there_is() {
    let bench = Bench::new().await;
    let device = || DeviceSummary { device: "Firefox".into(), place: "Berlin".into(), time: "now".into() };
    let verify = |earlier| Letter::Verify { token: "token", registered_at: bench.app.now(), earlier };
    let letters = [
        verify(false),
        verify(true),
        Letter::AlreadyRegistered,
        Letter::Reset { token: "token" },
        Letter::PasswordChanged,
        Letter::EmailChange { token: "token" },
        Letter::EmailChanged,
        Letter::NewDevice { device: device() },
        Letter::SessionSuspicious { device: device() },
    ];
    let recipient = Recipient { name: "Ann".to_owned(), email: EmailAddress::parse(ANN).unwrap() };
    for letter in letters {
        let path = bench.app.mailer().send(&recipient, &letter, bench.app.now()).await.unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for link in text.split_whitespace().filter_map(|word| word.strip_prefix("http://127.0.0.1:8080")) {
            assert_ne!(bench.root(link).send().await.status, 404, "{letter:?}: {link}");
        }
        let (told, linked) = (text.contains("set a new password"), text.contains("-password"));
        assert!(!told || linked, "whoever is to set a password is told where: {text}");
    }
}

#[tokio::test]
async fn the_owner_of_a_session_that_looked_wrong_is_told() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.refresh(&tokens.refresh).await.expect(200);
    bench.pass(11);
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new());
    for _ in 0..2 {
        bench.refresh(&tokens.refresh).await.expect(401);
    }
    assert_eq!(bench.mail_kinds().await, ["session-suspicious"], "once, however often it is tried");
    let tokens = bench.login(ANN).await;
    bench.call("POST", "/auth/logout").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new(), "who signs out knows of it");
}
