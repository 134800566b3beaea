//! The form of the spooled messages.

use super::*;

const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

fn verify(earlier: bool) -> Letter<'static> {
    Letter::Verify { token: TOKEN, registered_at: now(), earlier }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_795_508_432_123).unwrap()
}

fn recipient(name: &str) -> Recipient {
    Recipient { name: name.to_owned(), email: EmailAddress::parse("ann@b.example").unwrap() }
}

async fn spool(name: &str, letter: &Letter<'_>, url: &str) -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let mailer = Mailer::new(folder.path().to_owned(), PublicUrl::parse(url).unwrap());
    let path = mailer.send(&recipient(name), letter, now()).await.unwrap().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    (folder, path, text)
}

/// Headers and body; the headers' continuation lines joined.
fn parts(text: &str) -> (Vec<String>, &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.replace("\r\n ", " ").split("\r\n").map(str::to_owned).collect(), body)
}

#[tokio::test]
async fn the_link_stands_unbroken_on_a_line_of_its_own() {
    let long = format!("https://{}.example.org:8443", ["sub"; 30].join("."));
    for name in ["Ann", "Änne 山"] {
        for url in ["http://127.0.0.1:8080", &long] {
            for (letter, link) in [
                (verify(false), "verify-email"),
                (verify(true), "verify-email"),
                (Letter::Reset { token: TOKEN }, "reset-password"),
                (Letter::EmailChange { token: TOKEN }, "verify-email"),
            ] {
                let (_folder, _, text) = spool(name, &letter, url).await;
                let (headers, body) = parts(&text);
                let line = format!("{url}/{link}?token={TOKEN}");
                assert!(body.split("\r\n").any(|found| found == line), "{line} in {text}");
                let encoding = if name == "Ann" { "7bit" } else { "8bit" };
                assert!(headers.contains(&format!("Content-Transfer-Encoding: {encoding}")), "{headers:?}");
                assert!(body.contains(&format!("Hello {name},")));
            }
        }
    }
}

#[tokio::test]
async fn the_headers_are_those_of_a_message() {
    let (_folder, _, text) = spool("Ann", &Letter::PasswordChanged, "https://accounts.example.org").await;
    let (headers, _) = parts(&text);
    for expected in [
        "From: \"Session Manager\" <no-reply@accounts.example.org>",
        "To: Ann <ann@b.example>",
        "Subject: Your password was changed",
        "Date: Tue, 24 Nov 2026 08:20:32 +0000",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
    ] {
        assert!(headers.iter().any(|header| header == expected), "{expected} in {headers:?}");
    }
    assert!(
        headers.iter().any(|header| header.starts_with("Message-ID: <") && header.ends_with("@accounts.example.org>"))
    );
    assert!(text.lines().all(|line| !line.contains('\n')) && !text.replace("\r\n", "").contains(['\r', '\n']));
}

#[tokio::test]
async fn a_confirmation_says_which_registration_it_is_of() {
    let (_folder, _, only) = spool("Ann", &verify(false), "http://localhost:1").await;
    let (_folder, _, second) = spool("Ann", &verify(true), "http://localhost:1").await;
    for text in [&only, &second] {
        assert!(text.contains("2026-11-24 08:20:32 UTC"), "{text}");
    }
    assert!(!only.contains("earlier") && second.contains("An earlier registration of it is waiting too"), "{second}");
    assert!(second.contains("activates the password that was chosen in the later registration, on 2026"), "{second}");
}

#[tokio::test]
async fn a_name_cannot_add_a_header_or_a_line() {
    let evil = [
        "x\r\nBcc: victim@b.example",
        "x\nBcc: victim@b.example",
        "x\r\n\r\nhttps://evil.example",
        "x\u{2028}Bcc: y@b.example",
        "\"<victim@b.example>, \"",
        "x>, <victim@b.example>",
        "=?utf-8?q?=0D=0ABcc:_victim@b.example?=",
    ];
    for name in evil {
        let (_folder, _, text) = spool(name, &verify(false), "http://localhost:1").await;
        let (headers, body) = parts(&text);
        let names: Vec<_> = headers.iter().filter_map(|header| header.split(':').next()).collect();
        assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{name:?}: {headers:?}");
        let to: Vec<_> = headers.iter().filter(|header| header.starts_with("To:")).collect();
        assert!(to.len() == 1 && to[0].ends_with("<ann@b.example>"), "{to:?}");
        let parsed: lettre::message::Mailboxes = to[0].trim_start_matches("To: ").parse().unwrap();
        assert_eq!(parsed.iter().count(), 1, "{to:?}");
        assert!(!body.split("\r\n").any(|line| line.starts_with("https://evil")), "{body}");
    }
}

