//! Ends a server and removes its folder when the process that owns them is gone, however it went.

use std::{
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Waits for the end of its standard input, a pipe of which the owner alone has the other end: the operating system closes
/// it with the owner's last breath.
///
/// It leads the process group that the server is put into, so `0` names that group: no process id that might have been
/// given to another process by then is ever used. Servers whose children leave the group (PostgreSQL) take these with them
/// when they end; children that are paused cannot follow, and are therefore told to us (`paused`), their ids staying
/// theirs for as long as they stand still.
/// A paused server is let go on so that it can give back what it has outside its folder.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
paused=
while read -r word rest; do
    case "$word" in
        paused) paused=$rest ;;
        done) exit 0 ;;
    esac
done
[ -z "$paused" ] || kill -s KILL $paused
kill -s "$1" 0
kill -s CONT 0
sleep 0.4
rm -rf -- "$2"
rm -rf -- "$2"
kill -s KILL 0
"#;

#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// `signal` is what the servers are first asked to end by; 0.4 s later they are killed.
    pub(crate) fn start(signal: &str, folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "session-manager-watchdog", signal])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C and of whatever ends the owner's group.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// The process group to put servers into.
    pub(crate) fn group(&self) -> i32 {
        i32::try_from(self.shell.id()).unwrap_or_default()
    }

    /// Says which processes outside the group stand still now, instead of those said before.
    pub(crate) fn paused(&mut self, ids: &[String]) -> io::Result<()> {
        self.tell(&format!("paused {}", ids.join(" ")))
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => writeln!(pipe, "{line}"),
            None => Ok(()),
        }
    }
}

impl Drop for Watchdog {
    /// Everything it guarded is gone already.
    fn drop(&mut self) {
        // Where it cannot be told, it has ended, or ends by itself as the pipe closes.
        let _ = self.tell("done");
        self.pipe = None;
        let _ = self.shell.wait();
    }
}
