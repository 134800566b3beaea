//! The real server as a child process on a free port with a data folder of its own, stopped by its own handle.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;

/// The variable by which `cargo xtask test` tells where it has built the server.
const SERVER_VARIABLE: &str = "SESSION_MANAGER_TEST_SERVER";

/// What the server says last before it serves in silence.
const LAST_WORDS: &str = "Ctrl-C ends the server.";

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
    /// What it said after its first line.
    said: Arc<Mutex<String>>,
    /// Its data folder.
    pub data: PathBuf,
    /// Its log so far lands here, for a failed test to show.
    log: PathBuf,
}

impl Server {
    /// Starts the server on `data` with further arguments, and waits until it listens.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        let log = data.with_extension("log");
        let mut child = command(data, arguments)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a log file"))
            .spawn()
            .expect("the server starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut first = String::new();
        out.read_line(&mut first).expect("a first line");
        let Some(address) = first.trim().strip_prefix("listening on http://").map(str::to_owned) else {
            let _ = child.kill();
            panic!("not listening: {first:?}\n{}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        // The rest of the output is read so that the pipe never fills.
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let mut heard = heard.lock().expect("no reader panicked");
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self { child, address, said, data: data.to_owned(), log }
    }

    /// What it says after its first line: the first steps with it.
    pub fn quick_start(&self) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let said = self.said.lock().expect("no reader panicked").clone();
            if said.contains(LAST_WORDS) {
                return said;
            }
            assert!(Instant::now() < end, "it says only: {said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A client with this user agent.
    pub fn client(&self, agent: &str) -> Client {
        Client::new(&self.address, agent)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop, and returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not stop\n{}", self.log());
    }

    /// Waits for the mail, sent behind an answer, whose file name contains this.
    pub fn wait_for_mail(&self, part: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        let is_there = || {
            let mails = std::fs::read_dir(self.data.join("mail")).expect("a mail folder");
            mails.map(|entry| entry.expect("an entry").path()).any(|path| {
                let is_mail = path.extension().is_some_and(|extension| extension == "eml");
                is_mail && path.file_name().is_some_and(|name| name.to_string_lossy().contains(part))
            })
        };
        while !is_there() {
            assert!(Instant::now() < end, "no mail of the kind {part}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The single-use token in the newest mail whose link begins with `path`.
    pub fn mailed_token(&self, path: &str) -> String {
        let marker = format!("{path}?token=");
        let mut mails: Vec<PathBuf> = std::fs::read_dir(self.data.join("mail"))
            .expect("a mail folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        mails.sort();
        let mut texts = mails.iter().rev().map(|mail| std::fs::read_to_string(mail).expect("a mail"));
        let link = texts.find_map(|text| text.split_once(&marker).map(|(_, rest)| rest.to_owned()));
        let rest = link.unwrap_or_else(|| panic!("no mail with {marker}"));
        rest.chars()
            .take_while(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
            .collect()
    }
}

impl Drop for Server {
    #[allow(clippy::print_stderr, reason = "what a failed test shows")]
    fn drop(&mut self) {
        // Also after a failed test: the process is ours, and this handle names it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

/// Runs the server until it exits by itself: its exit code and what it wrote to standard error.
pub fn run_to_exit(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut child =
        command(data, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the server starts");
    let end = Instant::now() + Duration::from_secs(20);
    let status = loop {
        match child.try_wait().expect("its state") {
            Some(status) => break status,
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it did not exit");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut told = String::new();
    child.stderr.take().expect("its errors").read_to_string(&mut told).expect("text");
    (status.code(), told)
}

/// Runs a command of the server's program to its end: its exit code, and what it wrote to standard output and to standard error.
pub fn run_to_end(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(data, arguments).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data).args(arguments).stdin(Stdio::null());
    // A developer's own settings must not reach the tests.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SESSION_MANAGER__")) {
        command.env_remove(name);
    }
    command
}

/// Where the server's program is: where `cargo xtask test` says that it has built it. Without that it is built here, if it is not up to date,
/// as part of a test's time: cargo builds no program of another package for a test.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(built) = std::env::var_os(SERVER_VARIABLE).filter(|path| !path.is_empty()) {
            return built.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--quiet", "--package", "session-manager-server", "--message-format", "json"])
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "the server does not build");
        let text = String::from_utf8_lossy(&output.stdout);
        let artefacts = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        artefacts
            .filter(|artefact| artefact["target"]["name"] == "session-manager-server")
            .find_map(|artefact| artefact["executable"].as_str().map(PathBuf::from))
            .expect("cargo names the binary")
    })
}