#[tokio::test]
async fn a_user_agent_cannot_add_a_line() {
    let device = || DeviceSummary {
        device: "x\r\n\r\nhttps://evil.example".into(),
        place: "y".repeat(5000).into(),
        time: "now".into(),
    };
    for letter in [Letter::NewDevice { device: device() }, Letter::SessionSuspicious { device: device() }] {
        let (_folder, _, text) = spool("Ann", &letter, "http://localhost:1").await;
        assert!(text.split("\r\n").all(|line| !line.starts_with("https://evil") && line.len() < 500), "{text}");
    }
}

#[tokio::test]
async fn files_sort_by_time_and_are_the_owners_only() {
    let folder = tempfile::tempdir().unwrap();
    let mailer = Mailer::new(folder.path().to_owned(), PublicUrl::parse("http://localhost:1").unwrap());
    let mut sent = Vec::new();
    for millis in [1, 2, 1000, 60_000, 86_400_000] {
        let now = now() + chrono::TimeDelta::milliseconds(millis);
        sent.push(mailer.send(&recipient("Ann"), &Letter::PasswordChanged, now).await.unwrap().unwrap());
    }
    assert!(sent.is_sorted(), "{sent:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), sent.len(), "no temporary file stays");
    assert!(sent[0].file_name().unwrap().to_str().unwrap().starts_with("20261124T082032.124Z-password-changed-"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&sent[0]).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_missing_spool_folder_is_an_error() {
    let mailer = Mailer::new("/nonexistent/mail".into(), PublicUrl::parse("http://localhost:1").unwrap());
    let error = mailer.send(&recipient("Ann"), &verify(false), now()).await.unwrap_err();
    assert!(matches!(error, MailError::Spool(_)) && !error.to_string().contains(TOKEN));
}

#[test]
fn no_letter_shows_its_token_in_the_log_line() {
    for letter in [verify(false), Letter::Reset { token: TOKEN }, Letter::EmailChange { token: TOKEN }] {
        assert!(!letter.subject().contains(TOKEN) && !letter.slug().contains(TOKEN));
        assert!(!format!("{letter:?}").contains(TOKEN), "{letter:?}");
    }
}

#[tokio::test]
async fn a_letter_that_is_withheld_leaves_as_much_of_nothing() {
    use std::sync::Arc;

    use crate::limits::Limiter;
    use session_manager_core::ManualClock;

    let folder = tempfile::tempdir().unwrap();
    let letters = || Letters::new(Arc::new(Limiter::new(Arc::new(ManualClock::default()))), b"secret");
    let url = || PublicUrl::parse("http://localhost:1").unwrap();
    let outbox = folder.path().join("outbox");
    files::make_folder(&outbox).unwrap();
    let smtp = serde_json::from_str("\"smtp://127.0.0.1:9\"").unwrap();
    let over = Outbox::new(outbox.clone(), &smtp, Arc::new(ManualClock::default())).unwrap();
    let spool = folder.path().join("mail");
    files::make_folder(&spool).unwrap();
    for (mailer, folder) in [(Mailer::new(spool.clone(), url()), &spool), (Mailer::over(url(), over, None), &outbox)] {
        let mailer = mailer.within(letters());
        let mut last = 0;
        for _ in 0..5 {
            let sent = mailer.send(&recipient("Ann"), &verify(false), now()).await.unwrap().unwrap();
            last = std::fs::metadata(sent).unwrap().len();
        }
        for _ in 0..3 {
            assert_eq!(mailer.send(&recipient("Ann"), &verify(false), now()).await.unwrap(), None);
        }
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let hidden: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
        assert_eq!(hidden, [".withheld"]);
        let nothing = std::fs::read(folder.join(".withheld")).unwrap();
        assert!(nothing.iter().all(|byte| *byte == b' '), "no link lies about");
        assert_eq!(u64::try_from(nothing.len()).unwrap(), last, "it cost the same");
        assert!(mailer.send(&recipient("Ann"), &Letter::PasswordChanged, now()).await.unwrap().is_some());
    }
}
