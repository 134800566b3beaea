//! Runs other programs: shows the command as one could type it, and says which one failed.

use std::{
    ffi::OsStr,
    fmt,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// Why a task did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The check ran and found something wrong.
    Check(String),
    /// The check could not run: something is not installed and cannot be installed from here.
    Missing(String),
}

/// What every task returns.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// 1 for a failed check, 2 for a machine that lacks something.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Check(_) => 1,
            Self::Missing(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(text) | Self::Missing(text) => f.write_str(text),
        }
    }
}

/// One call of another program, and the text that shows it.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    shown: String,
}

impl Program {
    /// `program` is a name on the path or a path; only its file name is shown.
    pub(crate) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Self {
        let program = program.as_ref();
        let name = Path::new(program).file_name().unwrap_or(program);
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null());
        if std::env::var_os("CI").is_some() {
            // Nobody builds a second time there: what that would need only takes time and room.
            command.env("CARGO_INCREMENTAL", "0");
        }
        Self { command, shown: name.to_string_lossy().into_owned() }
    }

    /// The cargo that runs us, hence the toolchain the maintainer chose.
    pub(crate) fn cargo(folder: &Path) -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), folder)
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.shown = format!("{name}={value:?} {}", self.shown);
        self.command.env(name, value);
        self
    }

    /// Variables that are left out of the shown text, because the user has been shown them already.
    pub(crate) fn known_env(mut self, variables: &[(&'static str, String)]) -> Self {
        self.command.envs(variables.iter().map(|(name, value)| (name, value)));
        self
    }

    /// Runs it in the foreground; its output is the user's.
    pub(crate) fn run(self) -> Outcome {
        println!("$ {}", self.shown);
        self.run_quietly()
    }

    /// As [`run`](Self::run), for a command that says by itself what it does.
    pub(crate) fn run_quietly(mut self) -> Outcome {
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Check(format!("`{}` ended with {status}", self.shown))),
            Err(error) => Err(Failure::Missing(format!("`{}` cannot be run: {error}", self.shown))),
        }
    }

    /// Runs it, shows its standard error as it comes, and returns that too.
    pub(crate) fn run_keeping_errors(mut self) -> Result<String, Failure> {
        println!("$ {}", self.shown);
        let mut child = self
            .command
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::Missing(format!("`{}` cannot be run: {error}", self.shown)))?;
        let mut kept = String::new();
        for line in child.stderr.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
            let Ok(line) = line else { break };
            eprintln!("{line}");
            kept.push_str(&line);
            kept.push('\n');
        }
        match child.wait() {
            Ok(status) if status.success() => Ok(kept),
            Ok(status) => Err(Failure::Check(format!("`{}` ended with {status}", self.shown))),
            Err(error) => Err(Failure::Check(format!("`{}`: {error}", self.shown))),
        }
    }

    /// Runs it in the foreground, but for its standard output, which is returned.
    pub(crate) fn run_keeping_output(mut self) -> Result<String, Failure> {
        println!("$ {}", self.shown);
        match self.command.stderr(Stdio::inherit()).output() {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(output) => Err(Failure::Check(format!("`{}` ended with {}", self.shown, output.status))),
            Err(error) => Err(Failure::Missing(format!("`{}` cannot be run: {error}", self.shown))),
        }
    }

    /// Its standard output when it ends well, and nothing when it is not there or fails: for asking a version.
    pub(crate) fn answer(mut self) -> Option<String> {
        let output = self.command.stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("sh", Path::new(".")).args(["-c", script])
    }

    #[test]
    fn a_failed_program_is_named_and_a_missing_one_is_told_apart() {
        let failed = shell("exit 3").run().unwrap_err();
        assert_eq!(failed.exit_code(), 1);
        assert!(failed.to_string().contains("sh -c exit 3"), "{failed}");

        let missing = Program::new("no-such-program-anywhere", Path::new(".")).run().unwrap_err();
        assert_eq!(missing.exit_code(), 2);
        assert!(missing.to_string().contains("no-such-program-anywhere"), "{missing}");
    }

    #[test]
    fn output_and_errors_are_kept_and_answers_trimmed() {
        assert_eq!(shell("echo out; echo err >&2").run_keeping_output().unwrap(), "out\n");
        assert_eq!(shell("echo out; exit 3").run_keeping_output().unwrap_err().exit_code(), 1);
        assert_eq!(shell("echo out; echo err >&2").run_keeping_errors().unwrap(), "err\n");
        assert_eq!(shell("echo ' 1.2.3 '; echo noise >&2").answer().as_deref(), Some("1.2.3"));
        assert_eq!(shell("echo 1; exit 1").answer(), None);
    }
}
