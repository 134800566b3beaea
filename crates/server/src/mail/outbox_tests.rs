//! Letters through a mail server that takes them, does not, or comes back later.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use session_manager_core::ManualClock;

use super::*;

/// What a mail server says to `RCPT TO`.
type Verdict = &'static str;
const TAKEN: Verdict = "250 ok";
/// It greets, and then says nothing any more.
const SILENT: Verdict = "";

/// A mail server that tells what it took.
fn server(verdict: Verdict) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (taken, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, taken) = (stream.unwrap(), taken.clone());
            std::thread::spawn(move || {
                if let Ok(letter) = talk(stream, verdict) {
                    // The test may be over.
                    let _ = taken.send(letter);
                }
            });
        }
    });
    (url, told)
}

fn talk(mut stream: TcpStream, verdict: Verdict) -> Result<(String, String), io::Error> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut next = move || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    stream.write_all(b"220 test\r\n")?;
    let mut to = String::new();
    loop {
        let line = next()?;
        let answer = match line.split(' ').next().unwrap_or_default() {
            _ if verdict == SILENT => continue,
            "EHLO" if verdict.starts_with("535") => "250-test\r\n250 AUTH PLAIN",
            "AUTH" => verdict,
            "EHLO" => "250 test",
            "RCPT" => {
                to = line;
                verdict
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                let mut message = String::new();
                loop {
                    let line = next()?;
                    if line == "." {
                        stream.write_all(b"250 taken\r\n")?;
                        return Ok((to, message));
                    }
                    message.push_str(&line);
                    message.push('\n');
                }
            }
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
}

fn outbox(folder: &Path, url: &str, clock: &Arc<ManualClock>) -> Outbox {
    let url = serde_json::from_value(url.into()).unwrap();
    Outbox::new(folder.to_owned(), &url, Arc::<ManualClock>::clone(clock)).unwrap()
}

fn letter() -> Composed {
    let address = |text: &str| text.parse().unwrap();
    let bytes = b"To: <ann@example.org>\r\nSubject: A link\r\n\r\nThe link.\r\n".to_vec();
    Composed { from: address("no-reply@example.org"), to: address("ann@example.org"), bytes }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_letter_is_on_the_disk_and_then_at_the_server() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let (url, told) = server(TAKEN);
    let outbox = outbox(folder.path(), &url, &clock);
    outbox.put("1", &letter(), clock.now()).unwrap();
    assert_eq!(names(folder.path()), ["1.json"]);
    assert!(outbox.send_all().await);
    let (to, message) = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(to, "RCPT TO:<ann@example.org>");
    assert!(message.contains("Subject: A link") && message.contains("The link."), "{message}");
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn a_letter_waits_for_a_server_that_is_away_for_a_day_at_most() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    // Nobody listens there.
    let gone = "smtp://127.0.0.1:1".to_owned();
    let away = outbox(folder.path(), &gone, &clock);
    away.put("1", &letter(), clock.now()).unwrap();
    assert!(!away.send_all().await);
    assert_eq!(names(folder.path()), ["1.json"]);
    let (busy, _told) = server("451 later");
    assert!(!outbox(folder.path(), &busy, &clock).send_all().await);
    assert_eq!(names(folder.path()), ["1.json"]);
    let (url, told) = server(TAKEN);
    assert!(outbox(folder.path(), &url, &clock).send_all().await);
    assert!(told.recv_timeout(Duration::from_secs(10)).is_ok());

    let (busy, _told) = server("451 later");
    let busy = outbox(folder.path(), &busy, &clock);
    busy.put("2", &letter(), clock.now()).unwrap();
    clock.advance(LIFE + Duration::from_secs(1));
    assert!(busy.send_all().await);
    assert_eq!(names(folder.path()), ["failed"]);
    assert_eq!(names(&folder.path().join("failed")), ["2.json"]);
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_or_falls_silent_costs_no_letter() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let (url, _told) = server("535 who are you");
    let refusing = outbox(folder.path(), &url.replace("smtp://", "smtp://app:old-password@"), &clock);
    refusing.put("1", &letter(), clock.now()).unwrap();
    assert!(!refusing.send_all().await);
    assert_eq!(names(folder.path()), ["1.json"]);

    let (url, _told) = server(SILENT);
    let silent = outbox(folder.path(), &url, &clock);
    let waiting = silent.send_all();
    let hurry = async {
        loop {
            tokio::task::yield_now().await;
            clock.advance(LIMIT);
        }
    };
    tokio::select! {
        all_gone = waiting => assert!(!all_gone),
        () = hurry => {}
    }
    assert_eq!(names(folder.path()), ["1.json"]);
}

#[tokio::test]
async fn a_letter_that_is_being_sent_when_the_service_ends_waits_again() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let (url, _told) = server(TAKEN);
    let outbox = outbox(folder.path(), &url, &clock);
    let path = outbox.put("1", &letter(), clock.now()).unwrap();
    let claim = Claim::of(&path).unwrap();
    assert_eq!(names(folder.path()), ["1.json.sending"]);
    drop(claim);
    assert_eq!(names(folder.path()), ["1.json"]);
}

#[tokio::test]
async fn a_letter_that_is_refused_is_put_aside() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let (url, _told) = server("550 no such user");
    let outbox = outbox(folder.path(), &url, &clock);
    outbox.put("1", &letter(), clock.now()).unwrap();
    std::fs::write(folder.path().join("2.json"), "{").unwrap();
    assert!(outbox.send_all().await);
    assert_eq!(names(&folder.path().join("failed")), ["1.json", "2.json"]);
}

#[tokio::test]
async fn a_letter_that_somebody_is_sending_is_left_to_them_until_they_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(session_manager_core::SystemClock.now()));
    let (url, told) = server(TAKEN);
    let outbox = outbox(folder.path(), &url, &clock);
    let path = outbox.put("1", &letter(), clock.now()).unwrap();
    std::fs::rename(&path, format!("{}.{CLAIMED}", path.display())).unwrap();
    assert!(outbox.send_all().await);
    assert_eq!(names(folder.path()), ["1.json.sending"]);
    clock.advance(CLAIM + Duration::from_mins(1));
    assert!(outbox.send_all().await);
    assert!(told.recv_timeout(Duration::from_secs(10)).is_ok());
    assert!(names(folder.path()).is_empty());
}
