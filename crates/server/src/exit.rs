//! Why the server could not start: one paragraph for a person, and the exit status.

use std::fmt;
use std::process::ExitCode;

/// What failed, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartError {
    what: String,
    why: String,
    remedy: String,
    status: u8,
}

impl StartError {
    /// A fault of the configuration or the command line (status 2).
    pub(crate) fn config(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), remedy: remedy.into(), status: 2 }
    }

    /// A fault of the surroundings: port, folder, file (status 1).
    pub(crate) fn environment(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), remedy: remedy.into(), status: 1 }
    }

    /// The exit status of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.what, self.why, self.remedy)
    }
}

impl std::error::Error for StartError {}

/// The reason behind an input/output error in words, without the operating system's error number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let words = match error.kind() {
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::NotFound => "no such file or folder",
        ErrorKind::NotADirectory => "a part of the path is a file, not a folder",
        ErrorKind::IsADirectory => "it is a folder",
        ErrorKind::AlreadyExists => "something of that name exists already and is not a folder",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::AddrInUse => "the address is in use by another process",
        ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => return error.to_string(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_one_paragraph_of_three_parts() {
        let error = StartError::environment("cannot listen", "the address is in use", "Choose another one.");
        assert_eq!(error.to_string(), "cannot listen: the address is in use. Choose another one.");
        assert!(!error.to_string().contains('\n'));
    }

    #[test]
    fn the_number_of_the_operating_system_is_not_shown_for_the_usual_reasons() {
        let denied = std::io::Error::from_raw_os_error(13);
        assert_eq!(reason(&denied), "permission denied");
    }
}
