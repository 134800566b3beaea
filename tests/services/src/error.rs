//! What goes wrong when servers are started and controlled.

use std::{io, path::Path};

use crate::Package;

/// The result of this library's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server cannot be had or controlled; its text is for the person who runs the tests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not on this machine.
    #[error("`{program}` is not installed; it is in Debian's package {package}")]
    Missing {
        /// The program looked for.
        program: &'static str,
        /// Where it would come from.
        package: Package,
    },
    /// A server ended or stayed mute instead of becoming ready.
    #[error("{server} {reason}\n--- the end of its log ---\n{log}")]
    NotReady {
        /// Which kind of server.
        server: &'static str,
        /// What it did instead.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// A server was to be signalled or asked, but does not run.
    #[error("{0} is not running")]
    NotRunning(&'static str),
    /// A server, or a program that prepares or asks it, refused.
    #[error("{command}: {answer}")]
    Refused {
        /// What was asked for.
        command: String,
        /// What was answered.
        answer: String,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Names what was being done, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source: source.into() }
    }

    pub(crate) fn refused(command: impl Into<String>, answer: impl Into<String>) -> Self {
        Self::Refused { command: command.into(), answer: answer.into() }
    }

    /// Whether another program took the port after it had been found free.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::NotReady { log, .. } if log.to_ascii_lowercase().contains("address already in use"))
    }
}

/// The last lines of a log file.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(30);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_from_other_failures() {
        let with = |log: &str| Error::NotReady { server: "x", reason: "ended".to_owned(), log: log.to_owned() };
        for (log, taken) in [
            ("could not bind IPv4 address \"127.0.0.1\": Address already in use", true),
            ("[ERROR] Can't start server: Bind on TCP/IP port: Address already in use", true),
            ("# Warning: Could not create server TCP listening socket 127.0.0.1:1: bind: address already in use", true),
            ("unrecognized configuration parameter", false),
        ] {
            assert_eq!(with(log).is_port_taken(), taken, "{log}");
        }
        assert!(!Error::NotRunning("x").is_port_taken());
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<_> = (0..100).map(|line| format!("line {line}")).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let tail = tail(file.path());
        assert!(tail.starts_with("line 70\n") && tail.ends_with("line 99"), "{tail}");
        assert_eq!(super::tail(Path::new("no such file")), "");
    }
}
