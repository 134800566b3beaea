//! Where one server lives: its folder, its port, the account it runs as, and the watchdog over it.

use std::{
    fs::{self, File},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Error, Result, error, port::Port, watchdog::Watchdog};

/// The account of servers whose owner is root: PostgreSQL, MariaDB, memcached and pgbouncer refuse to run as root.
const ACCOUNT: &str = "nobody";

/// The folder, port and account of one server.
#[derive(Debug)]
pub struct Site {
    port: Port,
    account: Option<Account>,
    /// Goes before the watchdog does, which would else not be there to remove it.
    folder: TempDir,
    pub(crate) watchdog: Watchdog,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    user: u32,
    group: u32,
}

impl Site {
    /// `signal` ends the server when its owner is gone.
    pub(crate) fn new(server: &str, port: Port, signal: &str) -> Result<Self> {
        let account = if rustix::process::geteuid().is_root() { Some(Account::named(ACCOUNT)?) } else { None };
        let folder = tempfile::Builder::new().prefix(&format!("session-manager-{server}-")).tempdir();
        let folder = folder.map_err(Error::io("no temporary folder can be made"))?;
        if let Some(Account { user, group }) = account {
            chown(folder.path(), Some(user), Some(group)).map_err(Error::io("the folder cannot be given away"))?;
        }
        let watchdog = Watchdog::start(signal, folder.path()).map_err(Error::io("`sh` cannot be run"))?;
        Ok(Self { port, account, folder, watchdog })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that the server may change.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder().join(name);
        let written = fs::write(&path, text).and_then(|()| match self.account {
            Some(Account { user, group }) => chown(&path, Some(user), Some(group)),
            None => Ok(()),
        });
        written.map_err(Error::io(format!("{name} cannot be written")))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    pub(crate) fn log_tail(&self) -> String {
        error::tail(&self.log())
    }

    /// A program that runs in the folder, under the account and the watchdog, and knows nothing of our environment.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .env("HOME", self.folder())
            .env("TMPDIR", self.folder())
            .stdin(Stdio::null())
            .process_group(self.watchdog.group());
        if let Some(Account { user, group }) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    /// A program whose output becomes the server's log.
    pub(crate) fn logged(&self, program: &Path) -> Result<Command> {
        let open = || -> std::io::Result<(File, File)> {
            let log = File::options().append(true).create(true).open(self.log())?;
            Ok((log.try_clone()?, log))
        };
        let (out, err) = open().map_err(Error::io("the log cannot be written"))?;
        let mut command = self.command(program);
        command.stdout(out).stderr(err);
        Ok(command)
    }
}

impl Account {
    fn named(name: &str) -> Result<Self> {
        let accounts = fs::read_to_string("/etc/passwd").map_err(Error::io("/etc/passwd cannot be read"))?;
        Self::find(&accounts, name)
            .ok_or_else(|| Error::refused("a server may not run as root", format!("no account {name}")))
    }

    fn find(accounts: &str, name: &str) -> Option<Self> {
        accounts.lines().find_map(|line| match line.split(':').collect::<Vec<_>>().as_slice() {
            [found, _, user, group, ..] if *found == name => {
                Some(Self { user: user.parse().ok()?, group: group.parse().ok()? })
            }
            _ => None,
        })
    }
}

/// Runs a short program to its end and returns its output; what it says is the error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(Error::io(format!("`{name}` cannot be run")))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(said);
    }
    Err(Error::refused(name, format!("{}\n{said}{errors}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts = "root:x:0:0::/:/bin/sh\nnobody2:x:1:2::/:\nnobody:x:65534:65533::/nonexistent:\nbad:x:y:z::\n";
        assert_eq!(Account::find(accounts, "nobody"), Some(Account { user: 65534, group: 65533 }));
        for name in ["nobod", "bad", ""] {
            assert_eq!(Account::find(accounts, name), None, "{name}");
        }
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let shell = |script: &str| run(Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo out; echo noise >&2").unwrap(), "out\n");
        let error = shell("echo out; echo why >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("sh: exit status: 3\nout\nwhy"), "{error}");
        assert!(run(&mut Command::new("no-such-program")).unwrap_err().to_string().contains("no-such-program"));
    }
}
