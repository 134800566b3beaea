//! The items of a storage on a real server, found by its crawler and deleted behind the storage's back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: what is not understood must not pass")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use async_trait::async_trait;
use session_manager_testkit::conformance::{Evict, Kept};

/// All items whose key has a prefix.
pub(crate) struct Items {
    pub(crate) prefix: String,
    /// Host and port.
    pub(crate) server: String,
}

impl Items {
    /// The lines of an answer up to the one with which it ends.
    fn ask(&self, command: &str, ends: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(&self.server).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(stream).lines() {
            lines.push(line.unwrap());
            if ends.iter().any(|end| lines.last().unwrap().starts_with(end)) {
                break;
            }
        }
        lines
    }

    fn kind(&self, key: &str) -> &'static str {
        match key.strip_prefix(&self.prefix).unwrap().split(':').next().unwrap() {
            "u" => "user",
            "p" => "pointer",
            "g" => "global epoch",
            _ => panic!("what kind of item is {key}?"),
        }
    }
}

#[async_trait]
impl Evict for Items {
    fn kinds(&self) -> &'static [&'static str] {
        &["user", "pointer", "global epoch"]
    }

    async fn kept(&self) -> Vec<Kept> {
        loop {
            let lines = self.ask("lru_crawler metadump hash", &["END", "BUSY", "ERROR"]);
            // Another test's question is being answered.
            if lines.last().is_some_and(|line| line.starts_with("BUSY")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            assert_eq!(lines.last().map(String::as_str), Some("END"));
            // A key is written as in an address.
            let plain = |key: &str| key.replace("%3A", ":").replace("%2D", "-");
            let keys = lines.iter().filter_map(|line| line.strip_prefix("key=")?.split(' ').next().map(plain));
            let ours = keys.filter(|key| key.starts_with(&self.prefix));
            return ours.map(|key| Kept::new(self.kind(&key), key)).collect();
        }
    }

    async fn evict(&self, record: &Kept) {
        let lines = self.ask(&format!("delete {}", record.name), &["DELETED", "NOT_FOUND", "ERROR"]);
        assert_eq!(lines, ["DELETED"], "{record:?}");
    }
}
